"""Measuring one tracking point and handing it to the store, in every process of a run; `recorder.py` says when."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dissensus.data.annotations import NO_GOLD
from dissensus.errors import SpecError
from dissensus.models.schedule_free import evaluation_weights, schedule_free
from dissensus.record.failures import Failures
from dissensus.record.observers import Notices, Watcher, gold_losses
from dissensus.record.opening import same_probe, share_points
from dissensus.record.probes.base import Compares, MeasuredPoint, Probe
from dissensus.record.tracking import tracking_pass
from dissensus.store import CurvesWriter, PartWriter

if TYPE_CHECKING:
    from torch import nn

    from dissensus.record.processes import ProcessGroup


class Measurer:
    """Measures the tracked set and writes what it found in the background, one point at a time.

    Args:
        probe: what is asked of the model.
        group: the run's processes.
        folder: of the store, as this process was told.
        token_budget: tokens a forward pass.
        precision: of a pass.
        watchers: what looks on, in the first process.
        optimizer: of the training, where it has weights of its own to evaluate with.
        failures: what becomes of what goes wrong.
        notices: what warns.

    Attributes:
        writer: the store, in the first process.
        measured: steps that were measured.
        examples: how many are tracked.
        seconds: spent in passes by this process.
        last_pass: seconds of the last one; 0 before the first.
    """

    def __init__(
        self,
        probe: Probe,
        group: ProcessGroup,
        folder: Path,
        *,
        token_budget: int,
        precision: Literal["fp32", "bf16"],
        watchers: Sequence[Watcher],
        optimizer: Any,
        failures: Failures,
        notices: Notices,
    ) -> None:
        self.writer: CurvesWriter | None = None
        self.measured: set[int] = set()
        self.seconds = self.last_pass = 0.0
        self._probe, self._group, self._folder = probe, group, folder
        self.examples = len(probe.dataset)
        self._tracked = probe.tracked(token_budget)
        self._precision: Literal["fp32", "bf16"] = precision
        self._watchers = list(watchers)
        self._optimizers = schedule_free(optimizer)
        self._failures, self._notices = failures, notices
        failures.wait = self.flush
        self._ways: dict[str, str] = {}
        self._undefined = 0
        self._part: PartWriter | None = None
        self._met = self._agreed = group.world_size == 1
        self._background: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None

    def open(self, writer: CurvesWriter, total_steps: int) -> None:
        """Take the store (in the first process), and let the probe and the watchers know what it holds already."""
        self.writer = writer
        self.measured = set(writer.steps)
        noted = writer.provenance.get("read") or {}
        self._ways = {
            step: noted[step] for step in sorted(noted, key=int)
        }  # the file has them as words are sorted
        self.begin(total_steps)

    def begin(self, total_steps: int) -> None:
        """Let the probe and the watchers know what is stored already; the first process alone knows (see `agree`)."""
        writer = self.writer
        assert writer is not None
        stored = writer.steps
        self._probe.resume((lambda name: writer.read(0, name)) if 0 in stored else None)
        for watcher in self._watchers:
            watcher.begin(self._probe.dataset, total_steps)
            for step in stored:
                watcher.observe(step, gold_losses(writer.log_probs(step), self._probe.dataset), replay=True)

    def agree(self, model: nn.Module) -> None:
        """Once, and again after a return to an earlier step: every process learns what the first one has stored."""
        from dissensus.record.processes import process_group

        if process_group().world_size != self._group.world_size:
            raise SpecError(
                "torch.distributed was started after CurveRecorder was made; make the recorder after "
                "init_process_group (Accelerator() and Trainer do that), so that the processes share the work"
            )
        if not self._agreed:
            device = next(model.parameters()).device
            if not self._met:
                same_probe(self._group, self._probe, device)
                self._part = share_points(self._group, self.writer, self._probe.dataset, self._folder, device)
                self._met = True
            self.measured = set(self._group.broadcast(sorted(self.measured), device))
            if isinstance(self._probe, Compares):
                self._probe.reference = self._group.broadcast_array(self._probe.reference, device)
            self._agreed = True

    def measure(self, model: nn.Module, step: int) -> None:
        """Measure a tracking point and write it in the background. Fails in every process, or in none."""
        begin = time.perf_counter()
        point = self.point(model, untrained=step == 0)
        with self._group.all_or_none(next(model.parameters()).device):
            self._warn_not_finite(model, step, point)
            self._failures.raise_pending()
            self.flush()  # at most one point is under way, so memory does not grow with their number
            self._note_way(step)
        if self.writer is not None or self._part is not None:
            if self._background is None:
                self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="curves")
            self._writing = self._background.submit(self._write, step, point)
        if self.writer is not None:
            self._show(step, point)
        self.measured.add(step)
        self.last_pass = time.perf_counter() - begin
        self.seconds += self.last_pass

    def point(self, model: nn.Module, *, untrained: bool) -> MeasuredPoint:
        """What the probe says of the model as it is now, at the weights that its optimiser evaluates with."""
        with evaluation_weights(self._optimizers):
            if isinstance(self._probe, Compares):
                rows, precision = self._probe.rows, self._precision
                self._probe.compare(
                    model, lambda other, of: tracking_pass(other, of, rows, precision=precision)
                )
            scores = tracking_pass(
                model, self._tracked, self._probe.rows, precision=self._precision, untrained=untrained
            )
        return self._probe.measured(scores)

    def flush(self) -> None:
        """Wait until everything measured is on the disk. Raises what went wrong in writing it."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def settle(self) -> None:
        """`flush`; where there are other processes, what goes wrong waits until they meet at the next point."""
        try:
            self.flush()
        except Exception as error:
            if self._group.world_size == 1:
                raise
            self._failures.pending = error

    def forget_after(self, step: int, total_steps: int) -> None:
        """Forget the points later than `step`, on the disk as well; -1 forgets all."""
        self.flush()
        self.measured = {p for p in self.measured if p <= step}
        self._ways = {key: way for key, way in self._ways.items() if int(key) <= step}
        if self.writer is not None:
            self.writer.drop_after(step)
            if "read" in self.writer.provenance:
                self.writer.note(read=self._ways)
            self.begin(total_steps)
        self._agreed = self._group.world_size == 1

    def close(self) -> None:
        """Let the background thread end; another point would begin a new one."""
        if self._background is not None:
            self._background.shutdown()
            self._background = None

    def _note_way(self, step: int) -> None:
        """Note in the store from which step on the model is read in which way: at once, for a run may be cut off."""
        way = getattr(self._tracked, "way", "")
        if way and way != next(reversed(self._ways.values()), ""):
            self._ways[str(step)] = way
            if self.writer is not None:
                self.writer.note(read=self._ways)

    def _warn_not_finite(self, model: nn.Module, step: int, point: MeasuredPoint) -> None:
        """Say what is at fault where more losses are not finite than before."""
        gold = self._probe.dataset.gold != NO_GOLD
        undefined = int((~np.isfinite(gold_losses(point.log_probs, self._probe.dataset)) & gold).sum())
        if undefined > self._undefined and self._group.first:
            from dissensus.models.not_finite import why_not_measured

            words = why_not_measured(model, step=step, undefined=undefined, known=int(gold.sum()))
            if words:
                self._notices.warn(words)
        self._undefined = max(self._undefined, undefined)

    def _write(self, step: int, point: MeasuredPoint) -> None:
        if self._part is not None:
            self._part.write(step, point.log_probs, values=point.values, token_losses=point.token_losses)
            return
        assert self.writer is not None
        self.writer.write(
            step, self.writer.ids, point.log_probs, values=point.values, token_losses=point.token_losses
        )

    def _show(self, step: int, point: MeasuredPoint) -> None:
        """Show the point to the watchers; one that fails (a tracker out of reach, say) is not asked again."""
        losses = gold_losses(point.log_probs, self._probe.dataset)
        for watcher in tuple(self._watchers):
            try:
                watcher.observe(step, losses)
            except Exception as error:
                if self._failures.strict or not self._failures.began:
                    raise
                self._watchers.remove(watcher)
                self._notices.warn(
                    f"{type(watcher).__name__} failed at step {step} and is left out from here on; the recording goes "
                    f"on. {type(error).__name__}: {error}"
                )
