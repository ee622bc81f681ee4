"""Calibration on examples that the curve model was not fitted on: fitted on one half of the panel, read on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.triage_fit import fit_regime, samples
from benchmarks.triage_flips import Reliability, probabilities, reliability
from benchmarks.triage_worlds import World
from dissensus.analysis.triage.curve_model import CLASSES

SEED = 0


def split_halves(worlds: Sequence[World]) -> list[Reliability]:
    """Reliability of curves alone on the simulated panel, each half of the items judged by a model of the other."""
    table = []
    panel = [world for world in worlds if world.dataset == "panel"]
    for regime in dict.fromkeys(world.regime for world in panel):
        runs = [world for world in panel if world.regime == regime]
        first = np.random.default_rng(SEED).random(len(runs[0].kinds)) < 0.5
        said, kinds = [], []
        for inside in (first, ~first):
            model = fit_regime([sample for run in runs for sample in samples(_part(run, inside))])
            for run in runs:
                judged = _part(run, ~inside)
                said.append(probabilities([judged], 0, (model, model)))
                kinds.append(judged.kinds)
        everything, truth = np.concatenate(said), np.concatenate(kinds)
        for k, claim in enumerate(CLASSES):
            name = f"panel, {regime}, each half by a model of the other"
            table += reliability(name, 0, claim, everything[:, k], truth == k)
    return table


def _part(world: World, kept: NDArray[np.bool_]) -> World:
    return replace(
        world,
        curves=world.curves.subset(kept),
        shares=world.shares[kept],
        kinds=world.kinds[kept],
        flipped=None if world.flipped is None else world.flipped[kept],
    )
