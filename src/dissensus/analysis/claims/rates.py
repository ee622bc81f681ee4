"""Best learning rate of each method, of those that a study tried: its cells and their variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dissensus.analysis.claims.measured import Measured
from dissensus.analysis.reading import BACKED, CellReading
from dissensus.analysis.study_reading import by_condition


@dataclass(frozen=True)
class BestRate:
    """The best learning rate of one condition.

    Attributes:
        cells: its cells at that rate, with the seeds that every rate was tried with.
        rate: the learning rate.
        tried: how many rates were.
    """

    cells: tuple[CellReading, ...]
    rate: float
    tried: int


def at_best_rate(measured: Measured, cells: Sequence[CellReading]) -> tuple[BestRate, ...]:
    """For each condition whose cells have variants in the learning rate alone, the best of these and itself.

    Best is the lowest loss of the settled, backed examples at the end of training, the mean over the seeds that every
    rate was tried with: of what everybody agrees on, the method then learned the most. One seed says little of which
    rate is best; what rests on such a choice decides nothing.
    """
    variants = [v for v in measured.reading.variants if differs_in_rate_alone(v)]
    best = []
    for condition_cells in by_condition(cells).values():
        tried = [
            condition_cells,
            *by_condition(v for v in variants if v.base in [cell.spec for cell in condition_cells]).values(),
        ]
        seeds = set.intersection(*({cell.spec.seed for cell in some} for some in tried))
        if len(tried) < 2 or not seeds:
            continue
        shared = [tuple(cell for cell in some if cell.spec.seed in seeds) for some in tried]
        chosen = min(shared, key=lambda some: _settled_end(measured, some))
        best.append(BestRate(chosen, chosen[0].spec.method.learning_rate, len(tried)))
    return tuple(best)


def differs_in_rate_alone(variant: CellReading) -> bool:
    """Whether a variant is its base at another learning rate and nothing else."""
    base = variant.base
    if base is None or variant.spec.method.learning_rate == base.method.learning_rate:
        return False
    method = variant.spec.method.model_copy(update={"learning_rate": base.method.learning_rate})
    return variant.spec.model_copy(update={"method": method, "variant": base.variant}) == base


def _settled_end(measured: Measured, cells: Sequence[CellReading]) -> float:
    """Mean over cells of the settled, backed loss at the end; infinite where there is none."""
    ends = [float(measured.group_means(cell).settled[BACKED].mean[-1]) for cell in cells]
    return float(np.mean(ends)) if np.isfinite(ends).all() else float("inf")
