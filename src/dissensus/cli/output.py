"""Output of commands: tables and JSON on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import typer

from dissensus.wording import interval_end


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream is; None for a file or a pipe."""
    if not stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def moves(stream: TextIO) -> bool:
    """Whether lines that were written to a stream can be drawn anew: a terminal that is not dumb, and not in CI."""
    dumb = os.environ.get("TERM", "").lower() in ("", "dumb", "unknown")
    return stream.isatty() and not dumb and os.environ.get("CI", "").lower() in ("", "0", "false")


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numeric: Iterable[str] = (),
    names: str | None = None,
) -> None:
    """Print a table; `numeric` columns are right-aligned. Values are shown as text, never as markup.

    On a terminal it fits the width (`layout.table_lines`), and where the first column holds `names` (conditions, say),
    what they have in common is left out and said. In a file or a log every row is one line, however long.
    """
    right = frozenset(numeric)
    cells = [[shown_as_text(str(value)) for value in row] for row in rows]
    width = terminal_width(sys.stdout)
    if width is None:
        lines = [list(columns), *cells]
        widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
        for row in lines:
            aligned = [
                value.rjust(width) if column in right else value.ljust(width)
                for column, value, width in zip(columns, row, widths, strict=True)
            ]
            typer.echo("  ".join(aligned).rstrip())
        return
    from dissensus.cli.layout import natural_width, short_names, table_lines

    if names is not None and natural_width(columns, cells) > width:
        short, pattern = short_names([row[0] for row in cells])
        if pattern:
            say(f"Every {names} is {pattern}; shown is the *.")
            cells = [[name, *row[1:]] for name, row in zip(short, cells, strict=True)]
    rule = "─" if can_print("─", sys.stdout) else "-"
    for text in table_lines(columns, cells, width=width, numeric=right, rule=rule):
        typer.echo(text)


def emit_json(value: Any) -> None:
    """Print a value as JSON; undefined numbers become null."""
    typer.echo(json.dumps(_plain(value), indent=1, ensure_ascii=False))


def say(message: str = "") -> None:
    """A line of results; on a terminal it is broken at spaces, never inside a word."""
    typer.echo(_fitted(message, sys.stdout))


def note(message: str) -> None:
    """A line beside the results: progress, hints, warnings; broken as `say` breaks."""
    typer.echo(_fitted(message, sys.stderr), err=True)


def next_step(*commands: str | Sequence[str]) -> None:
    """What to do next, at the end of a command, one thing after the other; beside the results, never with --json.

    A command is given in parts, which are quoted as a shell wants them, or as words.
    """
    for number_of, command in enumerate(commands):
        words = command if isinstance(command, str) else shlex.join(("dissensus", *command))
        note(f"{'then' if number_of else 'next'}: {words}")


def verbatim(text: str) -> None:
    """Results that somebody may copy, as they are: no line is broken."""
    typer.echo(text)


def number(value: float, digits: int = 2) -> str:
    """A number for a table; a dash where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def interval(low: float, high: float, digits: int = 2) -> str:
    """An interval for a table, with a plain minus sign; see `wording.interval_end` for ends that round to 0."""
    ends = ("-" if math.isnan(end) else interval_end(end, digits) for end in (low, high))
    return f"[{', '.join(ends)}]".replace("−", "-")


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min 05 s, 2 h 10 min."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60:02d} min"


_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys instead of showing: control characters but tab and new line, and those that turn the
direction of writing."""


def shown_as_text(message: str) -> str:
    """A message with the characters that a terminal would obey written as escapes: names come from files."""
    return _UNSEEN.sub(lambda one: ascii(one[0])[1:-1], message)


def _fitted(message: str, stream: TextIO) -> str:
    message = shown_as_text(message)
    width = terminal_width(stream)
    if width is None or all(len(line) <= width for line in message.split("\n")):
        return message
    from dissensus.cli.layout import sentence_lines

    return "\n".join(sentence_lines(message, width))


def can_print(text: str, stream: TextIO) -> bool:
    """Whether a stream's encoding has these characters."""
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
