"""Summary at the end of a run, an analysis and a quickstart: notes, and a table with a row for each condition."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dissensus.cli.output import interval, note, number, say, table

if TYPE_CHECKING:
    from dissensus.study.status import CellStatus


def summary(rows: list[dict[str, Any]]) -> None:
    """Print the rows of `summary_table`, one per condition."""
    learned = any("learned" in row for row in rows)
    columns: dict[str, Callable[[dict[str, Any]], Any]] = {
        "condition": lambda row: row["condition"],
        "seeds": lambda row: row["seeds"],
        "n": lambda row: row["n"],
        **({"learned": lambda row: row.get("learned", "-")} if learned else {}),
        "rho(entropy, AULC)": lambda row: _with_interval(row, "rho"),
        "partial rho": lambda row: _with_interval(row, "partial"),
        "contested loss": lambda row: _from_to(row, "contested"),
        "settled loss": lambda row: _from_to(row, "settled"),
        "un-learned: contested": lambda row: _share(row["unlearned_contested"]),
        "un-learned: settled": lambda row: _share(row["unlearned_settled"]),
    }
    table(
        tuple(columns),
        (tuple(value(row) for value in columns.values()) for row in rows),
        numeric=tuple(name for name in columns if name not in ("condition", "learned")),
        names="condition",
    )
    for row in rows:
        if row["rho_why"]:
            say(f"rho is undefined in {row['condition']}: {row['rho_why']}")
        for name, shown in (("rho", "rho"), ("partial", "partial rho")):
            # A number is equal to itself, and NaN is not: there is a rho, and no interval around it.
            if row[name] == row[name] and row[f"{name}_low"] != row[f"{name}_low"]:
                say(f"{shown} of {row['condition']} has no interval: {row[f'{name}_withheld']}")
    for line in dict.fromkeys(map(_resampled, rows)):
        say(line)


def _resampled(row: dict[str, Any]) -> str:
    """What the intervals of a row rest on."""
    if row["cluster_field"] in ("", "none"):
        return f"{row['dataset']}: intervals over {row['clusters']:.0f} examples, each drawn by itself"
    shared = f"examples that share {row['cluster_field']!r}"
    return f"{row['dataset']}: intervals over {row['clusters']:.0f} clusters, {shared}"


def _from_to(row: dict[str, Any], group: str) -> str:
    return f"{number(row[f'loss_{group}_start'])} -> {number(row[f'loss_{group}_end'])}"


def _with_interval(row: dict[str, Any], key: str) -> str:
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    return number(row[key]) if low != low else f"{number(row[key])} {interval(low, high)}"


def _share(value: float) -> str:
    return "-" if value != value else f"{value:.0%}"


def print_cell_notes(study_dir: Path, cells: Iterable[CellStatus]) -> None:
    """Print what the loaders said, once for each data set and model."""
    from dissensus.study.notes import remarks

    for remark in remarks(study_dir, [cell.cell for cell in cells]):
        note(f"{remark.about}:")
        for line in remark.notes:
            note(f"  {line}")
