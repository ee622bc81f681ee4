"""Display of objects that hold arrays: a short `repr`, and an escaped HTML table for notebooks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

LONGEST = 60
"""Characters of one field's value; a longer one is cut."""
WIDEST = 200
"""Characters of a whole `repr`; what is left out is said."""


class ShortRepr:
    """Gives a dataclass a `repr` of one line, arrays by type and shape, and a table of its fields in a notebook.

    The dataclass says `repr=False`: else the generated one, which prints every number, takes its place.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return one_line(type(self).__name__, _fields(self))

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, _fields(self))


def one_line(name: str, fields: Iterable[tuple[str, Any]]) -> str:
    """`Name(field=value, ...)`, each value in short, on one line."""
    parts: list[str] = []
    listed = list(fields)
    for place, (field, value) in enumerate(listed):
        part = f"{field}={in_short(value)}"
        if parts and sum(map(len, parts)) + len(part) > WIDEST:
            parts.append(f"{len(listed) - place} more")
            break
        parts.append(part)
    return f"{name}({', '.join(parts)})"


def html_table(title: str, rows: Iterable[tuple[str, Any]]) -> str:
    """A caption and two columns, everything escaped: the values are other people's data."""
    body = "".join(
        f"<tr><th style='text-align:left'>{_escaped(name)}</th>"
        f"<td style='text-align:left'>{_escaped(_with_range(value))}</td></tr>"
        for name, value in rows
    )
    return f"<table><caption>{_escaped(title)}</caption><tbody>{body}</tbody></table>"


def html_grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A caption, headings and rows of texts, everything escaped."""
    head = "".join(f"<th>{_escaped(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{_escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{_escaped(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def in_short(value: Any) -> str:
    """A value in at most `LONGEST` characters: arrays by type and shape, long collections by their length."""
    if isinstance(value, np.ndarray):
        kind = "str" if value.dtype.kind in "US" else value.dtype.name
        return f"{kind} {'x'.join(map(str, value.shape)) or 'scalar'}"
    if hasattr(value, "num_rows") and hasattr(
        value, "num_columns"
    ):  # an Arrow table, without importing Arrow
        return f"table {value.num_rows}x{value.num_columns}"
    if isinstance(value, Mapping | tuple | list | set | frozenset) and len(value) > 3:
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping | tuple | list):  # not its own repr, which would build every number first
        inner = (
            ", ".join(f"{key!r}: {in_short(item)}" for key, item in value.items())
            if isinstance(value, Mapping)
            else ", ".join(map(in_short, value))
        )
        return cut(f"{{{inner}}}" if isinstance(value, Mapping) else f"({inner})")
    return cut(value if isinstance(value, str) else repr(value))


def cut(text: str, longest: int = LONGEST) -> str:
    """A text on one line, control characters shown as escapes, cut where it is longer."""
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return plain if len(plain) <= longest else f"{plain[: longest - 3]}..."


def _escaped(text: str) -> str:
    """For HTML, control characters and marks of writing direction shown as escapes."""
    return escape(cut(text, 400))


def _with_range(value: Any) -> str:
    """`in_short`, and of numbers their least, mean and greatest; of flags how many are set."""
    words = in_short(value)
    if not isinstance(value, np.ndarray) or not value.size:
        return words
    if value.dtype.kind == "b":
        return f"{words}: {int(value.sum())} true"
    if value.dtype.kind not in "fiu":
        return words
    finite = value[np.isfinite(value)]
    undefined = value.size - finite.size
    if not finite.size:
        return f"{words}: all undefined"
    span = f"{finite.min():.4g} to {finite.max():.4g}, mean {finite.mean():.4g}"
    return f"{words}: {span}" + (f", {undefined} undefined" if undefined else "")


def _fields(holder: Any) -> list[tuple[str, Any]]:
    return [(f.name, getattr(holder, f.name)) for f in dataclasses.fields(holder) if f.repr]
