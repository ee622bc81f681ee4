from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from dissensus.errors import DataError, SpecError
from dissensus.stats import partial_spearman, spearman
from dissensus.stats.bootstrap import drawn_units, times_drawn
from dissensus.stats.draws import Draws, Units
from dissensus.stats.partial import RankDesign


def sample(seed: int, n: int = 80) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    length = rng.integers(5, 40, n).astype(float)
    gold = rng.integers(0, 3, n)
    start = rng.normal(1.1, 0.2, n)
    x = rng.integers(0, 12, n) + 0.1 * length + gold
    y = 0.3 * x + 0.05 * length + rng.normal(0, 2, n) + start
    return x, y, {"tokens": length, "gold": gold, "initial_loss": start}


def by_inverse(x, y, numeric, classes):
    """Independent of the code: partial correlation from the inverse of the correlation matrix of all columns."""
    columns = [stats.rankdata(v) for v in (x, y, *numeric)]
    columns += [np.asarray(c == level, float) for c in classes for level in np.unique(c)[1:]]
    precision = np.linalg.inv(np.corrcoef(columns))
    return -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])


def test_known_value():
    # Ranks: x 1 2 3 4 5, y 2 1 4 3 5, z 1 3 2 5 4. Squared rank differences sum to 4, 4 and 14; n(n^2 - 1) / 6 is 20:
    # r_xy = 1 - 4/20 = 0.8, r_xz = 1 - 4/20 = 0.8, r_yz = 1 - 14/20 = 0.3;
    # (0.8 - 0.8 x 0.3) / sqrt((1 - 0.64) (1 - 0.09)) = 0.56 / sqrt(0.3276) = 0.978402
    result = partial_spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], {"z": [1, 3, 2, 5, 4]}, form="linear")
    assert result.rho == pytest.approx(0.56 / np.sqrt(0.3276), abs=1e-12)
    assert (result.n, result.df, result.k, result.covariates) == (5, 2, 1, ("z",))
    # t = 0.978402 sqrt(2 / (1 - 0.957265)) = 6.69, and for 2 degrees of freedom p = 1 - t / sqrt(t^2 + 2)
    t = result.rho * np.sqrt(2 / (1 - result.rho**2))
    assert result.p_value == pytest.approx(1 - t / np.sqrt(t * t + 2), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_inverse_correlation_matrix_and_a_regression(seed):
    x, y, covariates = sample(seed)
    result = partial_spearman(x, y, covariates, form="linear")
    expected = by_inverse(x, y, [covariates["tokens"], covariates["initial_loss"]], [covariates["gold"]])
    assert result.rho == pytest.approx(expected, abs=1e-10)
    # In the regression of y on x and the covariates, the t statistic of x is that of the partial correlation.
    ranks = stats.rankdata
    design = np.column_stack(
        [
            ranks(x),
            np.ones(80),
            ranks(covariates["tokens"]),
            ranks(covariates["initial_loss"]),
            covariates["gold"] == 1,
            covariates["gold"] == 2,
        ]
    ).astype(float)
    beta, (rss,), _, _ = np.linalg.lstsq(design, ranks(y), rcond=None)
    se = np.sqrt(rss / (80 - 6) * np.linalg.inv(design.T @ design)[0, 0])
    assert result.df == 80 - 6 == 80 - 2 - result.k
    assert result.p_value == pytest.approx(2 * stats.t.sf(abs(beta[0] / se), 74), rel=1e-8)


@given(arrays(np.float64, st.tuples(st.integers(6, 30), st.just(3)), elements=st.integers(0, 6).map(float)))
def test_one_covariate_obeys_the_recursive_formula(columns):
    x, y, z = columns.T
    r = [spearman(a, b).rho for a, b in ((x, y), (x, z), (y, z))]
    assume(np.isfinite(r).all() and max(abs(r[1]), abs(r[2])) < 1 - 1e-6)
    expected = (r[0] - r[1] * r[2]) / np.sqrt((1 - r[1] ** 2) * (1 - r[2] ** 2))
    result = partial_spearman(x, y, {"z": z}, form="linear")
    # What a covariate explains to more than 98 % is not held apart from it.
    assume(max(abs(r[1]), abs(r[2])) < 0.98**0.5 - 1e-9)
    assert result.rho == pytest.approx(expected, abs=1e-10)


def test_no_covariates_is_spearman():
    x, y, _ = sample(0)
    plain, partial = spearman(x, y, resamples=200, rng=1), partial_spearman(x, y, {}, resamples=200, rng=1)
    for name in ("rho", "low", "high", "p_value"):
        assert getattr(partial, name) == pytest.approx(getattr(plain, name), abs=1e-12)
    assert (partial.df, partial.k) == (plain.df, 0)


def test_constant_and_collinear_covariates_cost_nothing():
    x, y, covariates = sample(1)
    plain = partial_spearman(x, y, covariates, form="linear")
    more = {
        **covariates,
        "constant": np.full(80, 3.0),
        "tokens_again": np.exp(covariates["tokens"] / 10),  # the same ranks
        "is_second_class": covariates["gold"] == 1,  # an indicator that the gold label's own span
    }
    result = partial_spearman(x, y, more, resamples=50, rng=0, form="linear")
    assert result.k == plain.k == 4
    assert result.df == plain.df
    assert result.rho == pytest.approx(plain.rho, abs=1e-12)
    assert result.covariates == tuple(more)
    assert [result.low, result.high] == pytest.approx(
        [
            getattr(partial_spearman(x, y, covariates, resamples=50, rng=0, form="linear"), e)
            for e in ("low", "high")
        ],
        abs=1e-9,
    )


def test_class_codes_are_names_not_numbers():
    x, y, covariates = sample(2)
    gold = covariates["gold"]
    relabelled = np.array([7, -1, 3])[gold]
    by_class = partial_spearman(x, y, {"gold": gold})
    assert by_class.k == 2
    assert partial_spearman(x, y, {"gold": relabelled}).rho == pytest.approx(by_class.rho, abs=1e-12)
    other_name = partial_spearman(x, y, {"class": relabelled}, categorical=("class",))
    assert other_name.rho == pytest.approx(by_class.rho, abs=1e-12)
    # As a number, when asked to: a line in its rank, or, with three values, classes once more.
    assert partial_spearman(x, y, {"gold": gold}, categorical=(), form="linear").k == 1
    assert partial_spearman(x, y, {"gold": gold}, categorical=()).rho == pytest.approx(
        by_class.rho, abs=1e-12
    )


def test_undefined_is_nan():
    x, y, _ = sample(3, n=6)
    # x determined by a covariate
    assert np.isnan(partial_spearman(x, y, {"z": np.exp(x)}).rho)
    # four dimensions out of six rows: df = 6 - 2 - 4 = 0
    covariates = {f"c{i}": np.random.default_rng(i).normal(size=6) for i in range(4)}
    few = partial_spearman(x, y, covariates, resamples=10, rng=0, form="linear")
    assert few.df == 0
    assert np.isnan([few.rho, few.p_value, few.low, few.high]).all()
    assert np.isfinite(
        partial_spearman(x, y, dict(list(covariates.items())[:3]), form="linear").rho
    )  # df = 1 is enough
    assert np.isnan(partial_spearman(np.ones(6), y, {"z": x}).rho)
    assert np.isnan(partial_spearman([], [], {"gold": []}).rho)


def test_nan_in_a_covariate_drops_the_row():
    x, y, covariates = sample(4)
    covariates["tokens"][[3, 5]] = np.nan
    y[7] = np.nan
    keep = np.isfinite(covariates["tokens"]) & np.isfinite(y)
    result = partial_spearman(x, y, covariates)
    assert (result.n, result.dropped) == (77, 3)
    assert result.rho == partial_spearman(x[keep], y[keep], {c: v[keep] for c, v in covariates.items()}).rho


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("form", ["flexible", "linear"])
def test_a_resample_is_ranked_anew_and_regressed_on_its_rows_of_the_basis(form, clustered):
    x, y, covariates = sample(5, n=40)
    clusters = np.arange(40) // 2 if clustered else None
    units = Units.among(40, clusters)
    design = RankDesign.of(x, y, covariates, units=units.of, form=form)
    counts = next(drawn_units(len(units.sizes), 30, np.random.default_rng(9), rows=30))
    found = design.correlations(Draws.of(times_drawn(counts), units))
    for picks, (plain, partial) in zip(counts, found, strict=True):
        drawn = picks if clusters is None else np.concatenate([np.flatnonzero(clusters == u) for u in picks])
        held = np.column_stack([np.ones(len(drawn)), design.basis[drawn]])
        left = []
        for column in (x[drawn], y[drawn]):
            ranks = stats.rankdata(column)
            left.append(ranks - held @ np.linalg.lstsq(held, ranks, rcond=None)[0])
        assert partial == pytest.approx(np.corrcoef(left)[0, 1], abs=1e-7)
        assert plain == pytest.approx(stats.spearmanr(x[drawn], y[drawn]).statistic, abs=1e-12)


def test_a_class_that_a_resample_misses_does_no_harm():
    x, y, _ = sample(6, n=40)
    rare = np.zeros(40)
    rare[0] = 1  # missing from a resample with probability (1 - 1/40)^40 = 0.36
    result = partial_spearman(x, y, {"gold": rare}, resamples=300, rng=0)
    assert result.undefined_resamples == 0
    assert -1 < result.low < result.rho < result.high < 1


def test_a_common_cause_is_removed():
    # x and y depend on z alone: a plain correlation near 0.5, a partial one within 3.5 standard errors of 0.
    rng = np.random.default_rng(7)
    z, e, f = rng.normal(size=(3, 2000))
    x, y = z + e, z + f
    assert spearman(x, y).rho > 0.4
    assert abs(partial_spearman(x, y, {"z": z}).rho) < 3.5 / np.sqrt(2000)


def test_bad_arguments_are_explained():
    x, y, covariates = sample(0)
    with pytest.raises(SpecError, match="'token', which is no covariate; did you mean 'tokens'"):
        partial_spearman(x, y, covariates, categorical=("token",))
    with pytest.raises(SpecError, match="needs rng"):
        partial_spearman(x, y, covariates, resamples=10)
    with pytest.raises(DataError, match=r"covariate 'tokens': 79"):
        partial_spearman(x, y, {"tokens": covariates["tokens"][:79]})
