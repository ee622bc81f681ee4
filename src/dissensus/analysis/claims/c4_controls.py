"""C4: the correlation survives partial-correlation controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from dissensus.analysis.cell_tables import STANDARD_COVARIATES
from dissensus.analysis.claims.parts import Part
from dissensus.analysis.claims.sampled import CellValue, ConditionValue
from dissensus.analysis.claims.statistics import ClaimStatistics
from dissensus.analysis.claims.texts import COVARIATES, counted, spread
from dissensus.analysis.claims.verdict import ClaimVerdict, Question, claim_verdict, question
from dissensus.analysis.reading import CellReading
from dissensus.wording import number

GOLD_SHARE = "share of the gold label too"
"""Name of the question with the harder control."""
Statistic = Callable[[CellReading], CellValue]


def survives_controls(measured: ClaimStatistics, *, thorough: bool = True) -> ClaimVerdict:
    """The claim rests on the partial rho with all standard covariates; harder questions stand beside it.

    Args:
        measured: statistics of the study's cells.
        thorough: whether the harder questions are asked.
    """
    level = measured.level
    cells = [cell for condition_cells in measured.conditions().values() for cell in condition_cells]
    available = {c for cell in cells for c in measured.covariates(cell)}
    standard = [c for c in STANDARD_COVARIATES if c in available]
    words = ", ".join(COVARIATES.get(c, c) for c in standard)

    if thorough:
        _cell_by_cell(measured, cells, standard)
    together = question(
        "all covariates together",
        "partial rho is above 0 in every condition",
        f"partial Spearman of entropy and AULC given {words}",
        _each(measured, lambda cell: measured.rho(cell, measured.covariates(cell))),
        level=level,
    )
    beside = _harder(measured, standard, words) if thorough else []
    return claim_verdict(
        "C4",
        "The correlation survives partial-correlation controls.",
        [together, *beside],
        finding=_finding(words, together, beside),
        limits=[
            *measured.left_out(measured.reading.own),
            "entropy and the share of the gold label are nearly one thing where gold is the majority, so what is left "
            "with both in the model is what they do not share",
        ],
        level=level,
    )


def _harder(measured: ClaimStatistics, standard: Sequence[str], words: str) -> list[Question]:
    level = measured.level
    alone = question(
        "each covariate alone",
        "the mean partial rho over conditions is above 0 whichever covariate is held fixed",
        "partial Spearman given one covariate, mean over conditions",
        [_mean(measured, COVARIATES.get(c, c), partial(_given_one, measured, c)) for c in standard],
        level=level,
        decides=False,
    )
    hard = question(
        GOLD_SHARE,
        "partial rho is above 0 in every condition with the share of annotators who chose the gold label fixed too",
        f"partial Spearman given {words} and the share of the gold label",
        _each(measured, lambda cell: measured.rho(cell, (*measured.covariates(cell), "gold_share"))),
        level=level,
        decides=False,
    )
    return [alone, hard, *_within_majority(measured)]


def _finding(words: str, together: Question, beside: Sequence[Question]) -> str:
    values = [part.value for part in together.parts]
    if not values:
        return f"no partial correlation can be judged: {'; '.join(together.undefined) or 'no cell learned anything'}"
    finding = (
        f"with {words} held fixed, partial rho is {spread(values)} over {counted(len(values), 'condition')} (mean "
        f"{number(float(np.mean(values)))})"
    )
    harder = [part.value for question in beside if question.name == GOLD_SHARE for part in question.parts]
    if not harder:
        return finding
    return f"{finding}; with the {GOLD_SHARE} it is {spread(harder)} (mean {number(float(np.mean(harder)))})"


def _given_one(measured: ClaimStatistics, covariate: str, cell: CellReading) -> CellValue:
    return measured.rho(cell, (covariate,))


def _within_majority(measured: ClaimStatistics) -> list[Question]:
    """The same within items whose gold label is the annotators' majority: contested there is not mislabelled."""

    ids = _gold_is_majority
    statistics: dict[str, Statistic] = {
        "rho": lambda cell: measured.rho(cell, ids=ids(cell)),
        "partial rho": lambda cell: measured.rho(cell, measured.covariates(cell), ids=ids(cell)),
    }
    return [
        question(
            f"gold is the majority: {name}",
            f"{name} is above 0 in every condition among items whose gold label most annotators chose",
            f"{name} over those items alone",
            _each(measured, statistic),
            level=measured.level,
            decides=False,
        )
        for name, statistic in statistics.items()
    ]


def _cell_by_cell(measured: ClaimStatistics, cells: Sequence[CellReading], covariates: Sequence[str]) -> None:
    """Compute every correlation of one cell at once: it is ranked once, and covariates' sums of products are shared."""
    for cell in cells:
        held_fixed = measured.covariates(cell)
        measured.rhos(cell, (held_fixed, *((c,) for c in covariates), (*held_fixed, "gold_share")))
        measured.rhos(cell, ((), held_fixed), ids=_gold_is_majority(cell))


def _gold_is_majority(cell: CellReading) -> frozenset[str]:
    """Ids of the examples whose gold label no other label has more annotators than."""
    chosen = np.take_along_axis(cell.counts, np.maximum(cell.gold, 0)[:, None], axis=1)[:, 0]
    top = (cell.gold >= 0) & (chosen > 0) & (chosen == cell.counts.max(axis=1))
    return frozenset(i for i, keep in zip(cell.curves.ids, top, strict=True) if keep)


def _each(measured: ClaimStatistics, statistic: Statistic) -> list[Part]:
    correlations = _conditions(measured, statistic)
    return [measured.rho_part(one.name, [one], pool=correlations) for one in correlations]


def _mean(measured: ClaimStatistics, name: str, statistic: Statistic) -> Part:
    """The mean over the conditions in which the statistic is defined."""
    return measured.rho_part(name, _conditions(measured, statistic))


def _conditions(measured: ClaimStatistics, statistic: Statistic) -> list[ConditionValue]:
    return [measured.condition(name, cells, statistic) for name, cells in measured.conditions().items()]
