"""Numbers that a claim rests on: an estimate with its error, its interval and its tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dissensus.stats import benjamini_hochberg, holm
from dissensus.study.claims.sampled import Sampled
from dissensus.wording import number


@dataclass(frozen=True)
class Part:
    """One number that a claim says is above 0.

    Attributes:
        name: a condition, a pair of methods, a data set.
        value: the estimate.
        low: lower end of its interval, t based, from the spread over resampled examples and seeds.
        high: upper end.
        se: standard error.
        df: degrees of freedom; infinite for one seed, where examples alone were resampled.
        p: two-sided, of 0.
        p_below: one-sided, of the smallest value that counts: small where the number is shown to be below it.
        p_holm: `p` adjusted by Holm over the parts of its question; NaN before they are joined.
        p_bh: `p` adjusted by Benjamini and Hochberg.
        smallest: the smallest value that counts.
        seeds: seeds behind it, the fewest of any cell.
        cells: ids of the cells that it rests on.
        note: what a reader must know of this number, or ''.
    """

    name: str
    value: float
    low: float
    high: float
    se: float
    df: float
    p: float
    p_below: float
    smallest: float
    seeds: int
    cells: tuple[str, ...]
    note: str = ""
    p_holm: float = float("nan")
    p_bh: float = float("nan")

    @property
    def defined(self) -> bool:
        """Whether there is an estimate with an error."""
        return bool(np.isfinite(self.value) and np.isfinite(self.p))

    @property
    def text(self) -> str:
        """Its name, value and interval."""
        ends = f"interval {number(self.low, 3)} to {number(self.high, 3)}"
        return f"{self.name} ({number(self.value, 3)}, {ends})"


def part(
    name: str,
    sampled: Sampled,
    *,
    smallest: float,
    confidence: float,
    cells: Sequence[str],
    note: str = "",
) -> Part:
    """The estimate, its error and its tests.

    The standard error is the spread of the values resampled over examples and seeds. Its degrees of freedom are
    Satterthwaite's (1946), of a sum of two variances: that over examples, which many examples tell well, and that
    over S seeds, which S - 1 deviations tell badly. A statistic that is undefined in more than half of the resamples
    has no error and no p-value.
    """
    se, df = error_of(sampled)
    return estimated(
        name,
        sampled.value,
        se,
        df,
        smallest=smallest,
        confidence=confidence,
        seeds=sampled.seeds,
        cells=cells,
        note=note,
    )


def estimated(
    name: str,
    value: float,
    se: float,
    df: float,
    *,
    smallest: float,
    confidence: float,
    seeds: int,
    cells: Sequence[str],
    note: str = "",
) -> Part:
    """A part from an estimate and its standard error."""
    from scipy import special  # here, because its import takes longer than the rest of `import dissensus`

    low = high = p = p_below = float("nan")
    if np.isfinite(value) and se > 0:
        freedom = min(df, 1e9)
        reach = float(special.stdtrit(freedom, (1 + confidence) / 2)) * se
        low, high = value - reach, value + reach
        p = float(2 * special.stdtr(freedom, -abs(value) / se))
        p_below = float(special.stdtr(freedom, -(smallest - value) / se))
    return Part(name, float(value), low, high, se, df, p, p_below, smallest, seeds, tuple(cells), note)


def error_of(sampled: Sampled) -> tuple[float, float]:
    """Standard error of a statistic and its degrees of freedom; NaN where it is not defined."""
    both = sampled.both[np.isfinite(sampled.both)]
    if len(both) < 2 or 2 * len(both) < len(sampled.both):
        return float("nan"), float("nan")
    whole = float(both.var(ddof=1))
    among = float(sampled.examples[np.isfinite(sampled.examples)].var(ddof=1))
    over_seeds = max(whole - among, 0.0)
    df = float("inf")
    if sampled.seeds > 1 and over_seeds > 0:
        df = max(whole**2 / (over_seeds**2 / (sampled.seeds - 1)), 1.0)
    return float(np.sqrt(whole)), df


def adjusted(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts with their p-values adjusted over each other."""
    p = np.array([one.p for one in parts], dtype=np.float64)
    by_holm, by_bh = holm(p), benjamini_hochberg(p)
    return tuple(
        replace(one, p_holm=float(h), p_bh=float(b)) for one, h, b in zip(parts, by_holm, by_bh, strict=True)
    )
