"""The LoRA layers of several models over the same frozen weights, as one model reads the rows of all of them.

The rows of a pass are grouped by slot: first those of the first model, then those of the second, and so on. The
first model's body reads them all. In each of its adapted layers the frozen weight is applied once to every row,
and each slot's rows meet that slot's low-rank factors, either in one batched product for all slots (`stacked`,
for accelerators, where each small product would be a launch of its own) or slot by slot, by the very layers that
train alone (for a CPU, where a batched product gains nothing).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dissensus.errors import ModelError
from dissensus.models.insides import present
from dissensus.models.merging import LoraParts, lora_parts
from dissensus.models.scoring import ScoringModel

_HEADS_OWN = "pooler."
"""Part of BERT's body by name, and of its head by use: it reads one token of each example (`ScoringModel.score`)."""


def obstacle(model: ScoringModel) -> str | None:
    """Why a model's body cannot read the rows of other slots, in words; None where it can."""
    if not model.packs:
        return "its architecture does not read packed rows"
    layers = _adapted(model).values()
    factors = {id(f) for parts in map(_plain, layers) if parts is not None for f in (parts.a, parts.b)}
    for name, parameter in model.body.named_parameters():
        if parameter.requires_grad and not name.startswith(_HEADS_OWN) and id(parameter) not in factors:
            return f"{name} is trained in its body, and is no factor of plain LoRA without dropout"
    return None


class FusedLayers:
    """The adapted layers of K models, one a slot, for passes of the first one's body.

    The slots may differ in rank: factors are padded to the largest with zeros, in A and in B alike, so that the
    padding adds nothing to any row and its gradient is zero.

    Args:
        models: the slots, with equal frozen weights.
        stacked: one batched product for all slots; otherwise slot by slot.

    Raises:
        ModelError: the models differ in their weights or adapted layers, or train more than LoRA in the body.
    """

    def __init__(self, models: Sequence[ScoringModel], *, stacked: bool) -> None:
        for model in models:
            reason = obstacle(model)
            if reason is not None:
                raise ModelError(f"{model.origin} cannot be trained in one pass with others: {reason}")
        by_slot = [_adapted(model) for model in models]
        if any(m.fingerprint != models[0].fingerprint for m in models) or any(
            layers.keys() != by_slot[0].keys() for layers in by_slot
        ):
            raise ModelError(
                "models that are trained in one pass have other weights or other adapted layers than the first; "
                "group them by model and targets"
            )
        make = _StackedLayer if stacked else _LayerBySlot
        self._layers = [make([layers[name] for layers in by_slot]) for name in by_slot[0]]

    def refresh(self) -> None:
        """Take over the slots' factors as they are now; once before the passes of a step."""
        for layer in self._layers:
            layer.refresh()

    @contextlib.contextmanager
    def reading(self, *sizes: Sequence[int], device: torch.device) -> Iterator[None]:
        """While this lasts, the first model's layers read rows of all slots.

        Args:
            sizes: how many rows each slot has (0: none in this pass), for every number of rows in all that a
                layer may meet: tokens, and label tokens alone.
            device: where the rows are.
        """
        rows = {sum(each): _Rows(each, device) for each in sizes}
        before = [layer.host.__dict__.get("forward") for layer in self._layers]
        for layer in self._layers:
            layer.host.__dict__["forward"] = partial(layer.forward, rows)
        try:
            yield
        finally:
            for layer, forward in zip(self._layers, before, strict=True):
                del layer.host.__dict__["forward"]
                if forward is not None:
                    layer.host.__dict__["forward"] = forward

    def hand_out_gradients(self) -> None:
        """Give each slot's factors their gradients; once after the passes of a step."""
        for layer in self._layers:
            layer.hand_out_gradients()


class _Rows:
    """Which rows are whose: `sizes[0]` rows of slot 0, then `sizes[1]` of slot 1, ..."""

    def __init__(self, sizes: Sequence[int], device: torch.device) -> None:
        self.sizes = list(sizes)
        self._longest = max(sizes)
        self._even = min(sizes) == self._longest
        inside = np.arange(self._longest) < np.array(self.sizes)[:, None]
        self._places = torch.from_numpy(np.flatnonzero(inside)).to(device, non_blocking=True)

    def spread(self, rows: Tensor) -> Tensor:
        """Rows (N, d), slot after slot, as (K, longest, d), padded with zeros."""
        if not self._even:
            empty = rows.new_zeros(len(self.sizes) * self._longest, rows.shape[1])
            rows = empty.index_copy(0, self._places, rows)
        return rows.view(len(self.sizes), self._longest, -1)

    def gathered(self, spread: Tensor) -> Tensor:
        """The inverse of `spread`."""
        rows = spread.flatten(0, 1)
        return rows if self._even else rows.index_select(0, self._places)


class _LayerBySlot:
    """One layer of all slots, each slot's rows read by its own layer as it would be alone."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.host = layers[0]
        self._forwards: list[Callable[[Tensor], Tensor]] = [layer.forward for layer in layers]

    def refresh(self) -> None:
        """Nothing: the layers hold their factors themselves."""

    def forward(self, rows: dict[int, _Rows], x: Tensor) -> Tensor:
        """The layer's output for rows (.., in) of all slots."""
        flat = x.reshape(-1, x.shape[-1])
        parts = torch.split(flat, rows[len(flat)].sizes)
        read = [forward(part) for forward, part in zip(self._forwards, parts, strict=True) if len(part)]
        return torch.cat(read).view(*x.shape[:-1], -1)

    def hand_out_gradients(self) -> None:
        """Nothing: autograd did."""


class _StackedLayer:
    """One layer of all slots, their factors stacked: A (K, R, in), B (K, out, R), where R is the largest rank."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.host = layers[0]
        slots = [parts for layer in layers if (parts := _plain(layer)) is not None]
        assert len(slots) == len(layers)  # else there was an obstacle
        self._slots = slots
        self._scale = torch.tensor([s.scale for s in slots], dtype=slots[0].a.dtype, device=slots[0].a.device)
        rank = max(len(s.a) for s in slots)
        self._a = slots[0].a.new_zeros(len(slots), rank, slots[0].a.shape[1], requires_grad=True)
        self._b = slots[0].b.new_zeros(len(slots), len(slots[0].b), rank, requires_grad=True)
        self._stacked = [self._a.detach()[k, : len(s.a)] for k, s in enumerate(slots)]
        self._stacked += [self._b.detach()[k, :, : len(s.a)] for k, s in enumerate(slots)]

    def refresh(self) -> None:
        """Copy the slots' factors into the stacks."""
        factors = [s.a.detach() for s in self._slots] + [s.b.detach() for s in self._slots]
        if present("copies of lists"):
            torch._foreach_copy_(self._stacked, factors)
            return
        for stacked, factor in zip(self._stacked, factors, strict=True):
            stacked.copy_(factor)

    def forward(self, rows: dict[int, _Rows], x: Tensor) -> Tensor:
        """The layer's output for rows (.., in) of all slots."""
        parts = self._slots[0]
        out = nn.functional.linear(x, parts.weight, parts.bias)
        flat = x.reshape(-1, x.shape[-1])
        whose = rows[len(flat)]
        low = torch.bmm(whose.spread(flat), self._a.transpose(1, 2))
        low = low * self._scale[:, None, None].to(low.dtype)
        return out + whose.gathered(torch.bmm(low, self._b.transpose(1, 2))).view_as(out)

    def hand_out_gradients(self) -> None:
        """Each slot's part of the stacks' gradients; the padding's is zero."""
        if self._a.grad is None or self._b.grad is None:
            return
        for k, slot in enumerate(self._slots):
            rank = len(slot.a)
            slot.a.grad = self._a.grad[k, :rank]
            slot.b.grad = self._b.grad[k, :, :rank].contiguous()
        self._a.grad = self._b.grad = None


def _adapted(model: ScoringModel) -> dict[str, Any]:
    """LoRA layers of the body by name, those that belong to the head left out."""
    if not hasattr(model.module, "get_base_model") or not present("lora layers"):
        return {}
    from peft.tuners import lora

    return {
        name: layer
        for name, layer in model.body.named_modules()
        if isinstance(layer, lora.LoraLayer) and not name.startswith(_HEADS_OWN)
    }


def _plain(layer: nn.Module) -> LoraParts | None:
    """The parts of a layer that is W + s B A and nothing else, or None."""
    parts = lora_parts(layer)
    return None if parts is None or parts.dropout > 0 else parts
