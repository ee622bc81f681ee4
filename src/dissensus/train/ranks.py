"""The processes of a distributed run, as a tracking pass sees them: who measures what, and one result for all.

Every process holds the same weights (DDP), so each measures a share of the batches. No sampler pads the shares: they
are cut from the same list, and what was measured is put together by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those of a run.

    Attributes:
        rank: its number, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, batches: Sequence[T]) -> Sequence[T]:
        """This process' share of the batches: every `world`-th."""
        return batches[self.rank :: self.world]

    def together(self, values: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
        """What all processes measured, of which each gives its own rows and 0 elsewhere; the same on every process."""
        if self.world == 1:
            return values
        import torch
        import torch.distributed as dist

        tensor = torch.from_numpy(values).to(_where(device))
        dist.all_reduce(tensor)  # a number and zeros: the sum is exact
        return tensor.cpu().numpy()

    def agreed(self, numbers: Sequence[int], device: torch.device) -> list[int]:
        """Whole numbers as the first process has them, on every process."""
        if self.world == 1:
            return list(numbers)
        import torch
        import torch.distributed as dist

        where = _where(device)
        count = torch.tensor([len(numbers)], dtype=torch.long, device=where)
        dist.broadcast(count, 0)
        values = torch.zeros(int(count), dtype=torch.long, device=where)
        if self.first:
            values.copy_(torch.tensor(list(numbers), dtype=torch.long))
        dist.broadcast(values, 0)
        found: list[int] = values.tolist()
        return found


def _where(device: torch.device) -> torch.device:
    """Where numbers must lie to be exchanged: NCCL and its like move what is on the device, gloo what is not."""
    import torch
    import torch.distributed as dist

    kinds = {
        pair.split(":")[0] for pair in dist.get_backend_config().split(",")
    }  # such as "cpu:gloo,cuda:nccl"
    return torch.device("cpu") if "cpu" in kinds else device


def ranks() -> Ranks:
    """The processes of the run that this one is part of; one where torch.distributed is not in use."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return Ranks()
    return Ranks(dist.get_rank(), dist.get_world_size())
