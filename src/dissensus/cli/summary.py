"""Summary at the end of a run, an analysis and a quickstart: notes, and a table with a row for each condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from dissensus.cli.output import interval, note, number, say, table

if TYPE_CHECKING:
    from dissensus.analysis.rows import SummaryRow
    from dissensus.study.folder import StudyFolder
    from dissensus.study.status import CellStatus


def summary(rows: Sequence[SummaryRow]) -> None:
    """Print a row per condition, and why a number or an interval is missing."""
    columns: dict[str, Callable[[SummaryRow], object]] = {
        "condition": lambda row: row.condition,
        "seeds": lambda row: row.seeds,
        "n": lambda row: row.n,
        "learned": lambda row: row.learned,
        "rho(entropy, AULC)": lambda row: _with_interval(row.rho, row.rho_low, row.rho_high),
        "partial rho": lambda row: _with_interval(row.partial, row.partial_low, row.partial_high),
        "contested loss": lambda row: _from_to(row.loss_contested_start, row.loss_contested_end),
        "settled loss": lambda row: _from_to(row.loss_settled_start, row.loss_settled_end),
        "un-learned: contested": lambda row: _share(row.unlearned_contested),
        "un-learned: settled": lambda row: _share(row.unlearned_settled),
    }
    table(
        tuple(columns),
        (tuple(value(row) for value in columns.values()) for row in rows),
        numeric=tuple(name for name in columns if name not in ("condition", "learned")),
        names="condition",
    )
    for row in rows:
        if row.rho_why:
            say(f"rho is undefined in {row.condition}: {row.rho_why}")
        for shown, value, low, withheld in (
            ("rho", row.rho, row.rho_low, row.rho_withheld),
            ("partial rho", row.partial, row.partial_low, row.partial_withheld),
        ):
            if math.isnan(low) and not math.isnan(value):
                say(f"{shown} of {row.condition} has no interval: {withheld}")
    for line in dict.fromkeys(map(_resampled, rows)):
        say(line)


def _resampled(row: SummaryRow) -> str:
    """What the intervals of a row rest on."""
    if row.cluster_field in ("", "none"):
        return f"{row.dataset}: intervals over {row.clusters:.0f} examples, each drawn by itself"
    shared = f"examples that share {row.cluster_field!r}"
    return f"{row.dataset}: intervals over {row.clusters:.0f} clusters, {shared}"


def _from_to(start: float, end: float) -> str:
    return f"{number(start)} -> {number(end)}"


def _with_interval(value: float, low: float, high: float) -> str:
    return number(value) if math.isnan(low) else f"{number(value)} {interval(low, high)}"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"


def print_cell_notes(folder: StudyFolder, cells: Iterable[CellStatus]) -> None:
    """Print what the loaders said, once for each data set and model."""
    from dissensus.study.notes import remarks

    for remark in remarks(folder, [cell.cell for cell in cells]):
        note(f"{remark.about}:")
        for line in remark.notes:
            note(f"  {line}")
