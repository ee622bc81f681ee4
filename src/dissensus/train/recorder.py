"""The recorder that people put into their own training script. What it measures with is `tracking.py`.

torch is imported only when something is measured, so that a notebook without torch can import the names.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import NO_GOLD, AnnotatedDataset
from dissensus.errors import MissingDependencyError, SpecError, StoreError
from dissensus.models.encoding import Encoded
from dissensus.probes.base import Compares, Measured, Probe
from dissensus.probes.labels import LabelProbe
from dissensus.store import CurvesWriter, PartWriter
from dissensus.train.budget import Budget, Timing
from dissensus.train.opening import open_store
from dissensus.train.schedule import tracking_steps
from dissensus.train.sharing import share_points
from dissensus.train.tracking import Score, tracking_pass
from dissensus.train.watching import Watcher, gold_losses

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from dissensus.models.scoring import ScoringModel
    from dissensus.train.ranks import Ranks
    from dissensus.train.shared_states import SharedStates

T = TypeVar("T")
log = logging.getLogger("dissensus")


class CurveRecorder:
    """Records what a model says of each tracked example while it trains.

    In a loop of your own, two lines::

        recorder = CurveRecorder("runs/mine", tracked, tokenizer=tokenizer, total_steps=len(loader))
        for batch in recorder.watch(model, loader):
            ...  # train on the batch as ever

    or, where steps and batches differ, `with recorder: ... recorder.step(model, step)` with the number of optimiser
    steps taken so far: 0 before the first, then after each. Steps that are no tracking points cost nothing.

    A tracking pass runs in `eval()` mode without gradients and leaves weights, modes and random state as they
    were: the trained weights are the same, bit for bit, with or without it. What was measured is written in the
    background, one point at a time; `finish` waits for it, and so does the next point. In a distributed run every
    process calls the recorder, each measures a share, and the first one writes; points of millions of examples they
    write together, where they all see the folder.

    Args:
        path: folder of the curves store.
        tracked: the tracked set, whose labels a classifier scores; or a probe, which asks a language model for
            completions or preferences (`dissensus.probes`).
        total_steps: optimiser steps of the whole run.
        tokenizer: of a labels probe, as are the next six; see `probes.labels.LabelProbe`.
        encoded: see there.
        pad_id: see there.
        score: see there.
        scoring: see there.
        states: see there.
        max_length: see there.
        points: tracking points, step 0 and the last included; with `max_overhead`, at most so many.
        schedule: 'linear' or 'log'.
        steps: explicit tracking steps instead; 0 and the last are added.
        max_overhead: space the points so that tracking takes at most this share of the training time; first and last
            are kept. What was chosen is logged, and `points` says it.
        regime: 'held_out' or 'trained_on', one for all or one an example.
        token_budget: tokens a forward pass.
        precision: 'bf16' lets tracking passes compute in bf16: quicker where the processor has matrix units for
            it, and rounded (docs/performance.md says by how much).
        resume: go on in a store that an interrupted run of the same examples and steps left here.
        watchers: what looks on, in the first process.
        provenance: JSON values that go into the manifest.

    Raises:
        StoreError: `path` holds tracking points already and `resume` is not set, or it holds another run.
        DataError: `encoded` does not hold the tracked ids.
        SpecError: arguments that do not go together.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        tracked: AnnotatedDataset | Probe,
        *,
        total_steps: int,
        tokenizer: PreTrainedTokenizerBase | None = None,
        encoded: Encoded | None = None,
        pad_id: int | None = None,
        score: Score | None = None,
        scoring: ScoringModel | None = None,
        states: SharedStates | None = None,
        max_length: int = 128,
        points: int = 20,
        schedule: Literal["linear", "log"] = "linear",
        steps: Sequence[int] | None = None,
        max_overhead: float | None = None,
        regime: str | Sequence[str] = "held_out",
        token_budget: int = 4096,
        precision: Literal["fp32", "bf16"] = "fp32",
        resume: bool = False,
        watchers: Sequence[Watcher] = (),
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        _need_torch()
        from dissensus.train.ranks import ranks

        if precision not in ("fp32", "bf16"):
            raise SpecError(f"precision is {precision!r}; expected 'fp32' or 'bf16'")
        if isinstance(tracked, AnnotatedDataset):
            tracked = LabelProbe(
                tracked,
                tokenizer=tokenizer,
                encoded=encoded,
                pad_id=pad_id,
                score=score,
                scoring=scoring,
                states=states,
                max_length=max_length,
            )
        elif any(given is not None for given in (tokenizer, encoded, pad_id, score, scoring, states)):
            raise SpecError(
                "a probe brings its tokens with it; leave out tokenizer, encoded, score and their kin"
            )
        self._probe: Probe = tracked
        self.total_steps = total_steps
        self.points = tracking_steps(total_steps, points=points, schedule=schedule, steps=steps)
        self._budget: Budget | None = None
        if max_overhead is not None:
            if steps is not None or schedule != "linear":
                raise SpecError("max_overhead spaces the points itself; leave out steps and schedule")
            self._budget = Budget(max_overhead, total_steps, points)
            self.points = (0, total_steps)
        self.seconds = 0.0
        self._last_pass = 0.0
        self._began: float | None = None
        self._tracked = self._probe.tracked(token_budget)
        self._precision: Literal["fp32", "bf16"] = precision
        self._watchers = tuple(watchers)
        self._ranks: Ranks = ranks()
        self._writer: CurvesWriter | None = None
        self._part: PartWriter | None = None
        self._folder = Path(path)
        self._measured: set[int] = set()
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="curves")
        self._writing: Future[None] | None = None
        self._agreed = self._ranks.world == 1
        self._from: int | None = None
        self._finished = False
        self._ways: dict[str, str] = {}
        cut = self._probe.facts.get("truncated_examples", 0)
        if cut and scoring is None and self._ranks.first:
            log.warning(
                "%d of %d tracked examples are longer than max_length and were cut",
                cut,
                len(self._probe.dataset),
            )
        self._undefined = 0
        empty = self._probe.facts.get("empty_examples", 0)
        if empty and self._ranks.first:
            log.warning(
                "%d of %d tracked examples have no text to score: their loss is NaN",
                empty,
                len(self._probe.dataset),
            )
        if self._ranks.first:
            self._writer = open_store(
                path,
                self._probe,
                total_steps=total_steps,
                regime=regime,
                provenance=provenance or {},
                resume=resume,
            )
            self._measured = set(self._writer.steps)
            self._begin()

    @property
    def writer(self) -> CurvesWriter:
        """The store that is written; in the first process only (`StoreError` elsewhere)."""
        if self._writer is None:
            raise StoreError("the first process writes the curves; this one has no store")
        return self._writer

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps that were measured, rising; the last may still be on its way to the disk."""
        return tuple(sorted(self._measured))

    @property
    def timing(self) -> Timing:
        """What recording has cost since this process began; its `overhead` is a share of the training time."""
        since = 0.0 if self._began is None else time.perf_counter() - self._began
        return Timing(self.seconds, max(0.0, since - self.seconds))

    def __enter__(self) -> CurveRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()

    def step(self, model: nn.Module, step: int) -> bool:
        """Measure if `step` (optimiser steps taken so far) is a tracking point not yet stored; True if it was.

        Raises `StoreError` when an earlier tracking point was never measured.
        """
        self._agree(model)
        if self._from is None:
            self._place(step)
        if self._budget is not None and step - (self._from or 0) == self._budget.decides_at:
            if self._last_pass == 0:  # a resumed run: nothing was timed in this process yet
                return self.measure_now(model, step)
            self._plan(model, step)
        if step not in self.points or step in self._measured:
            return False
        missed = [p for p in self.points if p < step and p not in self._measured]
        if missed:
            raise StoreError(
                f"tracking point {missed[0]} was never measured, and step {step} has come: call "
                "recorder.step(model, step) with 0 before training and after every optimiser step"
            )
        self._measure(model, step)
        self._plan(model, step)
        return True

    def measure_now(self, model: nn.Module, step: int) -> bool:
        """Measure at this step, tracking point or not, and let it be one; False if it was measured already."""
        self._agree(model)
        if step in self._measured:
            return False
        self.points = tuple(sorted({*self.points, step}))
        self._measure(model, step)
        self._plan(model, step)
        return True

    def take_up(self, step: int) -> None:
        """Go on from a checkpoint taken after `step` steps: later points are measured again.

        Raises `StoreError` where the run's first part was not recorded here.
        """
        self.rewind(step)
        if self._writer is not None and step > 0 and 0 not in self._measured:
            raise StoreError(
                f"the run resumes at step {step}, and {self._writer.path} holds no tracking point 0: it was begun "
                "without recording, or into another folder. Name that folder, or begin anew"
            )

    def watch(
        self, model: nn.Module, batches: Iterable[T], *, batches_per_step: int = 1, start: int = 0
    ) -> Iterator[T]:
        """Yield the batches, measuring at the tracking points before, between and after them.

        Args:
            model: the model that the loop trains.
            batches: an iterable of batches; `total_steps` x `batches_per_step` of them are expected.
            batches_per_step: batches an optimiser step (gradient accumulation).
            start: optimiser steps taken before the first of these batches, in a resumed run.

        Raises `StoreError` at the end if the batches did not add up to `total_steps`.
        """
        self.step(model, start)
        taken = 0
        for taken, batch in enumerate(batches, 1):
            yield batch
            if taken % batches_per_step == 0:
                self.step(model, start + taken // batches_per_step)
        if taken % batches_per_step:  # a shorter last accumulation still makes a step
            self.step(model, start + taken // batches_per_step + 1)
        self.finish()

    def look(self, model: nn.Module) -> NDArray[np.float64]:
        """Each tracked example's loss on its gold label as the model is now, nats, shape (n,); nothing is stored."""
        self._agree(model)
        return gold_losses(self._point(model, untrained=False).log_probs, self._probe.dataset)

    def flush(self) -> None:
        """Wait until everything measured is on the disk. Raises what went wrong in writing it."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def rewind(self, step: int) -> None:
        """Forget tracking points later than `step`, which a resumed run measures again; -1 forgets all."""
        if self._finished:
            raise StoreError("the recorder has finished; make another one, with resume=True, to go on")
        self.flush()
        self._measured = {p for p in self._measured if p <= step}
        if self._writer is not None:
            self._writer.drop_after(step)
            self._begin()

    def end_early(self, model: nn.Module, step: int) -> None:
        """Say that the run ends here, before `total_steps`: measure once more, and let this be its last step.

        Progress is then counted over the steps that were taken.
        """
        self._agree(model)
        self.flush()
        if step < 1 or step > self.total_steps:
            raise StoreError(f"the run cannot end at step {step}; expected 1 to {self.total_steps}")
        self.points = (*(p for p in self.points if p < step), step)
        self.total_steps = step
        if step not in self._measured:
            self._measure(model, step)
            self.flush()
        if self._writer is not None:
            self._writer.end_at(step)
        self.finish()

    def discard(self) -> None:
        """Delete what was recorded, unless it is finished: the run is begun anew, with other settings."""
        if self._finished:
            return
        self.flush()
        if self._writer is not None:
            self._writer.discard()
        self._finished = True
        self._background.shutdown()

    def finish(self) -> None:
        """Mark the store complete. Raises `StoreError` when tracking points are missing."""
        if self._finished:
            return
        self.flush()
        missing = [p for p in self.points if p not in self._measured]
        if missing:
            raise StoreError(
                f"the run ended with tracking points {missing} unmeasured: total_steps was given as "
                f"{self.total_steps}, and the last point stored is {max(self._measured, default=None)}"
            )
        timing = self.timing
        if self._writer is not None:
            if self._ways:  # from which step on the model was read how
                self._writer.note(read=self._ways)
            seconds = {"tracking_seconds": timing.tracking, "training_seconds": timing.training}
            self._writer.finish({name: round(value, 3) for name, value in seconds.items()})
        if self._ranks.first and timing.training > 0:
            log.info(
                "recorded %d tracking points of %d examples: %.1f s, %.1f%% of the training time",
                len(self._measured), len(self._probe.dataset), timing.tracking, 100 * timing.overhead,
            )  # fmt: skip
        self._finished = True
        self._background.shutdown()

    def _begin(self) -> None:
        """Let the probe and the watchers know what is stored already."""
        writer = self.writer
        stored = writer.steps
        self._probe.resume((lambda name: writer.read(0, name)) if 0 in stored else None)
        for watcher in self._watchers:
            watcher.begin(self._probe.dataset, self.total_steps)
            for step in stored:
                watcher.observe(step, gold_losses(writer.log_probs(step), self._probe.dataset), replay=True)

    def _place(self, step: int) -> None:
        """The first step that this process is told of. Raises `StoreError` where the store is ahead of it."""
        ahead = [p for p in self._measured if p > step]
        if ahead:
            raise StoreError(
                f"the store holds tracking points up to {max(ahead)}, and the run is at step {step}: they are of "
                "another run, or of this one beyond its last checkpoint. Restore the training state of that step, or "
                f"call recorder.rewind({step}) to measure them again; recorder.rewind(-1) begins anew"
            )
        self._from, self._began = step, time.perf_counter()

    def _agree(self, model: nn.Module) -> None:
        """Once: every process learns what the first one has stored."""
        from dissensus.train.ranks import ranks

        if ranks().world != self._ranks.world:
            raise SpecError(
                "torch.distributed was started after CurveRecorder was made; make the recorder after "
                "init_process_group (Accelerator() and Trainer do that), so that the processes share the work"
            )
        if not self._agreed:
            device = next(model.parameters()).device
            self._measured = set(self._ranks.agreed(sorted(self._measured), device))
            self._part = share_points(self._ranks, self._writer, self._probe.dataset, self._folder, device)
            self._agreed = True

    def _measure(self, model: nn.Module, step: int) -> None:
        begin = time.perf_counter()
        point = self._point(model, untrained=step == 0)
        self._warn_not_finite(model, step, point)
        self.flush()  # at most one point is under way, so memory does not grow with their number
        if self._writer is not None or self._part is not None:
            self._writing = self._background.submit(self._write, step, point)
        way = getattr(self._tracked, "way", "")
        if way and way != next(reversed(self._ways.values()), ""):
            self._ways[str(step)] = way
        if self._writer is not None:
            for watcher in self._watchers:
                watcher.observe(step, gold_losses(point.log_probs, self._probe.dataset))
        self._measured.add(step)
        self._last_pass = time.perf_counter() - begin
        self.seconds += self._last_pass

    def _point(self, model: nn.Module, *, untrained: bool) -> Measured:
        if isinstance(self._probe, Compares):
            rows, precision = self._probe.rows, self._precision
            self._probe.compare(model, lambda other, of: tracking_pass(other, of, rows, precision=precision))
        found = tracking_pass(
            model, self._tracked, self._probe.rows, precision=self._precision, untrained=untrained
        )
        return self._probe.measured(found)

    def _warn_not_finite(self, model: nn.Module, step: int, point: Measured) -> None:
        """Say whose fault it is where more losses are not finite than before."""
        gold = self._probe.dataset.gold != NO_GOLD
        undefined = int((~np.isfinite(gold_losses(point.log_probs, self._probe.dataset)) & gold).sum())
        if undefined > self._undefined and self._ranks.first:
            from dissensus.train.not_finite import why_not_measured

            words = why_not_measured(model, step=step, undefined=undefined, known=int(gold.sum()))
            if words:
                log.warning("%s", words)
        self._undefined = max(self._undefined, undefined)

    def _write(self, step: int, point: Measured) -> None:
        if self._part is not None:
            self._part.write(step, point.log_probs, values=point.values, token_losses=point.token_losses)
            return
        writer = self.writer
        writer.write(step, writer.ids, point.log_probs, values=point.values, token_losses=point.token_losses)

    def _plan(self, model: nn.Module, step: int) -> None:
        """Spread the points that the budget leaves over the rest of the run; the same in every process."""
        begin = self._from or 0
        if self._budget is None or not begin + self._budget.decides_at <= step < self.total_steps:
            return
        timing = self.timing
        rest: Sequence[int] = self._budget.rest(step, self.steps, timing, self._last_pass, begin=begin)
        device: torch.device = next(model.parameters()).device
        rest = self._ranks.agreed(rest, device)
        first_time = step - begin == self._budget.decides_at
        self.points = tuple(sorted({*self._measured, *rest}))
        if first_time and self._ranks.first:
            self._budget.announce(timing, step - begin, self._last_pass, len(self.points))


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependencyError("torch", "train", "CurveRecorder") from None
