"""Packed counts: several resamples in one machine word, so that one addition serves them all.

A bootstrap of ranks is gathers and running sums of small whole numbers: counts of draws. Four of them, of four
resamples, fit side by side into 64 bits (two, where a resample has more than 32,767 draws). As long as no sum
outgrows its lane, adding words adds all lanes at once, in either byte order, and moving a word moves all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.stats.bootstrap import CountArray, FloatArray, IntArray

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Lanes:
    """Whole numbers of b resamples at m places.

    Attributes:
        words: shape (ceil(b / lanes a word), m).
        lane: type of a lane, uint16 or uint32.
        resamples: b; lanes behind the last one hold 0.
    """

    words: Words
    lane: np.dtype[Any]
    resamples: int

    @classmethod
    def of(cls, counts: CountArray | FloatArray, *, largest: int) -> Lanes:
        """Pack counts of shape (b, m), at least 0; `largest` is the largest number that a sum of them may reach."""
        lane = np.dtype(np.uint16 if largest <= np.iinfo(np.uint16).max else np.uint32)
        each = 8 // lane.itemsize
        b, m = counts.shape
        words = np.zeros((-(-b // each), m), dtype=np.uint64)
        lanes = words.view(lane).reshape(len(words), m, each)
        for place in range(each):
            own = counts[place::each]
            lanes[: len(own), :, place] = own
        return cls(words, lane, b)

    def take(self, places: IntArray) -> Lanes:
        """The numbers at the given places, shape (b, len(places))."""
        return Lanes(np.take(self.words, places, axis=1), self.lane, self.resamples)

    @property
    def capacity(self) -> int:
        """Lanes in all, at least b."""
        return len(self.words) * (8 // self.lane.itemsize)

    def numbers(self, out: FloatArray | None = None) -> FloatArray:
        """As float64, shape (b, m).

        Args:
            out: where to write them, shape (capacity, m); by default a new array.
        """
        rows, m = self.words.shape
        numbers = np.empty((self.capacity, m)) if out is None else out
        each = 8 // self.lane.itemsize
        lanes = np.ascontiguousarray(self.words).view(self.lane).reshape(rows, m, each)
        for place in range(each):
            numbers[place::each] = lanes[:, :, place]
        return numbers[: self.resamples]
