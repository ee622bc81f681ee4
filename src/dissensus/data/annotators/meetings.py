"""Pairs of annotators on the items that both answered: who gives the same answers, and who shares a view with whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotators.panel import FloatArray, IntArray, Panel
from dissensus.display import ShortRepr

IDENTICAL = 0.98
"""Share of equal answers from which two annotators' answers are the same: people who share a view slip more often."""
LEAST_COMMON = 20
"""Items in common below which nothing is said of a pair."""


@dataclass(frozen=True, eq=False, repr=False)
class Meetings(ShortRepr):
    """Pairs of annotators with enough items in common, arrays of shape (pairs,).

    Attributes:
        first: place of one annotator.
        second: place of the other, after the first.
        common: items that both answered.
        same: share of them to which both gave the same labels.
        beyond_chance: z-score of that share against the pair's own label shares; above 0: they agree.
    """

    first: IntArray
    second: IntArray
    common: FloatArray
    same: FloatArray
    beyond_chance: FloatArray

    def groups(self, people: int) -> IntArray:
        """A number per annotator, equal for those who give the same answers (directly or by way of others)."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        alike = self.same >= IDENTICAL
        graph = coo_array(
            (np.ones(int(alike.sum())), (self.first[alike], self.second[alike])), shape=(people, people)
        )
        return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)

    def sharing_a_view(self, people: int) -> NDArray[np.bool_]:
        """Who agrees with somebody beyond chance, after Bonferroni over those they met, shape (people,).

        Those who give the same answers do not count: copying is no view.
        """
        from scipy.special import ndtr

        ends = np.concatenate([self.first, self.second])
        met = np.bincount(ends, minlength=people)
        p = np.tile(np.where(self.same >= IDENTICAL, 1.0, ndtr(-self.beyond_chance)), 2)
        shares = np.zeros(people, dtype=np.bool_)
        shares[ends[p * met[ends] < 0.05]] = True
        return shares


def meetings(panel: Panel) -> Meetings:
    """Every pair with `LEAST_COMMON` items in common or more."""
    from scipy.sparse import csr_array

    people = len(panel.names)

    def by_person(values: FloatArray) -> Any:
        return csr_array((values, (panel.item, panel.annotator)), shape=(panel.items, people))

    answered = by_person(np.ones(len(panel.item)))
    common = (answered.T @ answered).tocoo()
    wanted = (common.row < common.col) & (common.data >= LEAST_COMMON)
    first, second, times = (
        common.row[wanted].astype(np.int64),
        common.col[wanted].astype(np.int64),
        common.data[wanted],
    )
    if not len(first):
        empty = np.zeros(0)
        return Meetings(first, second, empty, empty, empty)
    same, chance = np.zeros(len(first)), np.zeros(len(first))
    for column in panel.shares.T:
        chose = by_person(column)
        same += np.asarray((chose.T @ chose).tocsr()[first, second]).ravel()
        # How often each chose the label among the items that they have in common with the other.
        theirs = (chose.T @ answered).tocsr()
        chance += (
            np.asarray(theirs[first, second]).ravel() * np.asarray(theirs[second, first]).ravel() / times**2
        )
    same /= times
    spread = np.sqrt(np.maximum(chance * (1 - chance), 1e-12) / times)
    return Meetings(first, second, times, same, np.where(chance < 1 - 1e-9, (same - chance) / spread, 0.0))
