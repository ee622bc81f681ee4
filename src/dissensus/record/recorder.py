"""`CurveRecorder`, for a training script of one's own: when it measures, and where a run ends.

What it measures with is `measurer.py`, what becomes of its failures `failures.py`. torch is imported only when
something is measured, so that a notebook without torch can import the names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import AnnotatedDataset
from dissensus.display import html_table, one_line
from dissensus.errors import MissingDependencyError, SpecError, StoreError
from dissensus.record.budget import Budget, Timing
from dissensus.record.failures import Failures, OnError
from dissensus.record.measurer import Measurer
from dissensus.record.observers import Notices, Watcher, gold_losses
from dissensus.record.opening import cautions, open_store, probe_of
from dissensus.record.probes.base import Probe
from dissensus.record.recorded_run import RecordedRun
from dissensus.record.schedule import BatchCount, Remainder, TrackingPoints, tracking_steps, whole_number
from dissensus.store import CurvesWriter

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")


class CurveRecorder:
    """Records what a model says of each tracked example while it trains.

    In a loop of your own::

        recorder = CurveRecorder("runs/mine", tracked, tokenizer=tokenizer, total_steps=epochs * len(loader))
        for epoch in range(epochs):
            for batch in recorder.watch(model, loader):
                ...  # train on the batch as ever
        recorder.finish()

    `watch` counts the optimiser steps over all its calls. Where something else counts them, call
    `recorder.step(model, step)` with the number of steps taken so far: 0 before the first, then after each. Steps that
    are no tracking points cost nothing. `with recorder:` finishes by itself, unless an error ends the block.

    A tracking pass runs in `eval()` mode without gradients and leaves weights, modes and random state as they
    were: the trained weights are the same, bit for bit, with or without it. What was measured is written in the
    background, one point at a time; `finish` waits for it, and so does the next point. In a distributed run every
    process calls the recorder, each measures a share, and the first one writes; points of millions of examples they
    write together, where they all see the folder.

    The recorder does not end your training. A run that ends before or after `total_steps` is recorded to where it ends,
    with a warning; and once training has begun, what goes wrong in recording (a full disk, say) ends the recording with
    a warning that says what was kept. `on_error="raise"` makes errors of all that.

    Args:
        path: folder of the curves store.
        tracked: the tracked set, whose labels a classifier scores; or a probe, which asks a language model for
            completions or preferences (`dissensus.record.probes`).
        total_steps: optimiser steps of the whole run, all epochs.
        tokenizer: of a tracked set's texts, at 128 tokens each. For another length, other inputs or other outputs
            give a probe instead: `probes.labels.LabelProbe(tracked, tokenizer=tokenizer, max_length=256, score=score)`.
        points: how many tracking points, evenly spaced, step 0 and the last included; with `max_overhead`, at most so
            many. Or the steps themselves, such as `tracking_steps(total_steps, points=20, schedule="log")`
            (`dissensus.record.schedule`); 0 and the last are added.
        max_overhead: space the points so that tracking takes at most this share of the training time (0.10: a tenth);
            first and last are kept. What was chosen is said, and `points` says it.
        regime: 'held_out' or 'trained_on', one for all or one per example.
        token_budget: tokens a forward pass.
        precision: 'bf16' lets tracking passes compute in bf16: quicker where the processor has matrix units for
            it, and rounded (docs/performance.md says by how much).
        resume: continue a store that an interrupted run of the same examples left here. With another `total_steps` the
            run is extended (or shortened), and progress counts over the new number.
        watchers: what looks on, in the first process.
        optimizer: of the training. Needed for schedule-free optimisers alone, which evaluate at other weights than they
            train with; the trainers' callbacks find it themselves.
        on_error: 'stop' or 'raise'; see above.
        quiet: do not say on stderr what recording will cost and where the curves are.

    Raises:
        StoreError: `path` holds tracking points already and `resume` is not set, or it holds another run.
        DataError: nothing is tracked.
        SpecError: arguments that do not go together.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        tracked: AnnotatedDataset | Probe,
        *,
        total_steps: int,
        tokenizer: PreTrainedTokenizerBase | None = None,
        points: int | Sequence[int] = 20,
        max_overhead: float | None = None,
        regime: str | Sequence[str] = "held_out",
        token_budget: int = 4096,
        precision: Literal["fp32", "bf16"] = "fp32",
        resume: bool = False,
        watchers: Sequence[Watcher] = (),
        optimizer: Any = None,
        on_error: OnError = "stop",
        quiet: bool = False,
    ) -> None:
        _need_torch()
        from dissensus.record.processes import process_group

        if precision not in ("fp32", "bf16"):
            raise SpecError(f"precision is {precision!r}; expected 'fp32' or 'bf16'")
        total_steps = whole_number(
            total_steps, "total_steps", hint="optimiser steps of the whole run, all epochs"
        )
        named = points if isinstance(points, Iterable) else None
        planned = TrackingPoints(
            total_steps,
            tracking_steps(total_steps, points=20 if named is not None else cast(int, points), steps=named),
        )
        budget = None
        if max_overhead is not None:
            if named is not None:
                raise SpecError(
                    "max_overhead spaces the points itself; give points as a number, or leave it out"
                )
            budget = Budget(max_overhead, total_steps, cast(int, points))
            planned = TrackingPoints(total_steps, (0, total_steps))
        self._probe = probe_of(tracked, tokenizer)
        group, folder = process_group(), Path(path)
        self._path = folder
        notices = Notices(quiet=quiet, first=group.first)
        self._failures = Failures(on_error, notices, folder, alone=group.world_size == 1)
        self._measurer = Measurer(
            self._probe,
            group,
            folder,
            token_budget=token_budget,
            precision=precision,
            watchers=watchers,
            optimizer=optimizer,
            failures=self._failures,
            notices=notices,
        )
        self._run = RecordedRun(self._measurer, planned, budget, self._failures, notices, group)
        self._count, self._notices = BatchCount(), notices
        for caution in cautions(self._probe):
            notices.warn(caution)
        if group.first:
            writer = open_store(
                path,
                self._probe,
                total_steps=total_steps,
                regime=regime,
                resume=resume,
            )
            self._measurer.open(writer, total_steps)
            if writer.steps_before is not None:
                notices.warn(
                    f"the run in {path} was to have {writer.steps_before} steps and now has {total_steps}: its "
                    f"{len(writer.steps)} tracking points stay, and progress counts over {total_steps} steps"
                )

    @property
    def writer(self) -> CurvesWriter:
        """The store that is written; in the first process only (`StoreError` elsewhere)."""
        if self._measurer.writer is None:
            raise StoreError("the first process writes the curves; this one has no store")
        return self._measurer.writer

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run, as far as is known: one that continues beyond `total_steps` has more."""
        return self._run.points.total

    @property
    def points(self) -> tuple[int, ...]:
        """The tracking points, measured and to come, rising."""
        return self._run.points.steps

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps that were measured, rising; the last may still be on its way to the disk."""
        return tuple(sorted(self._measurer.measured))

    @property
    def seconds(self) -> float:
        """Seconds that this process has spent in tracking passes."""
        return self._measurer.seconds

    @property
    def timing(self) -> Timing:
        """What recording has cost since this process began; its `overhead` is a share of the training time."""
        return self._run.timing

    @property
    def stopped(self) -> str | None:
        """Why the recording has stopped though training continues; None while it has not."""
        return self._failures.reason

    def __repr__(self) -> str:
        return one_line("CurveRecorder", self._summary())

    def _repr_html_(self) -> str:
        return html_table("CurveRecorder", self._summary())

    def _summary(self) -> tuple[tuple[str, str], ...]:
        """(name, words) of what is shown of it."""
        state = "finished" if self._run.finished else "under way" if self.steps else "not begun"
        return (
            ("store", str(self._path)),
            ("examples", f"{len(self._probe.dataset)} tracked"),
            ("points", f"{len(self.steps)} of {len(self.points)} tracking points measured"),
            ("total_steps", str(self.total_steps)),
            ("state", f"stopped: {self.stopped}" if self.stopped is not None else state),
            ("spent", f"{self.seconds:.1f} s in tracking passes"),
        )

    def __enter__(self) -> CurveRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        elif not self._run.finished:
            self.flush()
            self._failures.interrupted()

    def step(self, model: nn.Module, step: int) -> bool:
        """Measure if `step` (optimiser steps taken so far) is a tracking point not yet stored; True if it was.

        Raises, before training has begun, what is wrong with the model, the store or the order of calls; later, only
        with `on_error="raise"`.
        """
        measured = False
        if not self._failures.stopped:
            with self._failures.contained():
                measured = self._run.step(model, step)
        return measured

    def measure_now(self, model: nn.Module, step: int) -> bool:
        """Measure at this step, tracking point or not, and let it be one; False if it was measured already."""
        measured = False
        if not self._failures.stopped:
            with self._failures.contained():
                measured = self._run.measure_now(model, step)
        return measured

    def resume_from(self, step: int) -> None:
        """Resume from a checkpoint taken after `step` steps: later points are measured again.

        Raises `StoreError` where the run's first part was not recorded here.
        """
        self.rewind(step)
        if self._measurer.writer is not None and step > 0 and 0 not in self._measurer.measured:
            raise StoreError(
                f"the run resumes at step {step}, and {self.writer.path} holds no tracking point 0: it was begun "
                "without recording, or into another folder. Name that folder, or begin anew"
            )

    def watch(
        self,
        model: nn.Module,
        batches: Iterable[T],
        *,
        batches_per_step: int = 1,
        start: int | None = None,
        remainder: Remainder = "step",
    ) -> Iterator[T]:
        """Yield the batches, measuring at the tracking points before, between and after them.

        Call it once per epoch, with the same recorder: it counts on. It finishes the recording when `total_steps` is
        reached; call `finish` after the last epoch, which may end sooner.

        Args:
            model: the model that the loop trains.
            batches: an iterable of batches; over all epochs, `total_steps` x `batches_per_step` are expected.
            batches_per_step: batches an optimiser step (gradient accumulation).
            start: optimiser steps taken before the first of these batches, in a resumed run; default: as counted.
            remainder: what your loop does with batches that are left over when an epoch ends: takes a 'step' with
                them, lets them 'carry' over into the next epoch's first step, or takes no step and 'drop's them.
        """
        count = self._count
        count.begin(batches_per_step, remainder, start)
        any_batch = False
        self.step(model, count.steps)
        for batch in batches:
            any_batch = True
            with count.handed_out():
                yield batch
            if count.take_in():
                self.step(model, count.steps)
        if not any_batch:
            self._notices.warn(
                "watch() was given no batches: an iterator gives them once; give it the loader itself in each epoch"
            )
        if count.end_epoch():
            self.step(model, count.steps)
        if count.steps >= self._run.points.asked:
            self._finish()

    def look(self, model: nn.Module) -> NDArray[np.float64]:
        """Each tracked example's loss on its gold label as the model is now, nats, shape (n,); nothing is stored."""
        self._measurer.agree(model)
        return gold_losses(self._measurer.point(model, untrained=False).log_probs, self._probe.dataset)

    def flush(self) -> None:
        """Wait until everything measured is on the disk. With `on_error="raise"`, raises what went wrong in writing."""
        with self._failures.contained(agreed=False):
            self._measurer.flush()

    def rewind(self, step: int) -> None:
        """Forget tracking points later than `step`, which a resumed run measures again; -1 forgets all."""
        if self._run.finished:
            raise StoreError(
                "the recorder has finished; make another one, with resume=True, to continue the run"
            )
        self._measurer.forget_after(step, self.total_steps)
        self._run.back_at(max(0, step))
        self._count.steps = max(0, step)

    def end_early(self, model: nn.Module, step: int) -> None:
        """Say that the run ends here, before `total_steps`: measure once more, and let this be its last step.

        Progress is then counted over the steps that were taken.
        """
        if not self._failures.stopped:
            with self._failures.contained():
                self._run.end_early(model, step)
        self._run.announce_end()

    def discard(self) -> None:
        """Delete what was recorded, unless it is finished: the run is begun anew, with other settings."""
        if not self._run.finished:
            self._run.discard()

    def finish(self) -> None:
        """Mark the store complete; call it when training is over, in every process.

        A run that ended before `total_steps`, or beyond, is measured where it ended and closed there, with a warning;
        with `on_error="raise"` that is a `StoreError`.
        """
        self._finish()
        self._run.announce_end()

    def _finish(self) -> None:
        if not self._failures.stopped:
            with self._failures.contained():
                self._count.settle()
                self._run.finish(self._count.steps)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependencyError("torch", "train", "CurveRecorder") from None
