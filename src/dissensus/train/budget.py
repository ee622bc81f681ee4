"""When to measure: at steps fixed beforehand, or as often as a budget of time allows. Imports no torch."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dissensus.errors import SpecError

log = logging.getLogger("dissensus")

SPENT = 0.9
"""Share of the budget that is planned with: the next passes may take longer than the last ones."""

STEPS_TO_TIME = 4
"""Training steps that are timed before the first decision (fewer in a run of fewer than 40)."""


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


class Budget:
    """Spaces tracking points so that tracking stays under a share of the training time. Keeps the first and the last.

    The first pass and the first steps are timed; the points that the budget leaves are spread evenly over the rest of
    the run. After each further pass the rest is spread anew, with what is known by then.

    Args:
        share: largest tracking time as a share of training time.
        total_steps: optimiser steps of the run.
        most: points at most, step 0 and the last included.

    Raises:
        SpecError: the share is not a number above 0.
    """

    def __init__(self, share: float, total_steps: int, most: int) -> None:
        if not (math.isfinite(share) and share > 0):
            raise SpecError(f"max_overhead is {share!r}; expected a number above 0, such as 0.1 for a tenth")
        self.share, self.total_steps, self.most = share, total_steps, most
        self.decides_at = max(1, min(STEPS_TO_TIME, total_steps // 10))

    def rest(
        self, step: int, taken: Sequence[int], timing: Timing, last_pass: float, *, begin: int = 0
    ) -> tuple[int, ...]:
        """The points still to come after `step`, rising; the last step is always among them.

        Args:
            step: optimiser steps taken so far, at least 1.
            taken: points measured so far.
            timing: what they cost.
            last_pass: seconds of the last pass.
            begin: the step that the timing began at, in a resumed run.
        """
        if step >= self.total_steps:
            return ()
        whole = timing.training / (step - begin) * (self.total_steps - begin)
        left = SPENT * self.share * whole - timing.tracking
        affordable = int(left / last_pass) if last_pass > 0 else self.most
        wanted = min(affordable, self.most - len(taken))
        between = max(0, wanted - 1)  # one is for the last step
        gap = (self.total_steps - step) / (between + 1)
        return tuple(
            sorted({self.total_steps, *(step + max(1, round(gap * i)) for i in range(1, between + 1))})
        )

    def announce(self, timing: Timing, step: int, last_pass: float, points: int) -> None:
        """Log what was chosen, after `step` timed steps; warn where the two points that are kept do not fit."""
        log.info(
            "a tracking pass takes %.2f s and a training step %.3f s: %d tracking points keep tracking under %.0f%% of "
            "the training time", last_pass, timing.training / step, points, 100 * self.share,
        )  # fmt: skip
        if not self.within(timing, step, last_pass):
            log.warning(
                "the first and the last tracking point alone take more than %.0f%% of the training time; track fewer "
                "examples, or allow more", 100 * self.share,
            )  # fmt: skip

    def within(self, timing: Timing, step: int, last_pass: float) -> bool:
        """Whether the first and the last point alone are expected to fit."""
        return timing.tracking + last_pass <= self.share * timing.training / step * self.total_steps
