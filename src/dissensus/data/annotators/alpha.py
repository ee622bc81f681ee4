"""Krippendorff's alpha from label counts, nominal, ordinal or interval, with a bootstrap interval over items.

alpha = 1 - D_o / D_e. With n_ic annotators of item i who chose label c, m_i of them, and delta(c, k) the distance of
two labels, an item adds sum_ck (n_ic n_ik - own_ick) delta(c, k)^2 / (m_i - 1) to the observed disagreement D_o, where
`own` are pairs of an annotator with themselves (none at a distance, unless they gave several labels). The expected
disagreement is D_e = sum_ck n_c n_k delta(c, k)^2 / (n - 1), over the items with two annotators or more.

Both come from sums over items, so that a resample of items is a weighted sum, and items with equal counts are drawn
together. Ordinal distances depend on the counts themselves: delta(c, k) is the difference of the labels' mid-ranks,
which each resample computes anew.

Source: K. Krippendorff, "Computing Krippendorff's alpha-reliability", 2011 (the worked examples in `tests`);
A. F. Hayes and K. Krippendorff, "Answering the call for a standard reliability measure for coding data", Communication
Methods and Measures 1, 2007 (bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from dissensus.data.annotators.panel import FloatArray, Panel
from dissensus.errors import DataError

Level = Literal["nominal", "ordinal", "interval"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")
LEAST_ITEMS = 20
"""Items with two annotators or more below which no interval is given: their resamples are too few and too alike."""
_CELLS = 4_000_000
"""Weights of resamples held at a time."""


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha.

    Attributes:
        level: of measurement.
        value: 1 is perfect agreement, 0 what chance would give; NaN where everybody chose one label, or no item has
            two annotators.
        low: of the interval; NaN where it is withheld.
        high: of the interval.
        items: items with two annotators or more, which alone count.
    """

    level: Level
    value: float
    low: float
    high: float
    items: int


def krippendorff_alpha(
    counts: ArrayLike,
    *,
    rng: np.random.Generator,
    level: Level = "nominal",
    values: Sequence[float] | None = None,
    panel: Panel | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Alpha:
    """Alpha and its percentile interval over resampled items.

    Args:
        counts: annotators per label, shape (items, K); nobody needs a name.
        rng: generator that draws the resamples.
        level: distance of two labels: 0 or 1, of ranks, or of values.
        values: of the labels on an interval scale, shape (K,); default 0, 1, 2, ...
        panel: who gave several labels to an item, which counts alone do not tell; the same items in the same order.
        resamples: of the interval; 0 gives none.
        confidence: of the interval.

    Raises:
        DataError: the level is unknown, or counts are not (items, K).
    """
    c = np.asarray(counts, dtype=np.float64)
    if level not in LEVELS or c.ndim != 2:
        raise DataError(
            f"level is {level!r} and counts have shape {c.shape}; expected {LEVELS} and (items, K)"
        )
    total = np.round(c.sum(axis=1), 9)
    pairable = total > 2 - 1e-6
    size = int(pairable.sum())
    nothing = Alpha(level, np.nan, np.nan, np.nan, size)
    if not size:
        return nothing
    upper = np.triu_indices(c.shape[1], 1)
    places = (
        np.arange(c.shape[1], dtype=np.float64) if values is None else np.asarray(values, dtype=np.float64)
    )
    distances = (
        np.ones((c.shape[1], c.shape[1])) - np.eye(c.shape[1])
        if level == "nominal"
        else (places[:, None] - places) ** 2
    )
    own = panel is not None and bool(panel.split.any())
    kept, repeats = (
        (c[pairable], np.ones(size)) if own else np.unique(c[pairable], axis=0, return_counts=True)
    )
    times = np.asarray(repeats, dtype=np.float64)
    n = kept.sum(axis=1)
    if level == "ordinal":
        observed = 2 * kept[:, upper[0]] * kept[:, upper[1]]
    else:
        observed = np.einsum("ic,ck,ik->i", kept, distances, kept)[:, None]
    if own and panel is not None:
        split = panel.shares[panel.split]
        where = panel.item[panel.split]
        products = (
            2 * split[:, upper[0]] * split[:, upper[1]]
            if level == "ordinal"
            else np.einsum("ic,ck,ik->i", split, distances, split)[:, None]
        )
        of_all = np.zeros((len(c), observed.shape[1]))
        np.add.at(of_all, where, products)
        observed = observed - of_all[pairable]
    features = np.hstack([observed / (n - 1)[:, None], kept])
    width = observed.shape[1]

    def alphas(weights: FloatArray) -> FloatArray:
        sums = weights @ features
        pairs, chosen = sums[:, :width], sums[:, width:]
        everybody = chosen.sum(axis=1)
        if level == "ordinal":
            middle = np.cumsum(chosen, axis=1) - chosen / 2
            apart = (middle[:, :, None] - middle[:, None, :]) ** 2
            disagreement = (pairs * apart[:, upper[0], upper[1]]).sum(axis=1)
            expected = np.einsum("bc,bck,bk->b", chosen, apart, chosen)
        else:
            disagreement = pairs[:, 0]
            expected = np.einsum("bc,ck,bk->b", chosen, distances, chosen)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(
                np.where(expected > 0, 1 - disagreement * (everybody - 1) / expected, np.nan),
                dtype=np.float64,
            )

    value = float(alphas(times[None])[0])
    if resamples < 1 or size < LEAST_ITEMS or np.isnan(value):
        return Alpha(level, value, np.nan, np.nan, size)
    drawn = np.concatenate(
        [alphas(_weights(times, size, part, rng)) for part in _parts(resamples, len(kept))]
    )
    if np.isnan(drawn).mean() > 0.05:  # a resample in which all labels are one says nothing
        return Alpha(level, value, np.nan, np.nan, size)
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Alpha(level, value, float(low), float(high), size)


def _parts(resamples: int, patterns: int) -> list[int]:
    most = max(1, _CELLS // max(patterns, 1))
    return [min(most, resamples - begin) for begin in range(0, resamples, most)]


def _weights(times: FloatArray, size: int, draws: int, rng: np.random.Generator) -> FloatArray:
    """How often each pattern of counts is drawn, shape (draws, patterns)."""
    if len(times) * 4 < size:
        return rng.multinomial(size, times / size, size=draws).astype(np.float64)
    pattern = np.repeat(np.arange(len(times)), times.astype(np.int64))
    weights = np.empty((draws, len(times)))
    for row in weights:
        row[:] = np.bincount(pattern[rng.integers(size, size=size)], minlength=len(times))
    return weights
