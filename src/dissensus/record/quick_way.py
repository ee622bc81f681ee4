"""Quick way or the model's own forward pass: one decision for all processes at a tracking point.

The quick way gives the model's own numbers, or it is not taken: a few examples are asked about both ways. A process
that finds a difference, has no memory for the question, or fails, takes all the others along.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from dissensus.models.memory import free_memory, is_out_of_memory

if TYPE_CHECKING:
    import torch

    from dissensus.record.processes import ProcessGroup

log = logging.getLogger("dissensus")

Broken = (TypeError, ValueError, AttributeError, RuntimeError, IndexError)
"""What a model that is not built as its class says may raise."""

NO_MEMORY = "not enough memory to compare it with the model's own forward pass"


def why_not(
    group: ProcessGroup,
    device: torch.device,
    doubts: Callable[[], str],
    agrees: Callable[[], bool],
    differs: str,
) -> str:
    """Why no process takes the quick way, in words; '' where all of them do.

    Args:
        group: the run's processes; each calls this at the same time.
        device: what numbers are exchanged on.
        doubts: what speaks against it beforehand, in this process; '' for nothing. What it raises is raised in all.
        agrees: whether both ways give the same numbers, in this process. What a model that is built otherwise raises
            counts as no.
        differs: the words for that.
    """
    with group.all_or_none(device):
        reason = doubts() or _compared(agrees, differs)
    if not group.sum(float(bool(reason)), device):
        return ""
    short = group.sum(float(reason == NO_MEMORY), device)
    return NO_MEMORY if short else reason or differs


def warn_of_plain(model: object, quick: str, reason: str, *, later: bool, first: bool) -> None:
    """Say that the quick way is left, where it was taken before or memory is short.

    Args:
        model: what is read.
        quick: the quick way, after "can no longer be ".
        reason: see `why_not`.
        later: whether it was taken at an earlier point.
        first: whether this is the process that speaks.
    """
    if not first or not reason:
        return
    name = type(model).__name__
    if later:
        log.warning(
            "%s can no longer be %s (%s): this tracking point and all later ones are measured by its own forward pass. "
            "At earlier points both agreed about the rows that were asked about",
            name, quick, reason,
        )  # fmt: skip
    elif reason == NO_MEMORY:
        log.warning(
            "%s is not %s (%s): it is measured by its own forward pass. A smaller token_budget leaves more memory",
            name, quick, reason,
        )  # fmt: skip


def _compared(agrees: Callable[[], bool], differs: str) -> str:
    try:
        return "" if agrees() else differs
    except (*Broken, MemoryError) as error:
        short = is_out_of_memory(error)
    if not short:
        return differs  # it is not built as its class says; its own forward pass is what counts
    free_memory()  # not inside `except`: there the error still holds what the comparison made
    return NO_MEMORY
