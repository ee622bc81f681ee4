"""The processes of a distributed run: who does what, and one result for all.

Each process measures a share of the batches. No sampler pads the shares: they are cut from the same list, and what
was measured is put together by row. What goes wrong in one process is raised in all of them, so that none waits for
another that is gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from dissensus import errors
from dissensus.errors import DissensusError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_KNOWN_TO_ALL = "_dissensus_known_to_all"
"""Attribute of an error that every process has been told of, so that an outer `all_or_none` does not tell it again."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those of a run.

    Attributes:
        rank: its number, from 0.
        world_size: how many there are.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, batches: Sequence[T]) -> Sequence[T]:
        """This process' share of the batches: every `world_size`-th."""
        return batches[self.rank :: self.world_size]

    def all_reduce(self, values: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
        """What all processes measured, of which each gives its own rows and 0 elsewhere; the same on every process."""
        if self.world_size == 1:
            return values
        import torch
        import torch.distributed as dist

        tensor = torch.from_numpy(values).to(_where(device))
        dist.all_reduce(tensor)  # a number and zeros: the sum is exact
        return tensor.cpu().numpy()

    def sum(self, value: float, device: torch.device) -> float:
        """The sum of a number over the processes, the same on every one."""
        if self.world_size == 1:
            return value
        import torch
        import torch.distributed as dist

        tensor = torch.tensor([value], dtype=torch.float64, device=_where(device))
        dist.all_reduce(tensor)
        return float(tensor)

    def broadcast(self, numbers: Sequence[int], device: torch.device, *, source: int = 0) -> list[int]:
        """Whole numbers as the process `source` has them, on every process."""
        if self.world_size == 1:
            return list(numbers)
        import torch
        import torch.distributed as dist

        where = _where(device)
        count = torch.tensor([len(numbers)], dtype=torch.long, device=where)
        dist.broadcast(count, source)
        values = torch.zeros(int(count), dtype=torch.long, device=where)
        if self.rank == source:
            values.copy_(torch.tensor(list(numbers), dtype=torch.long))
        dist.broadcast(values, source)
        received: list[int] = values.tolist()
        return received

    def broadcast_array(
        self, values: NDArray[np.float64] | None, device: torch.device
    ) -> NDArray[np.float64] | None:
        """Numbers as the first process has them, bit for bit, on every process; None where it has none."""
        if self.world_size == 1:
            return values
        bits = self.broadcast([] if values is None else values.view(np.int64).tolist(), device)
        return np.array(bits, dtype=np.int64).view(np.float64) if bits else None

    @contextlib.contextmanager
    def all_or_none(self, device: torch.device) -> Iterator[None]:
        """Let all processes do what is inside, or none: what goes wrong in one of them is raised in every one.

        Without it the others would proceed to the next exchange and wait there. Inside, other exchanges may only follow
        a further `all_or_none`, at once: whatever one process does before that, the others are told at that place.

        Raises:
            DissensusError: of the kind and with the message of the first process in which it went wrong; there, and
                in every process that has an error of its own, that one.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as caught:
            if self.world_size == 1 or getattr(caught, _KNOWN_TO_ALL, False):
                raise
            error = caught
        if self.world_size == 1:
            return
        import torch
        import torch.distributed as dist

        failed = torch.tensor([self.world_size if error is None else self.rank], device=_where(device))
        dist.all_reduce(failed, dist.ReduceOp.MIN)
        first = int(failed)
        if first == self.world_size:
            return
        own_error = "" if error is None else f"{type(error).__name__}\n{error}"
        text = bytes(self.broadcast(list(own_error.encode()), device, source=first)).decode()
        if error is None:
            kind, _, message = text.partition("\n")
            error = error_like(kind, message, first)
        setattr(error, _KNOWN_TO_ALL, True)
        raise error


class EvenProcessGroup(ProcessGroup):
    """Processes that must all make as many forward passes: each holds a part of the weights, and they gather them.

    Whoever has a batch less than the others reads the first one once more, and throws the result away.

    Attributes:
        counted: how many batches of the last share count.
    """

    counted: int

    def share(self, batches: Sequence[T]) -> Sequence[T]:
        """This process' share of the batches, and one more where others have one more."""
        own_batches = super().share(batches)
        object.__setattr__(self, "counted", len(own_batches))
        missing = -(-len(batches) // self.world_size) - len(own_batches)
        return [*own_batches, *batches[:missing]]


def error_like(kind: str, message: str, rank: int) -> Exception:
    """An error of another process: of its kind if that is one of ours, else one that says what it was.

    Args:
        kind: the name of its class.
        message: what it says.
        rank: the process.
    """
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, DissensusError):
        return known(message) if known is not errors.MissingDependencyError else DissensusError(message)
    return RuntimeError(f"{kind} in process {rank}: {message}")


def _where(device: torch.device) -> torch.device:
    """Where numbers must lie to be exchanged: NCCL and its like move what is on the device, gloo what is not."""
    import torch
    import torch.distributed as dist

    kinds = {
        pair.split(":")[0] for pair in getattr(dist, "get_backend_config", dist.get_backend)().split(",")
    }  # such as "cpu:gloo,cuda:nccl"
    if kinds & {"cpu", "gloo"}:
        return torch.device("cpu")
    # Weights may wait in the CPU's memory (FSDP's offload), which such a backend cannot read.
    return torch.device("cuda") if device.type == "cpu" and "cuda" in kinds else device


def process_group() -> ProcessGroup:
    """The processes of the run that this one is part of; one where torch.distributed is not in use."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return ProcessGroup()
    return ProcessGroup(dist.get_rank(), dist.get_world_size())
