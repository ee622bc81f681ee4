"""Answers of named annotators as arrays: one row per item and annotator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import AnnotatedDataset
from dissensus.display import ShortRepr
from dissensus.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Panel(ShortRepr):
    """Who answered what.

    Attributes:
        items: how many items there are, answered or not.
        names: of the annotators, sorted.
        item: of each answer, shape (answers,): a place below `items`.
        annotator: of each answer, shape (answers,): a place in `names`.
        shares: what was answered, shape (answers, K): 1 for the label chosen, 1/k each for k labels.
    """

    items: int
    names: tuple[str, ...]
    item: IntArray
    annotator: IntArray
    shares: FloatArray

    @classmethod
    def of(cls, dataset: AnnotatedDataset) -> Panel:
        """The named annotations of a data set."""
        triples = [(i, who, label) for i, e in enumerate(dataset) for who, label in e.annotations]
        names = tuple(sorted({who for _, who, _ in triples}))
        place = {name: k for k, name in enumerate(names)}
        return cls.from_arrays(
            np.array([i for i, _, _ in triples], dtype=np.int64),
            np.array([place[who] for _, who, _ in triples], dtype=np.int64),
            np.array([label for _, _, label in triples], dtype=np.int64),
            items=len(dataset),
            labels=len(dataset.labels),
            names=names,
        )

    @classmethod
    def from_arrays(
        cls,
        item: IntArray,
        annotator: IntArray,
        label: IntArray,
        *,
        items: int,
        labels: int,
        names: tuple[str, ...] | None = None,
    ) -> Panel:
        """From (item, annotator, label) rows; several rows of one annotator for one item count 1/k each.

        Raises:
            DataError: the three arrays differ in length, or a label is out of range.
        """
        if not item.shape == annotator.shape == label.shape:
            raise DataError(
                f"items, annotators and labels have shapes {item.shape}, {annotator.shape} and {label.shape}; "
                "expected one of each per row"
            )
        if label.size and not (label.min() >= 0 and label.max() < labels):
            raise DataError(f"labels run from {label.min()} to {label.max()}; expected 0 to {labels - 1}")
        people = int(annotator.max(initial=-1)) + 1
        names = tuple(map(str, range(people))) if names is None else names
        keys, answer = np.unique(item * max(len(names), 1) + annotator, return_inverse=True)
        shares = np.zeros((len(keys), labels))
        np.add.at(shares, (answer, label), 1.0)
        shares /= shares.sum(axis=1, keepdims=True)
        return cls(items, names, keys // max(len(names), 1), keys % max(len(names), 1), shares)

    @property
    def labels(self) -> int:
        """Number of labels."""
        return int(self.shares.shape[1])

    @cached_property
    def counts(self) -> FloatArray:
        """Named annotators per item and label, shape (items, K)."""
        counts = np.zeros((self.items, self.labels))
        np.add.at(counts, self.item, self.shares)
        return counts

    @cached_property
    def split(self) -> NDArray[np.bool_]:
        """Answers of more than one label, shape (answers,)."""
        return np.asarray(self.shares.max(axis=1, initial=0.0) < 1.0, dtype=np.bool_)

    def without(self, people: NDArray[np.bool_]) -> Panel:
        """The answers of everybody else; names and items keep their places.

        Args:
            people: who is left out, shape (names,).
        """
        kept = ~people[self.annotator]
        return Panel(self.items, self.names, self.item[kept], self.annotator[kept], self.shares[kept])
