"""Partial conjunction: in at least how many of n places is an effect shown?"""

from __future__ import annotations

from collections.abc import Sequence


def at_least(p: Sequence[float], r: int) -> float:
    """p-value of "fewer than r of the n effects are there", valid whatever the tests have in common.

    With p_(r) the r-th smallest, (n - r + 1) p_(r), at most 1 (Benjamini and Heller, "Screening for partial conjunction
    hypotheses", Biometrics 64, 2008, the Bonferroni form): if fewer than r effects are there, at least n - r + 1 of the
    p-values are of none, and the smallest of those is below p_(r).

    Args:
        p: one-sided p-values; one that is not known is 1.
        r: from 1 to n.
    """
    return min(1.0, (len(p) - r + 1) * sorted(p)[r - 1])


def shown_in(p: Sequence[float], level: float) -> int:
    """The largest r for which r effects, and each smaller number of them, are shown at the level.

    Testing r = 1, 2, ... in turn and stopping at the first that is not shown keeps the level over all r.
    """
    r = 0
    while r < len(p) and at_least(p, r + 1) < level:
        r += 1
    return r
