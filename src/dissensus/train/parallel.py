"""One model trained by several processes: each reads a part of every batch, and the gradients are added up.

`none` leaves the whole model on every process (DDP, by way of Accelerate); `fsdp` leaves a part of its weights on each
(`fully_shard`; Accelerate's own way there does not know CPUs). Both listen to the forward pass of the module that they
wrap, and what is called here are parts of a model; so both wrap a `ForwardWrapper`, through which they are called.

A batch is dealt out by length, so that each process has about as many tokens. No row is dealt twice and none is made
up: a process that has none in some part reads one with a weight of nothing, for the others wait for its gradient.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dissensus.errors import MissingDependencyError
from dissensus.models.sharded import shard
from dissensus.record.processes import ProcessGroup, process_group

if TYPE_CHECKING:
    from dissensus.models.scoring import ScoringModel

T = TypeVar("T")
Sharding = Literal["none", "fsdp"]


class ForwardWrapper(nn.Module):
    """A module whose forward pass is whatever is to be computed with the parts of another."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, work: Callable[[], T]) -> T:
        """What `work()` gives; it holds tensors that a gradient may come back to."""
        return work()


@dataclass(frozen=True)
class ParallelTraining:
    """The processes that train one model together, as the loop of one of them sees them.

    Attributes:
        group: this process among them.
        wrapped: the DDP module around the model; None where there is none.
        root: the sharded module around the model; None where there is none.
    """

    group: ProcessGroup = field(default_factory=ProcessGroup)
    wrapped: Any = None
    root: nn.Module | None = None

    def share(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process' rows of a batch, given the batch's rows and their lengths; see `balanced_share`."""
        if self.group.world_size == 1:
            return rows
        return balanced_share(rows, lengths, self.group)

    def parts(self, rows: int, wanted: int) -> int:
        """Into how many parts every process cuts its share of a batch of `rows`, at most `wanted`."""
        return min(wanted, -(-rows // self.group.world_size))

    @contextlib.contextmanager
    def exchanging(self, last: bool) -> Iterator[None]:
        """While this lasts a backward pass adds gradients up over processes; DDP once per step, at the last part."""
        with contextlib.nullcontext() if last or self.wrapped is None else self.wrapped.no_sync():
            yield


def balanced_share(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], group: ProcessGroup
) -> NDArray[np.int64]:
    """This process' share of a batch: longest first, forth and back, so that tokens are balanced.

    Args:
        rows: the batch, the same on every process.
        lengths: tokens of each.
        group: this process among the others; the shares differ by a row at most.
    """
    order = rows[np.argsort(-lengths, kind="stable")]
    place = np.arange(len(order)) % (2 * group.world_size)
    own_rows: NDArray[np.int64] = order[np.minimum(place, 2 * group.world_size - 1 - place) == group.rank]
    return own_rows


def parallel_training(
    model: ScoringModel,
    sharding: Sharding = "none",
    *,
    device: torch.device | None = None,
    cpu_offload: bool = False,
) -> ParallelTraining:
    """Let all processes of the process group train `model` together, in place; alone where there is no group.

    Every process calls this with the same model, made trainable and not yet given to an optimiser.

    Args:
        model: afterwards its parts are called through a wrapper.
        sharding: 'none': the whole model on every process; 'fsdp': a part of its weights.
        device: with 'fsdp': where the model computes; its weights may be elsewhere yet. Default: where they are.
        cpu_offload: with 'fsdp': weights wait in the CPU's memory.

    Raises:
        ModelError: the weights cannot be sharded.
        MissingDependencyError: Accelerate is missing.
    """
    group = process_group()
    if sharding == "fsdp":
        model.placed = device or model.device  # its weights may wait elsewhere from now on
        model.entry = root = shard(ForwardWrapper(model.module), model.placed, cpu_offload=cpu_offload)
        return ParallelTraining(group, root=root)
    if group.world_size == 1:
        return ParallelTraining(group)
    wrapped = _ddp(model)
    model.entry = wrapped
    return ParallelTraining(group, wrapped)


def _ddp(model: ScoringModel) -> Any:
    try:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs
    except ImportError:
        raise MissingDependencyError("accelerate", "train", "training a cell on several processes") from None
    options = DistributedDataParallelKwargs(
        # Buffers are constants here, and a tracking pass must not wait for another process.
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
        # Looking for them at each step costs time; not looking where there are some is an error.
        find_unused_parameters=_has_unused(model),
    )
    accelerator = Accelerator(
        cpu=model.device.type == "cpu",
        mixed_precision="no",  # the loop's own business, whatever `accelerate config` says
        device_placement=False,
        kwargs_handlers=[options],
    )
    with warnings.catch_warnings():
        # Accelerate knows `broadcast_buffers` by the name that torch 2.13 is about to retire: theirs to settle.
        warnings.simplefilter("ignore", FutureWarning)
        return accelerator.prepare_model(ForwardWrapper(model.module))


def _has_unused(model: ScoringModel) -> bool:
    """Whether the loss of one short text leaves a trainable weight without a gradient."""
    from dissensus.models.encoding import Encoded

    text = Encoded(("",), ((model.pad_id, model.pad_id),), None, 0)
    modes = [(module, module.training) for module in model.module.modules()]
    model.module.train()
    with torch.random.fork_rng(devices=[]):
        _, logits = model.score_rows(text, [0], stream=0)
        cast(Any, logits.sum()).backward()
    weights = [p for p in model.module.parameters() if p.requires_grad]
    unused = any(p.grad is None for p in weights)
    for parameter in weights:
        parameter.grad = None
    for module, training in modes:
        module.training = training
    return unused
