"""A run's optimiser steps: how many, which are tracking points, their learning rates. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from dissensus.config import TrainingSpec
from dissensus.errors import SpecError


def total_steps(n: int, spec: TrainingSpec) -> int:
    """Optimiser steps of a run over n examples; each epoch's last batch may be smaller."""
    return max(1, round(spec.epochs * math.ceil(n / spec.batch_size)))


def tracking_steps(
    total_steps: int,
    *,
    points: int = 20,
    schedule: Literal["linear", "log"] = "linear",
    steps: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Rising steps at which the tracked set is measured; 0 and `total_steps` are always among them.

    `linear` spaces them evenly; `log` evenly in log(1 + step), denser at the start; `steps` names them. Steps
    that fall together are measured once, so a short run may have fewer points than asked for.

    Raises:
        SpecError: `total_steps` is not positive, or an explicit step lies outside the run.
    """
    if total_steps < 1:
        raise SpecError(f"total_steps is {total_steps}; a run needs at least one optimiser step")
    if steps is not None:
        outside = [s for s in steps if not 0 <= s <= total_steps]
        if outside:
            raise SpecError(f"tracking step {outside[0]} lies outside the run; expected 0 to {total_steps}")
        return tuple(sorted({0, total_steps, *steps}))
    if points < 2:
        raise SpecError(f"points is {points}; at least 2 are needed (step 0 and the last)")
    if schedule == "log":
        positions = np.expm1(np.linspace(0.0, math.log1p(total_steps), points))
    elif schedule == "linear":
        positions = np.linspace(0.0, total_steps, points)
    else:
        raise SpecError(f"schedule is {schedule!r}; expected 'linear' or 'log'")
    return tuple(sorted({0, total_steps, *(round(p) for p in positions.tolist())}))


def learning_rate_factor(
    step: int, total_steps: int, *, warmup: float, decay: Literal["linear", "cosine", "constant"]
) -> float:
    """Factor on the peak learning rate for the update that makes step `step` - 1 into `step` (1-based), in (0, 1].

    Rises linearly over the first `warmup` share of the steps, then decays towards 0 at the end.
    """
    warm = round(warmup * total_steps)
    if step <= warm:
        return step / warm
    if decay == "constant":
        return 1.0
    share = (step - 1 - warm) / max(total_steps - warm, 1)
    if decay == "linear":
        return 1.0 - share
    return 0.5 * (1.0 + math.cos(math.pi * share))
