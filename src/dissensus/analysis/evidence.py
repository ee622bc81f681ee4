"""The completed cells of a study with their curves: what verdicts, sensitivity and noise tables are made from.

Reads stored curves, or takes curves made in memory; imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.clusters import clusters_of
from dissensus.analysis.stored import on_gold, read_cell
from dissensus.config import RunSpec, StudySpec
from dissensus.curves import Curves
from dissensus.data.noise import NoisyLabels, load_noise
from dissensus.errors import StoreError
from dissensus.study.grid import plan
from dissensus.study.status import read_study, study_status


@dataclass(frozen=True)
class Cell:
    """One completed cell.

    Attributes:
        spec: what was run.
        curves: its curves, on the gold label that the study's analysis reads the loss on.
        base: of a variant, the cell that it is a variant of; None for the study's own cells.
        given: of a cell with label noise, the labels that the tracked examples were trained on (their true ones where
            they were not trained on) and which of them were flipped; None without noise.
        cluster_field: the text field that clusters, as the study says; see `cluster_by`.
    """

    spec: RunSpec
    curves: Curves
    base: RunSpec | None = None
    given: NoisyLabels | None = None
    cluster_field: str | None = None

    @cached_property
    def name(self) -> str:
        """The cell's id, which names its folder."""
        return self.spec.cell_id

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Data set, model, method and regime, as the study's tables name them; the same for all seeds."""
        spec = self.spec
        return spec.dataset.name, spec.model.label, spec.method.label, spec.regime

    @property
    def clusters(self) -> NDArray[np.str_]:
        """What is resampled together: a label for each example, shape (n,): of its shared text, else its own id."""
        found = clusters_of(self.curves, self.cluster_field).names
        return np.array(self.curves.ids) if found is None else found


@dataclass(frozen=True)
class Evidence:
    """A study and those of its cells that are complete.

    Attributes:
        study: its specification.
        cells: completed cells, in the study's order; variants included.
        planned: cells that the study lists.
    """

    study: StudySpec
    cells: tuple[Cell, ...]
    planned: int

    @property
    def own(self) -> tuple[Cell, ...]:
        """The cells of the study's conditions: those that are no variant."""
        return tuple(cell for cell in self.cells if cell.base is None)

    @property
    def variants(self) -> tuple[Cell, ...]:
        """The cells that are variants."""
        return tuple(cell for cell in self.cells if cell.base is not None)

    def base_of(self, variant: Cell) -> Cell | None:
        """The completed cell that a variant is one of; None where it is not complete."""
        return next((cell for cell in self.cells if cell.spec == variant.base), None)

    def conditions(self) -> dict[str, tuple[Cell, ...]]:
        """The study's own conditions that have a completed cell: name -> its seeds, in the study's order."""
        return by_condition(self.own)


def by_condition(cells: Iterable[Cell]) -> dict[str, tuple[Cell, ...]]:
    """Cells by the name of their condition, each group in the order in which the cells come."""
    found: dict[str, tuple[Cell, ...]] = {}
    for cell in cells:
        found[cell.spec.condition] = (*found.get(cell.spec.condition, ()), cell)
    return found


def load_evidence(study_dir: Path) -> Evidence:
    """Read every completed cell of a study's folder.

    Raises:
        SpecError: the folder is no study's.
        StoreError: no cell is complete, or a completed one is damaged (it is named).
    """
    study = read_study(study_dir)
    done = {status.cell for status in study_status(study_dir) if status.state == "done" and status.in_study}
    if not done:
        raise StoreError(f"{study_dir} has no completed cell. Run it first: dissensus run {study_dir}")
    planned = plan(study)
    cells = []
    for item in planned:
        if item.cell.cell_id in done:
            folder = study_dir / "cells" / item.cell.cell_id
            curves = read_cell(folder, item.cell)
            cells.append(
                Cell(
                    item.cell,
                    on_gold(curves, study.analysis),
                    item.base,
                    _given(folder, curves),
                    study.analysis.clusters,
                )
            )
    return Evidence(study, tuple(cells), len(planned))


def _given(folder: Path, curves: Curves) -> NoisyLabels | None:
    """The labels that a noisy cell trained its tracked examples on."""
    path = folder / "noise.parquet"
    if not path.is_file():
        return None
    trained = curves.regime == "trained_on"
    labels, flipped = curves.gold.copy(), np.zeros(len(curves), dtype=np.bool_)
    if trained.any():
        found = load_noise(path, [i for i, own in zip(curves.ids, trained, strict=True) if own], among=True)
        labels[trained], flipped[trained] = found.labels, found.flipped
    return NoisyLabels(labels, flipped)
