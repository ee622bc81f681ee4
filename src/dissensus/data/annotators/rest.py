"""Agreement of each annotator with the rest: the other annotators' votes on the same items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dissensus.data.annotators.panel import FloatArray, IntArray, Panel
from dissensus.display import ShortRepr

_Z = 1.959963984540054


@dataclass(frozen=True, eq=False, repr=False)
class AgreementWithRest(ShortRepr):
    """Each annotator beside the others, arrays of shape (annotators,) unless said.

    Attributes:
        items: items they answered.
        shared: of them, those that somebody else answered too.
        agreement: mean share of the others' votes that equal theirs, over shared items; NaN without any.
        low: of its 95 % interval.
        high: of its interval.
        kappa: agreement corrected for chance, (A - E) / (1 - E); NaN where E is 1.
        label_shares: share of each label among their answers, shape (annotators, K).
        top: place of their most frequent label.
    """

    items: IntArray
    shared: IntArray
    agreement: FloatArray
    low: FloatArray
    high: FloatArray
    kappa: FloatArray
    label_shares: FloatArray
    top: IntArray


def agreement_with_rest(panel: Panel) -> AgreementWithRest:
    """How far each annotator agrees with whoever else answered the same items, each left out of the rest in turn.

    E, the agreement by chance, is that of their own label shares with the mean of the others' votes, both over the
    shared items: Cohen's kappa with another annotator drawn at random.

    The interval is Wilson's with the number of items that a yes-or-no agreement of the same variance would need; the
    variance has one further item's worth of p (1 - p) added, so that a few equal values are not certainty.
    """
    people = len(panel.names)
    others = panel.counts[panel.item] - panel.shares
    votes = others.sum(axis=1)
    shared = votes > 1 - 1e-9
    who = panel.annotator[shared]
    rest = others[shared] / votes[shared, None]
    own = panel.shares[shared]
    same = (own * rest).sum(axis=1)
    items = np.bincount(panel.annotator, minlength=people)
    n = np.bincount(who, minlength=people)
    label_shares = _sums(panel.shares, panel.annotator, people)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(who, weights=same, minlength=people) / n
        chance = (_sums(own, who, people) * _sums(rest, who, people)).sum(axis=1) / n**2
        kappa = np.where(chance < 1 - 1e-12, (mean - chance) / (1 - chance), np.nan)
        spread = np.bincount(who, weights=(same - mean[who]) ** 2, minlength=people)
        binary = mean * (1 - mean)
        variance = (spread + binary) / n
        effective = np.where(binary > 1e-12, n * binary / variance, n)
        middle = (mean + _Z**2 / (2 * effective)) / (1 + _Z**2 / effective)
        half = _Z / (1 + _Z**2 / effective) * np.sqrt(binary / effective + _Z**2 / (4 * effective**2))
        return AgreementWithRest(
            items,
            n,
            mean,
            np.clip(middle - half, 0.0, 1.0),
            np.clip(middle + half, 0.0, 1.0),
            kappa,
            label_shares / items[:, None],
            label_shares.argmax(axis=1),
        )


def _sums(values: FloatArray, who: IntArray, people: int) -> FloatArray:
    """Sums of rows by annotator, shape (annotators, columns)."""
    return np.stack([np.bincount(who, weights=column, minlength=people) for column in values.T], axis=1)
