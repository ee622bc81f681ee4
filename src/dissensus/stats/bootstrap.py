"""The bootstrap: how often each example is drawn, in bounded memory, and percentile intervals.

A resample is kept as counts: how many times each example was drawn. Means become products with these
counts, and ranks become running sums over them (`ranks.py`), so that nothing is sorted or copied again in
each resample. What is drawn is a function of the seed and the resample's number alone: not of how many are held at a
time, nor of the threads that compute on them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.errors import DataError, SpecError

FloatArray = NDArray[np.float64]
CountArray = NDArray[np.int32]
IntArray = NDArray[np.intp]
Seed = np.random.Generator | int | None
"""A generator, or a seed for one; None is refused where random numbers are drawn."""

CELLS = 200_000
"""Counts held at a time (resamples x examples): about what stays in a core's cache, whatever the data's size."""


def resample_counts(
    n: int, resamples: int, rng: np.random.Generator, *, clusters: ArrayLike | None = None, cells: int = CELLS
) -> Iterator[CountArray]:
    """Draw resamples with replacement, in chunks.

    Args:
        n: number of examples.
        resamples: how many resamples in all.
        rng: source of the draws. What is drawn does not depend on `cells`.
        clusters: a label for each example, shape (n,): whole clusters are drawn, as many as there are, so
            that examples that belong together (the pairs of one premise, say) stay together. A resample's
            size then varies.
        cells: resamples x examples of a chunk, at most (at least one resample a chunk).

    Yields:
        Counts of shape (b, n); the b of all chunks sum to `resamples`.
    """
    index = None if clusters is None else cluster_index(clusters, n)
    units = n if index is None else int(index.max(initial=-1)) + 1
    for picks in drawn_units(units, resamples, rng, rows=cells // max(n, 1)):
        counts = times_drawn(picks)
        yield counts if index is None else np.take(counts, index, axis=1)


def drawn_units(units: int, resamples: int, rng: np.random.Generator, *, rows: int) -> Iterator[IntArray]:
    """Draw as many units (examples or clusters) as there are, with replacement, `resamples` times.

    Yields:
        Which were drawn, shape (b, units), b at most `rows` (at least 1); nothing when there are no units.
    """
    rows = max(1, rows)
    for start in range(0, resamples if units else 0, rows):
        yield rng.integers(0, units, size=(min(rows, resamples - start), units))


def times_drawn(picks: IntArray) -> CountArray:
    """How often each unit was drawn, shape (b, units), given which were."""
    b, units = picks.shape
    # One count over all rows, each with numbers of its own: quicker than a call for each row.
    numbered = picks + (np.arange(b) * units)[:, None]
    return np.bincount(numbered.reshape(-1), minlength=b * units).reshape(b, units).astype(np.int32)


def cluster_index(clusters: ArrayLike, n: int) -> IntArray:
    """Number the clusters from 0: one index an example, shape (n,). Labels may be anything that sorts."""
    labels = np.asarray(clusters)
    if labels.shape != (n,):
        raise DataError(f"clusters has shape {labels.shape}; expected one label per example, shape ({n},)")
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.intp).reshape(n)


def generator_for(resamples: int, confidence: float, rng: Seed) -> np.random.Generator | None:
    """Check the bootstrap's options and give its generator; None when no resamples are wanted.

    Raises:
        SpecError: resamples is negative, the confidence is outside (0, 1), or resamples are wanted without
        a seed.
    """
    if resamples < 0:
        raise SpecError(f"resamples is {resamples}; expected 0 (no interval) or more")
    if not 0 < confidence < 1:
        raise SpecError(f"confidence is {confidence!r}; expected a number between 0 and 1, such as 0.95")
    if resamples and rng is None:
        raise SpecError(
            "a bootstrap interval needs rng: a numpy Generator or a seed, e.g. rng=0, so that it can be repeated"
        )
    return np.random.default_rng(rng) if resamples else None
