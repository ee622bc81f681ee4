"""Findings in plain sentences: no more than the numbers allow.

Every sentence counts conditions whose interval (and, for the headline, whose adjusted p) clears zero, on either side:
an effect that runs the other way is named wherever one that holds is. Conditions that did not learn are left out.
None claims a cause, none speaks of models or data outside the study, and what limits the reading follows at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dissensus.config import RunSpec
from dissensus.report import settings
from dissensus.report.tables import REGIMES, ConditionRow, Estimate, method_words
from dissensus.wording import interval_end, number

FEW = 50
"""Below this many examples a condition is called small."""
NAMED = 4
"""Conditions that a sentence names one by one."""


@dataclass(frozen=True)
class NotLearned:
    """A condition that learned nothing.

    Attributes:
        title: the condition in words.
        anchor: id of its section in the page.
        why: how that was seen.
    """

    title: str
    anchor: str
    why: str


def not_learned(rows: Sequence[ConditionRow]) -> tuple[NotLearned, ...]:
    """The conditions of which nothing may be said, each with the reason."""
    return tuple(NotLearned(row.title, row.anchor, row.learned_why) for row in rows if row.learned == "no")


def findings(rows: Sequence[ConditionRow], alpha: float) -> tuple[str, ...]:
    """What the study shows, a few sentences in order of weight; of the conditions that learned alone."""
    learned = [row for row in rows if row.learned != "no"]
    if rows and not learned:
        return ("No condition learned, so nothing is said here of what training did to the examples.",)
    sentences = [_association(learned, alpha), *_controls(learned), *_reversal(learned), _backing(learned)]
    left = len(rows) - len(learned)
    if left:
        are = "condition that did not learn is" if left == 1 else f"{left} conditions that did not learn are"
        sentences.append(f"The {are} counted in none of these sentences.")
    return tuple(_sentence(text) for text in sentences if text)


def limits_of_reading(
    rows: Sequence[ConditionRow], missing: int, cells: Sequence[RunSpec]
) -> tuple[str, ...]:
    """What keeps the findings from saying more. `cells` are those behind the rows, overrides merged."""
    sentences = [
        "These are rank correlations over the examples of a data set: they show what goes together, not why, and "
        "they hold for these models, data and settings."
    ]
    if rows and max(row.seeds for row in rows) == 1:
        sentences.append(
            "Every condition has one seed. The intervals cover the choice of examples, not another random start."
        )
    elif rows:
        sentences.append(
            "Intervals cover the choice of examples; the spread over seeds (±) is the standard deviation between "
            "random starts."
        )
    sentences += _withheld(rows)
    if len({row.method for row in rows}) > 1:
        sentences.append(
            f"{settings.rates_sentence(cells)} (compare their losses at the end), so a difference between methods is "
            "one between these settings."
        )
    if any(row.gold == "majority" for row in rows):
        sentences.append(
            "Where the gold label is the majority of the same annotations that give the entropy, contested examples "
            "have by construction fewer annotators behind their gold label."
        )
    small = [row for row in rows if row.n < FEW]
    if small:
        sentences.append(
            f"Conditions with fewer than {FEW} tracked examples: {len(small)} of {len(rows)}. Read them as a trial."
        )
    if missing == 1:
        sentences.append("One cell has no result and is missing from every number here (see below).")
    elif missing:
        sentences.append(
            f"{missing} cells have no result and are missing from every number here (see below)."
        )
    return tuple(sentences)


@dataclass(frozen=True)
class _Standing:
    """Conditions by where an estimate of theirs lies.

    Attributes:
        known: those that have the estimate.
        above: clear of 0, above it.
        below: clear of 0, below it.
        unjudged: without an interval.
    """

    known: tuple[ConditionRow, ...]
    above: tuple[ConditionRow, ...]
    below: tuple[ConditionRow, ...]
    unjudged: tuple[ConditionRow, ...]

    @classmethod
    def of(
        cls, rows: Sequence[ConditionRow], get: Callable[[ConditionRow], Estimate], alpha: float | None = None
    ) -> _Standing:
        """By the interval and, with `alpha`, by the adjusted p too, unless no condition has one (variants)."""
        known = tuple(row for row in rows if get(row).defined)
        by_p = alpha is not None and any(math.isfinite(get(row).p) for row in known)
        clear = [row for row in known if get(row).side and (not by_p or get(row).p < (alpha or 0.0))]
        return cls(
            known,
            tuple(row for row in clear if get(row).side > 0),
            tuple(row for row in clear if get(row).side < 0),
            tuple(row for row in known if not get(row).interval_known),
        )


def _association(rows: Sequence[ConditionRow], alpha: float) -> str:
    standing = _Standing.of(rows, lambda row: row.rho, alpha)
    known, above, below = standing.known, standing.above, standing.below
    if not known:
        reasons = dict.fromkeys(row.rho.why for row in rows if row.rho.why)
        return (
            "the correlation of entropy with the loss averaged over training is undefined in every condition"
            + (f" ({'; '.join(reasons)})" if reasons else "")
            + "."
        )
    low, high = min(r.rho.value for r in known), max(r.rho.value for r in known)
    span = f"ρ = {number(low)}" if len(known) == 1 else f"ρ from {number(low)} to {number(high)}"
    rule = "interval clear of 0"
    if any(math.isfinite(row.rho.p) for row in known):
        rule += f" and Holm-adjusted p below {alpha:.2g}"
    if above:
        text = (
            f"in {_of(len(above), len(known), 'conditions')}, examples on which annotators disagree more have a "
            f"higher gold-label loss averaged over training ({span} over all; counted: {rule})."
        )
        if below:
            text += (
                f" In {len(below)} the link clearly runs the other way: {_named(below, lambda row: row.rho)}."
            )
    elif below:
        text = (
            f"in {_of(len(below), len(known), 'conditions')} the link clearly runs the other way: examples on which "
            f"annotators disagree more have a lower gold-label loss averaged over training "
            f"({_named(below, lambda row: row.rho)}). It is clearly positive in none ({span} over all; counted: "
            f"{rule})."
        )
    else:
        text = (
            f"{_of(0, len(known), 'conditions')} {'show' if len(known) > 1 else 'shows'} a clear link, in either "
            f"direction, between annotator disagreement and the loss averaged over training ({span}; clear means "
            f"{rule})."
        )
    return text + _unjudged(standing)


def _controls(rows: Sequence[ConditionRow]) -> list[str]:
    first = _Standing.of(rows, lambda row: row.partial)
    if not first.known:
        return []
    sentence = f"with {_covariates(first.known)} held constant, {_sides(first, lambda row: row.partial)}"
    hard = _Standing.of(rows, lambda row: row.hard)
    if hard.known:
        sentence += (
            "; with the share of annotators who chose the gold label held constant as well, "
            f"{_sides(hard, lambda row: row.hard)}. That last control asks whether disagreement matters beyond the "
            "gold label being in doubt"
        )
    return [sentence + "."]


def _sides(standing: _Standing, get: Callable[[ConditionRow], Estimate]) -> str:
    text = f"the interval lies above 0 in {_of(len(standing.above), len(standing.known), 'conditions')}"
    if standing.below:
        text += f" and below 0 in {len(standing.below)} ({_named(standing.below, get)})"
    return text + (f" (no interval in {len(standing.unjudged)})" if standing.unjudged else "")


def _reversal(rows: Sequence[ConditionRow]) -> list[str]:
    sentences = []
    for regime in dict.fromkeys(row.regime for row in rows):
        in_regime = [row for row in rows if row.regime == regime and row.contested.delta.defined]
        if not in_regime:
            continue
        settled = _Standing.of(in_regime, lambda row: row.settled.delta)
        up = _by_method(in_regime, lambda row: row.contested.delta.side > 0)
        down = sum(row.contested.delta.side < 0 for row in in_regime)
        text = (
            f"{REGIMES.get(regime, regime)}: the contested group ended with a clearly higher mean gold-label loss than "
            f"it began with in {up}"
        )
        text += f", with a clearly lower one in {down}" if down else ""
        text += f"; the settled group ended higher in {_of(len(settled.above), len(in_regime), 'conditions')}"
        sentences.append(text + (f", lower in {len(settled.below)}." if settled.below else "."))
    return sentences


def _backing(rows: Sequence[ConditionRow]) -> str:
    """Settled examples whose gold label the annotators reject, beside those whose gold label they back."""
    split = [row for row in rows if row.sides.get("settled") and row.sides["settled"]["rejected"].n]
    if not split:
        return ""
    sides = [
        (side, _Standing.of(split, lambda row, side=side: row.sides["settled"][side].delta))  # type: ignore[misc]
        for side in ("rejected", "backed")
    ]
    counts = sorted({row.sides["settled"]["rejected"].n for row in split})
    some = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    parts = [
        f"the {side} ones ended with a clearly higher loss in {_of(len(standing.above), len(split), 'conditions')}"
        + (f" and a clearly lower one in {len(standing.below)}" if standing.below else "")
        for side, standing in sides
    ]
    return (
        f"annotators agree on the settled examples, but not always on the gold label: {some} of them "
        f"{'has' if some == '1' else 'have'} a gold label that at most half of the annotators chose (rejected); "
        + "; ".join(parts)
        + "."
    )


def _withheld(rows: Sequence[ConditionRow]) -> list[str]:
    without = [row for row in rows if row.rho.defined and not row.rho.interval_known]
    reasons = dict.fromkeys(row.rho.why for row in without if row.rho.why)
    if not reasons:
        return []
    return [
        f"No interval is given for {_of(len(without), len(rows), 'conditions')}, and nothing is decided there: "
        f"{'; '.join(reasons)}."
    ]


def _unjudged(standing: _Standing) -> str:
    left = len(standing.unjudged)
    return f" No interval could be given in {left}." if left else ""


def _named(rows: Sequence[ConditionRow], get: Callable[[ConditionRow], Estimate]) -> str:
    """'title ρ = −0.19 [−0.25, −0.12]; ...', a few by name."""
    shown = [
        f"{row.title} {get(row).text} [{interval_end(get(row).low)}, {interval_end(get(row).high)}]"
        for row in rows[:NAMED]
    ]
    more = len(rows) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _by_method(rows: Sequence[ConditionRow], holds: Callable[[ConditionRow], bool]) -> str:
    total = _of(sum(map(holds, rows)), len(rows), "conditions")
    methods = list(dict.fromkeys(row.method for row in rows))
    if len(methods) < 2:
        return total
    parts = []
    for method in methods:
        method_rows = [row for row in rows if row.method == method]
        parts.append(f"{method_words(method)}: {sum(map(holds, method_rows))} of {len(method_rows)}")
    return f"{total} ({'; '.join(parts)})"


def _covariates(rows: Sequence[ConditionRow]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.covariates.split(", ") if name))
    words = [name.replace("_", " ") for name in names]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "nothing"


def _of(count: int, total: int, noun: str) -> str:
    if total == 1:
        return f"the one {noun.removesuffix('s')}" if count else f"none (of one {noun.removesuffix('s')})"
    if count == total:
        return f"all {total} {noun}"
    return f"{count or 'none'} of the {total} {noun}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
