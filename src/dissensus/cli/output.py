"""How results look: tables and JSON on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Iterable[str] = ()) -> None:
    """Print a table; `numeric` columns are right-aligned. Values are shown as text, never as markup.

    On a terminal it fits the width; in a file or a log every row is one line, however long.
    """
    right = set(numeric)
    cells = [[str(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        lines = [list(columns), *cells]
        widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
        for row in lines:
            aligned = [
                value.rjust(width) if column in right else value.ljust(width)
                for column, value, width in zip(columns, row, widths, strict=True)
            ]
            typer.echo("  ".join(aligned).rstrip())
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        shown.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in cells:
        shown.add_row(*(Text(value) for value in row))
    Console().print(shown)


def emit_json(value: Any) -> None:
    """Print a value as JSON; undefined numbers become null."""
    typer.echo(json.dumps(_plain(value), indent=1, ensure_ascii=False))


def say(message: str = "") -> None:
    """A line of results."""
    typer.echo(message)


def note(message: str) -> None:
    """A line beside the results: progress, hints, warnings."""
    typer.echo(message, err=True)


def number(value: float, digits: int = 2) -> str:
    """A number for a table; a dash where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
