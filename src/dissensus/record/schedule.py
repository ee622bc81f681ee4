"""Optimiser steps: how many, counted from batches, which are tracking points, their learning rates. No torch."""

from __future__ import annotations

import logging
import math
import operator
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dissensus.config import GradientSpec, RunSpec, TrainingSpec
from dissensus.errors import SpecError

_log = logging.getLogger("dissensus")

Remainder = Literal["step", "carry", "drop"]
"""What becomes of batches that are left over when an epoch ends."""


def total_steps(n: int, spec: TrainingSpec) -> int:
    """Optimiser steps of a run over n examples; each epoch's last batch may be smaller."""
    return max(1, round(spec.epochs * math.ceil(n / spec.batch_size)))


def tracking_steps(
    total_steps: int,
    *,
    points: int = 20,
    schedule: Literal["linear", "log"] = "linear",
    steps: Sequence[int] | None = None,
    every: int | None = None,
) -> tuple[int, ...]:
    """Rising steps at which the tracked set is measured; 0 and `total_steps` are always among them.

    `linear` spaces them evenly; `log` evenly in log(1 + step), denser at the start; `steps` names them; `every`
    takes each step that it divides. Steps that fall together are measured once, so a short run may have fewer points
    than asked for.

    Raises:
        SpecError: `total_steps` is no whole number above 0, or an explicit step lies outside the run.
    """
    total_steps = whole_number(
        total_steps, "total_steps", hint="optimiser steps of the whole run, all epochs"
    )
    if steps is not None:
        steps = [whole_number(s, "a tracking step", least=0) for s in steps]
        outside = [s for s in steps if not 0 <= s <= total_steps]
        if outside:
            raise SpecError(f"tracking step {outside[0]} lies outside the run; expected 0 to {total_steps}")
        return tuple(sorted({0, total_steps, *steps}))
    if every is not None:
        return tuple(
            sorted({*range(0, total_steps, whole_number(every, "every", hint="steps")), total_steps})
        )
    if whole_number(points, "points", hint="tracking points") < 2:
        raise SpecError(f"points is {points}; at least 2 are needed (step 0 and the last)")
    if schedule == "log":
        positions = np.expm1(np.linspace(0.0, math.log1p(total_steps), points))
    elif schedule == "linear":
        positions = np.linspace(0.0, total_steps, points)
    else:
        raise SpecError(f"schedule is {schedule!r}; expected 'linear' or 'log'")
    return tuple(sorted({0, total_steps, *(round(p) for p in positions.tolist())}))


def cell_points(steps: int, n: int | None, cell: RunSpec) -> tuple[int, ...]:
    """The tracking points of a cell of `steps` optimiser steps, rising.

    Args:
        steps: of the whole run.
        n: examples that it trains on; None where that is not known: points at epoch ends are then left out.
        cell: the cell.

    Raises:
        SpecError: a point lies outside the run.
    """
    when = cell.tracking
    points = tracking_steps(
        steps, points=when.points, schedule=when.schedule, steps=when.steps, every=when.every
    )
    ends = epoch_ends(n, cell.training) if when.epoch_ends and n is not None else ()
    return tuple(sorted({*points, *ends}))


def gradient_points(steps: int, n: int, training: TrainingSpec, spec: GradientSpec) -> tuple[int, ...]:
    """The points of the gradient probe of a run of `steps` steps over n examples, rising; 0 and the last included."""
    ends = epoch_ends(n, training) if spec.epoch_ends else ()
    return tuple(sorted({*tracking_steps(steps, points=2, every=spec.every), *ends}))


def warn_of_lost_points(path: Path, wanted: Iterable[int], stored: Container[int], step: int) -> None:
    """Say which points before `step`, where a run resumes, its file lacks: the weights of then are gone."""
    lost = [at for at in sorted(wanted) if at < step and at not in stored]
    if lost:
        _log.warning(
            "%s lacks step %s, before step %d where the run resumes: what was measured there is lost. To have it, "
            "delete the cell's folder and run it anew",
            path,
            ", ".join(map(str, lost)),
            step,
        )


def epoch_ends(n: int, spec: TrainingSpec) -> tuple[int, ...]:
    """The last step of each epoch of a run over n examples, rising; the run's last step is always among them."""
    steps = total_steps(n, spec)
    per_epoch = math.ceil(n / spec.batch_size)
    return tuple(sorted({*range(per_epoch, steps + 1, per_epoch), steps}))


def whole_number(value: Any, name: str, *, least: int = 1, hint: str = "") -> int:
    """A number of steps as an int: Python's, NumPy's, or a float without a fraction is refused in words.

    Raises:
        SpecError: it is no whole number of at least `least`.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        hint_words = f" ({hint})" if hint else ""
        raise SpecError(f"{name} is {value!r}; expected a whole number of at least {least}{hint_words}")
    return number


class TrackingPoints:
    """The tracking points of a run that may end before or after the step it was planned with.

    Args:
        total_steps: optimiser steps that the run was said to have.
        steps: rising; from `tracking_steps`.

    Attributes:
        asked: see `total_steps`.
        total: where the run ends, as far as is known.
        steps: the points, those that were measured included.
    """

    def __init__(self, total_steps: int, steps: Sequence[int]) -> None:
        self.asked = self.total = total_steps
        self.steps = self._planned = tuple(steps)

    def cut(self, step: int, measured: Iterable[int]) -> None:
        """The run ends here: let `step` be the last point."""
        self.total = step
        self.steps = tuple(sorted({*(p for p in measured if p <= step), step}))

    def reach(self, step: int, measured: Iterable[int]) -> None:
        """Let the run continue to `step`, beyond the end that was known.

        Up to the steps that were asked for the points are those that were planned. Beyond, they keep the distance that
        they had, and twice as far out twice the distance, so that a run of unknown length has few more.
        """
        if step <= self.asked:
            self.total = self.asked
            coming = [p for p in self._planned if p >= step]
        else:
            most = max(1, len(self._planned) - 1)
            self.total = max(step, self.total + max(1, self.asked // most, step // most))
            coming = [self.total]
        self.steps = tuple(sorted({*measured, *coming}))


def warmup_steps(total_steps: int, spec: TrainingSpec) -> int:
    """Optimiser steps with a rising learning rate."""
    exact = spec.warmup * total_steps
    return int(exact) if spec.warmup_from == "zero" else round(exact)


def learning_rate_factor(step: int, total_steps: int, spec: TrainingSpec) -> float:
    """Factor on the peak learning rate for the update that makes step `step` - 1 into `step` (1-based), in [0, 1].

    Rises linearly over the first `warmup` share of the steps, then decays towards 0 at the end, or to `min_factor`: a
    floor, and no decay that is stretched to end there. See `TrainingSpec.warmup_from` for where it rises from.
    """
    warm = warmup_steps(total_steps, spec)
    if step <= warm:
        return (step - 1 if spec.warmup_from == "zero" else step) / warm
    if spec.decay == "constant":
        return 1.0
    share = (step - 1 - warm) / max(total_steps - warm, 1)
    factor = 1.0 - share if spec.decay == "linear" else 0.5 * (1.0 + math.cos(math.pi * share))
    return max(spec.min_factor, factor)


class BatchCount:
    """Counts; see `CurveRecorder.watch`.

    Attributes:
        steps: optimiser steps taken so far.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._batches = 0
        self._size = 1
        self._remainder: Remainder = "step"
        self._out = False

    def begin(self, size: int, remainder: Remainder, start: int | None) -> None:
        """An epoch begins.

        Args:
            size: batches an optimiser step.
            remainder: what becomes of batches that are left over at the epoch's end.
            start: optimiser steps taken so far; None: as counted.

        Raises:
            SpecError: one of them is not valid.
        """
        self.settle()
        self._size = whole_number(size, "batches_per_step")
        if remainder not in ("step", "carry", "drop"):
            raise SpecError(f"remainder is {remainder!r}; expected 'step', 'carry' or 'drop'")
        self._remainder = remainder
        if start is not None:
            self.steps, self._batches = whole_number(start, "start", least=0), 0

    @contextmanager
    def handed_out(self) -> Iterator[None]:
        """While this lasts the loop has a batch. If it never asks for the next one, `settle` counts that batch."""
        self._out = True
        yield
        self._out = False

    def take_in(self) -> bool:
        """A batch was trained on; whether that made an optimiser step."""
        self._batches += 1
        if self._batches < self._size:
            return False
        self.steps, self._batches = self.steps + 1, 0
        return True

    def settle(self) -> None:
        """Count the batch that a loop was left with (`break`): it was trained on."""
        if self._out:
            self._out = False
            self.take_in()

    def end_epoch(self) -> bool:
        """The batches are used up; whether what was left of them made a step."""
        remaining, self._batches = self._batches, self._batches if self._remainder == "carry" else 0
        if not remaining or self._remainder != "step":
            return False
        self.steps += 1
        return True
