"""Bases in bf16, in fp16 or in 4 bits (NF4), under adapters and heads in fp32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dissensus.config import ModelSpec
from dissensus.errors import MissingDependencyError, ModelError
from dissensus.models.insides import present

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_NOT_QUANTISED = [
    rf"(?:.*\.)?{name}"
    for name in ("classifier", "pre_classifier", "score", "pooler", "head", "lm_head", "embed_out")
]
"""Modules outside a transformer's blocks (patterns): heads, of which there is one, and whose digits count."""


def quantized(spec: ModelSpec, device: torch.device) -> dict[str, Any]:
    """Arguments of `from_pretrained` for a base in 4 bits, made on `device`.

    Raises:
        MissingDependencyError: bitsandbytes is missing.
    """
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise MissingDependencyError(
            "bitsandbytes", "quantization", f"quantization: {spec.quantization}"
        ) from None
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=spec.quantization,
        bnb_4bit_compute_dtype=DTYPES[spec.dtype],
        llm_int8_skip_modules=_NOT_QUANTISED,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def keep_in_float32(module: Any, fresh: Sequence[str], seed: int) -> None:
    """Draw the modules that the checkpoint lacked anew in float32, in place, and let them compute in it.

    Args:
        module: a transformers model, as `from_pretrained` made it.
        fresh: names of those modules.
        seed: what they are drawn from; over an fp32 base it gives them the same numbers.

    Raises:
        ModelError: such a module was quantised.
    """
    heads = [module.get_submodule(name) for name in fresh]
    for name, head in zip(fresh, heads, strict=True):
        if not all(parameter.is_floating_point() for parameter in head.parameters()):
            raise ModelError(
                f"the fresh module {name!r} was quantised; leave out quantization for this architecture"
            )
        head.float()
        head.register_forward_pre_hook(_in_own_precision)
    if not present("fresh weights"):
        return
    # transformers draws what is not marked as drawn, as when it loaded the model; some do so from outside the head.
    anew = {id(part) for head in heads for part in (*head.modules(), *head.parameters())}
    around = {
        id(part) for part in module.modules() if any(id(head) in map(id, part.modules()) for head in heads)
    }
    for part in (*module.modules(), *module.parameters(), *module.buffers()):
        part._is_hf_initialized = id(part) not in anew | around
    device = next(module.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        module.initialize_weights()


def keep_layout(module: nn.Module) -> None:
    """Keep 4-bit layers from packing their weights anew for a CPU's bf16 units, in place.

    In `eval()` mode they would, for good: what they hold is rounded, and has no gradient from then on.
    """
    for layer in module.modules():
        if getattr(layer, "support_avx512bf16_for_cpu", False):
            layer.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def _in_own_precision(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give a head over a base of less precision what it reads in its own."""
    dtype = next(module.parameters()).dtype
    return tuple(
        value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
        for value in inputs
    )


def stored_numbers(parameter: nn.Parameter) -> Iterator[Tensor]:
    """The tensors that a weight consists of: itself, and what its 4-bit digits are scaled by."""
    yield parameter
    state = getattr(parameter, "quant_state", None)
    if state is not None:
        for _, value in sorted(state.as_dict(packed=True).items()):
            if isinstance(value, Tensor):
                yield value


def answer_in_own_precision(module: nn.Module) -> None:
    """Let IA3 over 4-bit layers answer in the precision of their input, in place.

    PEFT 0.21's answer in float32, which the rest of a bf16 base cannot read.
    """
    for layer in module.modules():
        if type(layer).__name__ == "Linear4bit" and hasattr(layer, "ia3_l"):
            layer.register_forward_hook(_in_precision_of_input)


def _in_precision_of_input(_module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
    return out.to(inputs[0].dtype)
