"""Combining votes and curves: the probability that an example is mislabelled, contested or agreed.

By Bayes' rule, P(class) is proportional to share x curves^weight x votes. Votes' and curves' factors say how much
likelier they are under a class than on the whole. The shares of the classes, and how much the curves of this study
may say, are those under which its votes are most likely: where curves and votes do not go together, the curves weigh
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.stats.label_posterior import LabelPosterior

ALONE = 0.5
"""Weight of curves without votes. In full weight they are right about labels flipped at random, and too sure of labels
that people really got wrong (docs/design/triage.md has both)."""
AT_MOST = 5.0
"""How much likelier curves may make one class than another where the label is the votes' own majority. So they put the
doubtful in order; they do not overrule people, for curves did not find the labels that people got wrong
(docs/design/triage.md)."""
FEWEST = 50
"""Examples with `ENOUGH_VOTES` votes below which shares and weight are not fitted."""


@dataclass(frozen=True)
class Combined:
    """What votes and curves say together of n examples.

    Attributes:
        probabilities: P(mislabelled, contested, agreed), shape (n, 3); NaN where neither votes nor curves say anything.
        shares: of the classes, as taken, shape (3,).
        weight: of the curves, from 0 (nothing) to 1 (as on the runs that they were fitted on); NaN without curves.
    """

    probabilities: FloatArray
    shares: FloatArray
    weight: float


def combine(
    voted: LabelPosterior,
    unvoted: LabelPosterior,
    enough: NDArray[np.bool_],
    curves: FloatArray | None,
    shares: FloatArray,
    *,
    own_majority: bool = False,
) -> Combined:
    """Combine the posterior of the votes with the factors of the curves.

    Args:
        voted: posterior of n examples; NaN for those that nobody voted on.
        unvoted: the same without any votes.
        enough: whether an example has `ENOUGH_VOTES` votes, shape (n,).
        curves: factors, shape (n, 3), as `evidence_factors` gives them; None where all curves are silent.
        shares: of the classes where too few examples have votes to fit them, shape (3,).
        own_majority: the given label is the majority of these votes, and no evidence beside them. Most of them never
            reject it, so that without votes its three cases are not as likely as of any label: their shares are then
            the means of what the votes say, and the weight of the curves alone is fitted.
    """
    before = _table(unvoted)
    own_majority = own_majority and bool(enough.any())
    if own_majority:
        shares = _table(voted)[enough].mean(axis=0)
        before = np.broadcast_to(shares, before.shape)
    votes = _table(voted) / before
    has_votes = _whole(votes)
    factors = np.full(votes.shape, np.nan) if curves is None else curves
    has_curves = _whole(factors)
    if own_majority:
        factors = np.maximum(factors / factors.max(axis=1, keepdims=True), 1 / AT_MOST)
    votes, factors = np.where(has_votes[:, None], votes, 1.0), np.where(has_curves[:, None], factors, 1.0)
    weight = ALONE
    telling = enough & has_votes
    if telling.sum() >= FEWEST:
        with_curves = bool((telling & has_curves).any())
        shares, weight = _fitted(
            votes[telling], factors[telling], with_curves, shares if own_majority else None
        )
    probabilities = _normalised(shares * factors**weight * votes)
    probabilities[~has_votes & ~has_curves] = np.nan
    return Combined(probabilities, shares, weight if has_curves.any() else float("nan"))


def _fitted(
    votes: FloatArray, factors: FloatArray, with_curves: bool, fixed: FloatArray | None
) -> tuple[FloatArray, float]:
    """Shares (unless they are fixed) and weight under which the votes are most likely."""
    from scipy import optimize  # here, because its import takes longer than the rest of `import dissensus`

    def unpacked(parameters: FloatArray) -> tuple[FloatArray, float]:
        weight = float(np.clip(parameters[2], 0.0, 1.0)) if with_curves else 0.0
        if fixed is not None:
            return fixed, weight
        odds = np.exp(np.clip(np.append(parameters[:2], 0.0), -7, 7))
        return odds / odds.sum(), weight

    def surprise(parameters: FloatArray) -> float:
        shares, weight = unpacked(parameters)
        prior = _normalised(shares * factors**weight)
        outside = max(0.0, -parameters[2], parameters[2] - 1)
        return float(-np.log((prior * votes).sum(axis=1)).sum() + outside)

    start = np.array([-1.5, -0.5, ALONE])
    best = optimize.minimize(surprise, start, method="Nelder-Mead", options={"maxiter": 400, "xatol": 1e-3})
    return unpacked(best.x)


def _whole(values: FloatArray) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(values).all(axis=1), dtype=np.bool_)


def _normalised(values: FloatArray) -> FloatArray:
    return np.asarray(values / values.sum(axis=1, keepdims=True), dtype=np.float64)


def _table(posterior: LabelPosterior) -> FloatArray:
    return np.stack([posterior.rejected, posterior.contested, posterior.backed], axis=1)
