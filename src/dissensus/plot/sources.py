"""Sources of a plot: curves in memory, a recording's folder, or one condition of a study with its seeds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.clusters import clusters_of
from dissensus.analysis.reading import SIDES, CellReading
from dissensus.analysis.settings import groups_of, metrics_of
from dissensus.analysis.study_reading import KEPT, StudyReader, StudyReading
from dissensus.config import AnalysisSpec
from dissensus.curves import Curves, FloatArray
from dissensus.data.agreement import annotation_entropy, backed
from dissensus.data.annotations import NO_GOLD
from dissensus.errors import SpecError
from dissensus.metrics import ExampleMetrics
from dissensus.open import load_curves
from dissensus.report.tables import REGIMES, method_words
from dissensus.store import StoredCurves

Source = (
    Curves
    | StoredCurves
    | CellReading
    | StudyReading
    | StudyReader
    | str
    | os.PathLike[str]
    | Sequence[Curves]
)
"""What can be plotted. Several `Curves` are taken as the seeds of one condition."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One seed's curves with what its plots take from them, as the study's analysis has it.

    Attributes:
        curves: on the gold label that the analysis reads.
        entropy: annotation entropy, bits, shape (n,); NaN without annotations.
        group: contested, middle or settled, '' without annotations, shape (n,).
        side: 'backed' or 'rejected': whether most annotators chose the gold label; '' where not known, shape (n,).
        metrics: of each example.
        clusters: numbers of the clusters that are resampled together, shape (n,); None where each example is its own.
        confidence: of the bands.
    """

    curves: Curves
    entropy: FloatArray
    group: NDArray[np.str_]
    side: NDArray[np.str_]
    metrics: ExampleMetrics
    clusters: NDArray[np.int64] | None
    confidence: float

    @classmethod
    def of_curves(cls, curves: Curves) -> Recording:
        """Of curves without a study: by the default analysis settings."""
        settings = AnalysisSpec()
        entropy = annotation_entropy(curves.counts)
        return cls(
            curves,
            entropy,
            groups_of(entropy, settings),
            _sides(curves),
            metrics_of(curves, settings),
            clusters_of(curves).numbers,
            settings.confidence,
        )

    @classmethod
    def of_cell(cls, cell: CellReading) -> Recording:
        """Of a study's cell: by the study's settings."""
        curves = cell.curves
        return cls(
            curves,
            cell.entropy,
            cell.group,
            _sides(curves),
            cell.metrics,
            cell.clusters.numbers,
            cell.settings.confidence,
        )


@dataclass(frozen=True, eq=False)
class Condition:
    """What is plotted: a condition's recordings, one per seed.

    Attributes:
        name: of the condition in tables and file names; '' for curves without a study.
        title: in words; '' likewise.
        seeds: its recordings, at least one.
    """

    name: str
    title: str
    seeds: tuple[Recording, ...]


def condition_of(source: Source, condition: str | None = None) -> Condition:
    """The one condition to plot.

    Args:
        source: see `Source`.
        condition: of a study with several, its name or a part of it that no other condition has.

    Raises:
        SpecError: the study has several conditions and none, or more than one, is meant.
        StoreError: there is nothing to read, or it is damaged.
    """
    if isinstance(source, StoredCurves):
        source = source.read(0, len(source), text=True)
    if isinstance(source, str | os.PathLike):
        is_study = "://" not in os.fspath(source) and not (Path(source) / "manifest.json").is_file()
        source = StudyReader.at(Path(source), keep=KEPT) if is_study else load_curves(source, partial=True)
    if isinstance(source, Curves):
        source = (source,)
    if isinstance(source, CellReading):
        return _of_cells((source,))
    if isinstance(source, StudyReader):
        chosen = _choose(conditions_of(source), condition, f"study {source.folder.spec.name}")
        return _of_cells(tuple(source.cell(name) for name in conditions_of(source)[chosen]))
    if isinstance(source, StudyReading):
        found = source.conditions()
        return _of_cells(found[_choose(found, condition, f"study {source.study.name}")])
    if not source or not all(isinstance(one, Curves) for one in source):
        raise SpecError("there is nothing to plot: expected Curves, a recording's folder or a study's folder")
    return Condition("", "", tuple(map(Recording.of_curves, source)))


def conditions_of(reader: StudyReader) -> dict[str, tuple[str, ...]]:
    """Conditions that have a completed cell: name -> ids of its cells (variants where only they are done)."""
    planned = reader.folder.planned
    own = [name for name in reader.folder.done if planned[name].base is None] or list(reader.folder.done)
    found: dict[str, tuple[str, ...]] = {}
    for name in own:
        condition = planned[name].cell.condition
        found[condition] = (*found.get(condition, ()), name)
    return found


def _choose(found: Iterable[str], condition: str | None, study: str) -> str:
    names = list(found)
    if not names:
        raise SpecError(f"{study} has no completed cell. Run it first: dissensus run DIR")
    listed = "\n".join(f"  {name}" for name in names)
    if condition is None:
        if len(names) == 1:
            return names[0]
        raise SpecError(
            f"{study} has {len(names)} conditions, and a plot shows one: give condition=, one of\n{listed}"
        )
    meant = [name for name in names if name == condition] or [name for name in names if condition in name]
    if len(meant) != 1:
        problem = "is in several names" if meant else "is no condition"
        raise SpecError(f"condition {condition!r} {problem} of {study}; expected one of\n{listed}")
    return meant[0]


def _of_cells(cells: tuple[CellReading, ...]) -> Condition:
    dataset, model, method, regime = cells[0].place
    title = f"{dataset} · {model} · {REGIMES.get(regime, regime)} · {method_words(method)}"
    return Condition(cells[0].spec.condition, title, tuple(map(Recording.of_cell, cells)))


def _sides(curves: Curves) -> NDArray[np.str_]:
    known = (curves.gold != NO_GOLD) & (curves.counts.sum(axis=1) > 0)
    return np.where(known, np.where(backed(curves.counts, curves.gold), *SIDES), "")
