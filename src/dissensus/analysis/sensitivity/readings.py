"""One cell's stored curves read in other ways: fewer tracking points, another axis, entropy, gold label or cut.

A reading needs no new training: it is what the study's tables would say had an analysis choice been made otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.stored import on_gold
from dissensus.config import AnalysisSpec
from dissensus.curves import Curves, FloatArray
from dissensus.data.agreement import ESTIMATORS, annotation_entropy, backed
from dissensus.errors import DataError
from dissensus.metrics import aulc_of
from dissensus.metrics.aulc import axis_of
from dissensus.metrics.learning import learning
from dissensus.metrics.unlearning import judge, trend_of
from dissensus.stats import entropy_groups
from dissensus.stats.groups import SETTLED

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


def read(curves: Curves, settings: AnalysisSpec) -> Reading:
    """The study's own reading of a cell's curves."""
    entropy = annotation_entropy(curves.counts, estimator=settings.entropy)
    group = entropy_groups(entropy, share=settings.contested_share, cuts=settings.cuts)
    found = learning(curves, settled=group == SETTLED, backed=backed(curves.counts, curves.gold))
    return _reading(entropy, group, curves.losses, curves.progress, settings, withheld=found.learned == "no")


def other_readings(curves: Curves, settings: AnalysisSpec, reference: Reading) -> Iterator[Choice]:
    """The same curves under every other choice that they allow.

    - tracking points: about 50, 25, 12, 9, 7 or 5 of the stored points, evenly spaced among them, first and last
      included, where more are stored;
    - x axis: AULC over log(1 + step) instead of progress;
    - AULC: less the loss at step 0 ('relative'), or of the cross-entropy against the annotators' distribution
      ('soft loss', which is at least the entropy by definition: its correlation with entropy is no finding);
    - entropy estimator: the other ones; those that need whole counts are left out where counts are not;
    - cut points: the outer 1/3, 1/4 or 1/2, or fixed cuts at 0.5 and 1 bit;
    - gold label: the majority of the annotators, where the study reads the stored one (the other way round the stored
      label is no longer known here);
    - noise floor of un-learning: 0.05, 0.1, 0.2 nats.

    Args:
        curves: on the study's gold label.
        settings: the study's.
        reference: the study's own reading, of which the arrays that a choice leaves alone are kept.
    """
    yield from tracking_readings(curves, settings, reference)
    by_log = aulc_of(curves.losses, axis_of(curves, "log"))
    yield Choice("x axis", "log(1 + step)", "progress", replace(reference, aulc=by_log))
    start = curves.losses[:, 0] if curves.steps[0] == 0 else np.full(len(curves), np.nan)
    relative = reference.aulc - np.where(np.isfinite(start), start, np.nan)
    yield Choice("AULC", "relative", "plain", replace(reference, aulc=relative))
    soft = aulc_of(curves.soft_losses, curves.progress)
    yield Choice("AULC", "soft loss", "plain", replace(reference, aulc=soft))
    for estimator in ESTIMATORS:
        if estimator != settings.entropy:
            try:
                entropy = annotation_entropy(curves.counts, estimator=estimator)
            except DataError:
                continue
            group = entropy_groups(entropy, share=settings.contested_share, cuts=settings.cuts)
            other = replace(reference, entropy=entropy, group=group)
            yield Choice("entropy estimator", estimator, settings.entropy, other)
    own_cut = _cut_name(settings.contested_share, settings.cuts)
    for share, cuts in (*((share, None) for share in SHARES), (settings.contested_share, CUTS)):
        if _cut_name(share, cuts) != own_cut:
            group = entropy_groups(reference.entropy, share=share, cuts=cuts)
            yield Choice("cut points", _cut_name(share, cuts), own_cut, replace(reference, group=group))
    if settings.gold == "as_stored":
        agreed = on_gold(curves, settings.model_copy(update={"gold": "majority"}))
        group, losses, withheld = reference.group, agreed.losses, not reference.defined.any()
        other = _reading(reference.entropy, group, losses, curves.progress, settings, withheld=withheld)
        yield Choice("gold label", "majority", "as stored", other)
    for floor in NOISE_FLOORS:
        if floor != settings.noise_floor:
            judged = judge(trend_of(curves.losses, curves.progress), noise_floor=floor)
            other = replace(reference, unlearned=judged.flag)
            yield Choice("noise floor", f"{floor:g} nats", f"{settings.noise_floor:g} nats", other)


def tracking_readings(curves: Curves, settings: AnalysisSpec, reference: Reading) -> Iterator[Choice]:
    """The curves at fewer of their tracking points."""
    stored = len(curves.steps)
    for points in TRACKING_POINTS:
        if points < stored:
            kept = np.unique(np.linspace(0, stored - 1, points).round().astype(np.int64))
            losses, progress = curves.losses[:, kept], curves.progress[kept]
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
    area = aulc_of(losses, progress)
    return Reading(entropy, group, area, judged.delta, judged.flag, judged.defined & ~np.bool_(withheld))


def _cut_name(share: float, cuts: tuple[float, float] | None) -> str:
    return f"outer {share:.3g}" if cuts is None else f"{cuts[0]:g} and {cuts[1]:g} bits"
