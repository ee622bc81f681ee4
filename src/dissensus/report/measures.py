"""Measures on the page: validation accuracy, gradient probe, and those that a study asks for, a table each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from dissensus.report.grid import Grid, grid_of
from dissensus.report.tables import REGIMES, ConditionRow
from dissensus.wording import number

_Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Column:
    """A column of numbers: the mean over a condition's seeds.

    Attributes:
        name: of the table's column.
        head: its heading on the page.
        decimals: how many are shown.
    """

    name: str
    head: str
    decimals: int = 2


@dataclass(frozen=True)
class _Measure:
    """A measure as the page shows it.

    Attributes:
        title: heading of its section.
        text: what its numbers mean.
        keys: columns that tell the rows of one condition apart; each is shown as it is.
        columns: the numbers.
        rows: from the table's rows to those that are averaged over seeds; None: as they are.
    """

    title: str
    text: str
    keys: tuple[str, ...]
    columns: tuple[_Column, ...]
    rows: Callable[[_Rows], _Rows] | None = None


def _runs_of(rows: _Rows, *names: str) -> Iterable[_Rows]:
    """_Rows that stand together and agree in these columns."""
    return (list(alike) for _, alike in groupby(rows, key=lambda row: tuple(row[name] for name in names)))


def _validation(rows: _Rows) -> _Rows:
    """A row per cell: accuracy before training, at its highest, at the end."""
    return [
        {
            **points[-1],
            "start": points[0]["accuracy"],
            "highest": max(point["accuracy"] for point in points),
        }
        for points in _runs_of(rows, "cell")
    ]


def _gradients(rows: _Rows) -> _Rows:
    """A row per cell and pair of groups: cosine at the start, over the points and at the end; norms at both ends."""
    return [
        {
            **points[-1],
            "points": len(points),
            "cosine_start": points[0]["cosine"],
            "cosine_mean": _mean([point["cosine"] for point in points]),
            "norm_start": points[0]["norm"],
            "norm_other_start": points[0]["norm_other"],
        }
        for points in _runs_of(rows, "cell", "group", "other")
    ]


def _last_point(rows: _Rows) -> _Rows:
    return [
        row for cell in _runs_of(rows, "cell") for row in cell if row["step"] == max(r["step"] for r in cell)
    ]


_RHO, _N = _Column("rho", "ρ"), _Column("n", "n", 0)
_PAGE: Mapping[str, _Measure] = {
    "validation": _Measure(
        "Validation accuracy",
        "On examples of the tracked source that were held back from training and tracking, scored before training and "
        "at the end of each epoch. A model that learned nothing stays at the share of one label.",
        (),
        (
            _N,
            _Column("start", "before training", 3),
            _Column("highest", "highest", 3),
            _Column("accuracy", "at the end", 3),
            _Column("loss", "loss at the end (nats)"),
        ),
        _validation,
    ),
    "gradients": _Measure(
        "Do contested examples pull the weights another way?",
        "Cosine between two groups' mean gradients of the gold-label loss over all weights that are trained: 1, the "
        "same direction; 0, unrelated; below 0, against each other. Norms, from the first point to the last, say how "
        "hard a group pulls.",
        ("group", "other"),
        (
            _Column("points", "points", 0),
            _Column("cosine_start", "cosine at the start"),
            _Column("cosine_mean", "mean"),
            _Column("cosine", "at the end"),
            _Column("norm_start", "norm at the start"),
            _Column("norm", "at the end"),
            _Column("norm_other_start", "the other's at the start"),
            _Column("norm_other", "at the end"),
        ),
        _gradients,
    ),
    "gradient_norms": _Measure(
        "Gradient norms of single examples",
        "Norm of each tracked example's own gradient at the last point, without dropout; ρ with annotation entropy "
        "over all classes.",
        ("group",),
        (
            _N,
            _Column("mean", "mean norm"),
            _Column("sd", "sd"),
            _Column("median", "median"),
            _Column("rho_entropy", "ρ"),
        ),
        _last_point,
    ),
    "kendall": _Measure(
        "Kendall's τ-b",
        "Of annotation entropy with AULC, final loss and learning time; Spearman's ρ beside it.",
        ("quantity",),
        (_Column("tau", "τ-b"), _RHO, _N),
    ),
    "partials": _Measure(
        "Partial correlations, covariate by covariate",
        "Partial Spearman correlation of annotation entropy, with all covariates held fixed (all) and with each alone; "
        "ends of the interval from the bootstrap.",
        ("quantity", "held_fixed"),
        (_RHO, _Column("low", "low"), _Column("high", "high"), _N),
    ),
    "by_gold": _Measure(
        "Within each gold class",
        "ρ of annotation entropy and AULC among the examples of one gold label, ranked anew.",
        ("gold",),
        (_RHO, _N),
    ),
    "bins": _Measure(
        "AULC by bins of entropy",
        "Mean and standard deviation of AULC (nats) of the examples in each bin; its ends are in bits.",
        ("cut", "bin"),
        (
            _Column("entropy_low", "from"),
            _Column("entropy_high", "to"),
            _N,
            _Column("aulc_mean", "mean AULC", 3),
            _Column("aulc_sd", "sd", 3),
        ),
    ),
    "calibration": _Measure(
        "Calibration",
        "At the last tracking point, on the gold label: how far confidence lies from accuracy (expected calibration "
        "error), and entropy of the model's prediction in nats.",
        ("group",),
        (
            _N,
            _Column("ece", "ECE", 3),
            _Column("accuracy", "accuracy", 3),
            _Column("entropy_mean", "entropy"),
            _Column("top_mean", "top probability"),
        ),
    ),
    "learning_time": _Measure(
        "Learning time",
        "An example is learned at the first tracking point (from 0) at which its loss is below the study's threshold. "
        "ρ is with annotation entropy, never learned last; gap: contested minus settled, among the learned.",
        (),
        (
            _Column("learned_all", "learned", 0),
            _Column("never_all", "never", 0),
            _Column("mean_contested", "mean, contested", 1),
            _Column("mean_settled", "mean, settled", 1),
            _RHO,
            _Column("gap", "gap"),
            _Column("cohens_d", "Cohen's d"),
        ),
    ),
    "concordance": _Measure(
        "Do seeds agree on what is learned when?",
        "Kendall's W of the seeds' learning orders: 1, the same order; 0, none in common. ρ between every two seeds.",
        (),
        (
            _Column("seeds", "seeds", 0),
            _N,
            _Column("w_ties", "W"),
            _Column("pair_rho_mean", "mean ρ"),
            _Column("pair_rho_min", "lowest"),
            _Column("pair_rho_max", "highest"),
        ),
    ),
    "incremental_r2": _Measure(
        "What entropy adds to the covariates",
        "R² of a linear regression on the covariates, and with annotation entropy; F tests what it adds.",
        ("quantity",),
        (
            _Column("r2_base", "R² without", 3),
            _Column("r2_full", "R² with", 3),
            _Column("increment", "added", 3),
            _Column("f", "F", 1),
            _N,
        ),
    ),
    "cartography": _Measure(
        "Data map",
        "ρ of annotation entropy with confidence and variability of the data map; R² of AULC on these two, and with "
        "entropy.",
        (),
        (
            _Column("rho_entropy_confidence", "entropy, confidence"),
            _Column("rho_entropy_variability", "entropy, variability"),
            _Column("r2_base", "R² without", 3),
            _Column("r2_full", "R² with", 3),
            _Column("contested_hard", "hard, contested", 0),
            _Column("settled_hard", "hard, settled", 0),
        ),
    ),
    "rank_trend": _Measure(
        "Over LoRA's ranks",
        "ρ over the pairs of rank and correlation: whether a higher rank goes with a stronger correlation.",
        ("ranks",),
        (_Column("trend_rho", "ρ"), _Column("trend_p", "p", 3)),
        lambda rows: [row for row in rows if row["seed"] is None],
    ),
    "paired_noise": _Measure(
        "AULC with label noise beside AULC without",
        "The same examples with and without label noise in training: mean AULC (nats), and the mean difference.",
        ("noise", "rate", "group"),
        (
            _N,
            _Column("aulc_noisy", "with noise", 3),
            _Column("aulc_base", "without", 3),
            _Column("difference", "difference", 3),
            _Column("cohens_d", "Cohen's d"),
        ),
    ),
}
"""Table of measures -> how the page shows it, in the page's order."""


def measure_grids(measures: Mapping[str, pa.Table], rows: Sequence[ConditionRow]) -> tuple[Grid, ...]:
    """A table per measure that the study has, in the order of `_PAGE`; without any, none.

    Args:
        measures: the tables of the analysis.
        rows: the conditions, in the page's order.
    """
    titles = {row.condition: row.title for row in rows}
    grids = (_grid(name, shown, measures[name], titles) for name, shown in _PAGE.items() if name in measures)
    return tuple(grid for grid in grids if grid is not None)


def _grid(name: str, shown: _Measure, table: pa.Table, titles: Mapping[str, str]) -> Grid | None:
    rows = table.to_pylist()
    if rows and shown.rows is not None:
        rows = list(shown.rows(rows))
    of_one: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        of_one.setdefault((_title(row, titles), *(_key(row[key]) for key in shown.keys)), []).append(row)
    several = any(len(alike) > 1 for alike in of_one.values())
    notes = (
        shown.text,
        *(("Over several seeds: their mean.",) if several else ()),
        f"All columns: analysis/{name}.csv.",
    )
    head = ("Condition", *(key.replace("_", " ") for key in shown.keys), *(c.head for c in shown.columns))
    cells = [
        (*names, *(_shown([row[column.name] for row in alike], column.decimals) for column in shown.columns))
        for names, alike in of_one.items()
    ]
    return grid_of(f"measure-{name.replace('_', '-')}", shown.title, notes, head, cells)


def _title(row: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """Of the row's condition; of what conditions that differ in rank have in common."""
    if "condition" in row:
        return titles.get(row["condition"], row["condition"])
    return f"{row['model']}, {row['dataset']}, {REGIMES[row['regime']]}"


def _key(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")


def _shown(values: Sequence[float], decimals: int) -> str:
    """The mean of those that are defined; how many are, where some are not."""
    known = _finite(values)
    some = f" ({len(known)} of {len(values)} seeds)" if 0 < len(known) < len(values) else ""
    return number(_mean(values), decimals) + some


def _mean(values: Sequence[float]) -> float:
    known = _finite(values)
    return math.fsum(known) / len(known) if known else math.nan


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]
