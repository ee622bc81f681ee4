"""Fit of triage's curve model on the simulated panel: `python -m benchmarks.triage --fit DIR` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.triage_worlds import World
from dissensus.analysis.triage.curve_model import CLASSES, CurveModel, RegimeModel
from dissensus.analysis.triage.evidence import FEATURES, curve_evidence
from dissensus.curves import FloatArray
from dissensus.stats.label_posterior import true_kind

PENALTY = 1.0
"""Of the squared coefficients, on features of unit variance, beside the log-likelihood of a thousand examples a fit."""
WEIGHT = 1000
FLIPS = (0.03, 0.2)
"""Shares of further flips. Held-out labels are not trained on, so they can be flipped after the run."""
LENGTHS = (0.4, 0.7, 1.0)
"""Of each run: cut short, it stands for one that learned less."""

Sample = tuple[FloatArray, NDArray[np.int64]]


def fit(worlds: Sequence[World], command: str) -> CurveModel:
    """The model of both regimes, from runs on the simulated panel."""
    models = {}
    for regime in ("held_out", "trained_on"):
        chosen = [world for world in worlds if world.regime == regime]
        models[regime] = fit_regime([sample for world in chosen for sample in samples(world)])
    return CurveModel(command=command, features=FEATURES, **models)


def samples(world: World) -> list[Sample]:
    """Features and true kinds of a run, cut short and, where held out, with further flips."""
    rng, points = np.random.default_rng(0), len(world.curves.steps)
    made = []
    for length in LENGTHS:
        kept = max(4, round(length * points))
        curves = replace(
            world.curves,
            steps=world.curves.steps[:kept],
            log_probs=world.curves.log_probs[:, :kept],
            values={},
        )
        made.append((curve_evidence(curves).features, world.kinds))
        for share in FLIPS if world.regime == "held_out" else ():
            gold, k = curves.gold.copy(), len(curves.labels)
            flipped = rng.choice(len(gold), round(share * len(gold)), replace=False)
            gold[flipped] = (gold[flipped] + rng.integers(1, k, len(flipped))) % k
            made.append((curve_evidence(curves.on(gold)).features, true_kind(world.shares, gold)))
    return made


def fit_regime(made: Sequence[Sample], penalty: float = PENALTY) -> RegimeModel:
    """A multinomial logistic model with a squared penalty on its coefficients; every sample weighs the same."""
    features = np.concatenate([x for x, _ in made])
    truth = np.eye(len(CLASSES))[np.concatenate([kinds for _, kinds in made])]
    weights = np.concatenate([np.full(len(x), WEIGHT / len(x) / len(made)) for x, _ in made])[:, None]
    known = np.isfinite(features).all(axis=1)
    features, truth, weights = features[known], truth[known], weights[known]
    scale = features.std(axis=0)
    x, (c, f) = features / scale, (len(CLASSES), features.shape[1])

    def surprise(parameters: FloatArray) -> tuple[float, Any]:
        coefficients, intercepts = parameters[: c * f].reshape(c, f), parameters[c * f :]
        scores = x @ coefficients.T + intercepts
        scores -= scores.max(axis=1, keepdims=True)
        log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        off = (np.exp(log_p) - truth) * weights
        value = -(weights * truth * log_p).sum() + penalty / 2 * (coefficients**2).sum()
        return float(value), np.append((off.T @ x + penalty * coefficients).ravel(), off.sum(axis=0))

    best = minimize(surprise, np.zeros(c * f + c), jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    shares = (weights * truth).sum(axis=0) / weights.sum()
    return RegimeModel(
        scale=tuple(np.round(scale, 6).tolist()),
        coefficients=tuple(map(tuple, np.round(best[: c * f].reshape(c, f), 4).tolist())),
        intercepts=tuple(np.round(best[c * f :], 4).tolist()),
        shares=tuple(np.round(shares, 4).tolist()),
    )
