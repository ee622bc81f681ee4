"""Columns of a cell: Spearman's rho of entropy and the learning curves, plain and with covariates held fixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.covariates import STANDARD_COVARIATES
from dissensus.curves import FloatArray
from dissensus.stats import Correlation, partial_spearman, spearman
from dissensus.stats.basis import Form


def correlation_columns(
    entropy: FloatArray,
    gold: NDArray[np.int64],
    values: Mapping[str, FloatArray],
    form: Form,
    options: Callable[[str], dict[str, Any]],
    names: Sequence[str] = STANDARD_COVARIATES,
) -> dict[str, Any]:
    """Rho with AULC and with the slope, partial rho, and the same with gold share held fixed as well.

    Of each: the value, `_low`, `_high`, `_p`, `_n`, `_df` and `_withheld` (why there is none). `covariates` names what
    is held fixed, `covariates_left_out` which of those named are not, and why. `rho_why` says of the data why rho
    is not defined, '' where it is.

    Args:
        entropy: bits, shape (n,).
        gold: label indices, shape (n,).
        values: columns of the examples table, each of shape (n,).
        form: how a numeric covariate is held fixed.
        options: keyword options of the interval of a named quantity.
        names: of the covariates.
    """
    columns: dict[str, FloatArray] = {"gold": gold.astype(np.float64)}
    columns.update({name: values[name] for name in names if name in values})
    covariates, left_out = usable_covariates(columns, names)
    harder = {**covariates, "gold_share": values["gold_share"]}
    area = values["aulc"]
    measured = {
        "rho": spearman(entropy, area, **options("rho")),
        "rho_slope": spearman(entropy, values["slope"], **options("rho_slope")),
        "partial": partial_spearman(entropy, area, covariates, form=form, **options("partial")),
        "partial_gold_share": partial_spearman(
            entropy, area, harder, form=form, **options("partial_gold_share")
        ),
    }
    row: dict[str, Any] = {
        "covariates": ", ".join("gold class" if c == "gold" else c for c in covariates),
        "covariates_left_out": "; ".join(f"{c}: {why}" for c, why in left_out.items()),
        "partial_form": form,
    }
    for name, result in measured.items():
        row.update(_columns(name, result))
    undefined = np.isnan(measured["rho"].rho)
    row["rho_why"] = why_undefined(entropy, area, values["annotations"]) if undefined else ""
    return row


def why_undefined(entropy: FloatArray, area: FloatArray, annotations: FloatArray) -> str:
    """Why entropy and AULC have no rank correlation, in words about the data; '' where they have one.

    Args:
        entropy: bits, shape (n,); NaN where nobody was asked.
        area: AULC in nats, shape (n,); NaN where it is not defined.
        annotations: of each item, shape (n,).
    """
    annotated, measured = np.isfinite(entropy), ~np.isnan(area)
    both = annotated & measured
    if not annotated.any():
        return "no item has annotations, so that no entropy is defined"
    if not measured.any():
        return "no item has an AULC: each has fewer than two finite losses, or no gold label"
    if both.sum() < 3:
        return (
            f"{both.sum()} of {len(both)} items have both an entropy and an AULC, and it takes 3 (without entropy: "
            f"{(~annotated).sum()}, without AULC: {(~measured).sum()})"
        )
    if np.ptp(entropy[both]) == 0:
        if annotations[both].max() <= 1:
            return "every item has one annotation, so that every entropy is 0"
        same = entropy[both][0]
        return (
            "the annotators of every item agree, so that every entropy is 0"
            if same == 0
            else (f"every item has the same entropy, {same:.3f} bits")
        )
    if area[both].min() == area[both].max():
        return "every item has the same AULC"
    return ""


def usable_covariates(
    columns: Mapping[str, FloatArray], names: Sequence[str] = STANDARD_COVARIATES
) -> tuple[dict[str, FloatArray], dict[str, str]]:
    """The named covariates that can be held fixed, and why the others cannot.

    One that no example has (overlap without a pair) would drop every row; a constant one holds nothing fixed.

    Args:
        columns: name -> values of shape (n,), of those that there are.
        names: of the covariates.
    """
    used: dict[str, FloatArray] = {}
    left_out: dict[str, str] = {}
    for name in names:
        values = columns.get(name, np.empty(0))
        finite = values[np.isfinite(values)]
        if not finite.size:
            left_out[name] = "no example has it"
        elif np.ptp(finite) == 0:
            left_out[name] = "the same in every example"
        else:
            used[name] = values
    return used, left_out


def _columns(name: str, result: Correlation) -> dict[str, Any]:
    return {
        name: result.rho,
        f"{name}_low": result.low,
        f"{name}_high": result.high,
        f"{name}_p": result.p_value,
        f"{name}_n": result.n,
        f"{name}_df": result.df,
        f"{name}_withheld": result.withheld,
    }
