"""The mixed-effects slope: against closed forms, against a dense restricted likelihood, and on planted values."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from dissensus.errors import DataError, MissingDependencyError, SpecError
from dissensus.stats import mixed
from dissensus.stats.mixed import MixedSlope, mixed_slope

Array = np.ndarray[Any, Any]
GRID = [(c, s) for c in range(4) for s in range(3)]


class Made:
    """Values that the model made: y of shape (items, cells), x of shape (items,), cells as (condition, seed)."""

    def __init__(
        self, n: int, cells: Sequence[tuple[int, int]], seed: int, *, slope: float = 0.3, **sd: float
    ):
        rng = np.random.default_rng(seed)
        self.condition, self.seed = np.array(cells).T
        k, s, c = self.condition.max() + 1, self.seed.max() + 1, len(cells)
        self.x = rng.standard_normal(n)
        self.x = (self.x - self.x.mean()) / self.x.std()
        slopes = slope + rng.normal(0, sd.get("slope_condition", 0), k)[self.condition]
        slopes = slopes + rng.normal(0, sd.get("slope_seed", 0), s)[self.seed]
        slopes = slopes + rng.normal(0, sd.get("slope_run", 0), c)
        self.y = self.x[:, None] * slopes + rng.normal(0, sd.get("residual", 0.3), (n, c))
        self.y += rng.normal(0, sd.get("item", 0), (n, 1))
        self.y += rng.normal(0, sd.get("item_condition", 0), (n, k))[:, self.condition]
        self.y += rng.standard_normal(c)  # a mean of its own for each cell

    def long(self) -> tuple[Array, ...]:
        """A row a value: y, x, item, seed, condition."""
        n, c = self.y.shape
        return (
            self.y.ravel(),
            np.repeat(self.x, c),
            np.repeat([f"i{i}" for i in range(n)], c),
            np.tile(self.seed, n),
            np.tile(self.condition, n),
        )

    def fit(self, **options: Any) -> MixedSlope:
        return mixed_slope(*self.long(), **options)


def sds(found: MixedSlope) -> dict[str, float]:
    return {name.removeprefix("sd_"): v for name, v in vars(found).items() if name.startswith("sd_")}


def test_a_grid_of_conditions_and_seeds_has_the_estimates_of_the_analysis_of_variance() -> None:
    """Balanced, with every variance above 0, each stratum's mean square is what it expects.

    With K conditions, S seeds and m = items - 2, of the residuals r of each cell's regression on x (divisor m):
      e^2                        = MS(r within condition), on m (K S - K) degrees of freedom
      e^2 + S v^2                = S MS(condition means of r, about the item's mean), on m (K - 1)
      e^2 + S v^2 + K S u^2      = K S MS(item means of r), on m
    and of the cells' slopes b, with q = |x|^2:
      e^2 + q B_cs^2             = q MS(interaction of b)
      e^2 + q (B_cs^2 + K B_s^2) = q K MS(seed means of b)
      e^2 + S v^2 + q (B_cs^2 + S B_c^2) = q S MS(condition means of b)
    and the variance of b's mean is the sum of all variances over their numbers of draws.
    """
    sd = {"item": 0.7, "item_condition": 0.4, "slope_condition": 0.2, "slope_seed": 0.2, "slope_run": 0.1}
    made = Made(40, GRID, 3, **sd)
    found = made.fit()
    (n, _), k, s = made.y.shape, 4, 3
    q, m = made.x @ made.x, n - 2
    y = (made.y - made.y.mean(axis=0)).reshape(n, k, s)
    b = np.einsum("i,iks->ks", made.x, y) / q
    r = y - made.x[:, None, None] * b
    in_condition, in_item = r.mean(axis=2), r.mean(axis=(1, 2))
    e2 = ((r - in_condition[:, :, None]) ** 2).sum() / (m * k * (s - 1))
    ev2 = s * ((in_condition - in_item[:, None]) ** 2).sum() / (m * (k - 1))
    evu2 = k * s * (in_item**2).sum() / m
    by_condition, by_seed = b.mean(axis=1), b.mean(axis=0)
    apart = b - by_condition[:, None] - by_seed + b.mean()
    run = ((apart**2).sum() / ((k - 1) * (s - 1)) * q - e2) / q
    seed = (k * by_seed.var(ddof=1) - e2 / q - run) / k
    condition = (s * by_condition.var(ddof=1) - ev2 / q - run) / s
    item, item_condition = (evu2 - ev2) / (k * s), (ev2 - e2) / s
    expected = [item, item_condition, condition, seed, run, e2]
    assert min(expected) > 0  # else the estimates would be others
    np.testing.assert_allclose(list(sds(found).values()), np.sqrt(expected), rtol=1e-3)
    assert found.slope == pytest.approx(b.mean(), abs=1e-12)
    se2 = condition / k + seed / s + run / (k * s) + evu2 / (k * s * q)
    assert found.se == pytest.approx(np.sqrt(se2), rel=1e-3)
    assert found.converged
    assert found.note == ""
    half = stats.t.ppf(0.975, found.df) * found.se
    np.testing.assert_allclose([found.low, found.high], [found.slope - half, found.slope + half], rtol=1e-12)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.slope) / found.se, found.df), rel=1e-9)


def test_without_spread_over_seeds_it_is_the_regression_of_item_means() -> None:
    """Only intercepts vary: all that is known of the slope is in the items' means, on items - 2 degrees of freedom.

    The seeds' slopes are made equal, so that their variance is estimated as 0.
    """
    made = Made(50, [(0, s) for s in range(3)], 1, item=0.8)
    slopes = made.x @ made.y / (made.x @ made.x)
    made.y -= np.outer(made.x, slopes - slopes.mean())
    found = made.fit()
    means = stats.linregress(made.x, made.y.mean(axis=1))
    assert found.sd_slope_seed == 0
    assert found.note == "estimated as 0: sd_slope_seed"
    assert found.slope == pytest.approx(means.slope, abs=1e-12)
    assert found.se == pytest.approx(means.stderr, rel=1e-3)
    assert found.df == pytest.approx(50 - 2, rel=1e-3)
    assert found.p_value == pytest.approx(means.pvalue, rel=0.02)


@pytest.mark.parametrize(("seed", "left_out"), [(2, (1, 5)), (5, (0, 4, 11)), (7, (2, 3, 7, 8))])
def test_an_incomplete_grid_has_the_estimates_of_a_dense_restricted_likelihood(
    seed: int, left_out: tuple[int, ...]
) -> None:
    """Without the change of coordinates: one covariance matrix of all values, and contrasts free of fixed effects."""
    cells = [cell for i, cell in enumerate(GRID) if i not in left_out]
    made = Made(
        14, cells, seed, item=0.6, item_condition=0.3, slope_condition=0.3, slope_seed=0.3, slope_run=0.1
    )
    found = made.fit()
    variances, slope, se = dense_reml(*made.long())
    np.testing.assert_allclose([v**2 for v in sds(found).values()], variances, rtol=0.02, atol=2e-4)
    assert found.slope == pytest.approx(slope, abs=1e-3)
    assert found.se == pytest.approx(se, rel=1e-2)
    assert found.converged


def dense_reml(y: Array, x: Array, item: Array, seed: Array, condition: Array) -> tuple[Array, float, float]:
    """Variances in the order of the result's, the slope and its standard error, from n x n matrices."""

    def levels(*columns: Array) -> Array:
        named = np.array(["/".join(map(str, row)) for row in zip(*columns, strict=True)])
        return (named[:, None] == np.unique(named)).astype(float)

    slopes = [levels(condition), levels(seed), levels(condition, seed)]
    designs = [levels(item), levels(item, condition), *(x[:, None] * z for z in slopes), np.eye(len(y))]
    shapes = [z @ z.T for z in designs]
    fixed = np.hstack([slopes[2], x[:, None]])
    free = np.linalg.svd(fixed)[0][:, fixed.shape[1] :]
    seen, data = [free.T @ m @ free for m in shapes], free.T @ y

    def loss(variances: Array) -> tuple[float, Array]:
        inverse = np.linalg.inv(np.tensordot(variances, np.array(seen), 1))
        solved = inverse @ data
        value = (data @ solved - np.linalg.slogdet(inverse)[1]) / 2
        return value, np.array([np.sum(inverse * m) - solved @ m @ solved for m in seen]) / 2

    bounds = [(0.0, None)] * 5 + [(1e-6, None)]
    options = {"ftol": 1e-15, "gtol": 1e-9}
    best = optimize.minimize(
        loss, np.full(6, 0.1), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    weight = np.linalg.inv(np.tensordot(best.x, np.array(shapes), 1))
    spread = np.linalg.inv(fixed.T @ weight @ fixed)
    return best.x, (spread @ fixed.T @ weight @ y)[-1], float(np.sqrt(spread[-1, -1]))


def test_planted_values_are_found() -> None:
    """Intercepts and residuals of 400 items to 10%; slopes of 8 conditions and 5 seeds to about half.

    A standard deviation that is seen in L draws has a relative standard error of 1 / sqrt(2 (L - 1)): 3.5% for 400
    items, 27% for 8 conditions, 35% for 5 seeds.
    """
    cells = [(c, s) for c in range(8) for s in range(5)]
    sd = {"item": 0.6, "item_condition": 0.3, "residual": 0.25}
    slopes = {"slope_condition": 0.15, "slope_seed": 0.1, "slope_run": 0.05}
    found = Made(400, cells, 0, slope=0.4, **sd, **slopes).fit()
    for name, planted in sd.items():
        assert sds(found)[name] == pytest.approx(planted, rel=0.1)
    for name, planted in slopes.items():
        assert sds(found)[name] == pytest.approx(planted, rel=0.6)
    assert found.low < 0.4 < found.high
    # sqrt(0.15^2 / 8 + 0.1^2 / 5 + 0.05^2 / 40 + 0.6^2 / 400 + ...) = 0.076
    assert found.se == pytest.approx(0.076, rel=0.5)
    assert (found.items, found.cells, found.seeds, found.conditions, found.n) == (400, 40, 5, 8, 16000)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Three seeds of one condition with no slope. A 90% interval misses 10 of 100 on average, with an sd of 3."""
    cells = [(0, s) for s in range(3)]
    fits = [Made(30, cells, i, slope=0, item=0.5, slope_seed=0.15).fit(confidence=0.9) for i in range(100)]
    missed = sum(not f.low <= 0 <= f.high for f in fits)
    assert 2 <= missed <= 19
    assert all((f.p_value < 0.1) == (not f.low <= 0 <= f.high) for f in fits)


def test_with_ranks_the_slope_is_the_mean_of_the_cells_rho() -> None:
    made = Made(60, GRID, 4, item=0.5, slope_condition=0.2)
    rhos = [stats.spearmanr(made.x, column).statistic for column in made.y.T]
    assert made.fit(ranks=True).slope == pytest.approx(np.mean(rhos), abs=1e-12)


def test_a_single_cell_is_the_least_squares_line() -> None:
    made = Made(20, [(0, 0)], 0)
    found, line = made.fit(), stats.linregress(made.x, made.y[:, 0])
    wanted = [line.slope, line.stderr, line.pvalue, 18]
    np.testing.assert_allclose([found.slope, found.se, found.p_value, found.df], wanted, rtol=1e-5)
    assert [name for name, v in sds(found).items() if not np.isnan(v)] == ["residual"]


def test_what_a_design_does_not_tell_is_nan() -> None:
    def told(cells: Sequence[tuple[int, int]]) -> set[str]:
        return {name for name, v in sds(Made(20, cells, 0, item=0.5).fit()).items() if not np.isnan(v)}

    assert told([(0, 0), (0, 1)]) == {"item", "slope_seed", "residual"}
    assert told([(0, 0), (1, 0), (2, 0)]) == {"item", "slope_condition", "residual"}
    # Each condition with a seed of its own: they are one and the same.
    assert told([(0, 0), (1, 1), (2, 2)]) == {"item", "slope_condition", "residual"}
    # Two seeds each, none shared: a seed is a run.
    assert told([(0, 0), (0, 1), (1, 2), (1, 3)]) == {
        "item", "item_condition", "slope_condition", "slope_seed", "residual"
    }  # fmt: skip


def test_items_that_a_cell_lacks_are_left_out_and_the_order_of_rows_does_not_matter() -> None:
    made = Made(30, GRID, 2, item=0.5)
    rows = made.long()
    y = rows[0].copy()
    y[5 * len(GRID) + 3] = np.nan  # the sixth item in the fourth cell
    keep = np.arange(len(y)) != 9 * len(GRID)  # the tenth item in the first
    order = np.random.default_rng(0).permutation(int(keep.sum()))
    found = mixed_slope(*(column[keep][order] for column in (y, *rows[1:])))
    less = Made(30, GRID, 2, item=0.5)
    less.y, less.x = (np.delete(v, [5, 9], axis=0) for v in (less.y, less.x))
    assert (found.items, found.dropped) == (28, 2)
    assert found.slope == pytest.approx(less.fit().slope, abs=1e-12)


def test_no_slope_is_nan_with_a_reason() -> None:
    made = Made(5, GRID, 0)
    made.x[:] = 1.0
    for found in (made.fit(), Made(2, GRID, 0).fit()):
        assert np.isnan(
            [found.slope, found.se, found.low, found.high, found.p_value, found.sd_residual]
        ).all()
        assert found.note.startswith("no slope: ")
    same = Made(9, GRID, 0)
    same.y[:] = same.y[:, :1]  # nothing is left between cells
    assert np.isnan(same.fit().slope)
    assert same.fit().note.startswith("no estimate: ")


def test_a_failed_estimation_is_reported_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Made(20, GRID, 0, item=0.5)
    right = made.fit()
    real = mixed.library()

    class Stuck(real.MixedLM):
        def fit(self, **_: Any) -> Any:
            raise np.linalg.LinAlgError("Singular matrix")

    monkeypatch.setattr(mixed, "library", lambda: SimpleNamespace(MixedLM=Stuck, VCSpec=real.VCSpec))
    found = made.fit()
    assert not found.converged
    assert "not converged: MixedLM failed (Singular matrix)" in found.note
    assert found.slope == pytest.approx(right.slope, abs=1e-9)

    class Early(real.MixedLM):
        def fit(self, **options: Any) -> Any:
            fit = super().fit(**options)
            fit._results.converged = False
            return fit

    monkeypatch.setattr(mixed, "library", lambda: SimpleNamespace(MixedLM=Early, VCSpec=real.VCSpec))
    assert not made.fit().converged
    assert "MixedLM did not reach the maximum" in made.fit().note


def test_the_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsmodels.regression", None)
    with pytest.raises(MissingDependencyError, match=r"statsmodels.*dissensus\[mixed\]"):
        Made(5, GRID, 0).fit()


def test_wrong_tables_are_refused() -> None:
    y, x, item, seed, condition = Made(6, GRID, 0).long()
    with pytest.raises(DataError, match="item i0 stands twice in one cell"):
        mixed_slope(y, x, item, np.where(seed == 1, 0, seed), condition)
    wrong = x.copy()
    wrong[1] += 1
    with pytest.raises(DataError, match=r"x of item i0 is .* expected one x an item"):
        mixed_slope(y, wrong, item, seed, condition)
    with pytest.raises(DataError, match=r"seed has shape \(71,\)"):
        mixed_slope(y, x, item, seed[1:], condition)
    with pytest.raises(SpecError, match="between 0 and 1"):
        mixed_slope(y, x, item, seed, condition, confidence=95)
