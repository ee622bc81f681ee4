"""Conditions table: the cells of one condition (its seeds) to one row of means, spread and adjusted p-values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dissensus.analysis.rows import LearnedRow
from dissensus.config import FEWEST_STEPS, NO_VARIANT, RunSpec
from dissensus.metrics.learning import EXPLAINED
from dissensus.stats import holm

IDENTITY = (
    "condition",
    "dataset",
    "model",
    "head",
    "method",
    "regime",
    "variant",
    "gold_source",
    "cluster_field",
    "cluster_reason",
    "covariates",
    "covariates_left_out",
    "partial_form",
)
CORRELATIONS = ("rho", "rho_slope", "partial", "partial_gold_share")
WORDS = ("learned", "learned_why", "judged_on", "top_answer")
"""Columns of words of a cell that have no mean; `learned_over_seeds` says what becomes of the first two."""
SHARED = ("cell", "seed", *IDENTITY, *WORDS)


def conditions_table(cells: pa.Table, order: Sequence[str]) -> pa.Table:
    """One row per condition that has a cell, in the order of `order`, a list of conditions (repeats allowed).

    Every number is the mean over the condition's cells that have it (NaN when none has). For the correlations there
    are also, with S seeds:

    - `_sd` (divisor S - 1; NaN for one seed), `_min`, `_max` over seeds;
    - `_low`, `_high`: the mean of the cells' interval ends. The standard error of a mean is at most the mean of the
      standard errors, whatever the dependence, so this covers the choice of examples for the mean rho at least as
      well as each cell's interval does for its own. It says nothing about other seeds: `_sd` does;
    - `_p`: the largest p-value of the seeds (small only if every seed shows it), and `_p_holm`: the same, adjusted
      by Holm over the study's own conditions. Variants are none of them: theirs stays NaN.

    `_withheld` says why a cell has no interval or value, in words; '' where every cell has. So does `rho_why` of rho.

    `learned` and `learned_why` are those of `learned_over_seeds`. The shares of un-learned examples are means over the
    seeds that learned; `seeds_not_learned` says how many did not.
    """
    cells_of: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells.to_pylist():
        cells_of.setdefault(cell["condition"], []).append(cell)
    rows = [_one(cells_of[name]) for name in dict.fromkeys(order) if name in cells_of]
    for measure in CORRELATIONS:
        p_values = [row[f"{measure}_p"] if row["variant"] == NO_VARIANT else np.nan for row in rows]
        adjusted = holm(np.array(p_values, dtype=np.float64))
        for row, p in zip(rows, adjusted, strict=True):
            row[f"{measure}_p_holm"] = float(p)
    return pa.Table.from_pylist(rows)


def _one(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = cells[0]
    row: dict[str, Any] = {key: first[key] for key in IDENTITY}
    row["seeds"] = len(cells)
    seeds = [SeedLearned(cell["seed"], cell["learned"], cell["learned_why"]) for cell in cells]
    row.update(asdict(learned_over_seeds(seeds)))
    for key in first:
        if key in SHARED:
            continue
        if key.endswith("_withheld") or key == "rho_why":
            row[key] = "; ".join(dict.fromkeys(cell[key] for cell in cells if cell[key]))
            continue
        values = np.array([cell[key] for cell in cells], dtype=np.float64)
        finite = values[np.isfinite(values)]
        if key.endswith("_p"):
            # A seed without a p-value shows nothing; it must not make the others look unanimous.
            row[key] = float(values.max()) if len(finite) == len(values) else float("nan")
            continue
        row[key] = float(finite.mean()) if finite.size else float("nan")
        if key in CORRELATIONS:
            row[f"{key}_sd"] = float(finite.std(ddof=1)) if finite.size > 1 else float("nan")
            row[f"{key}_min"] = float(finite.min()) if finite.size else float("nan")
            row[f"{key}_max"] = float(finite.max()) if finite.size else float("nan")
    return row


@dataclass(frozen=True)
class SeedLearned:
    """Whether one seed of a condition learned.

    Attributes:
        seed: of the cell.
        learned: 'yes', 'no' or 'not told'.
        learned_why: the reason, '' for 'yes'.
    """

    seed: int
    learned: str
    learned_why: str


@dataclass(frozen=True)
class ConditionLearned:
    """Whether a condition learned; its fields are columns of the conditions table.

    Attributes:
        learned: 'no' when any of its seeds did not learn, else 'not told' when any is not told.
        learned_why: that of the first seed that makes the answer what it is, with how many do of several.
        seeds_not_learned: how many did not.
    """

    learned: str
    learned_why: str
    seeds_not_learned: int


def learned_over_seeds(seeds: Sequence[SeedLearned]) -> ConditionLearned:
    """Whether a condition learned, from its seeds; at least one."""
    answers = [one.learned for one in seeds]
    learned = next((answer for answer in ("no", "not told") if answer in answers), "yes")
    why = ""
    if learned != "yes":
        first = next(one for one in seeds if one.learned == learned)
        why = first.learned_why
        if len(seeds) > 1:
            verb = "did not learn" if learned == "no" else "cannot be told"
            why = f"{answers.count(learned)} of {len(seeds)} seeds {verb}; seed {first.seed}: {why}"
    return ConditionLearned(learned, why, answers.count("no"))


def training_advice(conditions: Iterable[LearnedRow], cells: Iterable[RunSpec]) -> list[str]:
    """A line for each condition that did not learn: why, and what to change.

    Args:
        conditions: of the conditions table.
        cells: the study's cells.
    """
    spec = {cell.condition: cell for cell in reversed(list(cells))}
    return [
        f"{row.condition} learned nothing that shows on these examples: {row.learned_why}. Un-learning is not "
        f"told there. {_advice(row, spec[row.condition])}"
        for row in conditions
        if row.learned == "no"
    ]


def _advice(row: LearnedRow, cell: RunSpec) -> str:
    rate, steps = f"{cell.method.learning_rate:g}", round(row.total_steps)
    lost = row.judged_loss_lowest <= (1 - EXPLAINED) * row.constant_loss < row.judged_loss_end
    if lost or "diverged" in row.learned_why:
        return f"Lower the learning rate (now {rate})."
    now = f"Train longer ({steps} optimiser steps now"
    if steps < FEWEST_STEPS:
        return f"{now}; {FEWEST_STEPS} or more), or raise the learning rate (now {rate})."
    return f"{now}), or try a higher and a lower learning rate (now {rate})."
