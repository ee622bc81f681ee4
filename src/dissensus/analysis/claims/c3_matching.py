"""Matching at equal loss: two methods compared at the same mean loss on the settled, backed examples.

A method that learns less per step has moved every group less at the end of training, the contested one too. So both are
also read where their settled loss is the same: at the lowest value that both curves have come down to with `POINTS`
tracking points on either side. Between tracking points a curve is the cubic through the two points on either side.

A match is not testable where a method learned less than `LEARNED` nats of the settled examples (a start above ln K
counts as ln K), where there are fewer points on a side, or where the straight line and the cubic differ by more than
half of the smallest change that counts: then the points are too far apart to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dissensus.analysis.claims.sampled import CellValue
from dissensus.analysis.claims.statistics import ALL, ClaimStatistics, GroupMeans
from dissensus.analysis.reading import BACKED
from dissensus.curves import FloatArray
from dissensus.wording import number

LEARNED = 0.05
"""Nats by which both methods' settled loss must have come down."""
POINTS = 3
"""Tracking points on either side of the match."""
_NODES = 33
"""Places at which a cubic is evaluated between two tracking points."""


@dataclass(frozen=True)
class Match:
    """Where two methods had equal settled loss, and how their contested losses had changed by then.

    Attributes:
        value: change of the contested loss up to there, first method minus second, nats.
        level: the settled loss, nats; NaN where there is no match.
        progress: u at which each method has it.
        points: tracking points of each method.
    """

    value: CellValue
    level: float = float("nan")
    progress: tuple[float, float] = (float("nan"), float("nan"))
    points: tuple[int, int] = (0, 0)


def difference_at_matched_loss(measured: ClaimStatistics, first: GroupMeans, second: GroupMeans) -> Match:
    """Compare two cells at the same settled loss; see the module's first lines. The match is found in each resample."""
    both = first, second
    points = len(first.progress), len(second.progress)

    def none(why: str) -> Match:
        return Match(measured.undefined(why), points=points)

    for means in both:
        settled = means.settled[BACKED]
        if not means.starts:
            return none("the loss before training was not measured")
        if not settled.n or not means.contested[ALL].n:
            return none("no settled example whose gold label most annotators back, or no contested one")
        # From the better of the start and of chance: a fresh head's first loss falls without anything being learned.
        learned = (
            min(float(settled.mean[0]), means.chance if np.isfinite(means.chance) else np.inf)
            - settled.mean.min()
        )
        if learned < LEARNED:
            return none(
                f"a method learned {number(max(learned, 0.0))} nats of the settled examples; it needs {LEARNED}"
            )
    if min(points) < 2 * POINTS:
        return none(f"{min(points)} tracking points; a match needs {POINTS} on either side")
    curves = [(means.settled[BACKED].mean[None], means.contested[ALL].mean[None]) for means in both]
    level = _level([settled for settled, _ in curves])
    starts = [float(means.settled[BACKED].mean[0]) for means in both] + [means.chance for means in both]
    start = min(one for one in starts if np.isfinite(one))
    if start - level[0] < LEARNED:
        return none(
            f"at an equal settled loss ({number(float(level[0]))}) a method has learned "
            f"{number(max(start - float(level[0]), 0.0))} nats of the settled examples; it needs {LEARNED}"
        )
    reads = [read_at(means.progress, *curve, level) for means, curve in zip(both, curves, strict=True)]
    before = [int(read.after[0]) for read in reads]
    if not all(np.isfinite(read.change[0]) for read in reads) or min(before) < POINTS:
        return none(
            f"equal settled loss ({number(float(level[0]))}) comes after {max(min(before), 0)} tracking points of a "
            f"method; a match needs {POINTS} on either side"
        )
    value = float(reads[0].change[0] - reads[1].change[0])
    coarse = abs(value - float(reads[0].straight[0] - reads[1].straight[0]))
    if coarse > measured.settings.smallest_change / 2:
        return none(
            f"tracking points are too far apart: between them the match is known to {number(coarse)} nats"
        )
    # The level is chosen anew in each resample, so that the interval holds the uncertainty of the match as well.
    drawn = [(means.settled[BACKED].resampled, means.contested[ALL].resampled) for means in both]
    levels = _level([settled for settled, _ in drawn])
    changes = [
        read_at(means.progress, *curve, levels).change for means, curve in zip(both, drawn, strict=True)
    ]
    clusters = min(c.clusters for means in both for c in (means.settled[BACKED], means.contested[ALL]))
    return Match(
        CellValue(value, changes[0] - changes[1], clusters),
        float(level[0]),
        (float(reads[0].progress[0]), float(reads[1].progress[0])),
        points,
    )


@dataclass(frozen=True)
class ChangeAtLevel:
    """Curves read where the settled loss first comes down to a level; b rows.

    Attributes:
        change: of the contested loss up to there, shape (b,); NaN where a curve never gets there.
        straight: the same with straight lines between the points, shape (b,).
        progress: u of the place, shape (b,).
        after: tracking points before the place, shape (b,).
    """

    change: FloatArray
    straight: FloatArray
    progress: FloatArray
    after: FloatArray


def read_at(
    progress: FloatArray, settled: FloatArray, contested: FloatArray, level: FloatArray
) -> ChangeAtLevel:
    """Read b pairs of curves, each of shape (b, T) with T of at least 4, at a settled loss per row, shape (b,)."""
    rows, points = settled.shape
    # The level is one of these values: rounding must not move the match.
    reached = settled <= level[:, None] + 1e-12
    at = np.where(reached.any(axis=1), reached.argmax(axis=1), -1)
    change, straight, where = (np.full(rows, np.nan) for _ in range(3))
    change[at == 0] = straight[at == 0] = 0.0
    where[at == 0] = progress[0]
    share = np.linspace(0, 1, _NODES)
    # Rows that reach their level between the same two points share a cubic through four points around it.
    for j in np.unique(at[at > 0]):
        row = np.flatnonzero(at == j)
        first = int(np.clip(j - 2, 0, points - 4))
        u = progress[j - 1] + share * (progress[j] - progress[j - 1])
        basis = _cubic(progress[first : first + 4], u)
        of_settled, of_contested = (values[row, first : first + 4] @ basis for values in (settled, contested))
        # At the measured points the curve is what was measured, free of the cubic's rounding.
        for values, curve in ((of_settled, settled), (of_contested, contested)):
            values[:, 0], values[:, -1] = curve[row, j - 1], curve[row, j]
        place = _crossing(of_settled, level[row])
        where[row] = np.interp(place / (_NODES - 1), [0, 1], [progress[j - 1], progress[j]])
        low = np.minimum(place.astype(np.intp), _NODES - 2)
        lines = np.arange(len(row))
        height = of_contested[lines, low] + (place - low) * (
            of_contested[lines, low + 1] - of_contested[lines, low]
        )
        change[row] = height - contested[row, 0]
        # The same by a straight line: how far the two are apart says whether the points are close enough.
        fall = settled[row, j - 1] - settled[row, j]
        part = np.ones(len(row))
        np.divide(settled[row, j - 1] - level[row], fall, out=part, where=fall > 0)
        line = contested[row, j - 1] + part * (contested[row, j] - contested[row, j - 1])
        straight[row] = line - contested[row, 0]
    return ChangeAtLevel(change, straight, where, at.astype(np.float64))


def _level(settled: list[FloatArray]) -> FloatArray:
    """The lowest loss that all have come down to with `POINTS` points left, of curves (b, T) each: shape (b,)."""
    return np.asarray(
        np.max([curve[:, : curve.shape[1] - POINTS + 1].min(axis=1) for curve in settled], axis=0)
    )


def _cubic(knots: FloatArray, u: FloatArray) -> FloatArray:
    """Weights of four values at `knots` for their cubic at each u (Lagrange), shape (4, len(u))."""
    return np.stack(
        [
            np.prod([(u - other) / (knot - other) for j, other in enumerate(knots) if j != i], axis=0)
            for i, knot in enumerate(knots)
        ]
    )


def _crossing(values: FloatArray, level: FloatArray) -> FloatArray:
    """Place, in nodes, at which each row first comes down to its level; its last node does in any case."""
    below = values <= level[:, None]
    below[:, -1] = True
    at = below.argmax(axis=1)
    rows = np.arange(len(values))
    before = np.maximum(at - 1, 0)
    fall = values[rows, before] - values[rows, at]
    part = np.ones(len(values))
    np.divide(values[rows, before] - level, fall, out=part, where=fall > 0)
    return np.where(at == 0, 0.0, before + np.clip(part, 0, 1))
