"""Curve models of the panel's halves: each half is judged by a model that was fitted on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.triage_fit import fit_regime, samples
from benchmarks.triage_worlds import World
from dissensus.analysis.triage.curve_model import RegimeModel, curve_model

SEED = 0


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
    """(data set, regime) -> its judge: of the panel two models, each of the other half; elsewhere the packaged one."""
    found = {}
    for key in dict.fromkeys((world.dataset, world.regime) for world in worlds):
        runs = [world for world in worlds if (world.dataset, world.regime) == key]
        n = len(runs[0].kinds)
        packaged = curve_model().held_out if key[1] == "held_out" else curve_model().trained_on
        if key[0] != "panel":
            found[key] = Judge(np.zeros(n, dtype=bool), (packaged, packaged))
            continue
        first = np.random.default_rng(SEED).random(n) < 0.5
        halves = [
            fit_regime([sample for run in runs for sample in samples(part(run, inside))])
            for inside in (first, ~first)
        ]
        found[key] = Judge(first, (halves[0], halves[1]))
    return found


def part(world: World, kept: NDArray[np.bool_]) -> World:
    """Some examples of a world."""
    return replace(
        world,
        curves=world.curves.subset(kept),
        shares=world.shares[kept],
        kinds=world.kinds[kept],
        flipped=None if world.flipped is None else world.flipped[kept],
    )
