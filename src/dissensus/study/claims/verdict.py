"""From estimates to verdicts: one rule for every claim.

A claim says that each of some numbers (its parts) is above 0. With a level of 0.05:

- **supported**: every part is above 0, by two-sided tests adjusted by Holm over the parts;
- **contradicted**: some part is below the smallest value that counts, by one-sided tests at half the level, adjusted
  by Holm. A part that is shown to be above 0 does not count against the claim, however small;
- **inconclusive**: neither, on these data;
- **not testable here**: the study holds no cells that could say.

If every part truly is at least the smallest value that counts, 'contradicted' comes with a chance of at most half the
level; if one part truly is 0 or below, 'supported' comes with at most half the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dissensus.stats import benjamini_hochberg, holm
from dissensus.study.claims.sampled import Sampled

Verdict = Literal["supported", "contradicted", "inconclusive", "not testable here"]


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


@dataclass(frozen=True)
class Question:
    """One test of a claim.

    Attributes:
        name: a few words.
        asks: what must hold of every part, in a sentence.
        statistic: what is computed, with its unit.
        parts: its numbers.
        verdict: by the rule above, over these parts alone.
        decides: whether the claim's verdict rests on it; else it stands beside it for the reader.
        note: why it is not testable, or what to bear in mind.
    """

    name: str
    asks: str
    statistic: str
    parts: tuple[Part, ...]
    verdict: Verdict
    decides: bool = True
    note: str = ""


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim and what the study says of it.

    Attributes:
        claim: 'C1' to 'C6', C3 with its regime.
        says: the claim in a sentence.
        verdict: by the rule above over the parts of all questions that decide.
        finding: what was found, in a sentence with its numbers.
        would_change: what would change the verdict.
        limits: what the verdict does not say.
        questions: its tests.
    """

    claim: str
    says: str
    verdict: Verdict
    finding: str
    would_change: str
    limits: tuple[str, ...]
    questions: tuple[Question, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """Ids of the cells that the deciding questions rest on."""
        parts = (part for q in self.questions if q.decides for part in q.parts)
        return tuple(dict.fromkeys(cell for part in parts for cell in part.cells))


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


def question(
    name: str,
    asks: str,
    statistic: str,
    parts: Sequence[Part],
    *,
    level: float,
    decides: bool = True,
    note: str = "",
) -> Question:
    """Join parts to a question: adjust their p-values and judge."""
    known = [one for one in parts if one.defined]
    undefined = [one.name for one in parts if not one.defined]
    if undefined:
        note = "; ".join([*([note] if note else []), f"undefined: {_listed(undefined)}"])
    return Question(name, asks, statistic, adjusted(known), judge(known, level), decides, note)


def adjusted(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts with their p-values adjusted over each other."""
    p = np.array([one.p for one in parts], dtype=np.float64)
    by_holm, by_bh = holm(p), benjamini_hochberg(p)
    return tuple(
        replace(one, p_holm=float(h), p_bh=float(b)) for one, h, b in zip(parts, by_holm, by_bh, strict=True)
    )


def judge(parts: Sequence[Part], level: float) -> Verdict:
    """The verdict on parts that must all be above 0; see the module's first lines."""
    known = adjusted([one for one in parts if one.defined])
    if not known:
        return "not testable here"
    shown = [one.value > 0 and one.p_holm < level for one in known]
    if all(shown):
        return "supported"
    against = [1.0 if ok else one.p_below for one, ok in zip(known, shown, strict=True)]
    if bool((holm(np.array(against)) < level / 2).any()):
        return "contradicted"
    return "inconclusive"


def against(parts: Sequence[Part], level: float) -> tuple[Part, ...]:
    """The parts that contradict, by the same rule."""
    known = adjusted([one for one in parts if one.defined])
    shown = [one.value > 0 and one.p_holm < level for one in known]
    p = holm(np.array([1.0 if ok else one.p_below for one, ok in zip(known, shown, strict=True)]))
    return tuple(one for one, q in zip(known, p, strict=True) if q < level / 2)


def claim_verdict(
    claim: str,
    says: str,
    questions: Sequence[Question],
    *,
    finding: str,
    level: float,
    limits: Sequence[str] = (),
) -> ClaimVerdict:
    """Judge a claim by the parts of its deciding questions, and say what would change the verdict."""
    parts = [one for q in questions if q.decides for one in q.parts]
    verdict = judge(parts, level)
    seeds = {one.seeds for one in parts}
    single = (
        ["some numbers rest on one seed: their intervals are about other examples alone"]
        if 1 in seeds
        else []
    )
    untested = [f"{q.name}: not testable here" + (f" ({q.note})" if q.note else "")
                for q in questions if q.decides and q.verdict == "not testable here" and parts]  # fmt: skip
    return ClaimVerdict(
        claim,
        says,
        verdict,
        finding,
        _would_change(verdict, parts, level),
        (*untested, *limits, *single),
        tuple(questions),
    )


def _would_change(verdict: Verdict, parts: Sequence[Part], level: float) -> str:
    if verdict == "not testable here":
        return "cells that could say; see the claim's questions"
    if verdict == "contradicted":
        named = [
            f"{one.name} ({one.value:.3f}, interval {one.low:.3f} to {one.high:.3f})"
            for one in against(parts, level)
        ]
        return f"{_listed(named)} would have to be at least {_smallest(parts)} and shown to be above 0"
    known = adjusted([one for one in parts if one.defined])
    if verdict == "supported":
        weakest = max(known, key=lambda one: one.p_holm)
        facts = f"{weakest.name} ({weakest.value:.3f}, Holm p {weakest.p_holm:.2g})"
        return f"one part that is not above 0; the weakest is {facts}"
    open_ = [one for one in known if not (one.value > 0 and one.p_holm < level)]
    named = [f"{one.name} ({one.value:.3f}, interval {one.low:.3f} to {one.high:.3f})" for one in open_]
    return f"more examples or seeds for what is not told from 0: {_listed(named)}"


def _smallest(parts: Sequence[Part]) -> str:
    return " or ".join(dict.fromkeys(f"{one.smallest:g}" for one in parts))


def _listed(names: Sequence[str], most: int = 4) -> str:
    shown = "; ".join(names[:most])
    return shown if len(names) <= most else f"{shown}; and {len(names) - most} more"
