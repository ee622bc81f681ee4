"""Kinds of items, as triage tells them apart, and how many items are of each: what the tiles and the browser show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dissensus.analysis.triage import KINDS, STEPS, TITLES, Triaged
from dissensus.report.items.collected import MOST_ITEMS, DatasetItems, ItemKinds

KIND_ORDER = tuple(KINDS)


@dataclass(frozen=True)
class Kind:
    """A kind of item.

    Attributes:
        key: its name in the tables.
        title: for people.
        step: what to do with such items.
        items: how many are of it in some regime.
    """

    key: str
    title: str
    step: str
    items: int


def with_kinds(datasets: Sequence[DatasetItems], triaged: Sequence[Triaged]) -> tuple[DatasetItems, ...]:
    """The items with what triage says of them, joined by data set, regime and id."""
    told: dict[tuple[str, str], dict[str, Triaged]] = {}
    for one in triaged:
        told.setdefault((one.dataset, one.regime), {})[one.id] = one
    return tuple(
        replace(
            items,
            kinds={
                regime: _kinds(items, by_id) for (name, regime), by_id in told.items() if name == items.name
            },
        )
        for items in datasets
    )


def _kinds(items: DatasetItems, by_id: dict[str, Triaged]) -> ItemKinds:
    rows = [by_id.get(item) for item in items.ids]
    return ItemKinds(
        kind=tuple(row.kind if row else "" for row in rows),
        score=np.array([row.score if row else np.nan for row in rows], dtype=np.float64),
        label=tuple((row.label or "") if row else "" for row in rows),
        why=tuple(row.why if row else "" for row in rows),
    )


def kinds_of(datasets: Sequence[DatasetItems]) -> tuple[Kind, ...]:
    """Every kind, in the order of `KINDS`, with its number of items; one that has two in two regimes counts in both."""
    members: dict[str, int] = dict.fromkeys(KIND_ORDER, 0)
    for items in datasets:
        by_regime = [told.kind for told in items.kinds.values()]
        for kinds in zip(*by_regime, strict=True):
            for kind in {kind for kind in kinds if kind}:
                members[kind] += 1
    return tuple(Kind(kind, TITLES[kind], STEPS[kind], members[kind]) for kind in KIND_ORDER)


def fewer(datasets: Sequence[DatasetItems], most: int = MOST_ITEMS) -> tuple[DatasetItems, ...]:
    """At most so many items: those that ask for a step first, then the others as they come."""
    total = sum(map(len, datasets))
    if total <= most:
        return tuple(datasets)
    ranks = np.concatenate([_ranks(items) for items in datasets])
    kept = np.sort(np.argsort(ranks, kind="stable")[:most])
    begin, cut = 0, []
    for items in datasets:
        inside = kept[(kept >= begin) & (kept < begin + len(items))] - begin
        cut.append(items.take(inside))
        begin += len(items)
    return tuple(cut)


def _ranks(items: DatasetItems) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Of each item: the first place in `KINDS` among its kinds."""
    ranks = np.full(len(items), len(KIND_ORDER), dtype=np.int64)
    for told in items.kinds.values():
        places = [KIND_ORDER.index(kind) if kind else len(KIND_ORDER) for kind in told.kind]
        ranks = np.minimum(ranks, np.array(places, dtype=np.int64))
    return ranks
