"""A table of words, as sections of the page show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
