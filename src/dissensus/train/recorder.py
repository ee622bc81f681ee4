"""The tracking pass, and the recorder that people put into their own training script.

torch is imported only when something is measured, so that a notebook without torch can import the names.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, MissingDependencyError, SpecError, StoreError
from dissensus.models.encoding import Encoded, encode, lexical_overlap
from dissensus.store import CurvesWriter
from dissensus.train.schedule import tracking_steps

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")
Score = Callable[["nn.Module", Mapping[str, "Tensor"]], "Tensor"]
"""(model, padded batch) -> label logits of shape (b, K)."""


class CurveRecorder:
    """Records each tracked example's log-probabilities over the labels while a model trains.

    In a loop of your own, two lines::

        recorder = CurveRecorder("runs/mine", tracked, tokenizer=tokenizer, total_steps=len(loader))
        for batch in recorder.watch(model, loader):
            ...  # train on the batch as ever

    or, where steps and batches differ, `recorder.step(model, step)` with the number of optimiser steps taken
    so far: 0 before the first, then after each. Steps that are no tracking points cost nothing.

    A tracking pass runs in `eval()` mode without gradients and leaves weights, modes and random state as they
    were: the trained weights are the same, bit for bit, with or without it.

    Args:
        path: folder of the curves store.
        dataset: the tracked set.
        total_steps: optimiser steps of the whole run.
        tokenizer: encodes the text fields (one field, or a pair); not needed with `encoded`.
        encoded: token ids already made, in the data set's order.
        pad_id: padding token id; default: the tokenizer's.
        score: (model, batch) -> logits (b, K); default: `model(**batch).logits`.
        points: tracking points, step 0 and the last included.
        schedule: 'linear' or 'log'.
        steps: explicit tracking steps instead; 0 and the last are added.
        regime: 'held_out' or 'trained_on', one for all or one an example.
        max_length: tokens an example.
        token_budget: padded tokens a forward pass.
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
        points: int = 20,
        schedule: Literal["linear", "log"] = "linear",
        steps: Sequence[int] | None = None,
        regime: str | Sequence[str] = "held_out",
        max_length: int = 128,
        token_budget: int = 4096,
        resume: bool = False,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        _need_torch()
        if encoded is None:
            if tokenizer is None:
                raise SpecError("CurveRecorder needs a tokenizer (or token ids already made, as encoded=...)")
            encoded = encode(dataset, tokenizer, max_length=max_length)
        if encoded.ids != dataset.ids:
            raise DataError(
                "the encoded examples are not the tracked ones in the tracked order; encode that data set"
            )
        if pad_id is None:
            pad_id = getattr(tokenizer, "pad_token_id", None) or 0
        self.points = tracking_steps(total_steps, points=points, schedule=schedule, steps=steps)
        self.total_steps = total_steps
        self.seconds = 0.0
        self._encoded = encoded
        self._pad_id = pad_id
        self._score = score or _default_score
        self._token_budget = token_budget
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
        if step not in self.points or step in self.writer.steps:
            return False
        missed = [p for p in self.points if p < step and p not in self.writer.steps]
        if missed:
            raise StoreError(
                f"tracking point {missed[0]} was never measured, and step {step} has come: call "
                "recorder.step(model, step) with 0 before training and after every optimiser step"
            )
        begin = time.perf_counter()
        log_probs = tracking_pass(
            model,
            self._encoded,
            self._score,
            pad_id=self._pad_id,
            token_budget=self._token_budget,
        )
        self.writer.write(step, self._encoded.ids, log_probs)
        self.seconds += time.perf_counter() - begin
        return True

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
        missing = [p for p in self.points if p not in self.writer.steps]
        if missing:
            raise StoreError(
                f"the run ended with tracking points {missing} unmeasured: total_steps was given as "
                f"{self.total_steps}, and the last point stored is {max(self.writer.steps, default=None)}"
            )
        self.writer.finish()


def tracking_pass(
    model: nn.Module,
    encoded: Encoded,
    score: Score,
    *,
    pad_id: int,
    token_budget: int,
) -> NDArray[np.float32]:
    """Log-probabilities over the labels of every example, weights fixed, dropout off, shape (n, K), float32.

    Batches hold examples of similar length, at most `token_budget` padded tokens each (a longer example goes
    alone). Memory does not grow with n beyond the result.
    """
    import torch

    device = next(model.parameters()).device
    rows: list[tuple[list[int], Tensor]] = []
    with _undisturbed(model, device):
        for batch_rows in length_sorted_batches(encoded.lengths, token_budget):
            batch = {k: v.to(device) for k, v in encoded.batch(batch_rows, pad_id).items()}
            rows.append((batch_rows, torch.log_softmax(score(model, batch).float(), dim=-1).cpu()))
    out = np.empty((len(encoded), rows[0][1].shape[1]), dtype=np.float32)
    for batch_rows, values in rows:
        out[batch_rows] = values.numpy()
    return out


def length_sorted_batches(lengths: NDArray[np.int64], token_budget: int) -> list[list[int]]:
    """Rows grouped by length, longest first, so that rows x longest stays within the budget."""
    batches: list[list[int]] = []
    current: list[int] = []
    for row in np.argsort(-lengths, kind="stable").tolist():
        if current and (len(current) + 1) * int(lengths[current[0]]) > token_budget:
            batches.append(current)
            current = []
        current.append(row)
    if current:
        batches.append(current)
    return batches


@contextlib.contextmanager
def _undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """eval() without gradients; each module's mode and the random state come back as they were."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            # Set directly: train() would recurse and overwrite submodules that were frozen in eval mode.
            for module, training in modes:
                module.training = training


def _default_score(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    logits: Tensor = model(**batch).logits
    return logits


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingDependencyError("torch", "train", "CurveRecorder") from None
