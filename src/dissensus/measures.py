"""Annotation entropy and agreement, from label counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def annotation_entropy(
    counts: ArrayLike, *, estimator: str = "plugin", normalized: bool = False
) -> NDArray[np.float64]:
    """Placeholder signature; see the contract."""
    c = np.asarray(counts, dtype=np.float64)
    total = c.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = c / total
        return -np.where(p > 0, p * np.log2(p), np.where(np.isnan(p), np.nan, 0.0)).sum(axis=1)
