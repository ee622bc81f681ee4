"""The training loop, whole and visible: AdamW, warm-up and decay, clipping, accumulation, fp32 or bf16."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dissensus.config import TrainingSpec
from dissensus.errors import ModelError
from dissensus.models.encoding import Encoded
from dissensus.models.scoring import ScoringModel
from dissensus.train.checkpoint import Checkpoint
from dissensus.train.methods import trainable_parameters
from dissensus.train.recorder import CurveRecorder
from dissensus.train.schedule import learning_rate_factor
from dissensus.train.seeding import stream_seed

CHECKPOINT_SECONDS = 60.0
"""A checkpoint is written at the first tracking point this long after the last one."""

OnStep = Callable[[int, float], None]
"""(steps taken, training loss of the last one in nats)."""


@dataclass(frozen=True)
class TrainingSet:
    """What is trained on.

    Attributes:
        encoded: token ids, n examples.
        labels: label indices as given to the model (noise included), shape (n,).
    """

    encoded: Encoded
    labels: NDArray[np.int64]


def total_steps(n: int, spec: TrainingSpec) -> int:
    """Optimiser steps of a run over n examples; each epoch's last batch may be smaller."""
    return max(1, round(spec.epochs * math.ceil(n / spec.batch_size)))


def train(
    model: ScoringModel,
    data: TrainingSet,
    spec: TrainingSpec,
    *,
    learning_rate: float,
    seed: int,
    recorder: CurveRecorder | None = None,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep | None = None,
) -> None:
    """Train `model.module` in place, measuring with `recorder`, resuming from `checkpoint` if it holds a state.

    Data order depends on (seed, epoch, n) alone and dropout on (seed, step, example), so the run is the same
    whether or not it was interrupted, whether or not it is recorded, and however its batches are laid out.

    Raises:
        ModelError: the training loss is no longer finite.
    """
    module = model.module
    device = next(module.parameters()).device
    parameters = trainable_parameters(module)
    optimizer = torch.optim.AdamW(_groups(parameters, spec.weight_decay), lr=learning_rate, fused=True)
    steps = total_steps(len(data.labels), spec)
    start = checkpoint.load(parameters, optimizer) if checkpoint else None
    if recorder is not None:
        recorder.rewind(-1 if start is None else start)
        recorder.step(module, start or 0)
    module.train()
    saved = time.monotonic()
    for step in range((start or 0) + 1, steps + 1):
        factor = learning_rate_factor(step, steps, warmup=spec.warmup, decay=spec.decay)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * factor
        rows = _batch_rows(step, len(data.labels), spec.batch_size, seed)
        loss = _accumulate(model, data, rows, spec, seed=seed, step=step, device=device)
        norm = float(nn.utils.clip_grad_norm_(parameters.values(), spec.max_grad_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise ModelError(
                f"the run diverged: at step {step} of {steps} the training loss is {loss:g} and its gradient's norm "
                f"{norm:g}. Lower the learning rate (now {learning_rate:g})."
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        measured = recorder.step(module, step) if recorder is not None else False
        if on_step is not None:
            on_step(step, loss)
        if measured and checkpoint and step < steps and time.monotonic() - saved > CHECKPOINT_SECONDS:
            if recorder is not None:
                recorder.flush()  # a checkpoint must not be ahead of the curves on the disk
            checkpoint.save(step, parameters, optimizer)
            saved = time.monotonic()
    if recorder is not None:
        recorder.flush()


def _accumulate(
    model: ScoringModel,
    data: TrainingSet,
    rows: NDArray[np.int64],
    spec: TrainingSpec,
    *,
    seed: int,
    step: int,
    device: torch.device,
) -> float:
    """Add the gradient of the batch's mean loss; the loss in nats.

    The batch is cut into length-sorted micro-batches. Each contributes its summed loss over the whole batch's
    size, and dropout belongs to the example, so the gradient does not depend on the cut.
    """
    order = rows[np.argsort(data.encoded.lengths[rows], kind="stable")]
    stream = stream_seed(seed, "dropout", step)
    total = 0.0
    for part, micro in enumerate(np.array_split(order, min(spec.gradient_accumulation_steps, len(order)))):
        # For whatever draws random numbers without keys.
        torch.manual_seed(stream_seed(seed, "dropout", step, part))
        with _autocast(device, spec.precision):
            scored, logits = model.score_rows(data.encoded, micro, stream=stream)
        labels: Tensor = torch.from_numpy(data.labels[scored]).to(device)
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum") / len(rows)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _batch_rows(step: int, n: int, batch_size: int, seed: int) -> NDArray[np.int64]:
    """Rows of the batch that step `step` (1-based) trains on."""
    per_epoch = math.ceil(n / batch_size)
    epoch, position = divmod(step - 1, per_epoch)
    order = np.random.default_rng(stream_seed(seed, "order", epoch)).permutation(n)
    return order[position * batch_size : (position + 1) * batch_size]


def _groups(parameters: dict[str, nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Decay for matrices; none for biases, normalisation weights and IA3's scales, which are stored as (d, 1)."""
    decayed = {name for name, p in parameters.items() if p.ndim > 1 and ".ia3_l." not in name}
    matrices = [p for name, p in parameters.items() if name in decayed]
    vectors = [p for name, p in parameters.items() if name not in decayed]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
