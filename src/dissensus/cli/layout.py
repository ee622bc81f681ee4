"""Tables and sentences in so many columns of a terminal: broken at spaces and dots, never inside a word or a number."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

GAP = 2
"""Columns of the terminal between two columns of a table."""
COMFORT = 16
"""A column of text is not made narrower than this where another way is left."""

_INSIDE = re.compile(r"(?<=[^\W\d][./=,])(?=\w)|(?<=\d[./=,])(?=[^\W\d])")
"""Where a name may be broken: after a dot, slash, comma or equals sign, unless it stands between digits."""


def units(text: str) -> list[str]:
    """What is never broken, in order; a unit that follows a space begins with one."""
    parts: list[str] = []
    for word in text.split():
        first, *rest = _INSIDE.split(word)
        parts += [f" {first}" if parts else first, *rest]
    return parts


def wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """The lines of a text; a unit that is wider than `width` has a line of its own.

    Args:
        text: the text.
        width: columns of the terminal.
        indent: of every line but the first.
    """
    lines, line = [], ""
    for unit in units(text):
        if line and _width(line + unit) > width:
            lines.append(line)
            line = " " * indent + unit.lstrip()
        else:
            line += unit
    return [*lines, line]


def sentence_lines(text: str, width: int) -> list[str]:
    """The lines of a message, each of its own lines broken at spaces alone, so that paths stay whole."""
    lines = []
    for paragraph in text.split("\n"):
        if _width(paragraph) <= width:
            lines.append(paragraph)
            continue
        indent = len(paragraph) - len(paragraph.lstrip())
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else " " * indent + word
            if line and _width(longer) > width:
                lines.append(line)
                longer = " " * (indent + 2) + word
            line = longer
        lines.append(line)
    return lines


def natural_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Columns of the terminal that a table takes when nothing is broken."""
    widths = [max(_width(line[k]) for line in (columns, *rows)) for k in range(len(columns))]
    return sum(widths) + GAP * (len(widths) - 1)


def table_lines(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    numeric: Collection[str] = (),
    rule: str = "-",
) -> list[str]:
    """The lines of a table that is at most `width` wide, as far as words and numbers let it be.

    Headings and columns of text are broken over lines first. Where that is not enough, the columns are shared out
    to several tables, each with the first column; where even two columns do not fit, each row becomes a list.

    Args:
        columns: headings.
        rows: cells, as text.
        width: columns of the terminal.
        numeric: headings of columns that are right-aligned and whose cells are not broken at all.
        rule: what the line under the headings is made of.
    """
    grid = _Grid(columns, rows, frozenset(numeric), rule)
    everything = list(range(len(columns)))
    for comfort in (COMFORT, 0) if len(columns) < 3 else (COMFORT,):
        if (widths := grid.fitted(everything, width, comfort)) is not None:
            return grid.lines(everything, widths)
    tables: list[tuple[list[int], list[int]]] = []
    remaining = everything[1:]
    while remaining:
        shown, best = [0], None
        for column in remaining:
            fitted = grid.fitted([*shown, column], width, COMFORT)
            if fitted is None and best is None:
                fitted = grid.fitted([*shown, column], width, 0)
            if fitted is None:
                break
            shown, best = [*shown, column], fitted
        if best is None:
            return grid.lists()
        tables.append((shown, best))
        remaining = remaining[len(shown) - 1 :]
    lines: list[str] = []
    for shown, widths in tables:
        lines += [*([""] if lines else []), *grid.lines(shown, widths)]
    return lines


def short_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Names without the parts that all have in common, and those parts with a * for the rest.

    Parts are what dots divide. The second value is "" where nothing was left out.
    """
    split = [_parts(name) for name in names]
    if len(set(names)) < 2:
        return list(names), ""
    if len({len(parts) for parts in split}) == 1:
        same = [len(set(column)) == 1 for column in zip(*split, strict=True)]
    else:  # common parts at the two ends
        shortest = min(len(parts) for parts in split)
        front = next(k for k in range(shortest + 1) if k == shortest or len({p[k] for p in split}) > 1)
        same = [True] * front
    if not any(same):
        return list(names), ""
    same_of = [same + [False] * (len(parts) - len(same)) for parts in split]
    short = [
        ".".join(part for part, common in zip(parts, flags, strict=True) if not common)
        for parts, flags in zip(split, same_of, strict=True)
    ]
    if len(set(short)) < len(set(names)) or "" in short:
        return list(names), ""
    pattern: list[str] = []
    for part, common in zip(split[0], same_of[0], strict=True):
        if common or pattern[-1:] != ["*"]:
            pattern.append(part if common else "*")
    return short, ".".join(pattern)


class _Grid:
    """A table's cells and what is known of their widths."""

    def __init__(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: frozenset[str], rule: str
    ) -> None:
        self._columns = columns
        self._rows = rows
        self._numeric = [column in numeric for column in columns]
        self._rule = rule
        places = range(len(columns))
        self._natural = [max((_width(row[k]) for row in rows), default=0) for k in places]
        self._heading = [_narrowest(columns[k]) for k in places]
        self._floor = [
            self._natural[k]
            if self._numeric[k]
            else max((_narrowest(row[k], indent=self._indent(k)) for row in rows), default=0)
            for k in places
        ]

    def fitted(self, shown: Sequence[int], width: int, comfort: int) -> list[int] | None:
        """A width for each of these columns; None where they do not fit."""
        room = width - GAP * (len(shown) - 1)
        widest = [max(self._natural[k], _width(self._columns[k])) for k in shown]
        if sum(widest) <= room:
            return widest
        widths = [max(self._natural[k], self._heading[k]) for k in shown]
        floors = [
            max(self._heading[k], self._floor[k], 0 if self._numeric[k] else min(self._natural[k], comfort))
            for k in shown
        ]
        while sum(widths) > room:
            shrinkable = [place for place, w in enumerate(widths) if w > floors[place]]
            if not shrinkable:
                return None
            widths[max(shrinkable, key=lambda place: widths[place])] -= 1
        return widths

    def lines(self, shown: Sequence[int], widths: Sequence[int]) -> list[str]:
        """The table of these columns."""
        headings = [wrapped(self._columns[k], w) for k, w in zip(shown, widths, strict=True)]
        tallest = max(len(heading) for heading in headings)
        headings = [[""] * (tallest - len(heading)) + heading for heading in headings]
        lines = self._side_by_side(shown, widths, headings)
        lines.append(self._rule * (sum(widths) + GAP * (len(widths) - 1)))
        for row in self._rows:
            cells = [
                [row[k]] if self._numeric[k] else wrapped(row[k], w, self._indent(k))
                for k, w in zip(shown, widths, strict=True)
            ]
            lines += self._side_by_side(shown, widths, cells)
        return lines

    def lists(self) -> list[str]:
        """Each row as a list of headings and values."""
        lines = []
        for row in self._rows:
            lines.append(f"{self._columns[0]}: {row[0]}")
            lines += [
                f"  {heading}: {value}" for heading, value in zip(self._columns[1:], row[1:], strict=True)
            ]
        return lines

    def _indent(self, column: int) -> int:
        return 2 if column == 0 else 0

    def _side_by_side(
        self, shown: Sequence[int], widths: Sequence[int], cells: Sequence[Sequence[str]]
    ) -> list[str]:
        lines = []
        for place in range(max(len(cell) for cell in cells)):
            parts = []
            for k, w, cell in zip(shown, widths, cells, strict=True):
                text = cell[place] if place < len(cell) else ""
                pad = " " * max(0, w - _width(text))
                parts.append(pad + text if self._numeric[k] else text + pad)
            lines.append((" " * GAP).join(parts).rstrip())
        return lines


def _parts(name: str) -> list[str]:
    """What dots divide; a dot between digits is part of a number."""
    return re.split(r"(?<!\d)\.|\.(?!\d)", name)


def _narrowest(text: str, indent: int = 0) -> int:
    """The narrowest column that breaks no unit."""
    return max(
        (_width(unit.lstrip()) + (indent if place else 0) for place, unit in enumerate(units(text))),
        default=0,
    )


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
