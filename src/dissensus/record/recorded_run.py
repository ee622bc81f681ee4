"""A recorded run: its steps, the tracking points to come, and its end, sooner or later than planned."""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dissensus.errors import StoreError
from dissensus.record.budget import TWO_POINTS, Budget, Timing, cost, decides_at, too_short
from dissensus.record.failures import Failures
from dissensus.record.measurer import Measurer
from dissensus.record.observers import Notices
from dissensus.record.schedule import TrackingPoints, whole_number

if TYPE_CHECKING:
    from torch import nn

    from dissensus.record.processes import ProcessGroup


class RecordedRun:
    """Follows a training and has it measured at its tracking points. What it raises, `Failures` looks after.

    Args:
        measurer: what measures and stores.
        points: the tracking points, as planned.
        budget: what spaces them by time, if anything does.
        failures: what becomes of failures.
        notices: what speaks.
        group: the run's processes.

    Attributes:
        points: the tracking points, as they are now.
        finished: whether the store is closed.
    """

    def __init__(
        self,
        measurer: Measurer,
        points: TrackingPoints,
        budget: Budget | None,
        failures: Failures,
        notices: Notices,
        group: ProcessGroup,
    ) -> None:
        self.points = points
        self.finished = False
        self._measurer, self._budget, self._failures = measurer, budget, failures
        self._notices, self._group = notices, group
        self._model: weakref.ref[nn.Module] | None = None
        self._began: float | None = None
        self._from: int | None = None
        self._announced_cost = self._told_end = False
        self._new_end = ""

    @property
    def timing(self) -> Timing:
        """See `CurveRecorder.timing`."""
        since = 0.0 if self._began is None else time.perf_counter() - self._began
        return Timing(self._measurer.seconds, max(0.0, since - self._measurer.seconds))

    def step(self, model: nn.Module, step: int) -> bool:
        """See `CurveRecorder.step`."""
        measured = self._step(model, step)
        self._failures.start(self)
        return measured

    def _step(self, model: nn.Module, step: int) -> bool:
        step = self._begin_step(model, step)
        measured = self._measurer.measured
        if step > self.points.total or (self.finished and step not in measured):
            self._go_beyond(step)
        since = step - (self._from or 0)
        if self._budget is not None and since == self._budget.decides_at:
            if self._measurer.last_pass == 0:  # a resumed run: nothing was timed in this process yet
                return self._now(model, step)
            self._plan(model, step)
        elif self._budget is None and since == decides_at(self.points.asked):
            self._announce_cost(since)
        due = [p for p in self.points.steps if p <= step and p not in measured]
        if not due:
            return False
        if due[-1] < step:
            self._skipped(due, step)
        self._measure(model, step)
        return True

    def measure_now(self, model: nn.Module, step: int) -> bool:
        """See `CurveRecorder.measure_now`."""
        measured = self._now(model, step)
        self._failures.start(self)
        return measured

    def _now(self, model: nn.Module, step: int) -> bool:
        step = self._begin_step(model, step)
        if step in self._measurer.measured:
            return False
        self.points.steps = tuple(sorted({*self.points.steps, step}))
        self._measure(model, step)
        return True

    def back_at(self, step: int) -> None:
        """Training was put back to this step."""
        self._failures.at = step if self._from is not None else None

    def end_early(self, model: nn.Module, step: int) -> None:
        """See `CurveRecorder.end_early`."""
        if step < 1 or step > self.points.total:
            raise StoreError(f"the run cannot end at step {step}; expected 1 to {self.points.total}")
        self._measurer.agree(model)
        self._notices.say(f"training ended at step {step} of {self.points.total}, and so does the recording")
        self._end_at(model, step)

    def finish(self, counted: int) -> None:
        """See `CurveRecorder.finish`; `counted` are the steps that `watch` has counted."""
        if self.finished:
            return
        reached = max(self._failures.at or 0, counted)
        missing = [p for p in self.points.steps if p not in self._measurer.measured]
        if missing and self._failures.strict:
            self._measurer.flush()
            raise StoreError(
                f"the run ended with tracking points {missing} unmeasured: total_steps was given as "
                f"{self.points.asked}, and the last point stored is {max(self._measurer.measured, default=None)}"
            )
        if reached == 0:
            self._measurer.flush()
            self._failures.dismiss()
            self._notices.warn(
                "recorder.finish() was called before any optimiser step, so there are no curves. Call "
                "recorder.step(model, step) after each step, or take the batches from recorder.watch(model, loader)"
            )
            return
        if not missing and self.points.total == self.points.asked:
            self._complete()
            return
        if reached < self.points.asked:
            self._notices.warn(
                f"the run ended at step {reached} of {self.points.asked} (total_steps): the recording is closed there, "
                "and progress counts over the steps that were taken"
            )
        self._end_at(None if self._model is None else self._model(), reached)

    def discard(self) -> None:
        """See `CurveRecorder.discard`."""
        self._measurer.flush()
        if self._measurer.writer is not None:
            self._measurer.writer.discard()
        self._close()

    def _begin_step(self, model: nn.Module, step: int) -> int:
        """Training has come to this step."""
        step = whole_number(step, "the step", least=0, hint="optimiser steps taken so far")
        self._measurer.agree(model)
        if self._from is None:
            self._place(step)
        at = self._failures.at
        if at is not None and step < at:
            raise StoreError(
                f"step {step} came after step {at}: recorder.step(model, step) takes the optimiser steps of all epochs "
                "so far (recorder.watch counts them by itself)"
            )
        self._failures.at = step
        if self._model is None or self._model() is not model:
            self._model = weakref.ref(model)
        return step

    def _place(self, step: int) -> None:
        """The first step that this process is told of. Raises `StoreError` where the store does not fit it."""
        measured = self._measurer.measured
        ahead = [p for p in measured if p > step]
        if ahead:
            raise StoreError(
                f"the store holds tracking points up to {max(ahead)}, and the run is at step {step}: they are of "
                "another run, or of this one beyond its last checkpoint. Restore the training state of that step (and "
                f"pass watch(..., start=...)), or call recorder.rewind({step}) to measure them again; "
                "recorder.rewind(-1) begins anew"
            )
        if step > 0 and 0 not in measured:
            raise StoreError(
                f"tracking point 0 was never measured, and step {step} has come: call recorder.step(model, step) "
                "with 0 before training and after every optimiser step"
            )
        gap = [p for p in self.points.steps if p < step and p not in measured]
        if gap and self._failures.strict:
            raise StoreError(f"tracking point {gap[0]} was never stored, and the run resumes at step {step}")
        writer = self._measurer.writer
        if gap and writer is not None and writer.steps_before is None and self._budget is None:
            self._notices.warn(
                f"the run resumes at step {step}, and its tracking points {gap} were never stored: the curves "
                "have a gap"
            )
        self.points.steps = tuple(p for p in self.points.steps if p >= step or p in measured)
        self._from, self._began = step, time.perf_counter()

    def _skipped(self, due: Sequence[int], step: int) -> None:
        sentence = f"step {step} has come, and tracking point {due[0]} was never measured"
        if self._failures.strict:
            raise StoreError(f"{sentence}: call recorder.step(model, step) after every optimiser step")
        self._notices.warn(
            f"{sentence}; step {step} is measured instead. Call recorder.step(model, step) after every optimiser step"
        )
        coming = (p for p in self.points.steps if p > step)
        self.points.steps = tuple(sorted({*self._measurer.measured, step, *coming}))

    def _go_beyond(self, step: int) -> None:
        """Training continues after the last planned step, or after the recording was closed."""
        planned = self.points.asked
        if self._failures.strict:
            raise StoreError(f"step {step} has come, and total_steps was given as {planned}")
        self._notices.warn(
            f"the run was to have {planned} steps (total_steps) and continues: the recording is extended to where the "
            "run ends, and progress counts over all its steps. Call recorder.finish() after training, and give "
            "total_steps=epochs * len(loader) to have the points spaced beforehand"
            if step > planned
            else f"the run continues after step {self.points.total}, where the recording was closed: it is opened again"
        )
        self._measurer.settle()
        self.points.reach(step, self._measurer.measured)
        if self._measurer.writer is not None:
            self._measurer.writer.resize(self.points.total)
        self.finished = False

    def _measure(self, model: nn.Module, step: int) -> None:
        self._measurer.measure(model, step)
        self._plan(model, step)

    def _plan(self, model: nn.Module, step: int) -> None:
        """Spread the points that the budget leaves over the rest of the run; the same in every process."""
        begin = self._from or 0
        if self._budget is None or not begin + self._budget.decides_at <= step < self.points.asked:
            return
        timing, last = self.timing, self._measurer.last_pass
        measured = sorted(self._measurer.measured)
        rest: Sequence[int] = ()
        if timing.measurable:
            rest = self._budget.rest(step, measured, timing, last, begin=begin)
        rest = self._group.broadcast(rest, next(model.parameters()).device)
        if not rest:
            self._budget.wait()
            return
        self.points.steps = tuple(sorted({*measured, *rest}))
        if not self._announced_cost:
            self._announced_cost = True
            self._budget.announce(self._notices, timing, step - begin, last, len(self.points.steps))

    def _announce_cost(self, steps_taken: int) -> None:
        """Say once what recording will cost, when a pass and some steps were timed."""
        if self._announced_cost or self._measurer.last_pass == 0:
            return
        self._announced_cost = True
        self._notices.say(
            cost(
                self.timing,
                steps_taken,
                self._measurer.last_pass,
                points=len(self.points.steps),
                total_steps=self.points.asked,
                examples=self._measurer.examples,
            )
        )

    def _end_at(self, model: nn.Module | None, step: int) -> None:
        """Close the recording at another step than planned; measured there, if the model is still to be had."""
        if step not in self._measurer.measured:
            if model is None:
                last = max(self._measurer.measured)
                self._notices.warn(
                    f"the model is gone, so step {step} is not measured: the curves end at step {last}"
                )
                step = last
            else:
                self._measurer.measure(model, step)
        self._measurer.flush()
        self.points.cut(step, self._measurer.measured)
        if self._measurer.writer is not None:
            self._measurer.writer.end_at(step, planned=self.points.asked)
        self._complete()

    def _complete(self) -> None:
        """Mark the store complete, and say where it is."""
        self._measurer.flush()
        self._failures.raise_pending()
        timing, writer = self.timing, self._measurer.writer
        count = len(self._measurer.measured)
        if writer is not None:
            if self._budget is not None:
                facts = {"max_overhead": self._budget.share, "points": count}
                writer.note(budget={**facts, "aulc": TWO_POINTS} if count == 2 else facts)
                if count == 2 and not self._announced_cost:
                    self._announced_cost = True
                    self._notices.warn(
                        f"{too_short(self.points.total)}, so max_overhead had nothing to space points by: the first "
                        f"and the last were measured. {TWO_POINTS} Leave max_overhead out in so short a run"
                    )
            seconds = {"tracking_seconds": timing.tracking, "training_seconds": timing.training}
            writer.finish({name: round(value, 3) for name, value in seconds.items()})
            spent = f", {100 * timing.overhead:.1f}% of the training time" if timing.measurable else ""
            took = f"{timing.tracking:.1f} s{spent}"
            if self._told_end:  # it continued beyond the end that was told
                self._new_end = (
                    f"{writer.path} now has {count} tracking points up to step {self.points.total}: {took}"
                )
            else:
                self._told_end = True
                self._notices.say(
                    f"recorded {count} tracking points of {self._measurer.examples} examples in {writer.path}: {took}. "
                    "Read them in Python: from dissensus import load_curves; "
                    f"curves = load_curves({str(writer.path)!r})"
                )
        self._close()

    def announce_end(self) -> None:
        """Say where the recording ends now, if that was another place when it was told. Call when training is over."""
        if self._new_end:
            self._notices.say(self._new_end)
            self._new_end = ""

    def _close(self) -> None:
        self.finished = True
        self._failures.dismiss()
        self._measurer.close()
