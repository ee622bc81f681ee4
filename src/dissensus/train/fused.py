"""Fused training: several LoRA runs over one frozen model, trained in one pass per step.

Each run stays what it is alone: a `ScoringModel` of its own with adapters and head, its own data, optimiser,
schedule, recorder and checkpoint (`loop.TrainingRun`). Only the pass through the body is common. Each run draws its
next batch; the batches are laid end to end, slot after slot, in one packed row; the first model's body reads it, each
slot's rows by that slot's factors (`fused_layers`); each head scores its own features; one backward pass of the sum
of the losses gives every slot the gradient that it would have alone. Dropout belongs to (seed, step, example), so it
is the same too.

A run needs not stand at the same step as the others, nor end with them: each takes its own next step, and whoever
is done, or diverges, leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dissensus.errors import ModelError
from dissensus.models.fused_layers import FusedLayers
from dissensus.models.packing import PackedBatch, concatenated, pack
from dissensus.models.scoring import ScoringModel
from dissensus.seeds import stream_seed
from dissensus.train.loop import TrainingRun, autocast, micro_batches
from dissensus.train.loss import BatchLoss

Ended = tuple[int, Exception | None]
"""(which run, what ended it before its time)."""


def share_frozen_weights(model: ScoringModel, base: ScoringModel) -> None:
    """Let the frozen weights of `model` be those of `base`, which keep one place in memory.

    A module that was drawn, for the checkpoint lacks it, stays each model's own: it differs from seed to seed, trained
    or not (`method.also_train`).

    Raises:
        ModelError: the two were not loaded from the same weights.
    """
    if model.fingerprint != base.fingerprint:
        raise ModelError(
            f"{model.origin} now holds other weights ({model.fingerprint}) than a moment ago ({base.fingerprint}): "
            "its files have changed. Run again."
        )
    base_weights = dict(base.module.named_parameters())
    for name, parameter in model.module.named_parameters():
        # PEFT keeps what the trained copy of the head was made from, which is each seed's own.
        drawn = any(f".{module}." in f".{name}" for module in model.fresh)
        if not (parameter.requires_grad or drawn or ".original_module." in name):
            parameter.data = base_weights[name].data


def train_fused(runs: Sequence[TrainingRun], *, stacked: bool | None = None) -> Iterator[Ended]:
    """Take every run to its end, a step of each at a time; an iterator, which trains as it is read.

    Args:
        runs: their models have equal frozen weights, and train plain LoRA without dropout; they are on one device
            and in one precision.
        stacked: one batched product for the factors of all slots; default: on anything but a CPU.

    Yields:
        Each run's place in `runs` as soon as it has ended, and what went wrong with it alone (a loss that is not
        finite, a full disk). The others continue.

    Raises:
        ModelError: the runs do not fit together. Whatever else goes wrong in the common pass ends all of them.
    """
    if len({(run.device, run.spec.precision) for run in runs}) > 1:
        raise ModelError(
            "runs that are trained in one pass differ in device or precision; group them by both"
        )
    live = dict(enumerate(runs))
    for place, run in enumerate(runs):
        error = _attempt(run.begin)
        if error is not None or run.done:
            del live[place]
            yield place, error or _attempt(run.end)
    layers, of = None, list[int]()
    while live:
        if layers is None or of != list(live):
            of = list(live)
            by_batch = runs[0].device.type != "cpu" if stacked is None else stacked
            layers = FusedLayers([run.model for run in live.values()], stacked=by_batch)
        losses, norms = _gradients(list(live.values()), layers)
        for place, loss, norm in zip(of, losses, norms, strict=True):
            run = live[place]
            error = _attempt(partial(run.update, loss, norm))
            if error is not None or run.done:
                del live[place]
                yield place, error or _attempt(run.end)


def _gradients(runs: Sequence[TrainingRun], layers: FusedLayers) -> tuple[list[float], list[float]]:
    """Give every run the clipped gradient of its next batch; each one's loss in nats, and its gradient's norm."""
    rows = [run.batch_rows() for run in runs]
    parts = [micro_batches(run.data, of_run, run.spec) for run, of_run in zip(runs, rows, strict=True)]
    layers.refresh()
    wholes = [BatchLoss(run.data, of_run) for run, of_run in zip(runs, rows, strict=True)]
    losses: list[list[Tensor]] = [[] for _ in runs]
    for part, micro in enumerate(zip_longest(*parts)):
        # For whatever draws random numbers without keys.
        torch.manual_seed(stream_seed(runs[0].seed, "dropout", runs[0].taken + 1, part))
        shares = _losses(runs, micro, wholes, layers)
        torch.stack(list(shares.values())).sum().backward()  # type: ignore[no-untyped-call]
        for slot, share in shares.items():
            losses[slot].append(share.detach())
    layers.hand_out_gradients()
    norms = torch.stack([run.clip() for run in runs]).tolist()
    # One wait for the device, and not one per run.
    flat = iter(torch.stack([loss for of_run in losses for loss in of_run]).tolist())
    return [sum(next(flat) for _ in of_run) for of_run in losses], norms


def _losses(
    runs: Sequence[TrainingRun],
    micro: Sequence[NDArray[np.int64] | None],
    wholes: Sequence[BatchLoss],
    layers: FusedLayers,
) -> dict[int, Tensor]:
    """Slot -> what the examples `micro[slot]` add to its batch's loss, shape (), for the slots that have some."""
    device = runs[0].device
    taking = {slot: rows for slot, rows in enumerate(micro) if rows is not None}
    batches: dict[int, PackedBatch] = {}
    try:
        with autocast(device, runs[0].spec.precision):
            for slot, rows in taking.items():
                run = runs[slot]
                batches[slot] = pack(run.data.encoded, rows, pin=device.type == "cuda").to(device)
                run.model.key_dropout(batches[slot], stream_seed(run.seed, "dropout", run.taken + 1))
            features = _features(runs, batches, layers)
            logits = {slot: runs[slot].model.score(read) for slot, read in features.items()}
    finally:
        for run in runs:
            run.model.dropout.clear()
    return {slot: wholes[slot].part(score, batches[slot].rows) for slot, score in logits.items()}


def _features(
    runs: Sequence[TrainingRun], batches: dict[int, PackedBatch], layers: FusedLayers
) -> dict[int, Tensor]:
    """Slot -> what its head reads of its examples, shape (b, d): one pass of the first model's body for all."""
    host = runs[0].model
    examples = [len(batches[slot].rows) if slot in batches else 0 for slot in range(len(runs))]
    tokens = [int(batches[slot].lengths.sum()) if slot in batches else 0 for slot in range(len(runs))]
    keys = [runs[slot].model.dropout for slot in batches]
    with host.dropout.joined(keys), layers.reading(tokens, examples, device=runs[0].device):
        features = host.features(concatenated(list(batches.values())))
    return {slot: part for slot, part in enumerate(torch.split(features, examples)) if slot in batches}


def _attempt(action: Callable[[], None]) -> Exception | None:
    """Do what concerns one run alone; what went wrong."""
    try:
        action()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other runs have no part in it
        return error
    return None
