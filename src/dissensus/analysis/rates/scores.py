"""Scores of short runs: the loss at the end on examples that show learning. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.reading import CellReading
from dissensus.config import AnalysisSpec, RunSpec
from dissensus.curves import FloatArray
from dissensus.metrics.learning import examples_to_judge
from dissensus.stats.groups import SETTLED
from dissensus.store import load_curves
from dissensus.study.rates import ShortRun
from dissensus.study.status import cell_folder, read_status

DIVERGED = "the run diverged"
"""How the error of a run begins whose loss was no longer finite: its end, and not a try that went wrong."""


@dataclass(frozen=True, eq=False)
class Score:
    """What one short run came to. Losses are means over the judged examples, in nats.

    Attributes:
        run: the short run.
        loss: at the end; infinite for a run that failed or diverged.
        start: before training; NaN where there is none.
        learned: 'yes', 'no' or 'not told'; see `metrics.learning`.
        why: why not, or the error of a run that failed.
        judged_on: 'settled' (settled, and backed by most annotators), 'backed' or 'labelled'.
        n: judged examples.
        losses: of each judged example at the end, shape (n,).
        clusters: a label of each one's cluster, shape (n,).
    """

    run: ShortRun
    loss: float
    start: float = float("nan")
    learned: str = "no"
    why: str = ""
    judged_on: str = ""
    n: int = 0
    losses: FloatArray | None = None
    clusters: NDArray[np.str_] | None = None

    @property
    def ended(self) -> bool:
        """Whether there is a loss at the end."""
        return bool(np.isfinite(self.loss))


def score_of(run: ShortRun, out: Path, settings: AnalysisSpec, *, given_up: bool) -> Score | None:
    """The score of a short run; None where it is still to be run.

    Args:
        run: which.
        out: the folder of the search.
        settings: how the study is analysed: groups, and which label is gold.
        given_up: whether a run that failed is not tried again.
    """
    spec = run.spec
    status = read_status(cell_folder(out, spec), spec)
    if status.state == "done":
        return _read(run, spec, out, settings)
    if status.state == "failed" and (given_up or DIVERGED in status.error):
        return Score(run, float("inf"), why=status.error)
    return None


def _read(run: ShortRun, spec: RunSpec, out: Path, settings: AnalysisSpec) -> Score:
    cell = CellReading(spec, load_curves(cell_folder(out, spec)), settings)
    judged, learning = examples_to_judge(cell.gold, cell.group == SETTLED, cell.backed), cell.learning
    losses = cell.curves.losses[judged.member, -1]
    loss = float(losses.mean()) if len(losses) else float("nan")
    return Score(
        run,
        loss if np.isfinite(loss) else float("inf"),
        learning.start,
        learning.learned,
        learning.why,
        judged.words,
        int(judged.member.sum()),
        losses,
        cell.cluster_names[judged.member],
    )


def difference(first: Score, second: Score) -> tuple[float, float]:
    """Second minus first, in nats, and its standard error over clusters: (sum over clusters of the squared sum of their
    deviations, times G / (G - 1))^(1/2) / n. NaN where one has no loss or there is one cluster.
    """
    if first.losses is None or second.losses is None or not (first.ended and second.ended):
        return float("nan"), float("nan")
    apart = second.losses - first.losses
    index = np.unique(first.clusters if first.clusters is not None else [], return_inverse=True)[1]
    sums = np.bincount(index, weights=apart - apart.mean())
    groups = len(sums)
    if groups < 2:
        return float(apart.mean()), float("nan")
    error = np.sqrt((sums**2).sum() * groups / (groups - 1)) / len(apart)
    return float(apart.mean()), float(error)
