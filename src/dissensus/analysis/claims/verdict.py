"""Verdicts: one rule from estimates to supported, contradicted or inconclusive, for every claim.

A claim says that each of some numbers (its parts) is above 0. With a level of 0.05:

- **supported**: every part is above 0, by two-sided tests adjusted by Holm over the parts, and none is missing: no part
  without an interval, no question unanswered without which the claim says nothing;
- **contradicted**: some part is below the smallest value that counts, by one-sided tests at half the level, adjusted
  by Holm. A part that is shown to be above 0 does not count against the claim, however small;
- **inconclusive**: neither, on these data;
- **not testable here**: the study holds no cells that could say.

If every part truly is at least the smallest value that counts, 'contradicted' comes with a chance of at most half the
level; if one part truly is 0 or below, 'supported' comes with at most half the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dissensus.analysis.claims.parts import Part, adjusted
from dissensus.stats import holm
from dissensus.wording import number

Verdict = Literal["supported", "contradicted", "inconclusive", "not testable here"]


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
        undefined: the parts that have no estimate or no error, each with the reason; they are not judged, and
            the question is not supported while there are any.
        needed: whether the claim cannot be supported where this question is not testable.
    """

    name: str
    asks: str
    statistic: str
    parts: tuple[Part, ...]
    verdict: Verdict
    decides: bool = True
    note: str = ""
    undefined: tuple[str, ...] = ()
    needed: bool = False


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


def question(
    name: str,
    asks: str,
    statistic: str,
    parts: Sequence[Part],
    *,
    level: float,
    decides: bool = True,
    note: str = "",
    needed: bool = False,
) -> Question:
    """Join parts to a question: adjust their p-values and judge. Parts without an error are named, not judged."""
    known = [one for one in parts if one.defined]
    undefined = tuple(one.unjudged for one in parts if not one.defined)
    verdict = judge(known, level)
    if verdict == "supported" and undefined:
        verdict = "inconclusive"
    return Question(name, asks, statistic, adjusted(known), verdict, decides, note, undefined, needed)


@dataclass(frozen=True)
class _Standing:
    """How parts stand to 'each is above 0'.

    Attributes:
        shown: those that are shown to be.
        open: those that are not.
        against: of the latter, those that are shown to be below the smallest value that counts.
    """

    shown: tuple[Part, ...]
    open: tuple[Part, ...]
    against: tuple[Part, ...]

    @classmethod
    def of(cls, parts: Sequence[Part], level: float) -> _Standing:
        known = adjusted([one for one in parts if one.defined])
        shown = [one.value > 0 and one.p_holm < level for one in known]
        # What is shown to be above 0, or spared, cannot count against it, and still counts among the tests.
        p = holm(
            np.array([1.0 if ok or one.spared else one.p_below for one, ok in zip(known, shown, strict=True)])
        )
        return cls(
            shown=tuple(one for one, ok in zip(known, shown, strict=True) if ok),
            open=tuple(one for one, ok in zip(known, shown, strict=True) if not ok),
            against=tuple(one for one, q in zip(known, p, strict=True) if q < level / 2),
        )

    @property
    def verdict(self) -> Verdict:
        if not self.shown and not self.open:
            return "not testable here"
        if not self.open:
            return "supported"
        return "contradicted" if self.against else "inconclusive"


def judge(parts: Sequence[Part], level: float) -> Verdict:
    """The verdict on parts that must all be above 0; see the module's first lines."""
    return _Standing.of(parts, level).verdict


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
    deciding = [q for q in questions if q.decides]
    standing = _Standing.of([one for q in deciding for one in q.parts], level)
    missing = [f"{q.name}: {_listed(q.undefined)}" for q in deciding if q.undefined]
    untested = [q for q in deciding if q.verdict == "not testable here"]
    lacking = [q for q in questions if q.needed and not q.parts]
    verdict = standing.verdict
    if verdict == "supported" and (missing or lacking):
        verdict = "inconclusive"
    unsaid = [f"no interval, so not judged: {one}" for one in missing]
    if verdict != "not testable here":
        unsaid += [f"{q.name}: not testable here" + (f" ({q.note})" if q.note else "") for q in untested]
    single = []
    if any(one.seeds == 1 and "between seeds" not in one.note for q in deciding for one in q.parts):
        single = ["some numbers rest on one seed: their intervals are about other examples alone"]
    return ClaimVerdict(
        claim,
        says,
        verdict,
        finding,
        _would_change(verdict, standing, [*missing, *(f"{q.name} ({q.note})" for q in lacking)]),
        (*unsaid, *limits, *single),
        tuple(questions),
    )


def _would_change(verdict: Verdict, standing: _Standing, missing: Sequence[str]) -> str:
    if verdict == "not testable here":
        wanted = f": {_listed(missing)}" if missing else "; see the claim's questions"
        return f"cells that could say{wanted}"
    if verdict == "contradicted":
        smallest = " or ".join(dict.fromkeys(f"{one.smallest:g}" for one in standing.against))
        named = _listed([one.text for one in standing.against])
        return f"{named} would have to be at least {smallest} and shown to be above 0"
    if verdict == "supported":
        weakest = max(standing.shown, key=lambda one: one.p_holm)
        facts = f"{weakest.name} ({number(weakest.value, 3)}, Holm p {weakest.p_holm:.2g})"
        return f"one part that is not above 0; the weakest is {facts}"
    more: list[str] = []
    if standing.open:
        named = _listed([one.text for one in standing.open])
        more.append(f"more examples or seeds for what is not distinguishable from 0: {named}")
    if missing:
        more.append(f"what could not be tested: {_listed(missing)}")
    return "; ".join(more)


def _listed(names: Sequence[str], most: int = 4) -> str:
    shown = "; ".join(names[:most])
    return shown if len(names) <= most else f"{shown}; and {len(names) - most} more"
