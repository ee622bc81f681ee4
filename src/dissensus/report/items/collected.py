"""Items collected from the cells of each condition: one table per data set, its curves averaged over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dissensus.curves import Curves
from dissensus.report.tables import GROUPS, ConditionRow

FloatArray = NDArray[np.float64]
T = TypeVar("T")

NUMBERS = ("aulc", "delta", "confidence", "variability")
"""Columns of the examples table that the browser of items sorts by and draws."""
MOST_ITEMS = 20_000
"""Items that one page holds."""
MOST_POINTS = 24
"""Tracking points of a curve in the browser of items; more are thinned evenly, the first and the last kept."""
NO_GROUP = len(GROUPS)


@dataclass(frozen=True, eq=False)
class ConditionItems:
    """One condition's numbers for the n items of its data set; NaN where it does not track one.

    Attributes:
        row: the condition.
        settings: what it ran with, in words.
        progress: u of the tracking points, shape (T,).
        losses: gold-label loss averaged over seeds, nats, shape (n, T).
        numbers: each of `NUMBERS` averaged over seeds, shape (n,).
        unlearned: share of the seeds in which the item is un-learned, shape (n,); NaN where that is not shown.
    """

    row: ConditionRow
    settings: str
    progress: FloatArray
    losses: FloatArray
    numbers: Mapping[str, FloatArray]
    unlearned: FloatArray


@dataclass(frozen=True, eq=False)
class ItemKinds:
    """What triage says of the n items in one regime.

    Attributes:
        kind: of each item, '' where nothing is said.
        score: probability that the kind's claim holds; NaN where there is none, shape (n,).
        label: the label that is suggested instead, '' where there is none.
        why: the evidence in words.
    """

    kind: tuple[str, ...]
    score: FloatArray
    label: tuple[str, ...]
    why: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DatasetItems:
    """The n items of one data set.

    Attributes:
        name: of the data set.
        ids: length n.
        labels: names as stored, length K.
        shown: the same as the page shows them.
        counts: annotators per label, shape (n, K).
        gold: label indices, shape (n,); -1 where there is none.
        entropy: annotation entropy in bits, shape (n,).
        group: place in `GROUPS`, `NO_GROUP` where there is none, shape (n,).
        text: the text fields of each item; None where its text may not be shown.
        conditions: those of this data set.
        kinds: regime -> what triage says.
    """

    name: str
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    shown: tuple[str, ...]
    counts: FloatArray
    gold: NDArray[np.int64]
    entropy: FloatArray
    group: NDArray[np.int64]
    text: tuple[Mapping[str, str] | None, ...]
    conditions: tuple[ConditionItems, ...]
    kinds: Mapping[str, ItemKinds] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: NDArray[np.int64]) -> DatasetItems:
        """The items at these places."""
        return replace(
            self,
            ids=_picked(self.ids, places),
            counts=self.counts[places],
            gold=self.gold[places],
            entropy=self.entropy[places],
            group=self.group[places],
            text=_picked(self.text, places),
            conditions=tuple(
                replace(
                    one,
                    losses=one.losses[places],
                    numbers={name: values[places] for name, values in one.numbers.items()},
                    unlearned=one.unlearned[places],
                )
                for one in self.conditions
            ),
            kinds={
                regime: ItemKinds(
                    _picked(told.kind, places),
                    told.score[places],
                    _picked(told.label, places),
                    _picked(told.why, places),
                )
                for regime, told in self.kinds.items()
            },
        )


@dataclass(frozen=True, eq=False)
class SeedItems:
    """What the page takes of one seed's n items.

    Attributes:
        ids: length n.
        labels: names, length K.
        counts: annotators per label, shape (n, K).
        gold: label indices, shape (n,); -1 where there is none.
        text: the text fields of each item, length n or 0.
        progress: u of the tracking points that are kept, shape (T,).
        losses: gold-label loss there, nats, shape (n, T).
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    counts: FloatArray
    gold: NDArray[np.int64]
    text: tuple[Mapping[str, str], ...]
    progress: FloatArray
    losses: FloatArray

    @classmethod
    def of(cls, curves: Curves) -> SeedItems:
        """Those of a cell, on the gold label that its curves are on."""
        points = thinned(len(curves.steps))
        return cls(
            ids=curves.ids,
            labels=curves.labels,
            counts=curves.counts,
            gold=curves.gold,
            text=curves.text,
            progress=curves.progress[points],
            losses=curves.losses[:, points],
        )


@dataclass(frozen=True, eq=False)
class CollectedCondition:
    """What the page takes of one condition.

    Attributes:
        row: the condition.
        settings: what it ran with, in words.
        examples: its rows of the examples table.
        seeds: at least one.
        names: label -> how the page shows it.
    """

    row: ConditionRow
    settings: str
    examples: pa.Table
    seeds: Sequence[SeedItems]
    names: Mapping[str, str]


def collect(conditions: Sequence[CollectedCondition]) -> tuple[DatasetItems, ...]:
    """The items of each data set in the order in which its cells first have them."""
    by_dataset: dict[tuple[str, tuple[str, ...]], list[CollectedCondition]] = {}
    for one in conditions:
        by_dataset.setdefault((one.row.dataset, one.seeds[0].labels), []).append(one)
    return tuple(_dataset(name, cells) for (name, _), cells in by_dataset.items())


def thinned(points: int, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Places of at most `most` of so many tracking points, evenly along them, the first and the last among them."""
    return np.unique(np.linspace(0, points - 1, min(points, most)).round().astype(np.int64))


def _dataset(name: str, cells: Sequence[CollectedCondition]) -> DatasetItems:
    place: dict[str, int] = {}
    counts: list[FloatArray] = []
    gold: list[int] = []
    text: list[Mapping[str, str]] = []
    for seed in (seed for cell in cells for seed in cell.seeds):
        new = [i for i, item in enumerate(seed.ids) if item not in place]
        for i in new:
            place[seed.ids[i]] = len(place)
            text.append(seed.text[i] if seed.text else {})
        counts.append(seed.counts[new])
        gold += seed.gold[new].tolist()
    n = len(place)
    entropy, group = np.full(n, np.nan), np.full(n, NO_GROUP, dtype=np.int64)
    for cell in reversed(cells):  # the first condition that has an item decides
        at = _places(cell.examples, place)
        entropy[at] = cell.examples["entropy_estimate"].to_numpy()
        names = np.array([value or "" for value in cell.examples["group"].to_pylist()])
        for number, word in enumerate(GROUPS):
            group[at[names == word]] = number
    first = cells[0]
    return DatasetItems(
        name=name,
        ids=tuple(place),
        labels=first.seeds[0].labels,
        shown=tuple(first.names.get(label, label) for label in first.seeds[0].labels),
        counts=np.concatenate(counts),
        gold=np.array(gold, dtype=np.int64),
        entropy=entropy,
        group=group,
        text=tuple(text),
        conditions=tuple(_condition(cell, place) for cell in cells),
    )


def _condition(cell: CollectedCondition, place: Mapping[str, int]) -> ConditionItems:
    n, first = len(place), cell.seeds[0]
    losses, tracked = np.zeros((n, len(first.progress))), np.zeros(n)
    for seed in cell.seeds:
        if np.array_equal(seed.progress, first.progress):
            at = np.array([place[item] for item in seed.ids], dtype=np.int64)
            losses[at] += seed.losses
            tracked[at] += 1
    at = _places(cell.examples, place)
    flags = np.array(
        [np.nan if flag is None else float(flag) for flag in cell.examples["unlearned"].to_pylist()]
    )
    return ConditionItems(
        row=cell.row,
        settings=cell.settings,
        progress=first.progress,
        losses=np.where(tracked[:, None] > 0, losses / np.maximum(tracked, 1)[:, None], np.nan),
        numbers={name: _means(at, _column(cell.examples, name), n) for name in NUMBERS},
        unlearned=np.full(n, np.nan) if cell.row.withheld else _means(at, flags, n),
    )


def _column(examples: pa.Table, name: str) -> FloatArray:
    return np.asarray(examples[name].cast(pa.float64()).to_numpy(), dtype=np.float64)


def _means(at: NDArray[np.int64], values: FloatArray, n: int) -> FloatArray:
    """Mean of the finite values of each item over its rows, shape (n,)."""
    known = np.isfinite(values)
    total = np.bincount(at[known], weights=values[known], minlength=n)
    rows = np.bincount(at[known], minlength=n)
    return np.where(rows > 0, total / np.maximum(rows, 1), np.nan)


def _places(examples: pa.Table, place: Mapping[str, int]) -> NDArray[np.int64]:
    return np.array([place[item] for item in examples["id"].to_pylist()], dtype=np.int64)


def _picked(values: Sequence[T], places: NDArray[np.int64]) -> tuple[T, ...]:
    return tuple(values[i] for i in places.tolist())
