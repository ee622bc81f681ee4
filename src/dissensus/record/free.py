"""The free mode: losses from the training's own forward passes, at no further pass.

Beside `CurveRecorder` it costs nothing and says less. Each example is seen once per epoch, at a step of its own, with
the weights of that step and with dropout on; there is no point before training, and nothing of held-out examples.
One epoch's collecting is `free_epoch.py`, going on after an interruption `free_resume.py`. Imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dissensus.data.annotations import AnnotatedDataset
from dissensus.display import one_line
from dissensus.errors import DataError, SpecError, StoreError
from dissensus.record.failures import Failures, OnError
from dissensus.record.free_epoch import Epoch, Rows, SeenExamples, copied, device, log_softmax, processes
from dissensus.record.free_epoch import Places as Places
from dissensus.record.free_resume import SEEN, UNFINISHED, point_of, resume_from
from dissensus.record.observers import Notices
from dissensus.record.schedule import whole_number
from dissensus.store import CurvesWriter


class FreeRecorder:
    """Records what the training forward says of each example, one tracking point per epoch.

    In a loop of your own::

        recorder = FreeRecorder("runs/mine", dataset, total_steps=3 * len(loader), steps_per_epoch=len(loader))
        step = 0
        for batch in ...:  # three epochs
            logits = model(**batch.inputs)
            recorder.observe(step, batch.ids, logits)
            ...  # backward, optimiser
            step += 1
            recorder.end_of_step(step)
        recorder.finish()

    The point of epoch e (from 1) stands at step min(e x steps_per_epoch, total_steps) and holds for each example what
    the forward pass of that epoch said, NaN for one that was not seen. Where an example comes twice in an epoch the
    first look is kept. The value `seen_step` (float32, shape (n, T)) is the number of optimiser steps taken at that
    look. The manifest's provenance says `"mode": "free"`, that dropout and weights were the training's, and an epoch
    how many examples were seen, and seen more than once; at the end, how many never were.

    What metrics mean here: `aulc` averages over the span that the points cover, from the end of the first epoch to the
    end of the run, so the steepest part of training weighs less than in `CurveRecorder`'s curves and the two are not
    to be compared; it is NaN for an example seen in fewer than two epochs (for all, in a run of one epoch). Whatever
    is relative to step 0 is NaN. A point's losses belong to steps up to an epoch earlier, other ones for each example:
    early in training that alone spreads them (`seen_step` is there to look).

    In a distributed run every process makes a recorder and shows it its own batches; `end_of_step`, `flush` and
    `finish` are called by all. An example that a sampler's padding gave to two processes counts once, as the lowest
    rank saw it. The first process writes. Memory: n x (K + 2) numbers, however many epochs.

    The recorder does not end your training: after the first optimiser step a failure of the recorder (a full disk, say)
    ends the recording with a warning, as in `CurveRecorder`, and a run that ends before or after `total_steps` is
    closed where it ended, with a warning.

    Args:
        path: folder of the curves store.
        dataset: the examples to record.
        total_steps: optimiser steps of the whole run, all epochs.
        steps_per_epoch: optimiser steps of one epoch.
        regime: as in `CurveRecorder`; what a training forward sees is trained on.
        provenance: JSON values that go into the manifest.
        resume_at: optimiser steps that a restored training state has taken; the recording resumes from there. What was
            seen earlier in that epoch is kept if `flush` was called (or the epoch had ended); otherwise it is NaN,
            and the manifest says `lost_before` of that epoch. With more `total_steps` than before the run is extended.
        on_error: 'stop', or 'raise' to have every failure raised.
        quiet: do not say on stderr where the curves are.

    Raises:
        StoreError: `path` holds tracking points already and `resume_at` is not set; it holds another run; or epochs
            before `resume_at` are not in it.
        SpecError: numbers of steps below 1, or `resume_at` outside the run.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dataset: AnnotatedDataset,
        *,
        total_steps: int,
        steps_per_epoch: int,
        regime: str | Sequence[str] = "trained_on",
        provenance: Mapping[str, Any] | None = None,
        resume_at: int | None = None,
        on_error: OnError = "stop",
        quiet: bool = False,
    ) -> None:
        total_steps = whole_number(total_steps, "total_steps", hint="optimiser steps of the whole run")
        steps_per_epoch = whole_number(steps_per_epoch, "steps_per_epoch")
        if resume_at is not None and not 0 <= resume_at <= total_steps:
            raise SpecError(f"resume_at is {resume_at}; expected 0 to {total_steps}, the steps of the run")
        self.dataset, self.total_steps, self.steps_per_epoch = dataset, total_steps, steps_per_epoch
        self._path = Path(path)
        self._row = {example_id: row for row, example_id in enumerate(dataset.ids)}
        self._ever = np.zeros(len(dataset), dtype=np.bool_)
        self._processes = processes()
        self._asked = total_steps
        self._finished = False
        self._notices = Notices(quiet=quiet, first=self._processes.first)
        self._failures = Failures(on_error, self._notices, Path(path), alone=self._processes.world_size == 1)
        self._taken = resume_at or 0
        self._ended = self._taken == total_steps
        self._lost_before = 0
        self._point: int  # where the epoch under way ends
        self._epoch: Epoch
        self._writer: CurvesWriter | None = None
        seen = None
        if self._processes.first:
            facts = {
                "mode": "free",
                "dropout": "as in training",
                "weights": "moving: those of the step at which each example was seen",
                "steps_per_epoch": steps_per_epoch,
            }
            self._writer = CurvesWriter(
                path,
                dataset,
                total_steps=total_steps,
                regime=regime,
                provenance={**(provenance or {}), **facts, "epochs": []},
                values=(SEEN,),
                resize=resume_at is not None,
            )
            if self._writer.steps_before is not None:
                self._notices.warn(
                    f"the run in {path} was to have {self._writer.steps_before} steps and now has {total_steps}: its "
                    "epochs stay, and progress counts over the new number"
                )
            seen = self._begin(self._writer, facts, resume_at)
        self._open(self._point_of(self._taken), seen)

    def __repr__(self) -> str:
        return one_line(
            "FreeRecorder",
            (
                ("store", str(self._path)),
                ("examples", f"{len(self.dataset)} recorded"),
                ("steps", f"{self._taken} of {self.total_steps} taken"),
                ("state", "finished" if self._finished else "under way"),
            ),
        )

    @property
    def writer(self) -> CurvesWriter:
        """The store that is written; in the first process only (`StoreError` elsewhere)."""
        if self._writer is None:
            raise StoreError("the first process writes the curves; this one has no store")
        return self._writer

    def rows(self, ids: Sequence[str]) -> Rows:
        """Row numbers of ids in the data set, shape (b,). Raises `DataError` for an id that is not in it."""
        unknown = [i for i in ids if i not in self._row]
        if unknown:
            raise DataError(
                f"{unknown[0]!r} is not among the {len(self._row)} examples to record, e.g. {self.dataset.ids[0]!r}; "
                "give the ids of the data set, or leave out the batch's other rows"
            )
        return np.array([self._row[i] for i in ids], dtype=np.int64)

    def observe(self, step: int, examples: Any, logits: Any) -> None:
        """Take a classifier's logits from a training forward. The arrays are copied; nothing waits for a GPU.

        Args:
            step: optimiser steps taken so far: that of the forward which makes step s + 1 is s.
            examples: ids of the batch's rows, length b, numbers as well as texts; or their `Places` in the data set.
            logits: shape (b, K), torch or NumPy, in the order of the data set's labels.

        Raises:
            DataError: shapes that do not fit, an unknown id.
            StoreError: the step is of another epoch than the one under way (was `end_of_step` called?).
        """
        with self.contained():
            shape = tuple(np.shape(logits))
            if len(shape) != 2 or shape[1] != len(self.dataset.labels):
                raise DataError(
                    f"logits have shape {shape}; expected (examples, {len(self.dataset.labels)}), a column for each of "
                    f"{', '.join(self.dataset.labels)}"
                )
            self._keep(step, examples, lambda: log_softmax(logits), shape[0])

    def observe_losses(self, step: int, examples: Any, losses: Any) -> None:
        """Take losses from a training forward: -log p(gold) in nats, one per example; the other labels have NaN.

        Args:
            step: see `observe`.
            examples: see `observe`.
            losses: shape (b,), torch or NumPy: not averaged over the batch.

        Raises:
            DataError: a single number for a batch, or another shape than (b,); an unknown id; an example without gold.
            StoreError: see `observe`.
        """
        with self.contained():
            shape = tuple(np.shape(losses))
            if len(shape) != 1:
                raise DataError(
                    f"losses have shape {shape}; expected one per example, (examples,). A single number is the batch's "
                    "mean, which says nothing of its examples: compute the loss with reduction='none', or pass logits "
                    "to observe()"
                )
            self._keep(step, examples, lambda: -copied(losses), shape[0])

    def end_of_step(self, step: int) -> bool:
        """Say that `step` optimiser steps have been taken; True if that ended an epoch, which is then stored."""
        if self._failures.stopped:
            return False
        self._taken = self._failures.at = max(self._taken, step)
        with self.contained():
            self._epoch.drain()
        if self._ended or step < self._point:
            self._failures.start(self)
            return False
        with self._failures.contained():
            self._close()
            self._ended = self._point >= self.total_steps
            if not self._ended:
                self._open(self._point_of(self._point))
            self._failures.start(self)
        return True

    def flush(self) -> None:
        """Put what the epoch under way has seen on the disk, for `resume_at`; call it with every checkpoint."""
        if self._ended or self._failures.stopped:
            return
        with self.contained():
            self._epoch.drain()
        with self._failures.contained():
            seen = self._epoch.together()
            with self._together():
                if self._writer is not None:
                    seen.save(self._writer.path / UNFINISHED, point=self._point, steps_taken=self._taken)

    def end_early(self, step: int) -> None:
        """Say that the run ends at `step`, before `total_steps`; the epoch under way is stored there."""
        if self._failures.stopped:
            return
        with self._failures.contained():
            if not 0 < step <= self.total_steps or (step > self._point and not self._ended):
                raise StoreError(
                    f"the run cannot end at step {step}: it was to have {self.total_steps}, and the epoch under way "
                    f"ends at step {self._point} (call end_of_step(step) after every optimiser step)"
                )
            self._end_at(step)

    def finish(self) -> None:
        """Mark the store complete. A run that ended early is closed at the last step, with a warning."""
        if self._finished or self._failures.stopped:
            return
        with self._failures.contained():
            if self._ended and self.total_steps == self._asked:
                self._complete()
                return
            if self._failures.strict and not self._ended:
                raise StoreError(
                    f"the run ended before step {self._point}, the end of the epoch under way: call end_of_step(step) "
                    f"after every optimiser step up to {self.total_steps}, or end_early(step) where the run stopped "
                    "before"
                )
            if self._taken == 0:
                self._failures.dismiss()
                self._notices.warn(
                    "finish() was called before any optimiser step, so there are no curves: call end_of_step(step) "
                    "after every optimiser step"
                )
                return
            if self._taken < self._asked:
                self._notices.warn(
                    f"the run ended at step {self._taken} of {self._asked} (total_steps): the recording is closed there"
                )
            self._end_at(self._taken)

    def contained(self) -> AbstractContextManager[None]:
        """Let what fails inside end the recording instead of the training, once training is under way."""
        return self._failures.contained(agreed=False)

    @property
    def stopped(self) -> str | None:
        """Why the recording has stopped though training continued; None while it has not."""
        return self._failures.reason

    def _end_at(self, step: int) -> None:
        self.total_steps = step
        if not self._ended and step > (self._point - 1) // self.steps_per_epoch * self.steps_per_epoch:
            self._point = step
            self._close()
        self._ended = True
        if self._writer is not None:
            self._writer.end_at(step, planned=self._asked)
        self._complete()

    def _complete(self) -> None:
        self._finished = True
        self._failures.dismiss()
        self._failures.raise_pending()
        if self._writer is not None:
            self._writer.note(never_seen=int((~self._ever).sum()))
            self._writer.finish()
            (self._writer.path / UNFINISHED).unlink(missing_ok=True)
            self._notices.say(
                f"recorded {len(self._writer.steps)} epochs of {len(self.dataset)} examples in {self._writer.path} "
                "(free mode). Read them in Python: from dissensus import load_curves; "
                f"curves = load_curves({str(self._writer.path)!r})"
            )

    @contextmanager
    def _together(self) -> Iterator[None]:
        """What fails inside, or failed before, in one process is raised in all."""
        if self._processes.world_size == 1:
            yield
            return
        with self._processes.all_or_none(device()):
            self._failures.raise_pending()
            yield

    def _point_of(self, step: int) -> int:
        """Where the epoch ends that the forward after `step` steps belongs to."""
        return point_of(step, self.steps_per_epoch, self.total_steps)

    def _open(self, point: int, seen: SeenExamples | None = None) -> None:
        self._point = point
        self._epoch = Epoch(self.dataset, self._processes, seen)

    def _keep(self, step: int, examples: Any, scores: Callable[[], Any], count: int) -> None:
        if self._failures.stopped:
            return
        if step >= self.total_steps and self._ended:
            self._go_beyond(step)
        if self._ended or not 0 <= step < self.total_steps or self._point_of(step) != self._point:
            raise StoreError(
                f"a forward at step {step} does not belong to the epoch that ends at step {self._point} of "
                f"{self.total_steps}: call end_of_step(step) after every optimiser step, and observe(step, ...) with "
                "the number of steps taken so far"
            )
        if len(examples) != count:
            raise DataError(
                f"{len(examples)} examples for {count} rows of a batch; expected one per row. Rows that are packed, or "
                "the two answers of a pair, are not one example each"
            )
        self._epoch.keep(step, self._as_rows(examples), scores())

    def _go_beyond(self, step: int) -> None:
        """Training continues after the last planned step: another epoch is recorded."""
        if self._failures.strict:
            return
        self._notices.warn(
            f"the run was to have {self._asked} steps (total_steps) and continues: the recording is extended to where "
            "the run ends"
        )
        self.total_steps = (step // self.steps_per_epoch + 1) * self.steps_per_epoch
        self._ended = self._finished = False
        if self._writer is not None:
            self._writer.resize(self.total_steps)
        self._open(self._point_of(step))

    def _as_rows(self, examples: Any) -> Any:
        if isinstance(examples, Places):
            rows = examples.rows
            return rows.detach().clone() if hasattr(rows, "detach") else np.array(rows)
        ids = examples.tolist() if hasattr(examples, "tolist") else examples
        return self.rows([str(i) for i in ids])

    def _close(self) -> None:
        """Store the epoch under way."""
        seen = self._epoch.together()
        self._ever |= seen.any
        facts = {
            "step": self._point,
            "seen": int(seen.any.sum()),
            "seen_more_than_once": int((seen.looks > 1).sum()),
        }
        if self._lost_before:
            facts["lost_before"] = self._lost_before
        with self._together():
            if self._writer is not None:
                writer = self._writer
                writer.write(self._point, writer.ids, seen.log_probs, values={SEEN: seen.step})
                writer.note(epochs=[*writer.provenance["epochs"], facts])
        self._lost_before = 0

    def _begin(
        self, writer: CurvesWriter, facts: Mapping[str, Any], resume_at: int | None
    ) -> SeenExamples | None:
        """Look at what the store holds already; what the epoch that was cut has seen."""
        other = [name for name, value in facts.items() if writer.provenance.get(name) != value]
        if other:
            raise StoreError(
                f"{writer.path} holds another run: its {other[0]} is {writer.provenance.get(other[0])!r}, this run's "
                f"is {facts[other[0]]!r}. Choose another folder, or delete that one"
            )
        if resume_at is not None:
            resumed = resume_from(
                writer, resume_at, steps_per_epoch=self.steps_per_epoch, total_steps=self.total_steps
            )
            self._ever = resumed.ever
            self._lost_before = resume_at if resumed.lost else 0
            return resumed.seen
        if writer.steps:
            raise StoreError(
                f"{writer.path} holds the curves of a run already ({len(writer.steps)} epochs). Choose another folder "
                "or delete that one; to resume an interrupted run whose training state you restore yourself, pass "
                "resume_at=(optimiser steps that it has taken)"
            )
        return None
