"""Tracking budget: fixed steps, or as many tracking points as a share of the training time allows. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dissensus.errors import SpecError
from dissensus.record.observers import Notices

SPENT = 0.9
"""Share of the budget that is planned with: the next passes may take longer than the last ones."""

STEPS_TO_TIME = 4
"""Training steps that are timed before the first decision (fewer in a run of fewer than 40)."""

MEASURABLE = 0.01
"""Seconds of training below which nothing is reckoned from them: whatever else the process does takes as long."""

TWO_POINTS = (
    "With two points AULC is the mean of the first and the last loss, and says nothing of the way between."
)


def decides_at(total_steps: int) -> int:
    """Training steps after which a run's cost is told, and its points are chosen."""
    return max(1, min(STEPS_TO_TIME, total_steps // 10))


@dataclass(frozen=True)
class Timing:
    """What recording has cost so far.

    Attributes:
        tracking: seconds in tracking passes.
        training: seconds since the first point that were not.
    """

    tracking: float
    training: float

    @property
    def overhead(self) -> float:
        """Tracking time as a share of training time; NaN before any training."""
        return self.tracking / self.training if self.training > 0 else math.nan

    @property
    def measurable(self) -> bool:
        """Whether training took long enough to reckon with."""
        return self.training > 0 and self.training >= MEASURABLE


class Budget:
    """Spaces tracking points so that tracking stays under a share of the training time. Keeps the first and the last.

    The first pass and the first steps are timed; the points that the budget leaves are spread evenly over the rest of
    the run. After each further pass the rest is spread anew, with what is known by then.

    Args:
        share: largest tracking time as a share of training time.
        total_steps: optimiser steps of the run.
        most: points at most, step 0 and the last included.

    Raises:
        SpecError: the share is not a number above 0 and at most 1.
    """

    def __init__(self, share: float, total_steps: int, most: int) -> None:
        known = isinstance(share, (int, float)) and not isinstance(share, bool) and math.isfinite(share)
        if not known or not 0 < share <= 1:
            meant = f"; did you mean {share / 100:.2f}?" if known and 1 < share <= 100 else ""
            raise SpecError(
                f"max_overhead is {share!r}; expected a share of the training time above 0 and at most 1, such as 0.10 "
                f"for a tenth{meant}"
            )
        self.share, self.total_steps, self.most = share, total_steps, most
        self.decides_at = decides_at(total_steps)
        """Training steps after which the points are chosen; later where those were too short to time."""

    def rest(
        self, step: int, measured: Sequence[int], timing: Timing, last_pass: float, *, begin: int = 0
    ) -> tuple[int, ...]:
        """The points still to come after `step`, rising; the last step is always among them.

        Args:
            step: optimiser steps taken so far, at least 1.
            measured: points measured so far.
            timing: what they cost.
            last_pass: seconds of the last pass.
            begin: the step that the timing began at, in a resumed run.
        """
        if step >= self.total_steps:
            return ()
        training_seconds = timing.training / (step - begin) * (self.total_steps - begin)
        seconds_left = SPENT * self.share * training_seconds - timing.tracking
        affordable = int(seconds_left / last_pass) if last_pass > 0 else self.most
        wanted = min(affordable, self.most - len(measured))
        between = max(0, wanted - 1)  # one is for the last step
        gap = (self.total_steps - step) / (between + 1)
        return tuple(
            sorted({self.total_steps, *(step + max(1, round(gap * i)) for i in range(1, between + 1))})
        )

    def wait(self) -> None:
        """Decide later: the steps so far were too short to time."""
        self.decides_at *= 2

    def announce(self, notices: Notices, timing: Timing, step: int, last_pass: float, points: int) -> None:
        """Say what was chosen, after `step` timed steps; warn where little more than start and end is left."""
        notices.say(
            f"a tracking pass takes {last_pass:.2f} s and a training step {timing.training / step:.3f} s: {points} "
            f"tracking points keep recording under {100 * self.share:.0f}% of the training time"
        )
        if not self.within(timing, step, last_pass):
            notices.warn(
                f"the first and the last tracking point alone take more than {100 * self.share:.0f}% of the training "
                f"time. {TWO_POINTS} Track fewer examples, or allow more"
            )
        elif points == 2:
            notices.warn(
                f"{100 * self.share:.0f}% of the training time leaves the first and the last tracking point alone. "
                f"{TWO_POINTS} Track fewer examples, or allow more"
            )

    def within(self, timing: Timing, step: int, last_pass: float) -> bool:
        """Whether the first and the last point alone are expected to fit."""
        return timing.tracking + last_pass <= self.share * timing.training / step * self.total_steps


def too_short(steps: int) -> str:
    """The words for training steps that were too short to time."""
    took = "the first training step took" if steps == 1 else f"the first {steps} training steps together took"
    return f"{took} less than {1000 * MEASURABLE:.0f} ms, too short to time"


def cost(timing: Timing, step: int, last_pass: float, *, points: int, total_steps: int, examples: int) -> str:
    """What recording will cost, in words, after `step` timed steps; no share of a time that is too short."""
    recording = f"recording {examples} examples at {points} tracking points"
    if not timing.measurable:
        beside = f"what that is beside the training cannot be said: {too_short(step)}"
        return f"{recording} takes {last_pass:.2f} s a pass; {beside}"
    a_step = timing.training / step
    share = points * last_pass / (a_step * total_steps)
    much = (
        f"{share:.0f} times"
        if share >= 9.5
        else f"{share:.1f} times"
        if share >= 1.5
        else f"{100 * share:.0f}% of"
    )
    hint = "; max_overhead=0.10 would keep it to a tenth, with fewer points" if share > 0.1 else ""
    return (
        f"{recording} will take about {much} the training time "
        f"({last_pass:.2f} s a pass, {a_step:.3f} s a training step){hint}"
    )
