"""Verdicts on pairs of lines: one curve of contested against settled loss, several, or not told.

- equivalent: every difference that was read has its whole interval within the margin (each at the study's confidence:
  an intersection-union test, which needs no adjustment);
- different: some difference exceeds the margin, by one-sided tests adjusted by Holm over all pairs and levels;
- not told: neither; or no two lines were read at a common level; or there is one seed of everything: then what another
  seed would change is not known, and only these runs are spoken of.

The same is asked of pairs of one method (rates) and of pairs of two (methods), for the paper's claim is about methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dissensus.analysis.settling.levels import Difference

Verdict = Literal["equivalent", "different", "not told"]
ONE_SEED = "one seed of each run: what another seed would change is not known"


@dataclass(frozen=True)
class Scope:
    """The verdict on some of the pairs.

    Attributes:
        name: 'all', 'rates' (pairs of one method) or 'methods' (pairs of two).
        verdict: see the module's first lines.
        runs: the same verdict where one seed counts as all there is.
        reason: why it is not told, or ''.
        pairs: pairs of lines that were compared.
        largest: the difference of the greatest size; None without any.
    """

    name: str
    verdict: Verdict
    runs: Verdict
    reason: str
    pairs: int
    largest: Difference | None


def scope_of(name: str, apart: Sequence[Difference], alpha: float) -> Scope:
    """The verdict on these differences; `alpha` is the level of the tests."""
    pairs = len({(one.first.name, one.second.name) for one in apart})
    judged = [one for one in apart if one.value.defined]
    if not judged:
        why = apart[0].value.withheld if apart else "no two of them were read at a common settled loss"
        return Scope(name, "not told", "not told", why, pairs, None)
    largest = max(judged, key=lambda one: abs(one.value.value))
    runs: Verdict = "not told"
    reason = "some intervals reach beyond the margin, and no difference is shown to exceed it"
    if any(one.beyond(alpha) for one in judged):
        runs, reason = "different", ""
    elif all(one.within for one in apart):
        runs, reason = "equivalent", ""
    several = any(min(len(one.first.runs), len(one.second.runs)) > 1 for one in apart)
    if not several:
        reason = ONE_SEED if runs != "not told" else f"{reason}; and {ONE_SEED}"
        return Scope(name, "not told", runs, reason, pairs, largest)
    return Scope(name, runs, runs, reason, pairs, largest)
