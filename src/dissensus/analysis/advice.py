"""Advice where a condition learned nothing: a line for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dissensus.config import FEWEST_STEPS, RunSpec
from dissensus.metrics.learning import EXPLAINED


def not_learned(conditions: Iterable[Mapping[str, Any]], cells: Iterable[RunSpec]) -> list[str]:
    """A line for each row of the conditions table that did not learn: why, and what to change.

    Args:
        conditions: rows of the conditions table.
        cells: the study's cells.
    """
    spec = {cell.condition: cell for cell in reversed(list(cells))}
    return [
        f"{row['condition']} learned nothing that shows on these examples: {row['learned_why']}. Un-learning is not "
        f"told there. {_advice(row, spec[row['condition']])}"
        for row in conditions
        if row["learned"] == "no"
    ]


def _advice(row: Mapping[str, Any], cell: RunSpec) -> str:
    rate, steps = f"{cell.method.learning_rate:g}", round(row["total_steps"])
    lost = row["judged_loss_lowest"] <= (1 - EXPLAINED) * row["constant_loss"] < row["judged_loss_end"]
    if lost or "diverged" in row["learned_why"]:
        return f"Lower the learning rate (now {rate})."
    now = f"Train longer ({steps} optimiser steps now"
    if steps < FEWEST_STEPS:
        return f"{now}; {FEWEST_STEPS} or more), or raise the learning rate (now {rate})."
    return f"{now}), or try a higher and a lower learning rate (now {rate})."
