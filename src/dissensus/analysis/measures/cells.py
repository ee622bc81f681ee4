"""Measures of one cell: the rows of each table that a cell has by itself (`OF_CELLS` lists them).

p-values that end in `_independent` take examples as independent, as textbook tests do; the `p` of `partials` comes
from the study's bootstrap, over clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np

from dissensus.analysis.cell_tables import condition_columns
from dissensus.analysis.correlations import usable_covariates
from dissensus.analysis.covariates import covariate_names
from dissensus.analysis.reading import CellReading
from dissensus.config import RunSpec
from dissensus.curves import FloatArray
from dissensus.metrics import cartography_classes
from dissensus.metrics.cartography import MAP_CLASSES
from dissensus.seeds import named_generator
from dissensus.stats import partial_spearman, spearman
from dissensus.stats.association import kendall_tau_b, rho_by_class
from dissensus.stats.bins import QUARTILES, TERCILES, binned, quantile_cuts
from dissensus.stats.calibration import calibration
from dissensus.stats.comparisons import learning_gap
from dissensus.stats.correlation import t_test
from dissensus.stats.groups import CONTESTED, GROUPS, SETTLED
from dissensus.stats.regression import incremental_r2

Row = dict[str, str | int | float | bool | None]
"""One row of a table of measures: column -> value."""
ALL = "all"
"""Of groups: every example; of covariates: all of them together."""


def identity_columns(spec: RunSpec) -> Row:
    """The columns that name a cell."""
    return {"cell": spec.cell_id, **condition_columns(spec), "seed": spec.seed}


def quantities(cell: CellReading) -> dict[str, FloatArray]:
    """Of each example, shape (n,) each: AULC in nats and, where a study sets `learned_loss`, its learning time."""
    times = {} if cell.learning_time is None else {"learning_point": cell.learning_time.point}
    return {"aulc": cell.metrics.aulc, **times}


def covariates_of(cell: CellReading) -> dict[str, FloatArray]:
    """The study's covariates that can be held fixed in a cell, shape (n,) each."""
    columns = {
        **cell.covariates,
        **cell.held_fixed,
        "gold": cell.gold.astype(np.float64),
        "initial_loss": cell.metrics.initial_loss,
        "gold_share": cell.gold_share,
    }
    return usable_covariates(columns, covariate_names(cell.settings))[0]


def kendall_rows(cell: CellReading) -> list[Row]:
    """A row per quantity: tau-b of entropy with AULC, final loss and learning time, rho beside it."""
    rows: list[Row] = []
    for name, values in {**quantities(cell), "final_loss": cell.metrics.final_loss}.items():
        tau, rho = kendall_tau_b(cell.entropy, values), spearman(cell.entropy, values)
        rows.append(
            {
                "quantity": name,
                "tau": tau.tau,
                "tau_p_independent": tau.p_value,
                "rho": rho.rho,
                "rho_p_independent": rho.p_value,
                "n": tau.n,
                "dropped": tau.dropped,
            }
        )
    return rows


def partial_rows(cell: CellReading) -> list[Row]:
    """A row per quantity and set of covariates: all of them together (`all`), then each alone."""
    settings, covariates = cell.settings, covariates_of(cell)
    sets = {ALL: covariates, **{name: {name: column} for name, column in covariates.items()}}
    rows: list[Row] = []
    for quantity, values in quantities(cell).items():
        for name, held_fixed in sets.items():
            result = partial_spearman(
                cell.entropy,
                values,
                held_fixed,
                form=settings.partial,
                resamples=settings.resamples,
                confidence=settings.confidence,
                rng=named_generator(settings.seed, cell.name, f"partials {quantity} {name}"),
                clusters=cell.clusters.numbers,
            )
            rows.append(
                {
                    "quantity": quantity,
                    "held_fixed": name,
                    "covariates": ", ".join(held_fixed),
                    "form": settings.partial,
                    "rho": result.rho,
                    "low": result.low,
                    "high": result.high,
                    "p": result.p_value,
                    "p_independent": t_test(result.rho, result.n - 2 - result.k),
                    "n": result.n,
                    "df": result.df,
                    "k": result.k,
                    "withheld": result.withheld,
                }
            )
    return rows


def by_gold_rows(cell: CellReading) -> list[Row]:
    """A row per gold class: rho of entropy and AULC within it; NaN below 10 examples."""
    return [
        {"gold": cell.labels[one.label], "rho": one.rho, "rho_p_independent": one.p_value, "n": one.n}
        for one in rho_by_class(cell.entropy, cell.metrics.aulc, cell.gold)
    ]


def bin_rows(cell: CellReading) -> list[Row]:
    """A row per bin of entropy: mean and sample sd of AULC. Cut at the study's cuts, at quartiles, at terciles."""
    cuts = {
        "quartiles": quantile_cuts(cell.entropy, QUARTILES),
        "terciles": quantile_cuts(cell.entropy, TERCILES),
    }
    if cell.settings.cuts_in_bits is not None:
        cuts = {"fixed": cell.settings.cuts_in_bits, **cuts}
    return [
        {
            "cut": name,
            "bin": number,
            "entropy_low": one.low,
            "entropy_high": one.high,
            "n": one.n,
            "aulc_mean": one.mean,
            "aulc_sd": one.sd,
        }
        for name, points in cuts.items()
        for number, one in enumerate(binned(cell.entropy, cell.metrics.aulc, points), start=1)
    ]


def calibration_rows(cell: CellReading) -> list[Row]:
    """A row for all examples and for each entropy group: calibration on the gold label at the last tracking point."""
    log_probs, bins = cell.log_probs_at(-1), cell.settings.calibration_bins
    members = {ALL: np.ones(len(cell), dtype=np.bool_), **{group: cell.group == group for group in GROUPS}}
    return [
        {
            "group": name,
            "step": int(cell.steps[-1]),
            **asdict(calibration(log_probs[member], cell.gold[member], bins=bins)),
        }
        for name, member in members.items()
    ]


def learning_time_rows(cell: CellReading) -> list[Row]:
    """One row: how many were learned, when on average, rho with entropy, and the gap of contested and settled ones.

    Times are numbers of tracking points, from 0; `gap_steps` is in optimiser steps. `rho` ranks examples that were
    never learned last; `rho_learned` leaves them out.
    """
    times = cell.learning_time
    if times is None:
        return []
    learned = np.isfinite(times.point)
    row: Row = {"learned_loss": cell.settings.learned_loss}
    for name in (ALL, *GROUPS):
        member = np.ones(len(cell), dtype=np.bool_) if name == ALL else cell.group == name
        known = times.point[member & learned]
        row |= {
            f"learned_{name}": len(known),
            f"never_{name}": int(np.isinf(times.point[member]).sum()),
            f"mean_{name}": float(known.mean()) if len(known) else float("nan"),
        }
    every = spearman(cell.entropy, times.point)
    among = spearman(cell.entropy, np.where(learned, times.point, np.nan))
    row |= {"rho": every.rho, "rho_p_independent": every.p_value, "n": every.n}
    row |= {"rho_learned": among.rho, "rho_learned_p_independent": among.p_value, "n_learned": among.n}
    members = [cell.group == group for group in (CONTESTED, SETTLED)]
    gap = learning_gap(*(times.point[member] for member in members))
    row |= {"gap": gap.gap, "gap_t": gap.t, "gap_df": gap.df, "gap_p_independent": gap.p_value}
    row |= {"cohens_d": gap.cohens_d, "gap_steps": learning_gap(*(times.step[m] for m in members)).gap}
    return [row]


def incremental_rows(cell: CellReading) -> list[Row]:
    """A row per quantity: R2 of its regression on the study's covariates, then with entropy too."""
    covariates = covariates_of(cell)
    return [
        {
            "quantity": name,
            "covariates": ", ".join(covariates),
            **_regressed(values, covariates, cell.entropy),
        }
        for name, values in quantities(cell).items()
    ]


def cartography_rows(cell: CellReading) -> list[Row]:
    """One row: correlations of the data map with entropy and AULC, its classes beside the groups, what entropy adds.

    Classes are those of `cartography_classes`; R2 is of AULC on confidence and variability, then with entropy.
    """
    data_map, area = cell.metrics.cartography, cell.metrics.aulc
    pairs: Mapping[str, tuple[FloatArray, FloatArray]] = {
        "entropy_confidence": (cell.entropy, data_map.confidence),
        "entropy_variability": (cell.entropy, data_map.variability),
        "entropy_aulc": (cell.entropy, area),
        "confidence_aulc": (data_map.confidence, area),
        "variability_aulc": (data_map.variability, area),
    }
    classes = cartography_classes(data_map.confidence, data_map.variability)
    row: Row = {
        "include_start": cell.settings.cartography.include_start,
        "threshold": cell.settings.cartography.threshold,
        **{f"rho_{name}": spearman(*columns).rho for name, columns in pairs.items()},
        **{
            f"{group}_{kind}": int(((cell.group == group) & (classes == kind)).sum())
            for group in GROUPS
            for kind in MAP_CLASSES
        },
    }
    base = {"confidence": data_map.confidence, "variability": data_map.variability}
    return [{**row, **_regressed(area, base, cell.entropy)}]


def _regressed(values: FloatArray, base: Mapping[str, FloatArray], entropy: FloatArray) -> Row:
    result = asdict(incremental_r2(values, base, {"entropy": entropy}))
    return {"f_p_independent" if name == "p_value" else name: value for name, value in result.items()}


OF_CELLS: Mapping[str, Callable[[CellReading], list[Row]]] = {
    "kendall": kendall_rows,
    "partials": partial_rows,
    "by_gold": by_gold_rows,
    "bins": bin_rows,
    "calibration": calibration_rows,
    "learning_time": learning_time_rows,
    "incremental_r2": incremental_rows,
    "cartography": cartography_rows,
}
"""Name of a measure that a cell has by itself -> its rows, without the columns that name the cell."""
