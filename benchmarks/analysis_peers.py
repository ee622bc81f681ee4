"""What the analysis is timed beside: the same numbers by a pandas group-by and by `scipy.stats.bootstrap`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves
from dissensus.errors import MissingDependencyError
from dissensus.stats.basis import covariate_basis
from dissensus.stats.intervals import FISHER, resampled_interval

FloatArray = NDArray[np.float64]


def pandas_module() -> Any:
    """pandas, or an error that says how to get it."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingDependencyError("pandas", "bench", "the analysis benchmark") from None
    return pd


def long_table(curves: Curves) -> Any:
    """A row an (example, tracking point), in that order, as a data frame: what an analyst keeps curves in.

    It holds what a store holds: log-probabilities, gold label and annotators' shares. Ids are whole numbers, which
    group fastest.
    """
    n, points = len(curves), len(curves.steps)
    shares = curves.counts / curves.counts.sum(axis=1, keepdims=True)
    columns: dict[str, NDArray[Any]] = {
        "id": np.repeat(np.arange(n), points),
        "gold": np.repeat(curves.gold, points),
    }
    columns |= {"step": np.tile(curves.steps, n), "u": np.tile(curves.progress, n)}
    for k in range(len(curves.labels)):
        columns[f"log_p{k}"] = curves.log_probs[:, :, k].ravel()
        columns[f"share{k}"] = np.repeat(shares[:, k], points)
    return pandas_module().DataFrame(columns)


def with_losses(table: Any) -> Any:
    """The table with the loss, soft loss, p(gold) and margin of each row, by operations on whole columns."""
    labels = [name for name in table.columns if name.startswith("log_p")]
    log_probs = table[labels].to_numpy(np.float64)
    rows = np.arange(len(table))
    gold = table["gold"].to_numpy()
    own = log_probs[rows, gold]
    shares = table[[name.replace("log_p", "share") for name in labels]].to_numpy()
    log_probs_of_others = log_probs.copy()
    log_probs_of_others[rows, gold] = -np.inf
    margin = own - log_probs_of_others.max(axis=1)
    soft = -np.einsum("nk,nk->n", log_probs, shares)
    return table[["id", "step", "u"]].assign(
        loss=-own, soft=soft, p=np.exp(own), margin=margin, correct=margin > 0
    )


def by_group(table: Any) -> Any:
    """Every metric of each example by group-by, as columns of whole tables: no Python function runs for each group.

    (`groupby.apply` with a function of one example's rows is the more usual way to write areas and slopes, and some
    hundred times slower than this.)
    """
    table = with_losses(table)
    curves = table.groupby("id", sort=False)
    first, last, mean = curves.first(), curves.last(), curves[["u", "loss"]].transform("mean")
    before = curves[["u", "loss", "soft"]].shift()
    width, du = table["u"] - before["u"], table["u"] - mean["u"]
    terms = table[["id"]].assign(
        area=width
        * (table["loss"] + before["loss"])
        / 2,  # NaN in each example's first row, which a sum passes over
        soft=width * (table["soft"] + before["soft"]) / 2,
        ul=du * (table["loss"] - mean["loss"]),
        uu=du * du,
    )
    sums = terms.groupby("id", sort=False).sum()
    span = last["u"] - first["u"]

    trained = table[table["step"] > 0]
    looks = trained.groupby("id", sort=False)
    was_right = looks["correct"].shift(fill_value=False)
    lost = (was_right & ~trained["correct"]).groupby(trained["id"], sort=False).sum()
    right = trained[trained["correct"]].groupby("id", sort=False)
    average = looks[["p", "margin", "correct"]].mean()
    return pandas_module().DataFrame(
        {
            "aulc": sums["area"] / span,
            "aulc_relative": sums["area"] / span - first["loss"],
            "aulc_soft": sums["soft"] / span,
            "initial_loss": first["loss"],
            "final_loss": last["loss"],
            "slope": sums["ul"] / sums["uu"],
            "delta": last["loss"] - first["loss"],
            "rise": last["loss"] - curves["loss"].min(),
            "confidence": average["p"],
            "variability": looks["p"].std(ddof=0),
            "correctness": average["correct"],
            "events": lost.where(looks["correct"].any()),
            "learned_step": right["step"].first(),  # absent, hence NaN, for who never was right
            "mean": average["margin"],
            "final": last["margin"],
        }
    )


def by_function(table: Any) -> Any:
    """The area and the slope alone, as they are more usually written: a function of one example's rows."""

    def area_and_slope(rows: Any) -> Any:
        u, loss = rows["u"].to_numpy(), rows["loss"].to_numpy()
        return pandas_module().Series(
            {"aulc": np.trapezoid(loss, u) / (u[-1] - u[0]), "slope": np.polyfit(u, loss, 1)[0]}
        )

    return with_losses(table).groupby("id", sort=False)[["u", "loss"]].apply(area_and_slope)


def scipy_spearman(x: FloatArray, y: FloatArray, *, resamples: int, seed: int) -> tuple[float, float]:
    """Interval of Spearman's rho: `scipy.stats.bootstrap` of `scipy.stats.spearmanr`."""
    from scipy import stats

    def statistic(a: FloatArray, b: FloatArray) -> float:
        return float(stats.spearmanr(a, b).statistic)

    return _interval(stats, (x, y), statistic, resamples, seed, vectorized=False)


def scipy_spearman_vectorized(
    x: FloatArray, y: FloatArray, *, resamples: int, seed: int
) -> tuple[float, float]:
    """The same with a statistic written for many resamples at a time, the fastest form that was found."""
    from scipy import stats

    def statistic(a: FloatArray, b: FloatArray, axis: int = -1) -> FloatArray:
        ranks = [stats.rankdata(v, axis=axis) for v in (a, b)]
        p, q = (r - r.mean(axis=axis, keepdims=True) for r in ranks)
        return np.asarray((p * q).sum(axis=axis) / np.sqrt((p * p).sum(axis=axis) * (q * q).sum(axis=axis)))

    return _interval(stats, (x, y), statistic, resamples, seed, vectorized=True)


def scipy_partial(
    x: FloatArray, y: FloatArray, covariates: Mapping[str, FloatArray], *, resamples: int, seed: int
) -> tuple[float, float]:
    """Interval of the partial rho: ranks, the covariates' columns, and the inverse of their correlation matrix.

    (Residuals of a least-squares fit give the same and take longer.)
    """
    from scipy import stats

    basis = covariate_basis(covariates, {"gold"}, len(x))

    def statistic(a: FloatArray, b: FloatArray, *columns: FloatArray) -> float:
        precision = np.linalg.inv(np.corrcoef([stats.rankdata(a), stats.rankdata(b), *columns]))
        return float(-precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1]))

    return _interval(stats, (x, y, *basis.T), statistic, resamples, seed, vectorized=False, k=basis.shape[1])


def _interval(
    stats: Any,
    data: tuple[FloatArray, ...],
    statistic: Any,
    resamples: int,
    seed: int,
    *,
    vectorized: bool,
    k: int = 0,
) -> tuple[float, float]:
    """Scipy's resamples of the statistic, and from them the interval that `stats.intervals` makes of such values."""
    result = stats.bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=vectorized,
        n_resamples=resamples,
        batch=10 if vectorized else None,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    n = len(data[0])
    found = resampled_interval(
        float(statistic(*data)),
        result.bootstrap_distribution,
        units=n,
        clustered=False,
        confidence=0.95,
        scale=FISHER,
        df=n - 2 - k,
        floor=1e-9,
    )
    return found.low, found.high
