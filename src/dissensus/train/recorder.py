"""The recorder that people put into their own training script. What it measures with is `tracking.py`.

torch is imported only when something is measured, so that a notebook without torch can import the names.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, MissingDependencyError, SpecError, StoreError
from dissensus.models.encoding import Encoded, encode, lexical_overlap
from dissensus.store import CurvesWriter
from dissensus.train.own_model import OwnModelSet
from dissensus.train.schedule import tracking_steps
from dissensus.train.tracking import PaddedSet, Score, TrackedSet, tracked_set, tracking_pass

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from dissensus.models.scoring import ScoringModel
    from dissensus.train.shared_states import SharedStates

T = TypeVar("T")


class CurveRecorder:
    """Records each tracked example's log-probabilities over the labels while a model trains.

    In a loop of your own, two lines::

        recorder = CurveRecorder("runs/mine", tracked, tokenizer=tokenizer, total_steps=len(loader))
        for batch in recorder.watch(model, loader):
            ...  # train on the batch as ever

    or, where steps and batches differ, `recorder.step(model, step)` with the number of optimiser steps taken
    so far: 0 before the first, then after each. Steps that are no tracking points cost nothing.

    A tracking pass runs in `eval()` mode without gradients and leaves weights, modes and random state as they
    were: the trained weights are the same, bit for bit, with or without it. What was measured is written in the
    background, one point at a time; `finish` waits for it, and so does the next point.

    Args:
        path: folder of the curves store.
        dataset: the tracked set.
        total_steps: optimiser steps of the whole run.
        tokenizer: encodes the text fields (one field, or a pair); not needed with `encoded` or `scoring`.
        encoded: token ids already made, in the data set's order.
        pad_id: padding token id; default: the tokenizer's.
        score: (model, padded batch) -> logits (b, K); default: `model(**batch).logits`, or the same numbers from
            rows without padding where the model can be read so.
        scoring: a model that `load_scoring_model` made, instead of `tokenizer`, `pad_id` and `score`; it is read
            without padding where it can be.
        states: with `scoring`: what other cells of a study share at step 0.
        points: tracking points, step 0 and the last included.
        schedule: 'linear' or 'log'.
        steps: explicit tracking steps instead; 0 and the last are added.
        regime: 'held_out' or 'trained_on', one for all or one an example.
        max_length: tokens an example.
        token_budget: tokens a forward pass.
        precision: 'bf16' lets tracking passes compute in bf16: quicker where the processor has matrix units for
            it, and rounded (docs/performance.md says by how much).
        resume: go on in a store that an interrupted run of the same examples and steps left here.
        provenance: JSON values that go into the manifest.

    Raises:
        StoreError: `path` holds tracking points already and `resume` is not set, or it holds another run.
        DataError: `encoded` does not hold the tracked ids.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dataset: AnnotatedDataset,
        *,
        total_steps: int,
        tokenizer: PreTrainedTokenizerBase | None = None,
        encoded: Encoded | None = None,
        pad_id: int | None = None,
        score: Score | None = None,
        scoring: ScoringModel | None = None,
        states: SharedStates | None = None,
        points: int = 20,
        schedule: Literal["linear", "log"] = "linear",
        steps: Sequence[int] | None = None,
        regime: str | Sequence[str] = "held_out",
        max_length: int = 128,
        token_budget: int = 4096,
        precision: Literal["fp32", "bf16"] = "fp32",
        resume: bool = False,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        _need_torch()
        if precision not in ("fp32", "bf16"):
            raise SpecError(f"precision is {precision!r}; expected 'fp32' or 'bf16'")
        if encoded is None:
            if tokenizer is None and scoring is None:
                raise SpecError("CurveRecorder needs a tokenizer (or token ids already made, as encoded=...)")
            encoded = (
                scoring.encode(dataset) if scoring else encode(dataset, tokenizer, max_length=max_length)
            )
        if encoded.ids != dataset.ids:
            raise DataError(
                "the encoded examples are not the tracked ones in the tracked order; encode that data set"
            )
        if pad_id is None:
            pad_id = getattr(tokenizer, "pad_token_id", None) or 0
        self.points = tracking_steps(total_steps, points=points, schedule=schedule, steps=steps)
        self.total_steps = total_steps
        self.seconds = 0.0
        self._tracked: TrackedSet
        if scoring is not None:
            self._tracked = tracked_set(encoded, scoring, token_budget=token_budget, states=states)
        elif score is not None:
            self._tracked = PaddedSet(encoded, score, pad_id=pad_id, token_budget=token_budget)
        else:
            self._tracked = OwnModelSet(encoded, pad_id=pad_id, token_budget=token_budget)
        self._precision: Literal["fp32", "bf16"] = precision
        covariates = {"token_count": encoded.lengths.astype(np.float64)}
        overlap = lexical_overlap(dataset)
        if overlap is not None:
            covariates["lexical_overlap"] = overlap
        self.writer = CurvesWriter(
            path,
            dataset,
            total_steps=total_steps,
            regime=regime,
            covariates=covariates,
            provenance={**(provenance or {}), "truncated_examples": encoded.truncated},
        )
        self._ids = self.writer.ids
        self._measured = set(self.writer.steps)
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="curves")
        self._writing: Future[None] | None = None
        if self.writer.steps and not resume:
            raise StoreError(
                f"{self.writer.path} holds the curves of a run already ({len(self.writer.steps)} tracking points). "
                "Choose another folder or delete that one; to go on with an interrupted run whose training state you "
                "restore yourself, pass resume=True."
            )

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
        if step not in self.points or step in self._measured:
            return False
        missed = [p for p in self.points if p < step and p not in self._measured]
        if missed:
            raise StoreError(
                f"tracking point {missed[0]} was never measured, and step {step} has come: call "
                "recorder.step(model, step) with 0 before training and after every optimiser step"
            )
        begin = time.perf_counter()
        log_probs = tracking_pass(
            model, self._tracked, len(self._ids), precision=self._precision, untrained=step == 0
        )
        self.flush()  # at most one point is under way, so memory does not grow with their number
        self._writing = self._background.submit(self.writer.write, step, self._ids, log_probs)
        self._measured.add(step)
        self.seconds += time.perf_counter() - begin
        return True

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps that were measured, rising; the last may still be on its way to the disk."""
        return tuple(sorted(self._measured))

    def flush(self) -> None:
        """Wait until everything measured is on the disk. Raises what went wrong in writing it."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def rewind(self, step: int) -> None:
        """Forget tracking points later than `step`, which a resumed run measures again; -1 forgets all."""
        self.flush()
        self.writer.drop_after(step)
        self._measured = set(self.writer.steps)

    def watch(self, model: nn.Module, batches: Iterable[T], *, batches_per_step: int = 1) -> Iterator[T]:
        """Yield the batches, measuring at the tracking points before, between and after them.

        Args:
            model: the model that the loop trains.
            batches: an iterable of batches; `total_steps` x `batches_per_step` of them are expected.
            batches_per_step: batches an optimiser step (gradient accumulation).

        Raises `StoreError` at the end if the batches did not add up to `total_steps`.
        """
        self.step(model, 0)
        taken = 0
        for taken, batch in enumerate(batches, 1):
            yield batch
            if taken % batches_per_step == 0:
                self.step(model, taken // batches_per_step)
        if taken % batches_per_step:  # a shorter last accumulation still makes a step
            self.step(model, taken // batches_per_step + 1)
        self.finish()

    def finish(self) -> None:
        """Mark the store complete. Raises `StoreError` when tracking points are missing."""
        self.flush()
        missing = [p for p in self.points if p not in self.writer.steps]
        if missing:
            raise StoreError(
                f"the run ended with tracking points {missing} unmeasured: total_steps was given as "
                f"{self.total_steps}, and the last point stored is {max(self.writer.steps, default=None)}"
            )
        self.writer.finish()
        self._background.shutdown()


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependencyError("torch", "train", "CurveRecorder") from None
