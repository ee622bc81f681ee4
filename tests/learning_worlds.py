"""Curves of worlds of which it is known whether the model learned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves


def curves_from(logits: NDArray[np.float64], gold: NDArray[np.int64], last: int = 400) -> Curves:
    """Curves of logits (n, T, K), of three annotators who all chose the gold label."""
    n, t, k = logits.shape
    shifted = logits - logits.max(axis=2, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    return Curves(
        ids=tuple(str(i) for i in range(n)),
        labels=("entailment", "neutral", "contradiction", "fourth")[:k],
        steps=np.linspace(0, last, t).astype(np.int64),
        total_steps=last,
        log_probs=log_probs.astype(np.float32),
        gold=gold,
        counts=3.0 * np.eye(k)[np.maximum(gold, 0)] * (gold >= 0)[:, None],
        regime=np.full(n, "held_out"),
    )


def world(name: str, seed: int, n: int = 400, points: int = 8) -> Curves:
    """A cell of which it is known whether it learned; three labels, unless the name says binary.

    A head's own bias and noise are there from the start; `signal` is how far the gold label's logit rises.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    u = np.linspace(0, 1, points)
    shares = np.array([0.9, 0.1]) if "binary" in name else np.array([0.36, 0.33, 0.31])
    k = len(shares)
    gold = rng.choice(k, n, p=shares).astype(np.int64)
    bias, noise = 0.1 * rng.normal(size=k), 0.05 * rng.normal(size=(n, 1, k))
    easy = rng.gamma(2.0, 0.5, size=n)  # how much of the signal each example takes on
    prior = np.log(shares)
    towards = np.zeros(k)
    signal = np.zeros(points)
    if name == "learned":
        signal = 2.0 * u
    elif name == "learned from a noisy head":
        noise, signal = 1.0 * rng.normal(size=(n, 1, k)) * (1 - u)[None, :, None], 2.0 * u
    elif name == "slow learner":
        signal = 0.3 * u
    elif name == "binary learned at the majority":
        towards, signal = prior, 0.8 * u
    elif name == "learned from verbaliser words":
        noise, signal = np.array([6.0, -2.0, 0.0]) * (1 - u)[None, :, None] + noise, 2.0 * u
    elif "out of domain" in name:  # right more often than a constant, and far too sure
        if name == "out of domain, other shares":  # as ChaosNLI's settled and backed MNLI items
            gold = rng.choice(k, n, p=[0.59, 0.25, 0.16]).astype(np.int64)
        right = rng.random(n) < 0.55
        pushed = np.where(right, gold, (gold + rng.integers(1, k, n)) % k)
        return curves_from(4.0 * u[None, :, None] * np.eye(k)[pushed][:, None] + noise + bias, gold)
    elif name == "nothing":
        towards = 0.05 * rng.normal(size=k)
    elif name in ("nothing but the shares", "binary nothing but the shares"):
        towards = prior
    elif name == "nothing from a noisy head":
        noise = 0.8 * rng.normal(size=(n, 1, k)) * (1 - u)[None, :, None]
    elif name == "nothing from verbaliser words":
        noise = np.array([6.0, -2.0, 0.0]) * (1 - u)[None, :, None] + noise
    elif name == "collapsed":
        towards = np.array([0.0, 6.0, 0.0])
    elif name == "diverged":
        signal = 2.0 * u * (u < 0.6)
        towards = np.array([0.0, 0.0, 4.0]) * (u[-1] > 0.6)
        fall = np.where(u < 0.6, 0.0, 1.0)
        logits = signal[None, :, None] * easy[:, None, None] * np.eye(k)[gold][:, None] + noise + bias
        return curves_from(logits + fall[None, :, None] * towards, gold)
    else:
        raise AssertionError(name)
    start = 0.0 if "binary" in name else bias
    logits = signal[None, :, None] * easy[:, None, None] * np.eye(k)[gold][:, None] + noise + start
    return curves_from(logits + u[None, :, None] * towards, gold)
