"""Curves written down by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from dissensus.curves import Curves


def build(
    probabilities: object,
    *,
    gold: Sequence[int] | None = None,
    counts: object = None,
    steps: Sequence[int] | None = None,
    total_steps: int | None = None,
    ids: Sequence[str] | None = None,
) -> Curves:
    """Curves from probabilities of shape (n, T, K); by default gold is label 0 and steps are 0, 1, 2, ..."""
    p = np.asarray(probabilities, dtype=np.float64)
    n, points, k = p.shape
    with np.errstate(divide="ignore"):
        log_probs = np.log(p).astype(np.float32)
    at = np.arange(points) if steps is None else np.asarray(steps)
    return Curves(
        ids=tuple(ids or (f"e{i}" for i in range(n))),
        labels=tuple("abcdef"[:k]),
        steps=at.astype(np.int64),
        total_steps=int(at[-1]) if total_steps is None else total_steps,
        log_probs=log_probs,
        gold=np.zeros(n, dtype=np.int64) if gold is None else np.asarray(gold, dtype=np.int64),
        counts=np.ones((n, k)) if counts is None else np.asarray(counts, dtype=np.float64),
        regime=np.array(["held_out"] * n),
    )


def from_losses(losses: object, **options: object) -> Curves:
    """Two-label curves with these gold losses (n, T), gold being label 0."""
    p = np.exp(-np.asarray(losses, dtype=np.float64))
    return build(np.stack([p, 1 - p], axis=2), **options)


@pytest.fixture(scope="session")
def make_curves() -> Callable[..., Curves]:
    return build


@pytest.fixture(scope="session")
def curves_of_losses() -> Callable[..., Curves]:
    return from_losses
