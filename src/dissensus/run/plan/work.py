"""Work that is left, of one cell and summed over several; what is not known is missing from a sum, and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from dissensus.study.status import State


@dataclass(frozen=True)
class Work:
    """What is left to do, of one cell or of several; None where it is not known.

    A cell that was interrupted resumes from its last checkpoint, so up to a minute or one tracking point of what
    counts as done is done again.

    Attributes:
        steps: optimiser steps.
        training_tokens: real tokens of those steps' batches.
        tracking_points: passes over the tracked set.
        tracked_tokens: real tokens of those passes.
        seconds: of one worker. Each cell counts a whole set-up.
        curve_bytes: an upper bound of what the curves and their examples take on the disk.
        validation_passes: passes over the validation set; 0 without one.
        gradient_points: points at which the gradient probe measures; 0 without one.
    """

    steps: int | None = None
    training_tokens: int | None = None
    tracking_points: int | None = None
    tracked_tokens: int | None = None
    seconds: float | None = None
    curve_bytes: int | None = None
    validation_passes: int | None = None
    gradient_points: int | None = None


NOTHING = Work(0, 0, 0, 0, 0.0, 0, 0, 0)
"""Of a cell that is done."""


@dataclass(frozen=True)
class CellPlan:
    """One cell.

    Attributes:
        cell: its id.
        condition: its condition.
        model: its model's name.
        method: its method's name, with the rank.
        state: what has become of it so far.
        work: what is left.
        reason: why some of it is not known, in one line; "" where all is.
        gpus: GPUs that its job reserves, parts too.
        precision: of its training.
    """

    cell: str
    condition: str
    model: str
    method: str
    state: State
    work: Work
    reason: str = ""
    gpus: float = 0.0
    precision: str = "fp32"

    @property
    def gpu_seconds(self) -> float:
        """Seconds times GPUs, as far as they are known."""
        return (self.work.seconds or 0.0) * self.gpus


@dataclass(frozen=True)
class PlanRow:
    """Several cells together.

    Attributes:
        model: their model's name; "" for all of them.
        method: their method's name; "" for all of them.
        done: cells that are done.
        left: cells that are not.
        work: sums over the cells for which each is known.
        unknown: how many cells left are missing from a sum of `work`, by its name; none are left out.
        reasons: why, each once.
        gpu_seconds: seconds times GPUs, over the cells whose seconds are known.
    """

    model: str
    method: str
    done: int
    left: int
    work: Work
    unknown: Mapping[str, int]
    reasons: tuple[str, ...]
    gpu_seconds: float = 0.0


@dataclass(frozen=True)
class Resources:
    """What all that is left takes, over the jobs whose seconds are known; of a job, what it reserves.

    Attributes:
        gpu_hours: GPUs times hours, of the jobs; on this machine its one GPU's, which the workers share.
        cpu_hours: processors times hours, of the jobs.
        checkpoint_bytes: the most that checkpoints take at a time; None where no cell's weights are known.
    """

    gpu_hours: float = 0.0
    cpu_hours: float = 0.0
    checkpoint_bytes: int | None = None


def row_of(model: str, method: str, cells: Sequence[CellPlan]) -> PlanRow:
    """The row of some cells."""
    unfinished = [cell for cell in cells if cell.state != "done"]
    missing = {f.name: sum(getattr(cell.work, f.name) is None for cell in unfinished) for f in fields(Work)}
    return PlanRow(
        model=model,
        method=method,
        done=len(cells) - len(unfinished),
        left=len(unfinished),
        work=summed([cell.work for cell in unfinished]) if unfinished else NOTHING,
        unknown={name: times for name, times in missing.items() if times},
        reasons=tuple(dict.fromkeys(cell.reason for cell in unfinished if cell.reason)),
        gpu_seconds=sum(cell.gpu_seconds for cell in unfinished),
    )


def summed(works: Sequence[Work]) -> Work:
    """Sums over those for which each is known; None where none is."""
    sums: dict[str, Any] = {}
    for each in fields(Work):
        values = [value for work in works if (value := getattr(work, each.name)) is not None]
        sums[each.name] = sum(values) if values else None
    return Work(**sums)
