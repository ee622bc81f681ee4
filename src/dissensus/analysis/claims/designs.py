"""Rank designs of a study's claims: rho plain and partial, in each resample, with what cells have in common kept.

The cells of a data set share entropy, covariates and clusters: what is sorted, ranked or made a basis for one of them
serves the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.claims.sampled import Resampler
from dissensus.config import AnalysisSpec
from dissensus.curves import FloatArray
from dissensus.stats.basis import covariate_basis
from dissensus.stats.nested import DesignBlock, NestedDesigns
from dissensus.stats.partial import RankDesign
from dissensus.stats.ranks import RankedSample

Made = TypeVar("Made")
RECENT = 16
"""Columns that are kept sorted, and sets of covariates that are kept as a basis."""


class RankDesigns:
    """Designs of two columns, with covariates or without, and their correlations in each resample.

    Args:
        resampler: of the study.
        settings: of its analysis: the form of partial correlations.
    """

    def __init__(self, resampler: Resampler, settings: AnalysisSpec) -> None:
        self._resampler = resampler
        self._form = settings.partial
        self._samples: dict[tuple[object, ...], RankedSample] = {}
        self._bases: dict[tuple[object, ...], FloatArray] = {}
        self._blocks: dict[tuple[object, ...], DesignBlock] = {}

    def of(
        self, x: FloatArray, y: FloatArray, covariates: Mapping[str, FloatArray], clusters: NDArray[np.str_]
    ) -> RankDesign:
        """The design of two columns; what cells of one data set have in common is sorted, and ranked, once."""
        units = self._resampler.units(clusters).of
        drawn = _digest(clusters)

        def sample(values: FloatArray) -> RankedSample:
            return _recent(self._samples, (drawn, _digest(values)), lambda: RankedSample.of(values, units))

        return RankDesign.of(
            x,
            y,
            covariates,
            units=units,
            form=self._form,
            samples=(sample(x), sample(y)),
            basis=self._basis(covariates, len(x)),
        )

    def _basis(self, covariates: Mapping[str, FloatArray], n: int) -> FloatArray:
        return _recent(
            self._bases,
            (n, *covariates, *map(_digest, covariates.values())),
            lambda: covariate_basis(covariates, frozenset({"gold"}), n, self._form),
        )

    def resampled(
        self,
        dataset: str,
        values: Mapping[str, FloatArray],
        clusters: NDArray[np.str_],
        sets: Sequence[tuple[str, ...]],
        designs: Sequence[RankDesign],
    ) -> FloatArray:
        """Correlations in each resample under each set of covariates, shape (B, sets)."""
        if len(sets) > 1:
            names = list(dict.fromkeys(c for own in sets for c in own))
            n = len(clusters)
            blocks = [_recent(self._blocks, ("1", n), lambda: DesignBlock.intercept(n))]
            blocks += [self._block(c, values[c]) for c in names]
            nested = NestedDesigns.of(designs, [[1 + names.index(c) for c in own] for own in sets], blocks)
            if nested is not None:
                return self._resampler.over(dataset, clusters, nested.correlations)
        return np.stack([self._resampler.over(dataset, clusters, d.resampled) for d in designs], axis=1)

    def _block(self, covariate: str, values: FloatArray) -> DesignBlock:
        return _recent(
            self._blocks,
            (covariate, len(values), _digest(values)),
            lambda: DesignBlock.of(self._basis({covariate: values}, len(values))),
        )


def _digest(values: NDArray[Any]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()


def _recent(kept: dict[tuple[object, ...], Made], key: tuple[object, ...], make: Callable[[], Made]) -> Made:
    """What is kept under the key, made where it is not; what was asked for longest ago is let go."""
    kept[key] = value = kept.pop(key) if key in kept else make()
    if len(kept) > RECENT:
        del kept[next(iter(kept))]
    return value
