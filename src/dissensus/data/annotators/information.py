"""Information of an annotator's answers about the others', in any form: the same view, a confusion, a turned scale.

For each annotator, g are their labels (dummies) and h the shares of the others' votes, over the items they share. If
the answers have nothing to do with the items, they might as well stand in any order, and under such permutations the
sum of products of g and h has a known mean and covariance (Strasser and Weber). The quadratic form

    c = (n - 1) tr(S_gg^+ S_gh S_hh^+ S_hg)

has mean `df` = rank(S_gg) rank(S_hh) exactly, and is about chi-squared; no permutation is drawn. It does not change
when labels are renamed, so that whoever confuses labels consistently has as much of it as whoever agrees.
(c - df) / (n - 1) estimates the sum of squared canonical correlations of g and h, the `strength` of the association.

Source: H. Strasser and C. Weber, "On the asymptotic theory of permutation statistics", Mathematical Methods of
Statistics 8, 1999.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dissensus.data.annotators.panel import FloatArray, IntArray, Panel
from dissensus.display import ShortRepr

_CLASSES = 4
"""Labels told apart, the most frequent ones; rarer ones are one class, so that the degrees of freedom stay few."""


@dataclass(frozen=True, eq=False, repr=False)
class Information(ShortRepr):
    """Of each annotator, arrays of shape (annotators,).

    Attributes:
        n: items shared with somebody else.
        statistic: c; 0 where their labels or the others' do not vary.
        df: its degrees of freedom.
        agreement_z: sum of products of equal labels, as a z-score under permutations; above 0: the same view.
        strength: (c - df) / (n - 1); NaN without degrees of freedom.
        rank: the lower of the two ranks: the most that the strength can be.
        own_spread: 1 - sum of squared label shares of their answers, about: how much their labels vary.
        rest_spread: how much the others' votes vary over the items.
    """

    n: IntArray
    statistic: FloatArray
    df: IntArray
    agreement_z: FloatArray
    strength: FloatArray
    rank: IntArray
    own_spread: FloatArray
    rest_spread: FloatArray


def information(panel: Panel, groups: IntArray) -> Information:
    """The association of each annotator's answers with those of everybody outside their group.

    Args:
        panel: the answers.
        groups: of the annotators, shape (annotators,): who gives the same answers as whom; each their own by default.
    """
    people = len(panel.names)
    classes = _classes(panel)
    own = panel.shares @ classes
    groups_of = groups[panel.annotator]
    span = int(groups.max(initial=0)) + 1
    _, meeting = np.unique(panel.item * span + groups_of, return_inverse=True)
    of_group = np.zeros((int(meeting.max(initial=-1)) + 1, own.shape[1]))
    np.add.at(of_group, meeting, own)
    others = (panel.counts @ classes)[panel.item] - of_group[meeting]
    votes = others.sum(axis=1)
    used = votes > 1 - 1e-9
    who = panel.annotator[used]
    g, h = own[used], others[used] / votes[used, None]
    n = np.bincount(who, minlength=people)
    s_gg, s_hh, s_gh = (_centred(a, b, who, n) for a, b in ((g, g), (h, h), (g, h)))
    inverse_g, rank_g = _inverses(s_gg)
    inverse_h, rank_h = _inverses(s_hh)
    statistic = (n - 1) * np.einsum("aij,ajk,akl,ail->a", inverse_g, s_gh, inverse_h, s_gh)
    df = rank_g * rank_h
    statistic = np.where(df > 0, np.maximum(statistic, 0.0), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(np.einsum("aij,aji->a", s_gg, s_hh) / np.maximum(n - 1, 1))
        agreement_z = np.where(df > 0, np.trace(s_gh, axis1=1, axis2=2) / spread, 0.0)
        strength = np.where(df > 0, (statistic - df) / (n - 1), np.nan)
        spreads = [np.where(n > 0, np.trace(s, axis1=1, axis2=2) / n, 0.0) for s in (s_gg, s_hh)]
    return Information(
        n, statistic, df, agreement_z, strength, np.minimum(rank_g, rank_h), spreads[0], spreads[1]
    )


def _classes(panel: Panel) -> FloatArray:
    """From labels to the classes told apart, shape (K, classes)."""
    labels = panel.labels
    if labels <= _CLASSES + 1:
        return np.eye(labels)
    order = np.argsort(-panel.counts.sum(axis=0), kind="stable")
    classes = np.zeros((labels, _CLASSES + 1))
    classes[order, np.minimum(np.arange(labels), _CLASSES)] = 1.0
    return classes


def _centred(a: FloatArray, b: FloatArray, who: IntArray, n: IntArray) -> FloatArray:
    """Sums of products of deviations from each annotator's means, shape (annotators, columns, columns)."""
    people = len(n)
    at_least_one = np.maximum(n, 1)

    def deviations(x: FloatArray) -> FloatArray:
        means = np.stack([np.bincount(who, weights=column, minlength=people) for column in x.T], axis=1)
        return np.asarray(x - (means / at_least_one[:, None])[who])

    da, db = deviations(a), deviations(b)
    out = np.empty((people, a.shape[1], b.shape[1]))
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            out[:, i, j] = np.bincount(who, weights=da[:, i] * db[:, j], minlength=people)
    return out


def _inverses(s: FloatArray) -> tuple[FloatArray, IntArray]:
    """Pseudo-inverses and ranks of symmetric matrices."""
    values, vectors = np.linalg.eigh(s)
    real = values > 1e-9 * np.maximum(1.0, values[:, -1:])
    inverted = np.where(real, 1 / np.where(real, values, 1.0), 0.0)
    return np.einsum("aij,aj,akj->aik", vectors, inverted, vectors), real.sum(axis=1)
