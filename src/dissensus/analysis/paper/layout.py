"""Tables as the paper lays them out: rows of numbers, each with its spread, interval and reason if it is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dissensus.stats.over_seeds import sample_sd

NAN = float("nan")


@dataclass(frozen=True)
class Entry:
    """What stands at one place of a table.

    Attributes:
        value: the number, a mean over seeds where there are several; NaN where there is none.
        sd: its standard deviation; NaN without one.
        low: lower end of an interval, which stands in the value's place; NaN without one.
        high: upper end.
        seeds: seeds behind it.
        planned: seeds that the studies plan.
        missing: why there is no number; '' where there is.
        decimals: digits shown after the point; -1: a p-value.
        words: what is shown in place of a number, such as a figure of the paper's.
    """

    value: float = NAN
    sd: float = NAN
    low: float = NAN
    high: float = NAN
    seeds: int = 1
    planned: int = 1
    missing: str = ""
    decimals: int = 3
    words: str = ""


EMPTY = Entry()


@dataclass(frozen=True)
class TableRow:
    """One row.

    Attributes:
        labels: what it is about: one word per stub column.
        entries: one per column.
    """

    labels: tuple[str, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class PaperTable:
    """One table.

    Attributes:
        name: short: 1, 2, 3, D, ..., or a word.
        title: its heading.
        definition: how its numbers are defined.
        stub: headings of the rows' labels.
        columns: headings of the numbers.
        rows: in the paper's order.
        notes: the paper's known figures, and what to bear in mind.
        absent: why there is no row; of no meaning where there are.
    """

    name: str
    title: str
    definition: str
    stub: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()
    absent: str = "these studies have no such cell"


def number_entry(value: float, decimals: int = 3, why: str = "undefined") -> Entry:
    """One number, or why it is missing."""
    return Entry(value, missing=why if math.isnan(value) else "", decimals=decimals)


def seeds_entry(values: Sequence[float], planned: int, decimals: int = 3, why: str = "undefined") -> Entry:
    """Mean and sample sd of the finite ones among the seeds' numbers, or why there is none."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return Entry(missing=why, seeds=0, planned=planned, decimals=decimals)
    return Entry(
        float(np.mean(known)), sample_sd(known), seeds=len(known), planned=planned, decimals=decimals
    )


def interval_entry(low: float, high: float, why: str) -> Entry:
    """An interval by itself, or why there is none."""
    return Entry(low=low, high=high, missing="" if math.isfinite(low) else why)
