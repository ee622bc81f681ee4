"""Two groups compared: the gap of learning times (one-sided Welch, Cohen's d), and pairs of values by id."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.errors import DataError
from dissensus.stats.bootstrap import FloatArray

NAN = float("nan")


@dataclass(frozen=True)
class LearningGap:
    """How much later contested examples are learned than settled ones, among those that are learned at all.

    Attributes:
        gap: mean learning time of the contested minus that of the settled, in the unit of the times.
        t: Welch's statistic.
        df: its degrees of freedom.
        p_value: one-sided, of a gap of 0 against one above 0, as if examples were independent.
        cohens_d: gap over the pooled standard deviation (divisors n - 1).
        n_contested: contested examples that were learned.
        n_settled: settled ones.
        never_contested: contested examples that never were; left out.
        never_settled: settled ones.
    """

    gap: float
    t: float
    df: float
    p_value: float
    cohens_d: float
    n_contested: int
    n_settled: int
    never_contested: int
    never_settled: int


@dataclass(frozen=True)
class PairedDifference:
    """The same examples in two cells.

    Attributes:
        difference: mean over the pairs of first minus second.
        sd: sample standard deviation of the differences.
        cohens_d: difference over sd (of pairs, often written d_z).
        wilcoxon: the signed-rank statistic: sum of the ranks of the positive differences.
        p_wilcoxon: one-sided, of differences about 0 against first above second, as if examples were independent.
        t: Student's statistic of the pairs.
        p_t: one-sided, of the same.
        n: pairs with two finite values.
        unpaired: ids that only one of both has, or that lack a finite value in one.
    """

    difference: float
    sd: float
    cohens_d: float
    wilcoxon: float
    p_wilcoxon: float
    t: float
    p_t: float
    n: int
    unpaired: int


def learning_gap(contested: ArrayLike, settled: ArrayLike) -> LearningGap:
    """Gap of learning times, Welch's one-sided t test of it, and Cohen's d with the pooled standard deviation.

    Only examples with a finite time enter: an infinite one (never learned) and a NaN (unknown) have no mean. So the gap
    says nothing of examples that were not learned; their numbers stand beside it. t, df and p are those of
    `scipy.stats.ttest_ind(equal_var=False, alternative="greater")`.

    Degenerate cases: gap is NaN without an example in a group; t, df, p and d are NaN below two in either, and where no
    time varies.

    Args:
        contested: learning times, shape (a,); infinite for never.
        settled: likewise, shape (b,).
    """
    from scipy import stats  # here, because its import takes longer than the rest of `import dissensus`

    late, early = (np.asarray(times, dtype=np.float64).reshape(-1) for times in (contested, settled))
    never = [int(np.isinf(times).sum()) for times in (late, early)]
    late, early = late[np.isfinite(late)], early[np.isfinite(early)]
    a, b = len(late), len(early)
    gap = float(late.mean() - early.mean()) if a and b else NAN
    t = df = p_value = cohens_d = NAN
    if a > 1 and b > 1 and (np.ptp(late) > 0 or np.ptp(early) > 0):
        with (
            warnings.catch_warnings()
        ):  # SciPy warns of a group that does not vary; Welch's test has no trouble with it
            warnings.simplefilter("ignore", RuntimeWarning)
            result = stats.ttest_ind(late, early, equal_var=False, alternative="greater")
        t, df, p_value = float(result.statistic), float(result.df), float(result.pvalue)
        pooled = ((a - 1) * late.var(ddof=1) + (b - 1) * early.var(ddof=1)) / (a + b - 2)
        cohens_d = gap / float(np.sqrt(pooled))
    return LearningGap(gap, t, df, p_value, cohens_d, a, b, never[0], never[1])


def paired_difference(
    first_ids: Sequence[str], first: ArrayLike, second_ids: Sequence[str], second: ArrayLike
) -> PairedDifference:
    """First minus second for each id that both have: Wilcoxon's signed-rank test, Student's t, and d.

    Pairs are joined by id, never by position. Wilcoxon's p is `scipy.stats.wilcoxon(alternative="greater")`'s, which
    leaves out differences of 0.

    Degenerate cases: NaN where there are no pairs; sd, d and the tests are NaN below two of them or where no difference
    varies (Wilcoxon's: where every difference is 0).

    Args:
        first_ids: of the first values, unique.
        first: such as AULC in a cell with label noise, shape (a,).
        second_ids: of the second values, unique.
        second: such as AULC in its base cell, shape (b,).

    Raises:
        DataError: an id comes twice, or ids and values differ in number.
    """
    from scipy import stats  # here, because its import takes longer than the rest of `import dissensus`

    ours, theirs = _by_id(first_ids, first), _by_id(second_ids, second)
    common = [i for i in ours if i in theirs and np.isfinite(ours[i]) and np.isfinite(theirs[i])]
    unpaired = len(ours.keys() | theirs.keys()) - len(common)
    change: FloatArray = np.array([ours[i] - theirs[i] for i in common], dtype=np.float64)
    n = len(change)
    difference = float(change.mean()) if n else NAN
    sd = cohens_d = wilcoxon = p_wilcoxon = t = p_t = NAN
    if n > 1 and np.any(change != 0):
        signed = stats.wilcoxon(change, alternative="greater")
        wilcoxon, p_wilcoxon = float(signed.statistic), float(signed.pvalue)
    if n > 1:
        sd = float(change.std(ddof=1))
    if n > 1 and np.ptp(change) > 0:
        student = stats.ttest_1samp(change, 0.0, alternative="greater")
        cohens_d, t, p_t = difference / sd, float(student.statistic), float(student.pvalue)
    return PairedDifference(difference, sd, cohens_d, wilcoxon, p_wilcoxon, t, p_t, n, unpaired)


def _by_id(ids: Sequence[str], values: ArrayLike) -> dict[str, float]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(ids),):
        raise DataError(f"{len(ids)} ids come with values of shape {numbers.shape}; expected ({len(ids)},)")
    by_id = dict(zip(ids, numbers.tolist(), strict=True))
    if len(by_id) < len(ids):
        repeated = next(i for i in ids if list(ids).count(i) > 1)
        raise DataError(f"the id {repeated!r} comes twice; ids must be unique, for values are paired by them")
    return by_id
