"""The simulated annotators: who they are, how each one judges, and what a whole population of them would say.

Annotator a meets a hypothesis whose vague word holds with evidence z (distance of the latent number from the word's
average cut, in standard deviations of that cut between people). With the annotator's own threshold t for that word
and own caution c, the answer is

    entailment     if z - t >  band * c
    contradiction  if z - t < -band * c
    neutral        otherwise

and a denied hypothesis swaps entailment and contradiction. With the annotator's own slip rate the answer is instead
one of the three labels at random. t = LOADING * strictness + sqrt(1 - LOADING^2) * own, both standard normal, so
that one person is strict, or lenient, about many words at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

LABELS = ("entailment", "neutral", "contradiction")
ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)

LOADING = 0.6
"""Correlation of an annotator's threshold with the annotator's strictness; two words' thresholds share its square."""

CAUTION_SD = 0.35
"""Standard deviation of log caution between annotators; the median caution is 1."""

SLIP_SHAPE = (1.5, 48.5)
"""Beta distribution of slip rates between annotators; its mean is 0.03."""

_PANEL_KEY = 7  # first word of the spawn keys of annotators; items use other words
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
_WEIGHTS = _WEIGHTS / math.sqrt(2 * math.pi)


@dataclass(frozen=True, slots=True)
class Judgements:
    """What there is to judge in n items; arrays of length n.

    Attributes:
        trait: index of the word whose personal threshold decides.
        evidence: z, in standard deviations between people; positive where the undenied hypothesis tends to be true.
        band: half the width of the zone around the threshold in which annotators of median caution stay neutral.
        denied: whether the hypothesis denies the word.
    """

    trait: NDArray[np.int64]
    evidence: NDArray[np.float64]
    band: NDArray[np.float64]
    denied: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Panel:
    """Some annotators; the first axis of every array is the annotator.

    Attributes:
        thresholds: shape (annotators, traits), in standard deviations between people.
        caution: factor on every neutral zone, positive.
        slip: share of answers given at random.
    """

    thresholds: NDArray[np.float64]
    caution: NDArray[np.float64]
    slip: NDArray[np.float64]

    @property
    def names(self) -> tuple[str, ...]:
        """Annotator ids, in order."""
        return tuple(f"sim-{number:03d}" for number in range(len(self.slip)))


def draw_panel(seed: int, annotators: int, traits: int) -> Panel:
    """Draw a panel; annotator k of a seed is the same person whatever the size of the panel."""
    thresholds = np.empty((annotators, traits))
    caution, slip = np.empty(annotators), np.empty(annotators)
    for k in range(annotators):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PANEL_KEY, k)))
        caution[k] = math.exp(CAUTION_SD * rng.standard_normal())
        slip[k] = rng.beta(*SLIP_SHAPE)
        strictness = rng.standard_normal()
        thresholds[k] = LOADING * strictness + math.sqrt(1 - LOADING**2) * rng.standard_normal(traits)
    return Panel(thresholds, caution, slip)


def answers(panel: Panel, items: Judgements, rng: np.random.Generator) -> NDArray[np.int8]:
    """Every annotator's label of every item, shape (annotators, n).

    One uniform number per answer, drawn annotator by annotator: below the slip rate it is a slip, and where it falls
    there says which label, so that a larger panel leaves the answers of the first annotators as they were.
    """
    n = len(items.evidence)
    margin = items.evidence - panel.thresholds[:, items.trait]
    zone = items.band * panel.caution[:, None]
    toward = np.where(items.denied, -1, 1)
    # entailment is 0 and contradiction 2: one step down from neutral for "holds", one up for "fails"
    chosen = NEUTRAL - toward * ((margin > zone).astype(np.int8) - (margin < -zone).astype(np.int8))
    u = rng.random((len(panel.slip), n))
    slip = panel.slip[:, None]
    at_random = np.minimum(3 * u / slip, 2).astype(np.int8)
    return np.where(u < slip, at_random, chosen).astype(np.int8)


def population(items: Judgements) -> NDArray[np.float64]:
    """Probability that a new, unknown annotator gives each label; shape (n, 3), rows sum to 1.

    P(holds) = E_c[Phi(z - band c)] and P(fails) = E_c[Phi(-z - band c)] with log c normal, by Gauss-Hermite
    quadrature (41 nodes); then slips: p <- (1 - s) p + s / 3 with s the mean slip rate, which is exact because slips
    are independent of thresholds and caution.
    """
    zone = items.band[:, None] * np.exp(CAUTION_SD * _NODES)
    z = items.evidence[:, None]
    holds = ndtr(z - zone) @ _WEIGHTS
    fails = ndtr(-z - zone) @ _WEIGHTS
    p = np.empty((len(items.evidence), 3))
    p[:, ENTAILMENT] = np.where(items.denied, fails, holds)
    p[:, CONTRADICTION] = np.where(items.denied, holds, fails)
    p[:, NEUTRAL] = np.clip(1 - holds - fails, 0, 1)
    s = SLIP_SHAPE[0] / sum(SLIP_SHAPE)
    p = (1 - s) * p + s / 3
    return np.asarray(p / p.sum(axis=1, keepdims=True), dtype=np.float64)


def ambiguity(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shannon entropy of each row of `p` (all entries positive), in bits; between 0 and log2 3."""
    return np.asarray(-(p * np.log2(p)).sum(axis=1), dtype=np.float64)
