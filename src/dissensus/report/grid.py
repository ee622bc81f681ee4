"""Grids: tables of words, as sections of the page show them, and that of gold labels backed or rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dissensus.report.tables import SIDES, ConditionRow, GroupCell


@dataclass(frozen=True)
class Grid:
    """A table of words.

    Attributes:
        anchor: id on the page.
        title: its heading.
        notes: what its columns mean and what to bear in mind.
        head: names of the columns.
        rows: cells, the first of each row naming it.
    """

    anchor: str
    title: str
    notes: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def grid_of(
    anchor: str, title: str, notes: Sequence[str], head: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> Grid | None:
    """The table, or None where it has no row."""
    return Grid(anchor, title, tuple(notes), tuple(head), tuple(rows)) if rows else None


SHOWN = ("contested", "settled")


def backing_grid(rows: Sequence[ConditionRow]) -> Grid | None:
    """A row per condition and group; None where no gold label is known to be backed or rejected."""
    grid_rows = []
    for row in rows:
        for group in SHOWN:
            sides = row.sides.get(group)
            if sides and row.split_known:
                cells = (text for side in SIDES for text in _cells(sides[side]))
                grid_rows.append((f"{row.title}, {group}", *cells))
    return grid_of(
        "backing",
        "Do annotators back the gold label?",
        (
            "Settled means that annotators agree with each other, not that they agree with the gold label. Backed: "
            "more than half of them chose it. Rejected: at most half did. A settled example that is rejected may have "
            "a wrong gold label, so look at those first: a loss that rises there may be the model learning what the "
            "annotators say.",
            "Gold-label loss in nats from start to end, a number between two arrows being the lowest point on the way; "
            "change: end minus start, with its interval. The middle group stands in analysis/conditions.csv.",
        ),
        (
            "Condition, group",
            *(f"{side}: {column}" for side in SIDES for column in ("examples", "loss", "change")),
        ),
        grid_rows,
    )


def _cells(side: GroupCell) -> tuple[str, str, str]:
    return (str(side.n), side.path, side.change) if side.n else ("none", "", "")
