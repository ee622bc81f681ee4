"""C5: the correlation replicates across seeds and data sets: inside a model, in at least two of each.

Means over one model's data sets, or seeds, are over the same conditions in each, so that nothing but the data set, or
the seed, differs. In how many of them an effect is shown is a partial conjunction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dissensus.analysis.claims.parts import Part
from dissensus.analysis.claims.sampled import CellValue, ConditionValue
from dissensus.analysis.claims.statistics import ClaimStatistics
from dissensus.analysis.claims.texts import counted
from dissensus.analysis.claims.verdict import ClaimVerdict, Question, claim_verdict, question
from dissensus.analysis.reading import CellReading
from dissensus.analysis.study_reading import by_condition
from dissensus.stats import holm
from dissensus.wording import number

ENOUGH = 2
"""Data sets, and seeds, in which an effect must be shown to count as replicated."""


@dataclass(frozen=True)
class _Places:
    """What one model's data sets, or seeds, say.

    Attributes:
        model: its name.
        noun: 'data set' or 'seed'.
        parts: a mean rho of each.
        partial: the same of the partial rho.
    """

    model: str
    noun: str
    parts: tuple[Part, ...]
    partial: tuple[Part, ...]

    def shown(self, level: float) -> int:
        """In how many an effect is shown."""
        return shown_in(_above(self.parts), level / 2)

    def together(self) -> Part:
        """The effect in at least two of them, with the number of the second strongest."""
        n = len(self.parts)
        name = f"{self.model}: at least {ENOUGH} of {counted(n, self.noun)}"
        known = [one for one in self.parts if one.defined]
        if len(known) < ENOUGH:
            why = "; ".join(one.unjudged for one in self.parts if not one.defined)
            return replace(self.parts[0], name=name, value=float("nan"), p=float("nan"), withheld=why)
        second = sorted(known, key=lambda one: one.p_above)[ENOUGH - 1]
        below = [one.p_below if one.defined else 1.0 for one in self.parts]
        return replace(
            second,
            name=name,
            p=min(1.0, 2 * at_least(_above(self.parts), ENOUGH)),
            p_below=at_least(below, n - ENOUGH + 1),
            cells=tuple(dict.fromkeys(cell for one in known for cell in one.cells)),
            seeds=len(known) if self.noun == "seed" else second.seeds,
            note=f"number and interval of the second strongest, {second.name}",
        )

    def reversed(self, level: float) -> tuple[Part, ...]:
        """Those in which the effect is shown to be below 0."""
        p = holm([one.p for one in self.parts])
        return tuple(
            replace(one, name=f"{self.model}: {one.name} (reversed)")
            for one, q in zip(self.parts, p, strict=True)
            if one.value < 0 and q < level
        )


def replicates(measured: ClaimStatistics) -> ClaimVerdict:
    """In each model the mean rho is above 0 in at least two data sets and with at least two seeds."""
    all_cells = [cell for cells in measured.conditions().values() for cell in cells]
    models = list(dict.fromkeys(cell.spec.model.label for cell in all_cells))
    level = measured.level
    sets = [places for model in models if (places := _data_sets(measured, model, all_cells))]
    seeds = [places for model in models if (places := _seeds(measured, model, all_cells))]
    questions = [
        _question(measured, "data sets", sets, "no model learned the same conditions on two data sets"),
        _question(measured, "seeds", seeds, "no model has conditions with two seeds"),
        *(
            _beside(measured, name, places)
            for name, places in (("data set", sets), ("seed", seeds))
            if places
        ),
    ]
    sentences = [
        f"{places.model}: shown in {places.shown(level)} of {counted(len(places.parts), places.noun)} "
        f"({', '.join(f'{p.name} {number(p.value)}' for p in places.parts)})"
        for places in (*sets, *seeds)
    ]
    for places in (*sets, *seeds):
        sentences += [f"reversed: {p.text}" for p in places.reversed(level)]
    return claim_verdict(
        "C5",
        "The correlation replicates across seeds and data sets.",
        questions,
        finding=f"mean rho. {'; '.join([*sentences, _within(measured)])}" if sentences else
        f"nothing to replicate: {questions[0].note}; {questions[1].note}",
        limits=[
            *measured.left_out(measured.reading.own),
            *_alone(models, sets, "does not have the same conditions on two data sets"),
            *_alone(models, seeds, "has no condition with two seeds"),
        ],
        level=level,
    )  # fmt: skip


def _alone(models: Sequence[str], places: Sequence[_Places], why: str) -> list[str]:
    """The models that a question could not be asked of, where it was of others."""
    in_question = {one.model for one in places}
    return [f"{model} {why}" for model in models if model not in in_question] if places else []


def _question(measured: ClaimStatistics, name: str, places: Sequence[_Places], none: str) -> Question:
    noun = name[:-1]
    return question(
        name,
        f"in each model the mean rho over the same conditions is above 0 in at least {ENOUGH} {name}",
        f"Spearman's rho of entropy and AULC, mean over the conditions that every {noun} of the model has; tested as a "
        "partial conjunction",
        [part for one in places for part in (one.together(), *one.reversed(measured.level))],
        level=measured.level,
        note="" if places else none,
        needed=True,
    )


def _beside(measured: ClaimStatistics, noun: str, places: Sequence[_Places]) -> Question:
    parts = [
        replace(part, name=f"{one.model}: {part.name}{kind}")
        for one in places
        for kind, of_kind in (("", one.parts), (", partial", one.partial))
        for part in of_kind
    ]
    return question(
        f"each {noun}", f"the mean rho is above 0 in each {noun} of each model", "Spearman's rho, plain and partial",
        parts, level=measured.level, decides=False,
    )  # fmt: skip


def _data_sets(measured: ClaimStatistics, model: str, all_cells: Sequence[CellReading]) -> _Places | None:
    cells = [cell for cell in all_cells if cell.spec.model.label == model]
    sets = list(dict.fromkeys(cell.spec.dataset.name for cell in cells))
    everywhere = set.intersection(
        *({_kind(c) for c in cells if c.spec.dataset.name == name} for name in sets)
    )
    if len(sets) < ENOUGH or not everywhere:
        return None
    correlations = {
        held: _conditions(measured, [c for c in cells if _kind(c) in everywhere], partial=held)
        for held in (False, True)
    }
    pools = {held: [one for _, one in values] for held, values in correlations.items()}
    plain, partial = (
        tuple(
            measured.rho_part(
                name,
                [one for cell, one in correlations[held] if cell.spec.dataset.name == name],
                pool=pools[held],
            )
            for name in sets
        )
        for held in (False, True)
    )
    return _Places(model, "data set", plain, partial)


def _seeds(measured: ClaimStatistics, model: str, all_cells: Sequence[CellReading]) -> _Places | None:
    conditions = list(by_condition(c for c in all_cells if c.spec.model.label == model).values())
    seeds_of_each = [frozenset(cell.spec.seed for cell in cells) for cells in conditions]
    several = [seeds for seeds in seeds_of_each if len(seeds) >= ENOUGH]
    if not several:
        return None
    # The seeds that serve the most cells; a condition counts if it has all of them.
    chosen = max(
        sorted(set(several), key=sorted),
        key=lambda seeds: len(seeds) * sum(seeds <= one for one in seeds_of_each),
    )
    in_common = [cells for cells, seeds in zip(conditions, seeds_of_each, strict=True) if chosen <= seeds]

    def of(seed: int, *, partial: bool) -> Part:
        correlations = _conditions(
            measured, [c for cells in in_common for c in cells if c.spec.seed == seed], partial=partial
        )
        return measured.rho_part(f"seed {seed}", [one for _, one in correlations], fixed_seeds=True)

    return _Places(
        model,
        "seed",
        tuple(of(seed, partial=False) for seed in sorted(chosen)),
        tuple(of(seed, partial=True) for seed in sorted(chosen)),
    )


def _conditions(
    measured: ClaimStatistics, cells: Sequence[CellReading], *, partial: bool
) -> list[tuple[CellReading, ConditionValue]]:
    """A condition's first cell and its rho, plain or partial."""

    def statistic(cell: CellReading) -> CellValue:
        return measured.rho(cell, measured.covariates(cell) if partial else ())

    return [
        (condition_cells[0], measured.condition(name, condition_cells, statistic))
        for name, condition_cells in by_condition(cells).items()
    ]


def _kind(cell: CellReading) -> tuple[str, str]:
    """What a condition is besides its data set and model."""
    return cell.spec.method.label, cell.spec.regime


def _above(parts: Sequence[Part]) -> list[float]:
    return [one.p_above if one.defined else 1.0 for one in parts]


def _within(measured: ClaimStatistics) -> str:
    spreads = [
        float(np.std([measured.rho(cell).value for cell in cells], ddof=1))
        for cells in measured.conditions().values()
        if len(cells) > 1
    ]
    if not spreads:
        return "no condition has two seeds"
    return (
        f"between seeds of one condition rho has a standard deviation of {number(float(np.median(spreads)), 3)} "
        f"(median; largest {number(max(spreads), 3)})"
    )


def at_least(p: Sequence[float], r: int) -> float:
    """p-value of "fewer than r of the n effects are there", valid whatever the tests have in common.

    With p_(r) the r-th smallest, (n - r + 1) p_(r), at most 1 (Benjamini and Heller, "Screening for partial conjunction
    hypotheses", Biometrics 64, 2008, the Bonferroni form): if fewer than r effects are there, at least n - r + 1 of the
    p-values are of none, and the smallest of those is below p_(r).

    Args:
        p: one-sided p-values; one that is not known is 1.
        r: from 1 to n.
    """
    return min(1.0, (len(p) - r + 1) * sorted(p)[r - 1])


def shown_in(p: Sequence[float], level: float) -> int:
    """The largest r for which r effects, and each smaller number of them, are shown at the level.

    Testing r = 1, 2, ... in turn and stopping at the first that is not shown keeps the level over all r.
    """
    r = 0
    while r < len(p) and at_least(p, r + 1) < level:
        r += 1
    return r
