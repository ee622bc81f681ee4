"""The table that a run, an analysis and a quickstart end with: a row for each condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dissensus.cli.output import number, say, table


def summary(rows: list[dict[str, Any]]) -> None:
    """Print the rows of `summary_table`, one a condition."""
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


def _from_to(row: dict[str, Any], group: str) -> str:
    return f"{number(row[f'loss_{group}_start'])} -> {number(row[f'loss_{group}_end'])}"


def _with_interval(row: dict[str, Any], key: str) -> str:
    return f"{number(row[key])} [{number(row[f'{key}_low'])}, {number(row[f'{key}_high'])}]"


def _share(value: float) -> str:
    return "-" if value != value else f"{value:.0%}"
