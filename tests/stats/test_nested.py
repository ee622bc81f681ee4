"""Several sets of covariates from one Gram matrix: what each set's own design gives."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus.stats.basis import covariate_basis
from dissensus.stats.bootstrap import drawn_units, times_drawn
from dissensus.stats.design import RankDesign
from dissensus.stats.draws import Draws, Units
from dissensus.stats.nested import DesignBlock, NestedDesigns

N = 90


def sample(clustered: bool) -> tuple[Units, dict[str, np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(3)
    units = Units.among(N, np.arange(N) // 2 if clustered else None)
    covariates = {
        "tokens": rng.integers(5, 40, N) * 1.0,
        "gold": np.arange(N) % 3 * 1.0,
        "loss": rng.normal(size=N),
    }
    x = rng.normal(size=N) + 0.05 * covariates["tokens"]
    return units, covariates, [x, x + covariates["loss"] + rng.normal(size=N), rng.normal(size=N)]


def chunk(units: Units, *, several: bool) -> Draws:
    picks = next(drawn_units(len(units.sizes), 40, np.random.default_rng(1), rows=40))
    return Draws.of(times_drawn(picks), units, several=several)


def blocks_of(covariates: dict[str, np.ndarray]) -> list[DesignBlock]:
    bases = [covariate_basis({name: own}, {"gold"}, N) for name, own in covariates.items()]
    return [DesignBlock.intercept(N), *map(DesignBlock.of, bases)]


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_each_set_is_what_its_own_design_gives(clustered: bool, several: bool) -> None:
    units, covariates, (x, *ys) = sample(clustered)
    names, blocks, draws = list(covariates), blocks_of(covariates), chunk(units, several=several)
    sets = [[], ["tokens"], ["gold"], ["loss", "tokens"], names]
    for y in ys:  # the second finds the blocks' sums with the draws
        designs = [RankDesign.of(x, y, {c: covariates[c] for c in own}, units=units.of) for own in sets]
        nested = NestedDesigns.of(designs, [[1 + names.index(c) for c in own] for own in sets], blocks)
        assert nested is not None
        alone = np.stack([design.resampled(chunk(units, several=False)) for design in designs], axis=1)
        np.testing.assert_allclose(nested.correlations(draws), alone, rtol=1e-9, atol=1e-12)


def test_covariates_that_determine_each_other_count_once() -> None:
    units, covariates, (x, y, _) = sample(True)
    covariates = {"loss": covariates["loss"], "twice": 2 * covariates["loss"]}
    designs = [RankDesign.of(x, y, own, units=units.of) for own in ({"loss": covariates["loss"]}, covariates)]
    nested = NestedDesigns.of(designs, [[1], [1, 2]], blocks_of(covariates))
    assert nested is not None
    found = nested.correlations(chunk(units, several=True))
    np.testing.assert_allclose(found[:, 1], found[:, 0], rtol=1e-9)


@pytest.mark.parametrize("clustered", [False, True])
def test_a_constant_covariate_holds_nothing_fixed(clustered: bool) -> None:
    units, covariates, (x, y, _) = sample(clustered)
    covariates = {"loss": covariates["loss"], "constant": np.ones(N)}
    designs = [RankDesign.of(x, y, own, units=units.of) for own in ({"loss": covariates["loss"]}, covariates)]
    nested = NestedDesigns.of(designs, [[1], [1, 2]], blocks_of(covariates))
    assert nested is not None
    found = nested.correlations(chunk(units, several=True))
    np.testing.assert_allclose(found[:, 1], found[:, 0], rtol=1e-12)


def test_nearly_collinear_covariates_are_left_to_their_own_designs() -> None:
    units, covariates, (x, y, _) = sample(True)
    basis = covariate_basis({"loss": covariates["loss"]}, set(), N)
    near = DesignBlock.of(np.linalg.qr(basis + 1e-6 * np.random.default_rng(0).normal(size=basis.shape))[0])
    design = RankDesign.of(x, y, {}, units=units.of, basis=np.linalg.qr(np.hstack([basis, near.columns]))[0])
    assert (
        NestedDesigns.of([design], [[1, 2]], [DesignBlock.intercept(N), DesignBlock.of(basis), near]) is None
    )
