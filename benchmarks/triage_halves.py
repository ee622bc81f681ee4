"""Curve models of the panel's halves: each half is judged by a model that was fitted on the other."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.triage_fit import fit_regime, samples
from benchmarks.triage_worlds import World
from dissensus.analysis.triage.curve_model import RegimeModel, curve_model


@dataclass(frozen=True)
class Judge:
    """Models that have not seen what they judge.

    Attributes:
        first: which examples the second model judges, shape (n,); the first model judges the others.
        models: fitted on the first half, and on the other.
    """

    first: NDArray[np.bool_]
    models: tuple[RegimeModel, RegimeModel]

    @property
    def parts(self) -> tuple[tuple[NDArray[np.bool_], RegimeModel], ...]:
        """Which examples each model judges."""
        return (~self.first, self.models[0]), (self.first, self.models[1])


def judges(worlds: Sequence[World]) -> dict[tuple[str, str], Judge]:
    """(data set, regime) -> its judge: of the panel two models, each of the other half; elsewhere the packaged one.

    An item is in the same half in all studies of the panel.
    """
    found, halves = {}, _halves([world for world in worlds if world.simulated])
    for key in dict.fromkeys((world.dataset, world.regime) for world in worlds):
        world = next(world for world in worlds if (world.dataset, world.regime) == key)
        if world.simulated:
            found[key] = Judge(_first(world), halves[world.regime])
        else:
            packaged = curve_model().held_out if key[1] == "held_out" else curve_model().trained_on
            found[key] = Judge(np.zeros(len(world.kinds), dtype=bool), (packaged, packaged))
    return found


def _halves(panel: Sequence[World]) -> dict[str, tuple[RegimeModel, RegimeModel]]:
    """Regime -> the models of the first half and of the other."""
    models = {}
    for regime in dict.fromkeys(world.regime for world in panel):
        runs = [world for world in panel if world.regime == regime]
        first = fit_regime([sample for run in runs for sample in samples(part(run, _first(run)))])
        other = fit_regime([sample for run in runs for sample in samples(part(run, ~_first(run)))])
        models[regime] = (first, other)
    return models


def _first(world: World) -> NDArray[np.bool_]:
    return np.array([zlib.crc32(item.encode()) % 2 == 0 for item in world.curves.ids])


def part(world: World, kept: NDArray[np.bool_]) -> World:
    """Some examples of a world."""
    return replace(
        world,
        curves=world.curves.subset(kept),
        shares=world.shares[kept],
        kinds=world.kinds[kept],
        flipped=None if world.flipped is None else world.flipped[kept],
    )
