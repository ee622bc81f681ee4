"""Readings of a study's completed cells, each opened, checked and read once. Imports no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dissensus.analysis.clusters import Clusters, cluster_by
from dissensus.analysis.reading import CellReading
from dissensus.config import RunSpec, StudySpec
from dissensus.curves import Curves
from dissensus.data.noise import NoisyLabels, load_noise
from dissensus.display import html_grid
from dissensus.errors import DissensusError, StoreError
from dissensus.store import StoredCurves, open_curves
from dissensus.study.folder import StudyFolder

LIMIT = 2**30
"""Bytes of a cell's curves above which its tables are made block by block instead of with all of them in memory."""
KEPT = 2**28
"""Bytes of curves that a command which reads cells twice (first for tables, then for the page) keeps in between."""


@dataclass(frozen=True, repr=False)
class StudyReading:
    """A study and the readings of those of its cells that are complete: what verdicts and tables are made from.

    Attributes:
        study: its specification.
        cells: completed cells, in the study's order; variants included.
        planned: cells that the study lists.
    """

    study: StudySpec
    cells: tuple[CellReading, ...]
    planned: int

    def __repr__(self) -> str:
        conditions = len(self.conditions())
        return f"StudyReading({self.study.name}: {len(self.cells)} of {self.planned} cells, {conditions} conditions)"

    def _repr_html_(self) -> str:
        rows = (
            (
                name,
                ", ".join(str(cell.spec.seed) for cell in cells),
                str(len(cells[0])),
                str(len(cells[0].steps)),
            )
            for name, cells in self.conditions().items()
        )
        columns = ("condition", "seeds", "examples", "tracking points")
        return html_grid(f"{self.study.name}: {len(self.cells)} of {self.planned} cells", columns, rows)

    @cached_property
    def own(self) -> tuple[CellReading, ...]:
        """The cells of the study's conditions: those that are no variant."""
        return tuple(cell for cell in self.cells if cell.base is None)

    @cached_property
    def variants(self) -> tuple[CellReading, ...]:
        """The cells that are variants."""
        return tuple(cell for cell in self.cells if cell.base is not None)

    def base_of(self, variant: CellReading) -> CellReading | None:
        """The completed cell that a variant is one of; None where it is not complete."""
        return next((cell for cell in self.cells if cell.spec == variant.base), None)

    def conditions(self) -> dict[str, tuple[CellReading, ...]]:
        """The study's own conditions that have a completed cell: name -> its seeds, in the study's order."""
        return by_condition(self.own)


def by_condition(cells: Iterable[CellReading]) -> dict[str, tuple[CellReading, ...]]:
    """Cells by the name of their condition, each group in the order in which the cells come."""
    groups: dict[str, tuple[CellReading, ...]] = {}
    for cell in cells:
        groups[cell.spec.condition] = (*groups.get(cell.spec.condition, ()), cell)
    return groups


@dataclass(frozen=True)
class StudyReader:
    """Opens the completed cells of a study's folder, for one command.

    Attributes:
        folder: the study's folder.
        keep: bytes of curves that may stay in memory, so that a cell that is asked for again is not opened again.
    """

    folder: StudyFolder
    keep: int = 0
    _kept: dict[str, CellReading] = field(default_factory=dict, repr=False)
    _texts: dict[str, _Texts] = field(default_factory=dict, repr=False)

    @classmethod
    def at(cls, study: Path | StudyReader, *, keep: int = 0) -> StudyReader:
        """The reader of a folder; one that there is already is left as it is."""
        return study if isinstance(study, StudyReader) else cls(StudyFolder(study), keep)

    def cell(self, name: str, *, verify: bool = True) -> CellReading:
        """The reading of a completed cell. Its curves are in memory up to `LIMIT`, and stay in their store above.

        Args:
            name: the cell's id.
            verify: check every file of its store against its SHA-256.

        Raises:
            StoreError: the folder holds another specification's cell, or its store is damaged; the cell is named.
        """
        if name in self._kept:
            return self._kept[name]
        cell = self._read(name, verify=verify)
        size = [
            one.stored.log_probs.nbytes
            for one in (cell, *self._kept.values())
            if isinstance(one.stored, Curves)
        ]
        if isinstance(cell.stored, Curves) and sum(size) <= self.keep:
            self._kept[name] = cell
        return cell

    def all(self) -> StudyReading:
        """The readings of every completed cell, with their curves in memory.

        Raises:
            SpecError: the folder is no study's.
            StoreError: no cell is complete, or a completed one is damaged (it is named).
        """
        if not self.folder.done:
            raise StoreError(
                f"{self.folder.path} has no completed cell. Run it first: dissensus run {self.folder.path}"
            )
        cells = tuple(self._kept_or_read(name) for name in self.folder.done)
        return StudyReading(self.folder.spec, cells, len(self.folder.planned))

    def _kept_or_read(self, name: str) -> CellReading:
        kept = self._kept.get(name)
        if kept is None or not isinstance(kept.stored, Curves):
            return self._read(name, in_memory=True)
        try:
            given = _given(self.folder.cell(name), kept.stored)
        except DissensusError as problem:
            raise StoreError(f"cell {name}: {problem}") from None
        return kept if given is None else replace(kept, given=given)

    def _read(self, name: str, *, verify: bool = True, in_memory: bool = False) -> CellReading:
        """`in_memory`: whatever they take; then with the labels that a cell with label noise was trained on."""
        folder, planned = self.folder.cell(name), self.folder.planned[name]
        try:
            _check_spec(folder, planned.cell)
            stored = self._open(folder, planned.cell, math.inf if in_memory else LIMIT, verify=verify)
            noisy_labels = _given(folder, stored) if in_memory and isinstance(stored, Curves) else None
        except DissensusError as problem:
            raise StoreError(f"cell {name}: {problem}") from None
        texts = self._texts.get(planned.cell.dataset.name)
        shared = texts.find_clusters if texts is not None and isinstance(stored, Curves) else None
        return CellReading(
            planned.cell, stored, self.folder.spec.analysis, planned.base, noisy_labels, shared
        )

    def _open(self, folder: Path, cell: RunSpec, limit: float, *, verify: bool) -> Curves | StoredCurves:
        """The stored curves, read if they take `limit` bytes at most.

        What fails here is the store's fault; what fails in computing is not, and is let through. Cells of one data set
        have the same texts as a rule: these are decoded once, and what they cluster is found once.
        """
        try:
            stored = open_curves(folder, verify=verify)
            if stored.nbytes > limit:
                return stored
            curves, columns = stored.read(0, len(stored)), (stored.column("id"), stored.column("text"))
            texts = self._texts.get(cell.dataset.name)
            if texts is None or not texts.are(columns):
                texts = _Texts(
                    columns, tuple(stored.text(0, len(stored))), self.folder.spec.analysis.clusters
                )
                self._texts[cell.dataset.name] = texts
            return replace(curves, text=texts.fields)
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as problem:
            raise StoreError(
                f"its curves store is damaged and cannot be read ({type(problem).__name__}: {problem}); "
                f"delete the folder {folder} and run the study again"
            ) from problem


@dataclass(frozen=True, eq=False)
class _Texts:
    """The texts of a data set's items, as the cell that was read last has them.

    Attributes:
        columns: ids and texts as they are stored.
        fields: the text fields of each item.
        clustering: the field that clusters, as the study has it.
    """

    columns: tuple[pa.ChunkedArray, pa.ChunkedArray]
    fields: tuple[dict[str, str], ...]
    clustering: str | None

    def are(self, columns: tuple[pa.ChunkedArray, pa.ChunkedArray]) -> bool:
        """Whether these are the same ids and texts."""
        return all(mine.equals(theirs) for mine, theirs in zip(self.columns, columns, strict=True))

    @cached_property
    def _clusters(self) -> Clusters:
        return cluster_by([(self.columns[0].to_pylist(), self.fields)], self.clustering)

    def find_clusters(self) -> Clusters:
        """What is resampled together, found at the first call; see `cluster_by`."""
        return self._clusters


def _check_spec(folder: Path, spec: RunSpec) -> None:
    path = folder / "spec.json"
    stored = RunSpec.parse(_read_json(path), str(path), stored=True)
    if stored != spec:
        raise StoreError("spec.json is not the study's specification of this cell")


def _given(folder: Path, curves: Curves) -> NoisyLabels | None:
    """The labels that a cell with label noise trained its tracked examples on."""
    path = folder / "noise.parquet"
    if not path.is_file():
        return None
    trained = curves.regime == "trained_on"
    labels, flipped = curves.gold.copy(), np.zeros(len(curves), dtype=np.bool_)
    if trained.any():
        mask = load_noise(
            path, [i for i, was_trained in zip(curves.ids, trained, strict=True) if was_trained], among=True
        )
        labels[trained], flipped[trained] = mask.labels, mask.flipped
    return NoisyLabels(labels, flipped)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path.name} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise StoreError(f"{path.name} holds {type(data).__name__}; expected an object")
    return data
