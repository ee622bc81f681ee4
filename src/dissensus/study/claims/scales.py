"""Scales on which an estimate's error is near enough to normal for Student's t: Fisher's z, the logit, the plain one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dissensus.curves import FloatArray


@dataclass(frozen=True)
class Scale:
    """A rising function of an estimate, its inverse and its slope.

    Attributes:
        to: from estimates to the scale.
        back: from the scale to estimates.
        slope: derivative of `to` at an estimate.
        lowest: smallest estimate there is.
        highest: largest.
    """

    to: Callable[[FloatArray], FloatArray]
    back: Callable[[FloatArray], FloatArray]
    slope: Callable[[float], float]
    lowest: float = -np.inf
    highest: float = np.inf

    def inside(self, values: FloatArray, margin: float) -> FloatArray:
        """The values, moved off the ends of the range by `margin` of its width: there the scale is infinite."""
        if not np.isfinite(self.highest):
            return values
        off = margin * (self.highest - self.lowest)
        return np.clip(values, self.lowest + off, self.highest - off)


def _logit(area: FloatArray) -> FloatArray:
    return np.log((area + 0.5) / (0.5 - area))


def _unlogit(value: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-value)) - 0.5


def _as_is(value: FloatArray) -> FloatArray:
    return value


PLAIN = Scale(_as_is, _as_is, lambda _value: 1.0)
"""Of changes of loss, in nats, and of differences."""
CORRELATION = Scale(np.arctanh, np.tanh, lambda rho: 1 / (1 - rho**2), -1.0, 1.0)
"""Fisher's z, of correlations and their means."""
AREA = Scale(_logit, _unlogit, lambda area: 1 / ((0.5 + area) * (0.5 - area)), -0.5, 0.5)
"""The logit, of an AUROC minus 0.5."""
