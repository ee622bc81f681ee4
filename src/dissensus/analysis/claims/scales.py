"""The scales on which the claims' numbers are judged: those of `stats.intervals`, and an AUROC counted from chance."""

from __future__ import annotations

import numpy as np

from dissensus.curves import FloatArray
from dissensus.stats.intervals import FISHER, LOGIT, PLAIN, Scale

__all__ = ["ABOVE_CHANCE", "FISHER", "PLAIN", "Scale", "slope"]


def _to(area: FloatArray) -> FloatArray:
    return LOGIT.to(np.asarray(area) + 0.5)


def _back(value: FloatArray) -> FloatArray:
    return LOGIT.back(value) - 0.5


ABOVE_CHANCE = Scale(_to, _back, ends=(-0.5, 0.5), least_clusters=LOGIT.least_clusters)
"""The logit, of an AUROC minus 0.5."""
_STEP = 1e-6


def slope(scale: Scale, value: float) -> float:
    """Derivative of the scale at a value that lies off the ends of its range."""
    ends = scale.to(np.array([value - _STEP, value + _STEP]))
    return float(ends[1] - ends[0]) / (2 * _STEP)
