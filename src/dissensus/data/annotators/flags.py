"""Flags: annotators whose answers say nothing about the others', told from those who disagree.

Three outcomes for each annotator: `informative`, `flagged`, and `not told`, which is what few items lead to. The kinds:

- `random`: the association with the others' votes (`information.py`) is *significantly below* a quarter of the typical
  annotator's (half of their correlation), and shows no sign of itself. The first alone would flag the weak, the second
  alone whoever has few items. Typical is the median annotator's, cut down where the annotator's own labels or items
  vary less. Whoever confuses labels consistently, or is strict, has association and is not flagged.
- `constant`: one label for everything, although even an annotator half as ready as the others to choose other labels
  would have done so. `nearly constant`: at least 95 % of the answers, and the rest say nothing either.
- `copy`: the same answers as somebody else's, and no association with anybody outside.
- `inverted`: on two labels or an ordered scale, opposite to the others as strongly as half of the typical agreement.

Nobody is flagged as random who agrees with another annotator beyond chance, or with the others who are far from the
rest: that is a school with a view of its own, even where the majority's answers say nothing about it. p-values are
adjusted by Holm over all annotators with enough items. Whoever is flagged is left out of the others' rest, and those
are looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotators.information import Information, information
from dissensus.data.annotators.meetings import LEAST_COMMON, meetings
from dissensus.data.annotators.panel import FloatArray, IntArray, Panel
from dissensus.data.annotators.rest import agreement_with_rest

Kind = Literal["constant", "nearly constant", "random", "copy", "inverted"]
Outcome = Literal["informative", "flagged", "not told"]
LEAST_ITEMS = 20
"""Shared items below which nothing is told of an annotator."""
LEAST_REFERENCE = 3
"""Annotators with enough items below which there is no typical annotator to compare with."""
LEVEL = 0.05
SIGN = 0.1
"""p-value of the association below which there is a sign of it, and nobody is flagged."""
_STRENGTH = 0.25
_FRACTION = 0.5
_NEARLY = 0.95
_ROUNDS = 5


@dataclass(frozen=True)
class Flag:
    """The outcome for one annotator.

    Attributes:
        outcome: informative, flagged, or not told.
        kind: of the flag; None without one.
        partners: places of the annotators who give the same answers.
        p_none: p-value of "the answers say nothing"; low where they say something; NaN where it cannot be tested.
        p_typical: of "they say at least a quarter of what is typical", before Holm; low where they say less.
    """

    outcome: Outcome
    kind: Kind | None
    partners: tuple[int, ...]
    p_none: float
    p_typical: float


def flag_annotators(panel: Panel, values: Sequence[float] | None = None) -> tuple[Flag, ...]:
    """Who is flagged, in the order of the panel's names.

    Args:
        panel: the answers.
        values: places of the labels on an ordered scale; with None labels have no order, unless there are two.
    """
    people = len(panel.names)
    if not people:
        return ()
    flags = [Flag("not told", None, (), float("nan"), float("nan")) for _ in range(people)]
    met = meetings(panel)
    groups = met.groups(people)
    sharing = met.sharing_a_view(people)
    gone = np.zeros(people, dtype=np.bool_)
    for _ in range(_ROUNDS):
        latest = _one_round(panel.without(gone), groups, sharing, values)
        if latest is None:
            break  # those who are left are too few to compare with; what was told before stands
        fresh = False
        for place, flag in enumerate(latest):
            if not gone[place]:
                flags[place] = flag
                if flag.outcome == "flagged":
                    gone[place] = fresh = True
        if not fresh:
            break
    return tuple(flags)


def holm(p: FloatArray) -> FloatArray:
    """p-values adjusted by Holm's step-down method; NaN stays and does not count."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = (len(order) - np.arange(len(order))) * p[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return adjusted


def _one_round(
    panel: Panel, groups: IntArray, sharing: NDArray[np.bool_], values: Sequence[float] | None
) -> list[Flag] | None:
    """The outcomes; None with too few annotators to compare with."""
    from scipy.special import chdtrc, chndtr

    people = len(panel.names)
    facts = information(panel, groups)
    rest = agreement_with_rest(panel)
    enough = facts.n >= LEAST_ITEMS
    reference = enough & (facts.df > 0)
    if reference.sum() < LEAST_REFERENCE:
        return None
    bound = _part_of_typical(facts, reference)
    with np.errstate(invalid="ignore"):
        p_none = np.where(facts.df > 0, chdtrc(np.maximum(facts.df, 1), facts.statistic), np.nan)
        p_typical = np.where(
            reference & (bound > 0),
            chndtr(
                facts.statistic, np.maximum(facts.df, 1), np.maximum(facts.n - 1, 0) * np.maximum(bound, 0.0)
            ),
            np.nan,
        )
    top_share = rest.label_shares.max(axis=1, initial=0.0)
    same = enough & (top_share >= _NEARLY)
    p_typical = np.where(same, _constant(panel, rest.top), p_typical)
    silent = ~(p_none < SIGN)  # NaN: a constant answer is no sign of anything
    candidates = enough & (holm(p_typical) < LEVEL) & silent
    varied = candidates & ~same
    varied &= ~sharing
    far = enough & ~same & (p_typical < LEVEL)
    varied &= ~_in_a_school(panel, groups, far)
    inverted = _inverted(panel, values, enough)
    flags = []
    for place in range(people):
        partners = tuple(int(k) for k in np.flatnonzero(groups == groups[place]) if k != place)
        kind: Kind | None = None
        if candidates[place] and same[place]:
            kind = "constant" if top_share[place] > 1 - 1e-9 else "nearly constant"
        elif varied[place]:
            kind = "copy" if partners else "random"
        elif inverted[place]:
            kind = "inverted"
        outcome: Outcome = "not told"
        if kind is not None:
            outcome = "flagged"
        elif enough[place] and p_none[place] < LEVEL:
            outcome = "informative"
        flags.append(Flag(outcome, kind, partners, float(p_none[place]), float(p_typical[place])))
    return flags


def _part_of_typical(facts: Information, reference: NDArray[np.bool_]) -> FloatArray:
    """A quarter of the median annotator's strength, cut down to what this annotator's labels and items allow."""
    bound = np.full(len(facts.n), _STRENGTH * float(np.median(facts.strength[reference])))
    for measure in (facts.own_spread, facts.rest_spread, facts.rank):
        typical = float(np.median(measure[reference]))
        bound = bound * np.minimum(1.0, measure / typical) if typical > 0 else bound * 0.0
    return bound


def _constant(panel: Panel, top: IntArray) -> FloatArray:
    """Chance of so few other answers from somebody half as ready as the others to give them, shape (annotators,).

    Chernoff's bound for a Poisson variable: exp(x - mu) (mu / x)^x where x < mu answers are others, mu expected.
    """
    people = len(panel.names)
    others = panel.counts[panel.item] - panel.shares
    votes = others.sum(axis=1)
    used = votes > 1 - 1e-9
    who, label = panel.annotator[used], top[panel.annotator[used]]
    rows = np.arange(len(who))
    otherwise = 1 - others[used][rows, label] / votes[used]
    expected = _FRACTION * np.bincount(who, weights=otherwise, minlength=people)
    seen = np.bincount(who, weights=1 - panel.shares[used][rows, label], minlength=people)
    with np.errstate(invalid="ignore", divide="ignore"):
        log_p = seen - expected + np.where(seen > 0, seen * np.log(expected / seen), 0.0)
    return np.asarray(np.where(seen < expected, np.exp(log_p), 1.0))


def _in_a_school(panel: Panel, groups: IntArray, far: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Who agrees with the others of those who are far from the rest: a view of their own, and no noise.

    Those who met few of them are taken to belong where these agree as a whole.
    """
    from scipy.special import chdtrc, ndtr

    if far.sum() < 2:
        return np.zeros(len(far), dtype=np.bool_)
    among = information(panel.without(~far), groups)
    counted = far & (among.n >= 5) & (among.df > 0)
    if not counted.any():
        return np.zeros(len(far), dtype=np.bool_)
    p_any = np.where(counted, chdtrc(np.maximum(among.df, 1), among.statistic), 1.0)
    p_same = np.where(counted, ndtr(-among.agreement_z), 1.0)
    whole = float(ndtr(-among.agreement_z[counted].sum() / np.sqrt(counted.sum())))
    return far & ((np.minimum(p_any, p_same) < SIGN) | ((whole < LEVEL) & (among.n < LEAST_COMMON)))


def _inverted(panel: Panel, values: Sequence[float] | None, enough: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Who answers opposite to the others, as strongly as half of the typical agreement, and alone."""
    from scipy.special import ndtr

    people = len(panel.names)
    if values is None and panel.labels != 2:
        return np.zeros(people, dtype=np.bool_)
    places = (
        np.arange(panel.labels, dtype=np.float64) if values is None else np.asarray(values, dtype=np.float64)
    )
    r, n = _correlations(panel, places)
    known = enough & ~np.isnan(r)
    if known.sum() < LEAST_REFERENCE:
        return np.zeros(people, dtype=np.bool_)
    typical = float(np.median(r[known]))
    z = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)) * np.sqrt(np.maximum(n - 3, 0))
    opposite = (
        known & (holm(np.where(known, ndtr(z), np.nan)) < LEVEL) & (r < -_FRACTION * typical) & (typical > 0)
    )
    if opposite.sum() > 1:  # who agrees with others of them has company: a school, and no slip
        among, shared = _correlations(panel.without(~opposite), places)
        opposite &= ~((shared >= LEAST_ITEMS) & (among > _FRACTION * typical))
    return opposite


def _correlations(panel: Panel, places: FloatArray) -> tuple[FloatArray, IntArray]:
    """Pearson correlation of each annotator's values with the others' mean value, and the items behind it."""
    people = len(panel.names)
    own = panel.shares @ places
    votes = panel.counts.sum(axis=1)[panel.item] - 1
    used = votes > 1 - 1e-9
    who = panel.annotator[used]
    x = own[used]
    y = ((panel.counts @ places)[panel.item][used] - x) / votes[used]
    n = np.bincount(who, minlength=people)
    least = np.maximum(n, 1)
    x = x - (np.bincount(who, weights=x, minlength=people) / least)[who]
    y = y - (np.bincount(who, weights=y, minlength=people) / least)[who]
    xy, xx, yy = (np.bincount(who, weights=w, minlength=people) for w in (x * y, x * x, y * y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((xx > 1e-12) & (yy > 1e-12), xy / np.sqrt(xx * yy), np.nan), n
