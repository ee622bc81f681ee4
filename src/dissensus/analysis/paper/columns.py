"""Columns of the paper's tables: a condition to an entry, over its seeds, and tables that are made of such columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from dissensus.analysis.paper.cells import PaperCell
from dissensus.analysis.paper.conditions import Condition
from dissensus.analysis.paper.definitions import KNOWN
from dissensus.analysis.paper.layout import (
    NAN,
    Entry,
    PaperTable,
    TableRow,
    interval_entry,
    number_entry,
    seeds_entry,
)
from dissensus.stats import group_curves
from dissensus.stats.groups import CONTESTED, SETTLED

Number = Callable[[PaperCell], float]
Column = Callable[[Condition], Entry]
PLACE = ("model", "method", "data")
SEEDS = "Mean ± sample sd over seeds."
NOT_PLANNED = Entry(missing="not in these studies", seeds=0, planned=0)


def mean(number: Number, decimals: int = 3, why: str = "undefined") -> Column:
    """Mean and sample sd over the finished seeds."""
    return lambda c: seeds_entry(
        [number(cell) for cell in c.cells], c.planned, decimals, why if c.cells else c.absent
    )


def largest(number: Number, why: str = "undefined") -> Column:
    """The largest of the finished seeds' p-values."""

    def column(c: Condition) -> Entry:
        values = [value for value in map(number, c.cells) if math.isfinite(value)]
        return number_entry(max(values, default=NAN), -1, why if c.cells else c.absent)

    return column


def single(number: Number, decimals: int = 3, why: str = "undefined") -> Column:
    """Of the one seed that the paper's tables of single runs take."""
    return lambda c: Entry(missing=c.absent) if c.one is None else number_entry(number(c.one), decimals, why)


def seed_bounds(ends: Callable[[PaperCell], tuple[float, float]], why: str) -> Column:
    """Mean of the seeds' bounds of an interval."""

    def column(c: Condition) -> Entry:
        if not c.cells:
            return Entry(missing=c.absent)
        low, high = np.mean([ends(cell) for cell in c.cells], axis=0).tolist()
        return interval_entry(low, high, why)

    return column


def change_bounds(group: str) -> Column:
    """Our interval of a group's mean change of loss, each item's averaged over seeds first, joined by id."""

    def column(c: Condition) -> Entry:
        if not c.cells:
            return Entry(missing=c.absent)
        first = c.cells[0].reading
        by_id = [dict(zip(cell.ids, cell.change.tolist(), strict=True)) for cell in c.cells]
        changes = np.array([[of.get(i, NAN) for of in by_id] for i in by_id[0]])
        curves = group_curves(
            changes.mean(axis=1, keepdims=True),
            first.group,
            confidence=first.settings.confidence,
            clusters=first.clusters.numbers,
        )
        if group not in curves:
            return Entry(missing="no item")
        curve = curves[group]
        return interval_entry(float(curve.low[0]), float(curve.high[0]), curve.withheld or "undefined")

    return column


RHO = mean(lambda cell: cell.rho.rho)
ACCURACY_WHY = "no validation set"
ACCURACY = mean(lambda cell: cell.accuracy, why=ACCURACY_WHY)
CHANGES: Mapping[str, Column] = {
    "change, contested": mean(lambda cell: cell.mean(cell.change, CONTESTED), why="no item"),
    "change, settled": mean(lambda cell: cell.mean(cell.change, SETTLED), why="no item"),
}


def known_rho(condition: Condition) -> Entry:
    """The paper's rho, where its code states it."""
    return Entry(words="" if condition.variant else KNOWN.get(condition.labels, "no figure known"))


def grid(
    name: str,
    title: str,
    definition: str,
    conditions: Iterable[Condition],
    columns: Callable[[str], Mapping[str, Column]],
    *,
    by: str = "",
    levels: Callable[[Condition], Sequence[str]] = lambda _: ("",),
    notes: Sequence[str] = (),
) -> PaperTable:
    """A table with a row per condition and level.

    Args:
        name: short.
        title: its heading.
        definition: how its numbers are defined.
        conditions: one or several rows each.
        columns: of a level: heading -> column; the headings are alike for all levels.
        by: heading of the levels; '' where there are none.
        levels: of a condition: what further tells its rows apart.
        notes: below the table.
    """
    rows = tuple(
        TableRow(
            (*condition.labels, level) if by else condition.labels,
            tuple(column(condition) for column in columns(level).values()),
        )
        for condition in conditions
        for level in levels(condition)
    )
    stub = (*PLACE, by) if by else PLACE
    return PaperTable(name, title, definition, stub, tuple(columns("")), rows, tuple(notes))
