"""Warnings before a run: optimiser steps too few for what a study asks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dissensus.config import FEWEST_STEPS, RunSpec
from dissensus.data.assembly import assemble
from dissensus.data.sources.paths import resolve_path
from dissensus.errors import DissensusError
from dissensus.record.schedule import total_steps, warmup_steps

LARGEST_FILE = 50 * 2**20
"""Bytes of a data file of one's own that is read before a run for its number of items alone."""


@dataclass(frozen=True)
class StepWarning:
    """Why a condition's training may be too short for what the study asks of it.

    Attributes:
        condition: its name.
        steps: optimiser steps of one of its cells.
        words: what is wrong and what to change.
    """

    condition: str
    steps: int
    words: str

    @property
    def line(self) -> str:
        """The warning as one line."""
        return f"{self.condition}: {self.words}"


def step_warnings(cells: Iterable[tuple[RunSpec, int | None]]) -> tuple[StepWarning, ...]:
    """Warnings of cells with their optimiser steps (None where they are not known), each once per condition.

    - fewer than `FEWEST_STEPS` steps;
    - the learning rate still rises in more than half of the steps;
    - fewer steps than intervals between the tracking points that are asked for.
    """
    warnings: dict[tuple[str, str], StepWarning] = {}
    for cell, steps in cells:
        if steps is None:
            continue
        for kind, words in _trouble(cell, steps):
            warnings.setdefault((cell.condition, kind), StepWarning(cell.condition, steps, words))
    return tuple(warnings.values())


def _trouble(cell: RunSpec, steps: int) -> list[tuple[str, str]]:
    training, tracking, troubles = cell.training, cell.tracking, []
    if steps < FEWEST_STEPS:
        epochs = math.ceil(training.epochs * FEWEST_STEPS / steps)
        words = (
            f"{_steps(steps)} may be too few to learn anything (below {FEWEST_STEPS}, small models learned nothing at "
            f"usual rates): set epochs to {epochs} or more, or a smaller batch_size (now {training.batch_size})"
        )
        troubles.append(("few", words))
    warm = warmup_steps(steps, training)
    if warm > steps / 2:
        words = f"the learning rate still rises in {warm} of {_steps(steps)}: lower warmup (now {training.warmup:g})"
        troubles.append(("warmup", words))
    if tracking.steps is None and tracking.every is None and tracking.points > steps + 1:
        words = f"{tracking.points} tracking points are asked for, and {_steps(steps)} allow {steps + 1}"
        troubles.append(("points", words))
    return troubles


def _steps(steps: int) -> str:
    return f"{steps} optimiser step" + ("" if steps == 1 else "s")


def train_size_of(cell: RunSpec) -> int | None:
    """Training examples as far as the specification alone says."""
    data = cell.dataset
    drawn = data.train_size if data.train is not None else 0
    if cell.regime == "held_out" or drawn is None:
        return drawn
    tracked = data.tracked_size
    if tracked is None:
        tracked = data.tracked.known_size()
        if tracked is not None and data.holdout is not None:
            tracked -= math.ceil(tracked * data.holdout.share)
    if data.train_groups is not None:
        sizes = [getattr(data.train_groups, name) or 0 for name in ("settled", "middle", "contested")]
        tracked = None if "all" in sizes else sum(sizes)
    return None if tracked is None else tracked + drawn


def steps_before_a_run(cells: Sequence[RunSpec], data_dir: Path | None) -> list[tuple[RunSpec, int | None]]:
    """Each cell with its optimiser steps, from the study and, for a small file of one's own, from its items."""
    known: dict[tuple[str, str], int | None] = {}
    steps_of: list[tuple[RunSpec, int | None]] = []
    for cell in cells:
        size = train_size_of(cell)
        if size is None:
            key = (cell.dataset.canonical(), cell.regime)
            if key not in known:
                known[key] = _items_of_a_file(cell, data_dir)
            size = known[key]
        steps_of.append((cell, None if size is None else total_steps(size, cell.training)))
    return steps_of


def _items_of_a_file(cell: RunSpec, data_dir: Path | None) -> int | None:
    path = getattr(cell.dataset.tracked, "path", None)
    if not isinstance(path, str) or cell.dataset.train is not None:
        return None
    try:
        if resolve_path(path, data_dir).stat().st_size > LARGEST_FILE:
            return None
        return len(assemble(cell.dataset, cell.regime, sample_seed=cell.seed, data_dir=data_dir).train)
    except (DissensusError, OSError):  # the run itself says what is wrong
        return None
