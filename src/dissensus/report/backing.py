"""Gold labels backed or rejected by the annotators: each entropy group split by it, as the page shows it."""

from __future__ import annotations

from collections.abc import Sequence

from dissensus.report.grid import Grid, grid_of
from dissensus.report.tables import SIDES, ConditionRow, GroupCell

SHOWN = ("contested", "settled")


def backing_grid(rows: Sequence[ConditionRow]) -> Grid | None:
    """A row a condition and group; None where no gold label is known to be backed or rejected."""
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
