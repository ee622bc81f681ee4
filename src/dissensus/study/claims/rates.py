"""Which learning rate served a method best, of those that a study tried: its cells and their variants."""

from __future__ import annotations

from collections.abc import Sequence

from dissensus.study.claims.measured import Measured
from dissensus.study.evidence import Cell


def at_best_rate(measured: Measured, cells: Sequence[Cell]) -> tuple[tuple[Cell, ...], bool]:
    """For each cell that has variants in its learning rate, the best of them and itself.

    Best is the lowest mean loss of the settled examples at the end of training: of what everybody agrees on, the method
    then learned the most.

    Returns:
        The best cells, one for each cell whose rate was varied; whether there is any.
    """
    best = []
    for cell in cells:
        tried = [v for v in measured.evidence.variants if v.base == cell.spec and differs_in_rate_alone(v)]
        if tried:
            best.append(min([cell, *tried], key=lambda c: float(measured.group_means(c).settled[-1])))
    return tuple(best), bool(best)


def differs_in_rate_alone(variant: Cell) -> bool:
    """Whether a variant is its base at another learning rate and nothing else."""
    base = variant.base
    if base is None or variant.spec.method.learning_rate == base.method.learning_rate:
        return False
    method = variant.spec.method.model_copy(update={"learning_rate": base.method.learning_rate})
    return variant.spec.model_copy(update={"method": method, "variant": base.variant}) == base
