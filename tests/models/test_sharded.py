"""Weights of which a process holds a part are refused, unless the model gathers them; what is around is taken off.

The parts that other libraries make are imitated by name and attribute, which is what they are known by.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dissensus.errors import ModelError
from dissensus.models.wrappers import bare_module


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


class Cut:
    """A placement that cuts a dimension."""

    def is_shard(self) -> bool:
        return True


def fsdp2(*placements: Cut) -> nn.Module:
    """What `fully_shard` leaves: a class of its making, and parameters that are parts."""
    module = FSDPLinear(2, 2)
    for name in ("weight", "bias"):
        setattr(module, name, DTensor(torch.zeros(1, 2)))
        getattr(module, name).placements = placements
    return module


def cut_twice() -> nn.Module:
    return fsdp2(Cut(), Cut())


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
        pytest.param(cut_twice(), id="FSDP2 over tensor parallel"),
        pytest.param(zero_3(), id="ZeRO-3"),
        pytest.param(DeepSpeedEngine(zero_3()), id="DeepSpeed with ZeRO-3"),
        pytest.param(tensor_parallel(), id="tensor parallel"),
        pytest.param(of_some_size(2), id="tensor parallel by its size"),
    ],
)
def test_sharded_weights_are_refused(model: nn.Module) -> None:
    with pytest.raises(ModelError, match=r"sharded over processes .* Record from DDP, FSDP2 .* or a single"):
        bare_module(model)


def test_what_is_around_is_taken_off() -> None:
    inner = of_some_size(1)
    around = DeepSpeedEngine(torch.compile(DistributedDataParallel(nn.DataParallel(inner)), backend="eager"))
    assert bare_module(around) is inner
    assert bare_module(inner) is inner


def test_what_gathers_itself_is_let_through() -> None:
    """FSDP2 below or on top; real processes read such a model in `tests/integrations/test_distributed.py`."""
    inner = fsdp2(Cut())
    assert bare_module(inner) is inner
    around = nn.Sequential(nn.Linear(2, 2), inner)
    assert bare_module(around) is around
