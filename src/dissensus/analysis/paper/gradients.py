"""Gradient tables of the paper: cosine of groups' mean gradients (J), norms per example; where cells recorded them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from dissensus.analysis.paper.cells import PaperCell
from dissensus.analysis.paper.columns import SEEDS, Column, Number, grid, largest, mean
from dissensus.analysis.paper.conditions import Condition, PaperReading
from dissensus.analysis.paper.layout import NAN, PaperTable
from dissensus.curves import FloatArray
from dissensus.stats import spearman
from dissensus.stats.groups import CONTESTED, GROUPS, SETTLED
from dissensus.store.gradients import GroupGradients

NOT_RECORDED = "not recorded: no finished cell has a gradient probe (docs/gradients.md)"


def cosine_table(reading: PaperReading) -> PaperTable:
    """J: cosine of the contested and the settled items' mean gradients at each recorded point."""

    def columns(step: str) -> Mapping[str, Column]:
        def of(number: Callable[[GroupGradients], FloatArray]) -> Column:
            def at_step(cell: PaperCell) -> float:
                recorded = cell.gradients
                if recorded is None or not {CONTESTED, SETTLED} <= set(recorded.groups):
                    return NAN
                by_step = dict(zip(map(str, recorded.steps), number(recorded).tolist(), strict=True))
                return float(by_step.get(step, NAN))

            return mean(at_step, why="not recorded")

        return {
            "cosine": of(lambda recorded: recorded.cosine(CONTESTED, SETTLED)),
            "norm, contested": of(lambda recorded: recorded.norms()[:, recorded.groups.index(CONTESTED)]),
            "norm, settled": of(lambda recorded: recorded.norms()[:, recorded.groups.index(SETTLED)]),
        }

    def levels(condition: Condition) -> Sequence[str]:
        recorded = [cell.gradients.steps for cell in condition.cells if cell.gradients is not None]
        return [str(step) for step in sorted({step for steps in recorded for step in steps})]

    table = grid(
        "J",
        "Cosine of mean gradients, contested and settled items",
        "Mean gradients of the unweighted loss over the trainable weights, as the cells' probes recorded them. "
        f"{SEEDS}",
        _recorded(reading, lambda cell: cell.gradients is not None),
        columns,
        by="update",
        levels=levels,
    )
    return replace(table, absent=NOT_RECORDED)


def norm_table(reading: PaperReading) -> PaperTable:
    """Gradient norms of single items at the last recorded point, by entropy group."""

    def columns(group: str) -> Mapping[str, Column]:
        return {
            "mean": mean(_of_norms(group, lambda x: float(x.mean()))),
            "sd": mean(_of_norms(group, lambda x: float(x.std(ddof=1)) if len(x) > 1 else NAN)),
            "median": mean(_of_norms(group, lambda x: float(np.median(x)))),
            "rho with H": mean(_rho_with_entropy),
            "Kruskal-Wallis H": mean(lambda cell: _kruskal(cell)[0], 1),
            "p": largest(lambda cell: _kruskal(cell)[1]),
        }

    table = grid(
        "norms",
        "Gradient norms of single items",
        "Euclidean norm over the trainable weights at the last recorded point; rho and Kruskal-Wallis' test over all "
        f"groups, items as independent. {SEEDS} p: the largest over seeds.",
        _recorded(reading, lambda cell: cell.gradient_norms is not None),
        columns,
        by="items",
        levels=lambda _: GROUPS,
    )
    return replace(table, absent=NOT_RECORDED)


def _recorded(reading: PaperReading, has: Callable[[PaperCell], bool]) -> list[Condition]:
    """Conditions with a recording in a finished cell; variants say so beside their method."""
    return [
        replace(c, method=f"{c.method}, {c.variant}") if c.variant else c
        for c in reading.conditions
        if any(map(has, c.cells))
    ]


def _of_norms(group: str, number: Callable[[FloatArray], float]) -> Number:
    def of(cell: PaperCell) -> float:
        values = cell.known(_last_norms(cell), group)
        return number(values) if len(values) else NAN

    return of


def _last_norms(cell: PaperCell) -> FloatArray:
    """Norms at the last recorded point in the order of the cell's items, shape (n,); NaN where there is none."""
    norms = cell.gradient_norms
    if norms is None:
        return np.full(len(cell.ids), np.nan)
    by_id = dict(zip(norms.ids, norms.norms[-1].tolist(), strict=True))
    return np.array([by_id.get(i, NAN) for i in cell.ids])


def _rho_with_entropy(cell: PaperCell) -> float:
    return spearman(cell.entropy, _last_norms(cell)).rho


def _kruskal(cell: PaperCell) -> tuple[float, float]:
    parts = [values for group in GROUPS if len(values := cell.known(_last_norms(cell), group))]
    if len(parts) < 2 or np.ptp(np.concatenate(parts)) == 0:
        return NAN, NAN
    result = stats.kruskal(*parts)
    return float(result.statistic), float(result.pvalue)
