"""C5: the correlation replicates across seeds and data sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dissensus.study.claims.measured import Measured
from dissensus.study.claims.parts import Part
from dissensus.study.claims.sampled import Sampled
from dissensus.study.claims.texts import counted, spread
from dissensus.study.claims.verdict import ClaimVerdict, claim_verdict, question
from dissensus.study.evidence import Cell, by_condition
from dissensus.wording import number


def replicates(measured: Measured) -> ClaimVerdict:
    """The mean rho of each data set and of each seed is above 0."""
    own = measured.evidence.own
    datasets = list(dict.fromkeys(cell.spec.dataset.name for cell in own))
    seeds = list(dict.fromkeys(cell.spec.seed for cell in own))
    level = measured.level
    per_dataset = question(
        "data sets",
        "the mean rho over a data set's conditions is above 0 in each data set",
        "Spearman's rho of entropy and AULC, mean over conditions and seeds",
        [_mean(measured, name, _cells(own, dataset=name)) for name in datasets]
        if len(datasets) > 1 else [],
        level=level,
        note="" if len(datasets) > 1 else "one data set only",
    )  # fmt: skip
    per_seed = question(
        "seeds",
        "the mean rho over all conditions is above 0 with each seed",
        "Spearman's rho of entropy and AULC, mean over the conditions that have the seed",
        [_mean(measured, f"seed {seed}", _cells(own, seed=seed)) for seed in seeds]
        if len(seeds) > 1 else [],
        level=level,
        note="" if len(seeds) > 1 else "one seed only",
    )  # fmt: skip
    conditions = measured.evidence.conditions()
    spreads = [
        float(np.std([measured.rho(cell).value for cell in cells], ddof=1))
        for cells in conditions.values()
        if len(cells) > 1
    ]
    within = (
        f"between seeds of one condition rho has a standard deviation of {number(float(np.median(spreads)), 3)} "
        f"(median; largest {number(max(spreads), 3)})"
        if spreads
        else "no condition has two seeds"
    )
    by_dataset = [f"{p.name} {number(p.value)}" for p in per_dataset.parts] or [
        f"{datasets[0]} {spread(measured.rho(cell).value for cell in own)}"
    ]
    return claim_verdict(
        "C5",
        "The correlation replicates across seeds and data sets.",
        [per_dataset, per_seed],
        finding=f"mean rho: {'; '.join(by_dataset)}; over {counted(len(seeds), 'seed')}: "
        f"{spread(p.value for p in per_seed.parts)}; {within}",
        level=level,
    )


def _cells(own: Sequence[Cell], *, dataset: str | None = None, seed: int | None = None) -> list[Cell]:
    return [c for c in own if dataset in (None, c.spec.dataset.name) and seed in (None, c.spec.seed)]


def _mean(measured: Measured, name: str, cells: Sequence[Cell]) -> Part:
    """The mean over the conditions of these cells in which rho is defined."""
    found = [measured.of_condition(seeds, measured.rho) for seeds in by_condition(cells).values()]
    known = [one for one in found if np.isfinite(one.value)]
    return measured.rho_part(name, Sampled.mean(known), cells)
