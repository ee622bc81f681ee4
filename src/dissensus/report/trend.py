"""The median line of entropy against AULC: a dot a value of entropy while values are few, bins when they are many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MOST_VALUES = 15
"""Distinct entropies that keep a dot each; with more the line joins bins. Ten annotators and three labels give 14."""
BINS = 10
"""Bins, about; a value that fills a bin alone has one of its own."""
FEWEST = 20
"""With fewer examples no line is drawn."""
LISTED = 5
"""Values that a caption lists one by one."""
DECIMALS = 9
"""Entropies that agree to so many decimals are one value: sums taken in another order differ in the last bits."""


@dataclass(frozen=True)
class TrendLine:
    """Medians of y over the values, or bins, of x.

    Attributes:
        at: the value, or the median x of the bin, shape (m,); m = 0 where no line is drawn.
        low: first quartile of y, shape (m,).
        middle: median of y, shape (m,).
        high: third quartile of y, shape (m,).
        sizes: examples behind each point, shape (m,).
        by_value: whether each point is one value of x; False for bins.
    """

    at: FloatArray
    low: FloatArray
    middle: FloatArray
    high: FloatArray
    sizes: NDArray[np.int64]
    by_value: bool

    def __len__(self) -> int:
        return len(self.at)

    @property
    def words(self) -> str:
        """What the line joins, for a caption: how many values or bins, and how many examples each."""
        if not len(self):
            return f"No line: it needs {FEWEST} examples and two values of entropy"
        if not self.by_value:
            return (
                f"Line: median AULC of {len(self)} bins by entropy ({_each(self.sizes)}); band: middle half"
            )
        if len(self) <= LISTED:
            listed = "; ".join(
                f"{value:.2f} bits: {size}{' examples' if not i else ''}"
                for i, (value, size) in enumerate(zip(self.at.tolist(), self.sizes.tolist(), strict=True))
            )
            counted = f"each of the {len(self)} values of entropy ({listed})"
        else:
            counted = f"each of the {len(self)} values of entropy ({_each(self.sizes)})"
        return f"Line: median AULC at {counted}; band: middle half"


def trend(x: FloatArray, y: FloatArray, *, most: int = MOST_VALUES, bins: int = BINS) -> TrendLine:
    """Median and quartiles of y along x.

    Up to `most` distinct x keep a point each. With more, neighbouring values are joined to bins of about n / `bins`
    examples; equal values never part, and a value that holds as many alone is not joined with others.
    Fewer than `FEWEST` examples, or one distinct x, give no point.

    Args:
        x: shape (n,), finite.
        y: shape (n,), finite.
        most: distinct values that are kept apart.
        bins: how many bins, about.
    """
    values, place, sizes = np.unique(np.round(x, DECIMALS), return_inverse=True, return_counts=True)
    by_value = len(values) <= most
    if len(x) < FEWEST or len(values) < 2:
        nothing = np.empty(0)
        return TrendLine(nothing, nothing, nothing, nothing, np.empty(0, np.int64), by_value)
    if not by_value:
        place = _joined(sizes, len(x) / bins)[place]
    members = [place == k for k in range(int(place.max()) + 1)]
    quartiles = np.array([np.quantile(y[member], [0.25, 0.5, 0.75]) for member in members])
    return TrendLine(
        at=np.array([np.median(x[member]) for member in members]),
        low=quartiles[:, 0],
        middle=quartiles[:, 1],
        high=quartiles[:, 2],
        sizes=np.array([member.sum() for member in members], dtype=np.int64),
        by_value=by_value,
    )


def _joined(sizes: NDArray[np.int64], full: float) -> NDArray[np.int64]:
    """The bin of each value, given how many examples each value has and how many fill a bin."""
    groups: list[list[int]] = []  # the sizes in each bin, in order
    for size in sizes.tolist():
        closed = not groups or size >= full or sum(groups[-1]) >= full
        groups.append([size]) if closed else groups[-1].append(size)
    last = groups[-1]
    if len(groups) > 1 and sum(last) < full / 2 and max(groups[-2]) < full:
        groups[-2:] = [groups[-2] + last]
    return np.repeat(np.arange(len(groups)), [len(group) for group in groups]).astype(np.int64)


def _each(sizes: NDArray[np.int64]) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return f"{low} examples each" if low == high else f"{low} to {high} examples each"
