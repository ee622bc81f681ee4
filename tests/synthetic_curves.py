"""Curves of `synthetic_study` in memory, and studies of them without a folder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dissensus.analysis.reading import CellReading
from dissensus.analysis.study_reading import StudyReading
from dissensus.config import AnalysisSpec, StudySpec
from dissensus.curves import Curves
from dissensus.data.noise import NoisyLabels
from dissensus.study.grid import expand, planned_cells
from synthetic_study import dataset, made_losses, study_spec


def curves_of(n: int = 90, points: int = 9, seed: int = 0, ids: list[str] | None = None) -> Curves:
    """Curves of `synthetic_study`, in memory: n items, whose annotators split more and more, four to a premise."""
    data = dataset(n)
    p = np.exp(-made_losses(n, points, seed))
    rest = np.maximum(1 - p, 1e-9)
    return Curves(
        ids=tuple(ids or data.ids),
        labels=data.labels,
        steps=np.linspace(0, 400, points).astype(np.int64),
        total_steps=400,
        log_probs=np.log(np.stack([p, 0.7 * rest, 0.3 * rest], axis=2)).astype(np.float32),
        gold=np.array([e.gold for e in data.examples], dtype=np.int64),
        counts=np.array([e.counts for e in data.examples]),
        regime=np.full(n, "held_out"),
        text=tuple(e.text for e in data.examples),
    )


def balanced(curves: Curves) -> Curves:
    """The same with labels turned by 0, 1 and 2 places in turn: losses and entropies stay, all labels are gold.

    Of curves whose gold label is always the first nobody can tell whether more was learned than to answer it.
    """
    turn = np.arange(len(curves)) % len(curves.labels)
    source = (np.arange(len(curves.labels)) - turn[:, None]) % len(curves.labels)
    return replace(
        curves,
        gold=(curves.gold + turn) % len(curves.labels),
        counts=np.take_along_axis(curves.counts, source, axis=1),
        log_probs=np.take_along_axis(curves.log_probs, source[:, None, :], axis=2),
    )


def shuffled(curves: Curves, seed: int = 0) -> Curves:
    """The same examples in another order."""
    order = np.random.default_rng(seed).permutation(len(curves))
    return replace(
        curves,
        ids=tuple(curves.ids[i] for i in order),
        log_probs=curves.log_probs[order],
        gold=curves.gold[order],
        counts=curves.counts[order],
        regime=curves.regime[order],
        text=tuple(curves.text[i] for i in order),
    )


def evidence_of(study: StudySpec, *curves: Curves, given: NoisyLabels | None = None) -> StudyReading:
    """A study whose cells have these curves, in its order."""
    cells = tuple(
        CellReading(p.cell, own, study.analysis, p.base, given if p.cell.training.noise else None)
        for p, own in zip(planned_cells(study), curves, strict=True)
    )
    return StudyReading(study, cells, len(cells))


def reading_of(curves: Curves, settings: AnalysisSpec | None = None) -> CellReading:
    """A cell with these curves."""
    return CellReading(expand(study_spec())[0], curves, settings or AnalysisSpec())
