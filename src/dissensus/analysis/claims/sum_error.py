"""Tests of an estimate whose variance is a sum of parts, some of them known from very few values (three seeds).

Satterthwaite's degrees of freedom take the estimated parts for true: where two deviations of three seeds happen to be
small, they say that seeds do not matter and give the interval of many examples. It then covers 87 to 94% where seeds
matter. Cochran and Cox ("Experimental designs", 2nd ed., 1957, section 4.14) average the critical values instead,
weighted by the variances: 94% at least, 97 to 98% where both parts are alike (docs/design/claims.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

_HALVINGS = 40


@cache
def _special() -> Any:
    """scipy.special, at the first need: its import takes longer than the rest of `import dissensus`."""
    from scipy import special

    return special


@dataclass(frozen=True)
class SumError:
    """A standard error and its critical values.

    Attributes:
        terms: (variance, degrees of freedom) of each part.
    """

    terms: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, terms: Sequence[tuple[float, float]]) -> SumError:
        """Of these parts; those of no variance count for nothing."""
        return cls(tuple((variance, min(df, 1e9)) for variance, df in terms if variance > 0))

    @property
    def se(self) -> float:
        """The standard error; 0 without any variance."""
        return float(np.sqrt(sum(variance for variance, _ in self.terms)))

    def critical(self, tail: float) -> float:
        """Standard errors beyond which a deviation to one side has a chance of `tail`, in (0, 1/2]."""
        total = sum(variance for variance, _ in self.terms)
        return float(sum(-variance * _special().stdtrit(df, tail) for variance, df in self.terms) / total)

    def tail(self, t: float) -> float:
        """Chance of a deviation of at least t standard errors upwards; any sign."""
        if t < 0:
            return 1 - self.tail(-t)
        if len(self.terms) == 1:
            return float(_special().stdtr(self.terms[0][1], -t))
        low, high = -300.0, float(np.log10(0.5))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.critical(10**middle) > t else (low, middle)
        return float(10**high)

    def df(self, confidence: float) -> float:
        """Degrees of freedom of Student's t with the critical value of this confidence."""
        wanted, tail = self.critical((1 - confidence) / 2), (1 - confidence) / 2
        low, high = (np.log(f(df for _, df in self.terms)) for f in (min, max))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if -_special().stdtrit(np.exp(middle), tail) > wanted else (low, middle)
            )
        return float(np.exp(high))
