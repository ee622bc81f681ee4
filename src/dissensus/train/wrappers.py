"""What training puts around a model, taken off for a tracking pass without touching it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn

from dissensus.errors import ModelError


def bare_module(model: nn.Module) -> nn.Module:
    """The model inside DDP, DataParallel, DeepSpeed's engine and `torch.compile`.

    The compiled module and the plain one share their weights; a tracking pass through the plain one compiles nothing
    anew for its own shapes, and a DDP wrapper would wait for the other processes.

    Raises:
        ModelError: this process holds a part of the weights only (FSDP, ZeRO stage 3).
    """
    found: Any = model
    while True:
        inner = found.__dict__.get("_modules", {})
        name = type(found).__name__
        if _is_sharded(found):
            raise ModelError(
                f"the model is sharded over processes ({name}): each holds a part of the weights, and a tracking pass "
                "needs all of them. Record from DDP or a single process, or from checkpoints of the run."
            )
        if "_orig_mod" in inner:
            found = inner["_orig_mod"]
        elif "module" in inner and (name in ("DistributedDataParallel", "DataParallel") or "Engine" in name):
            found = inner["module"]
        else:
            module: nn.Module = found
            return module


@contextlib.contextmanager
def plain_forward(model: nn.Module) -> Iterator[None]:
    """While this lasts, the model's own forward pass runs without the autocast that Accelerate wraps around it.

    Tracking has a precision of its own (`precision=`), the same whatever the training's is.
    """
    wrapped = [m for m in model.modules() if "_original_forward" in m.__dict__ and "forward" in m.__dict__]
    before = [m.__dict__["forward"] for m in wrapped]
    for module in wrapped:
        module.__dict__["forward"] = module.__dict__["_original_forward"]
    try:
        yield
    finally:
        for module, forward in zip(wrapped, before, strict=True):
            module.__dict__["forward"] = forward


def _is_sharded(module: nn.Module) -> bool:
    names = {kind.__name__ for kind in type(module).__mro__}
    if names & {"FullyShardedDataParallel", "FSDPModule"}:
        return True
    first = next(module.parameters(), None)
    # DTensor (FSDP2, tensor parallel) and DeepSpeed ZeRO-3, which leaves an empty placeholder with a `ds_id`.
    return first is not None and (type(first).__name__ == "DTensor" or type(first.data).__name__ == "DTensor"
                                  or (hasattr(first, "ds_id") and first.numel() == 0))  # fmt: skip
