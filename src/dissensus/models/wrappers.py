"""Wrappers of training (DDP, DeepSpeed, compile, Accelerate), taken off for a tracking pass without touching them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

from dissensus.errors import ModelError
from dissensus.models.sharded import parts_of_sharded


def bare_module(model: nn.Module) -> nn.Module:
    """The model inside DDP, DataParallel, DeepSpeed's engine and `torch.compile`.

    The compiled module and the plain one share their weights; a tracking pass through the plain one compiles nothing
    anew for its own shapes, and a DDP wrapper would wait for the other processes. What `fully_shard` has cut (FSDP2) is
    let through: its own forward pass gathers the weights (`sharded.py`).

    Raises:
        ModelError: this process holds a part of the weights only, and no forward pass gathers them in a way that is
            known here (FSDP1, ZeRO stage 3, tensor parallel).
    """
    bare: Any = model
    while True:
        inner = bare.__dict__.get("_modules", {})
        name = type(bare).__name__
        if _is_sharded(bare):
            raise ModelError(
                f"the model is sharded over processes ({name}): each holds a part of the weights, and a tracking pass "
                "needs all of them. Record from DDP, FSDP2 (`fully_shard`) or a single process, or from checkpoints of "
                "the run."
            )
        if "_orig_mod" in inner:
            bare = inner["_orig_mod"]
        elif "module" in inner and (name in ("DistributedDataParallel", "DataParallel") or "Engine" in name):
            bare = inner["module"]
        else:
            module: nn.Module = bare
            return module


@contextlib.contextmanager
def plain_forward(model: nn.Module) -> Iterator[None]:
    """While this lasts, the model's own code runs: nothing that Accelerate or `torch.compile` put around it or inside.

    Tracking has a precision of its own (`precision=`), the same whatever the training's is, so the autocast that
    Accelerate wraps around `forward` is left out. Blocks that are compiled (`module.compile()`, regional compilation)
    would be compiled anew for the shapes and the mode of a tracking pass. And the 4-bit layers of bitsandbytes keep the
    layout of their weights: in `eval()` mode on a CPU with AVX512-BF16 they would change it for good, round what they
    hold, and have no gradient from then on.
    """
    before: list[tuple[dict[str, Any], str, Any]] = []

    def put(attributes: dict[str, Any], name: str, value: Any) -> None:
        before.append((attributes, name, attributes[name]))
        attributes[name] = value

    for module in model.modules():
        attributes = module.__dict__
        if "forward" in attributes and "_original_forward" in attributes:
            put(attributes, "forward", attributes["_original_forward"])
        if "forward" in attributes and "_orig_mod" in attributes["_modules"]:
            put(attributes, "forward", attributes["_modules"]["_orig_mod"])
        if attributes.get("_compiled_call_impl") is not None:
            put(attributes, "_compiled_call_impl", None)
        if attributes.get("support_avx512bf16_for_cpu"):
            put(attributes, "support_avx512bf16_for_cpu", False)
    try:
        yield
    finally:
        for attributes, name, value in reversed(before):
            attributes[name] = value


def _is_sharded(module: nn.Module) -> bool:
    if "FullyShardedDataParallel" in {kind.__name__ for kind in type(module).__mro__}:
        return True
    if (getattr(module, "_tp_size", None) or 1) > 1:  # transformers' tensor parallel
        return True
    gathered = {id(parameter) for parameter in parts_of_sharded(module)}
    # Any of them: tensor parallel leaves the embeddings whole, and ZeRO-3 what is small.
    return any(
        _is_part(parameter) and (id(parameter) not in gathered or _is_cut_twice(parameter))
        for parameter in module.parameters()
    )


def _is_part(parameter: nn.Parameter) -> bool:
    """Whether it is a DTensor (FSDP2, tensor parallel), or the empty placeholder with a `ds_id` of ZeRO stage 3."""
    kinds = {type(parameter).__name__, type(parameter.data).__name__}
    return "DTensor" in kinds or (hasattr(parameter, "ds_id") and parameter.numel() == 0)


def _is_cut_twice(parameter: nn.Parameter) -> bool:
    """Whether `fully_shard` cut what tensor parallel had cut already."""
    cuts = [placement for placement in getattr(parameter, "placements", ()) if placement.is_shard()]
    return len(cuts) > 1
