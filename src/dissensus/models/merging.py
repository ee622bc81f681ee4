"""Adapters folded into the weights that they adapt, for as long as the weights hold still.

PEFT's LoRA layer computes W x and s B A x and adds them: two more products and two more passes over the
activations in every layer. W + s B A is one matrix, much smaller than the activations, so folding costs next
to nothing. For a tracking pass it is folded once (`folded_adapters`); for a training step in full precision at
every step, with the gradient written out (`lean_lora`). No weight is changed, so nothing has to be restored:
the folded matrix lives beside the weights and is dropped.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dissensus.models.insides import present
from dissensus.models.patched import OwnForward, patched_inside

Precision = Literal["fp32", "bf16"]
Forward = Callable[[Tensor], Tensor]

IA3_SCALES = ".ia3_l."
"""Part of the names of IA3's scales, which PEFT stores as matrices of one column."""


@contextlib.contextmanager
def folded_adapters(
    module: nn.Module, precision: Precision = "fp32", *, at_each_call: bool = False
) -> Iterator[None]:
    """While this lasts, LoRA and IA3 layers compute with their folded weight.

    Layers that are more than W + s B A (DoRA, a bias of the adapter, several active adapters) are left to PEFT, and
    so are those that somebody patched or hooked inside: what is there would be left out.

    Args:
        module: the model; in `eval()` mode, since folded layers have no dropout.
        precision: with 'bf16', the linear layers of the model's blocks compute in bf16, their weights converted
            once.
        at_each_call: fold and convert whenever a layer computes: a sharded layer has its weights for so long only.
    """
    replaced: list[tuple[nn.Module, Any]] = []

    def replace(layer: nn.Module, forward: Forward) -> None:
        replaced.append((layer, layer.__dict__.get("forward")))
        layer.__dict__["forward"] = forward

    with torch.no_grad():
        inside: set[int] = set()
        blocks = _inside_blocks(module) if precision == "bf16" else set()
        for layer in module.modules():
            if (
                id(layer) in inside
                or not (_is_adapted(layer) or id(layer) in blocks)
                or patched_inside(layer)
            ):
                continue
            if at_each_call:
                if _is_adapted(layer) or (id(layer) in blocks and _weight(layer) is not None):
                    unfolded = layer.__dict__.get("forward", partial(type(layer).forward, layer))
                    replace(layer, OwnForward(_folded_now, layer, unfolded, id(layer) in blocks))
                continue
            weight_and_bias = _folded(layer)
            if weight_and_bias is not None:
                inside |= {id(child) for child in layer.modules()}
            elif id(layer) in blocks:
                weight_and_bias = _plain(layer)
            if weight_and_bias is None:
                continue
            replace(layer, _linear(weight_and_bias, in_bf16=id(layer) in blocks))
    try:
        yield
    finally:
        for layer, before in replaced:
            del layer.__dict__["forward"]
            if before is not None:
                layer.__dict__["forward"] = before


def _linear(weight_and_bias: tuple[Tensor, Tensor | None], *, in_bf16: bool) -> Forward:
    """The product with a weight (out, in) and bias."""
    weight, bias = weight_and_bias
    if not in_bf16:
        return OwnForward(nn.functional.linear, weight=weight, bias=bias)
    weight = weight.to(torch.bfloat16)
    return OwnForward(_bf16_linear, weight=weight, bias=None if bias is None else bias.to(torch.bfloat16))


def _folded_now(
    layer: nn.Module, forward: Callable[..., Tensor], in_bf16: bool, x: Tensor, *args: Any, **inputs: Any
) -> Tensor:
    """The output of a layer folded at this moment; what its `forward` forward gives where it cannot be folded."""
    with torch.autocast(x.device.type, enabled=False):  # folded in full precision, as once and for all it is
        weight_and_bias = _folded(layer)
    if weight_and_bias is None and in_bf16:
        weight_and_bias = _plain(layer)
    return (
        forward(x, *args, **inputs)
        if weight_and_bias is None
        else _linear(weight_and_bias, in_bf16=in_bf16)(x)
    )


def _is_adapted(layer: nn.Module) -> bool:
    """Whether it is an adapted layer of PEFT's."""
    return hasattr(layer, "base_layer") and hasattr(layer, "active_adapters")


def lean_lora(module: nn.Module) -> int:
    """Let plain LoRA layers train with a folded weight, in place; how many there are.

    The numbers are PEFT's up to rounding: one product with W + s B A instead of three and a sum, and the
    gradients of A and B from the low-rank products that they need. Layers with LoRA dropout, or whose weights
    are not float32 or float64 (folding would round small updates away), are left to PEFT.
    """
    lean = 0
    for layer in module.modules():
        parts = lora_parts(layer)
        if parts is None or parts.dropout > 0 or parts.weight.dtype not in (torch.float32, torch.float64):
            continue
        layer.__dict__["forward"] = OwnForward(_lean_forward, layer)
        lean += 1
    return lean


class LoraParts:
    """The parts of a plain LoRA layer; `weight` is (out, in) whichever way the layer stores it."""

    def __init__(self, layer: Any, adapter: str, weight: Tensor) -> None:
        self.weight = weight
        self.bias: Tensor | None = layer.base_layer.bias
        self.a: Tensor = layer.lora_A[adapter].weight
        self.b: Tensor = layer.lora_B[adapter].weight
        self.scale = float(layer.scaling[adapter])
        self.dropout = float(getattr(layer.lora_dropout[adapter], "p", 0.0))


def lora_parts(layer: Any) -> LoraParts | None:
    """The parts of a layer that is W + s B A and nothing else, or None."""
    if "peft" not in sys.modules or not present("lora layers"):  # without peft no layer is one of its
        return None
    from peft.tuners import lora

    if not isinstance(layer, lora.Linear) or layer.merged or layer.disable_adapters:
        return None
    weight = _weight(layer.base_layer)
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if weight is None or len(active) != 1:
        return None
    (adapter,) = active
    if adapter in layer.lora_variant or layer.lora_bias.get(adapter, False):
        return None
    return LoraParts(layer, adapter, weight)


def _folded(layer: Any) -> tuple[Tensor, Tensor | None] | None:
    """The weight (out, in) and bias of an adapted layer with its adapter folded in; None for other layers."""
    parts = lora_parts(layer)
    if parts is not None:
        if parts.weight.dtype != parts.b.dtype:
            return None
        return torch.addmm(parts.weight, parts.b, parts.a, alpha=parts.scale), parts.bias
    return _folded_ia3(layer)


def _folded_ia3(layer: Any) -> tuple[Tensor, Tensor | None] | None:
    if "peft" not in sys.modules or not present("ia3 layers"):
        return None
    from peft.tuners import ia3

    if not isinstance(layer, ia3.Linear) or layer.merged or layer.disable_adapters:
        return None
    weight, bias = _weight(layer.base_layer), layer.base_layer.bias
    active = [name for name in layer.active_adapters if name in layer.ia3_l]
    if weight is None or len(active) != 1:
        return None
    scale = layer.ia3_l[active[0]].flatten()
    if weight.dtype != scale.dtype:  # a base in half precision: left to PEFT, like LoRA over one
        return None
    if layer.is_feedforward:
        return weight * scale, bias
    return weight * scale[:, None], None if bias is None else bias * scale


def _plain(layer: Any) -> tuple[Tensor, Tensor | None] | None:
    """The weight (out, in) and bias of a plain linear layer; None for other layers."""
    weight = _weight(layer)
    return None if weight is None else (weight, layer.bias)


def _weight(layer: Any) -> Tensor | None:
    """The weight of a plain linear layer as (out, in); None for other layers."""
    if type(layer) is nn.Linear:
        return layer.weight
    if stored_transposed(layer):
        weight: Tensor = layer.weight
        return weight.t()
    return None


def stored_transposed(layer: nn.Module) -> bool:
    """Whether a linear layer stores its weight as (in, out), as GPT-2's do (transformers' Conv1D)."""
    if not present("transposed layers"):
        return False
    from transformers.pytorch_utils import Conv1D

    return type(layer) is Conv1D


def _inside_blocks(module: nn.Module) -> set[int]:
    """Ids of the modules inside the model's stacks of blocks: not embeddings, not heads."""
    stacks = (stack for stack in module.modules() if isinstance(stack, nn.ModuleList))
    return {id(layer) for stack in stacks for layer in stack.modules()}


def _bf16_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return nn.functional.linear(x.to(torch.bfloat16), weight, bias)


def _lean_forward(layer: Any, x: Tensor) -> Tensor:
    parts = lora_parts(layer)
    if parts is None or torch.is_autocast_enabled(x.device.type):
        # Switched off or merged since, or half precision, which would round small updates away when folded.
        plain: Tensor = type(layer).forward(layer, x)
        return plain
    apply: Any = _FoldedLinear.apply
    out: Tensor = apply(x, parts.weight, parts.bias, parts.a, parts.b, parts.scale)
    return out


class _FoldedLinear(torch.autograd.Function):
    """x (W + s B A)' + bias, with W and the bias held fixed."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, a, b)
        ctx.scale = scale
        return nn.functional.linear(x, torch.addmm(weight, b, a, alpha=scale), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b = ctx.saved_tensors
        (grad,) = gradients
        flat, inputs = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        grad_x = None
        if ctx.needs_input_grad[0]:
            # Folded anew: (d x d) numbers, where keeping them would hold a copy of every adapted weight.
            grad_x = (flat @ torch.addmm(weight, b, a, alpha=ctx.scale)).view_as(x)
        # With y = s B A x: dA = s B' dy x', dB = s dy (A x)'.
        grad_a = (flat @ b).mul_(ctx.scale).t() @ inputs
        grad_b = flat.t() @ (inputs @ a.t()).mul_(ctx.scale)
        return grad_x, None, None, grad_a, grad_b, None
