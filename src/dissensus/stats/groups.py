"""Contested, middle and settled examples, and what is known of a group's mean curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.display import ShortRepr
from dissensus.errors import SpecError
from dissensus.stats.bootstrap import FloatArray
from dissensus.stats.columns import numeric_columns
from dissensus.stats.ranks import average_ranks

CONTESTED, MIDDLE, SETTLED, UNGROUPED = "contested", "middle", "settled", ""
GROUPS = (CONTESTED, MIDDLE, SETTLED)
"""The groups in the order in which results list them."""
EQUAL = 1e-9
"""Bits: entropies less than this apart are equal, for the same counts in another order differ by rounding."""


@dataclass(frozen=True, repr=False)
class GroupCurve(ShortRepr):
    """Mean curve of one group.

    Attributes:
        group: its name.
        mean: mean over the group's finite values at each tracking point, shape (T,); NaN where there is none.
        low: lower end of the t interval at each point (a pointwise band), shape (T,); NaN without one.
        high: upper end, shape (T,).
        n: examples of the group.
        finite: how many of them have a finite value, at each point, shape (T,).
        confidence: of the band.
        units: clusters (examples, where each is its own) with a finite value at each point, shape (T,).
        withheld: why there is no band, at the point with the fewest of them; '' where every point has one.
    """

    group: str
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    n: int
    finite: NDArray[np.int64]
    confidence: float
    units: NDArray[np.int64]
    withheld: str = ""


def entropy_groups(
    entropy: ArrayLike, *, share: float = 1 / 3, cuts: tuple[float, float] | None = None
) -> NDArray[np.str_]:
    """Sort examples into 'contested', 'middle' and 'settled' by annotation entropy; '' where it is NaN.

    By share: with r the average rank of an example's entropy among the n finite ones, from 1, its place is
    (r - 1/2) / n, in (0, 1). Places below `share` are settled, places above 1 - `share` contested. Examples
    of equal entropy have one place and hence one group, whatever the order of rows; a tied block goes to
    the outer group that more than half of it lies in, so groups may be larger or smaller than `share`. The lowest of
    all values is settled and the highest contested in any case, unless all are equal: then all are middle,
    for nothing sets them apart. Entropies that differ by less than 1e-9 bits are equal: the same counts in
    another order differ by rounding.

    By cuts (low, high), in bits: entropy at or below low is settled, at or above high contested; here too, less than
    1e-9 bits apart is equal, so that a cut written with a few digits less than the entropy takes its whole block.

    Args:
        entropy: bits, shape (n,).
        share: share of each outer group, in (0, 1/2].
        cuts: cut points instead of a share.

    Returns:
        Shape (n,).

    Raises:
        SpecError: the share is outside (0, 1/2], or the cuts do not rise.
    """
    values = numeric_columns({"entropy": entropy})["entropy"]
    names = np.full(len(values), UNGROUPED, dtype="<U9")
    finite = np.isfinite(values)
    if cuts is not None:
        low, high = cuts
        if not low < high:
            raise SpecError(
                f"cuts are {cuts}; expected (low, high) in bits with low below high, such as (0.5, 1.0)"
            )
        settled, contested = values < low + EQUAL, values > high - EQUAL
    else:
        if not 0 < share <= 0.5:
            raise SpecError(f"share is {share!r}; expected a number above 0, at most 0.5")
        rounded = np.round(values, 9)
        known = rounded[finite]
        settled = contested = np.zeros(len(values), dtype=np.bool_)
        if len(known) and np.ptp(known) > 0:
            rank = np.full(len(values), np.nan)
            rank[finite] = average_ranks(known)
            # Both sides count from their own end, so that rounding cannot treat them differently.
            settled = ((rank - 0.5) / len(known) < share) | (rounded == known.min())
            contested = ((len(known) + 0.5 - rank) / len(known) < share) | (rounded == known.max())
    names[finite] = MIDDLE
    names[finite & settled] = SETTLED
    names[finite & contested] = CONTESTED
    return names
