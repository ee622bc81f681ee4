"""Weights of which a process holds a part are refused; what merely stands around a whole model is taken off.

The parts that other libraries make are imitated by name and attribute, which is what they are known by.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dissensus.errors import ModelError
from dissensus.train.wrappers import bare_module


class DistributedDataParallel(nn.Module):
    """DDP by its name and its attribute, for no process group is needed to look inside."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


class DeepSpeedEngine(DistributedDataParallel):
    """DeepSpeed's engine, by name and attribute."""


class FullyShardedDataParallel(DistributedDataParallel):
    """FSDP, by name."""


class FSDPModule:
    """What `fully_shard` mixes into a module's class."""


class FSDPLinear(FSDPModule, nn.Linear):
    """What it makes of `nn.Linear`."""


class DTensor(nn.Parameter):
    """A parameter that is a part, by name."""


def zero_3() -> nn.Module:
    """Embeddings that ZeRO-3 leaves whole, for they are small, and a layer that it has emptied."""
    module = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2))
    empty = nn.Parameter(torch.empty(0))
    empty.ds_id = 1
    module[1].weight = empty
    return module


def tensor_parallel() -> nn.Module:
    """Embeddings that are whole everywhere, and a layer of which each process has some rows."""
    module = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2))
    module[1].weight = DTensor(torch.zeros(1, 2))
    return module


def of_some_size(size: int) -> nn.Module:
    """What transformers calls tensor parallel."""
    module = nn.Linear(2, 2)
    module._tp_size = size
    return module


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(FullyShardedDataParallel(nn.Linear(2, 2)), id="FSDP"),
        pytest.param(DistributedDataParallel(FullyShardedDataParallel(nn.Linear(2, 2))), id="FSDP in DDP"),
        pytest.param(FSDPLinear(2, 2), id="FSDP2"),
        pytest.param(zero_3(), id="ZeRO-3"),
        pytest.param(DeepSpeedEngine(zero_3()), id="DeepSpeed with ZeRO-3"),
        pytest.param(tensor_parallel(), id="tensor parallel"),
        pytest.param(of_some_size(2), id="tensor parallel by its size"),
    ],
)
def test_sharded_weights_are_refused(model: nn.Module) -> None:
    with pytest.raises(ModelError, match=r"sharded over processes .* Record from DDP or a single process"):
        bare_module(model)


def test_what_is_around_is_taken_off() -> None:
    inner = of_some_size(1)
    around = DeepSpeedEngine(torch.compile(DistributedDataParallel(nn.DataParallel(inner)), backend="eager"))
    assert bare_module(around) is inner
    assert bare_module(inner) is inner
