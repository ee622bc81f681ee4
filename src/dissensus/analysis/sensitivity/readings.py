"""One cell's stored curves read in other ways: fewer tracking points, another axis, entropy, gold label or cut.

A reading needs no new training: it is what the study's tables would say had an analysis choice been made otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.reading import CellReading, majority_gold
from dissensus.analysis.settings import area_of, groups_of
from dissensus.config import AnalysisSpec
from dissensus.curves import FloatArray
from dissensus.data.agreement import ESTIMATORS, annotation_entropy
from dissensus.errors import DataError
from dissensus.metrics import aulc_of
from dissensus.metrics.aulc import axis_of
from dissensus.metrics.unlearning import judge, trend_of
from dissensus.stats import entropy_groups

TRACKING_POINTS = (50, 25, 12, 9, 7, 5)
SHARES = (1 / 3, 1 / 4, 1 / 2)
CUTS = (0.5, 1.0)
NOISE_FLOORS = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Reading:
    """What correlations and un-learning of n examples are computed from. Every array has shape (n,).

    Attributes:
        entropy: annotation entropy, bits.
        group: contested, middle or settled; '' where entropy is NaN.
        aulc: area under the learning curve, nats.
        delta: change of the loss from the first to the last tracking point, nats.
        unlearned: the flag of un-learning; False where it is not defined.
        defined: whether it is; False for all where the model learned nothing: then nothing is un-learned.
    """

    entropy: FloatArray
    group: NDArray[np.str_]
    aulc: FloatArray
    delta: FloatArray
    unlearned: NDArray[np.bool_]
    defined: NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """A choice made otherwise than in the study.

    Attributes:
        name: of the choice, such as 'tracking points'.
        value: what is chosen here.
        reference: what the study chose.
        reading: of the cell under this choice.
    """

    name: str
    value: str
    reference: str
    reading: Reading


def read(cell: CellReading) -> Reading:
    """The study's own reading of a cell."""
    unlearning = cell.metrics.unlearning
    return Reading(
        cell.entropy, cell.group, cell.metrics.aulc, unlearning.delta, unlearning.flag, cell.flag_shown
    )


def other_readings(cell: CellReading) -> Iterator[Choice]:
    """The curves under every other choice that they allow; arrays that a choice leaves alone are the cell's own.

    - tracking points: about 50, 25, 12, 9, 7 or 5 of the stored points, evenly spaced among them, first and last
      included, where more are stored;
    - x axis: AULC over log(1 + step) instead of progress (of a study that takes the mean of the points: over either);
    - AULC: less the loss at step 0 ('relative'), or of the cross-entropy against the annotators' distribution
      ('soft loss', which is at least the entropy by definition: its correlation with entropy is no finding);
    - entropy estimator: the other ones; those that need whole counts are left out where counts are not;
    - cut points: the outer 1/3, 1/4 or 1/2, or fixed cuts at 0.5 and 1 bit;
    - gold label: the majority of the annotators, where the study reads the stored one (the other way round the stored
      label is no longer known here);
    - noise floor of un-learning: 0.05, 0.1, 0.2 nats.
    """
    curves, settings, reference = cell.curves, cell.settings, read(cell)
    yield from tracking_readings(cell)
    by_log = aulc_of(curves.losses, axis_of(curves, "log"))
    own_axis = "progress" if settings.aulc == "trapezoid" else "points"
    yield Choice("x axis", "log(1 + step)", own_axis, replace(reference, aulc=by_log))
    if settings.aulc != "trapezoid":
        by_progress = aulc_of(curves.losses, curves.progress)
        yield Choice("x axis", "progress", own_axis, replace(reference, aulc=by_progress))
    yield Choice("AULC", "relative", "plain", replace(reference, aulc=cell.metrics.aulc_relative))
    yield Choice("AULC", "soft loss", "plain", replace(reference, aulc=cell.metrics.aulc_soft))
    for estimator in ESTIMATORS:
        if estimator != settings.entropy:
            try:
                entropy = (
                    cell.plugin_entropy
                    if estimator == "plugin"
                    else annotation_entropy(cell.counts, estimator=estimator)
                )
            except DataError:
                continue
            group = groups_of(entropy, settings)
            other = replace(reference, entropy=entropy, group=group)
            yield Choice("entropy estimator", estimator, settings.entropy, other)
    own_cut = _cut_name(settings.contested_share, settings.cuts_in_bits)
    for share, cuts in (*((share, None) for share in SHARES), (settings.contested_share, CUTS)):
        if _cut_name(share, cuts) != own_cut:
            group = entropy_groups(reference.entropy, share=share, cuts=cuts)
            yield Choice("cut points", _cut_name(share, cuts), own_cut, replace(reference, group=group))
    if settings.gold == "as_stored":
        losses = curves.losses_on(majority_gold(cell.counts))
        group, withheld = reference.group, not reference.defined.any()
        other = _reading(reference.entropy, group, losses, curves.progress, settings, withheld=withheld)
        yield Choice("gold label", "majority", "as stored", other)
    for floor in NOISE_FLOORS:
        if floor != settings.noise_floor:
            judged = judge(trend_of(curves.losses, curves.progress), noise_floor=floor)
            other = replace(reference, unlearned=judged.flag)
            yield Choice("noise floor", f"{floor:g} nats", f"{settings.noise_floor:g} nats", other)


def tracking_readings(cell: CellReading) -> Iterator[Choice]:
    """The curves at fewer of their tracking points."""
    curves, settings, reference = cell.curves, cell.settings, read(cell)
    stored = len(curves.steps)
    for points in TRACKING_POINTS:
        if points < stored:
            at_points = np.unique(np.linspace(0, stored - 1, points).round().astype(np.int64))
            losses, progress = curves.losses[:, at_points], curves.progress[at_points]
            withheld = not reference.defined.any()
            other = _reading(
                reference.entropy, reference.group, losses, progress, settings, withheld=withheld
            )
            yield Choice("tracking points", str(points), str(stored), other)


def _reading(
    entropy: FloatArray,
    group: NDArray[np.str_],
    losses: FloatArray,
    progress: FloatArray,
    settings: AnalysisSpec,
    *,
    withheld: bool,
) -> Reading:
    judged = judge(trend_of(losses, progress), noise_floor=settings.noise_floor)
    area = area_of(losses, progress, settings)
    return Reading(entropy, group, area, judged.delta, judged.flag, judged.defined & ~np.bool_(withheld))


def _cut_name(share: float, cuts: tuple[float, float] | None) -> str:
    return f"outer {share:.3g}" if cuts is None else f"{cuts[0]:g} and {cuts[1]:g} bits"
