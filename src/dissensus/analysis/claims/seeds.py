"""Variance between seeds: the seeds' share of an estimate's variance, borrowed where a condition has one seed.

An estimate is a weighted sum of values v(c, s) of conditions c and seeds s. They are taken as

    v(c, s) = m(c) + a(s) + e(c, s)

with a(s) what a seed does to every condition (the order of the data, the head), e(c, s) what it does to one.
Conditions with several seeds tell how large both are; a condition with one seed tells nothing of it and is taken to
vary as much as they do. With weights w, W(s) their sum over the conditions that have the seed, and M conditions with
the same S seeds:

    variance = A q + max(0, B - A / M) r,    A = sum W(s)^2,  B = sum w^2

where q is the variance, over the seeds, of the mean over the M conditions (S - 1 degrees of freedom; it estimates var
a + var e / M) and r what is left of the deviations after these means ((M - 1)(S - 1); var e). In a complete grid the
second term is 0 and the first is the variance of the seeds' means over S, as in any textbook.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Weighted = tuple[int, float]
"""A seed and the weight of one value that has it."""


@dataclass(frozen=True)
class SeedSpread:
    """How much seeds vary a statistic.

    Attributes:
        common: variance over seeds of the mean over the conditions (q above).
        own: variance that is left within conditions (r above); 0 with one condition.
        seeds: S.
        conditions: M.
    """

    common: float
    own: float
    seeds: int
    conditions: int

    @classmethod
    def of(cls, conditions: Sequence[Mapping[int, float]]) -> SeedSpread | None:
        """Estimate it from conditions, each seed -> value; None where none has two seeds.

        Of the sets of seeds that conditions have, the one that serves most values is used; a condition counts if it has
        all of them.
        """
        several = [{s: v for s, v in by_seed.items() if np.isfinite(v)} for by_seed in conditions]
        several = [by_seed for by_seed in several if len(by_seed) > 1]
        if not several:
            return None
        sets = Counter(frozenset(by_seed) for by_seed in several)

        def served(seeds: frozenset[int]) -> tuple[int, int]:
            return len(seeds) * sum(seeds <= frozenset(by_seed) for by_seed in several), len(seeds)

        chosen: frozenset[int] = max(sorted(sets, key=sorted), key=served)
        seeds = sorted(chosen)
        values = np.array([[by_seed[s] for s in seeds] for by_seed in several if set(seeds) <= set(by_seed)])
        deviations = values - values.mean(axis=1, keepdims=True)
        shared = deviations.mean(axis=0)
        m, s = values.shape
        residual = float(((deviations - shared) ** 2).sum())
        return cls(
            common=float((shared**2).sum() / (s - 1)),
            own=residual / ((m - 1) * (s - 1)) if m > 1 else 0.0,
            seeds=s,
            conditions=m,
        )

    def variances(self, weights: Sequence[Weighted]) -> tuple[tuple[float, float], ...]:
        """The seeds' variance of a weighted sum, as terms (variance, degrees of freedom)."""
        by_seed: dict[int, float] = {}
        for seed, weight in weights:
            by_seed[seed] = by_seed.get(seed, 0.0) + weight
        a = sum(total**2 for total in by_seed.values())
        b = sum(weight**2 for _, weight in weights)
        terms = [(a * self.common, float(self.seeds - 1))]
        rest = max(0.0, b - a / self.conditions)
        if self.conditions > 1 and rest > 1e-12 * b:
            terms.append((rest * self.own, float((self.conditions - 1) * (self.seeds - 1))))
        return tuple(terms)
