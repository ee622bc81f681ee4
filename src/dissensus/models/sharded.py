"""Weights of which each process holds a part (torch's `fully_shard`, called FSDP2), as training and tracking meet them.

A block's weights are gathered when its forward pass begins and dropped when it ends, so a pass goes through the
module's own `forward`, every process makes as many passes as the others, and nothing that is computed from weights
outlives a block. A parameter is a `DTensor`: this process' part, and how the whole is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from dissensus.errors import ModelError

EntryT = TypeVar("EntryT", bound=nn.Module)


def shard(entry: EntryT, device: torch.device, *, cpu_offload: bool = False) -> EntryT:
    """Leave each process a part of the weights under `entry`, in place: block by block, and the rest as one.

    Args:
        entry: what the model is called through from now on.
        device: where it computes.
        cpu_offload: parts wait in the CPU's memory; of no effect where the CPU computes.

    Raises:
        ModelError: the weights have kinds that cannot be cut.
    """
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    ints = [name for name, p in entry.named_parameters() if not p.is_floating_point()]
    if ints:
        raise ModelError(
            f"quantised weights cannot be sharded ({ints[0]} is one). Leave out sharding: fsdp (a 4-bit base is "
            "small), or quantization"
        )
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    # From the CPU to the CPU nothing is moved, and pinned memory needs a GPU.
    offload = CPUOffloadPolicy() if cpu_offload and device.type != "cpu" else OffloadPolicy()
    try:
        for block in _blocks(entry):
            fully_shard(block, mesh=mesh, offload_policy=offload, reshard_after_forward=True)
        fully_shard(entry, mesh=mesh, offload_policy=offload, reshard_after_forward=False)
    except (AssertionError, NotImplementedError, ValueError) as error:
        raise ModelError(f"the model's weights could not be sharded over processes: {error}") from None
    return entry


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The transformer's layers: what the outermost stacks hold."""
    blocks: list[nn.Module] = []
    inside: set[int] = set()
    for stack in module.modules():
        if isinstance(stack, nn.ModuleList) and id(stack) not in inside:
            inside |= {id(part) for part in stack.modules()}
            blocks += [block for block in stack if next(block.parameters(), None) is not None]
    return blocks


def sharded_modules(module: nn.Module) -> list[Any]:
    """The modules below (and with) this one that `fully_shard` was called on, outermost first."""
    return [part for part in module.modules() if _is_fsdp2(part)]


def _is_fsdp2(module: nn.Module) -> bool:
    # By name, as in `wrappers`: importing what sharding needs takes long, and nobody shards without it.
    return "FSDPModule" in {kind.__name__ for kind in type(module).__mro__}


def parts_of_sharded(module: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that `fully_shard` cut or looks after."""
    for part in sharded_modules(module):
        yield from part.parameters()


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which this process may hold a part; every process must ask for it."""
    full: Any = getattr(tensor, "full_tensor", None)
    full_tensor: Tensor = tensor if full is None else full()
    return full_tensor


def part_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This process' part of a whole tensor, cut and kept as `like` is; a whole tensor where that is one.

    Every process must call it with the same tensor.
    """
    mesh = getattr(like, "device_mesh", None)
    if mesh is None:
        return tensor.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    sharded: Any = torch.zeros_like(like, dtype=tensor.dtype)
    cut: Any = distribute_tensor(tensor.to(mesh.device_type), mesh, like.placements)  # type: ignore[attr-defined]
    sharded.to_local().copy_(cut.to_local())
    part: Tensor = sharded
    return part


def computes_on(module: nn.Module) -> torch.device:
    """The device on which a model computes; its weights may wait elsewhere (FSDP's offload)."""
    first = next(module.parameters())
    mesh = getattr(first, "device_mesh", None)
    if mesh is None or mesh.device_type == "cpu":
        return first.device
    return torch.device(mesh.device_type, torch.get_device_module(mesh.device_type).current_device())


class Whole(nn.Module):
    """A sharded model that nobody takes apart: only its own forward pass gathers the weights.

    What asks a model for its body and head finds none here, and falls back on the forward pass.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.config: Any = getattr(model, "config", None)

    def forward(self, *args: Any, **inputs: Any) -> Any:
        """The model's own."""
        return self.model(*args, **inputs)
