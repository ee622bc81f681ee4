"""C3's comparisons of LoRA with the other methods: at the same steps, at equal settled loss, each at its best rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dissensus.analysis.claims.c3_matching import Match, difference_at_matched_loss
from dissensus.analysis.claims.c3_readings import change, why_no_start
from dissensus.analysis.claims.sampled import CellValue, ConditionValue
from dissensus.analysis.claims.statistics import ALL, ClaimStatistics, contrast
from dissensus.analysis.claims.texts import OTHERS, counted, spread
from dissensus.analysis.claims.verdict import Question, question
from dissensus.analysis.reading import BACKED, CellReading
from dissensus.analysis.study_reading import by_condition
from dissensus.wording import number

SAME_START = 0.02
"""Nats: contested losses this close at step 0 are one start, and cancel in a difference even if they are no start."""
Others = Mapping[str, Sequence[CellReading]]
Pair = tuple[CellReading, CellReading]


def minus_others(measured: ClaimStatistics, lora: Sequence[CellReading], others: Others) -> Question:
    """At the end of training, after the same steps."""
    when = "at the end of training"
    parts = [
        measured.change_part(
            f"LoRA minus {OTHERS[method]}",
            differences,
            note=f"mean over {counted(len(differences), 'pair')} of conditions",
        )
        for method, cells in others.items()
        if (differences := _pair_values(lora, cells, lambda a, b: _changed_more(measured, a, b)))
    ]
    return question(
        "minus the other methods, at the same steps", _asks(when), _statistic(when), parts, level=measured.level,
        note=_none(parts),
    )  # fmt: skip


def minus_others_at_equal_loss(
    measured: ClaimStatistics, lora: Sequence[CellReading], others: Others
) -> Question:
    """At the lowest settled loss that both come down to; without it the claim cannot be supported."""
    when = "when the settled, backed examples' mean loss has come down to the same value"
    parts = []
    for method, cells in others.items():
        matches: list[Match] = []

        def compared(first: CellReading, second: CellReading, matches: list[Match] = matches) -> CellValue:
            match = difference_at_matched_loss(
                measured, measured.group_means(first), measured.group_means(second)
            )
            matches.append(match)
            return match.value

        if differences := _pair_values(lora, cells, compared):
            parts.append(
                measured.change_part(
                    f"LoRA minus {OTHERS[method]}", differences, note=_where(matches, differences)
                )
            )
    return question(
        "minus the other methods, at the same settled loss", _asks(when), _statistic(when), parts,
        level=measured.level, note=_none(parts), needed=True,
    )  # fmt: skip


def minus_others_at_best_rates(
    measured: ClaimStatistics, lora: Sequence[CellReading], others: Others
) -> Question:
    """Each method at the learning rate, of those tried, that lowered the settled loss the most."""
    lora_best = at_best_rate(measured, lora)
    parts, notes = [], []
    seeds = min((len(best.cells) for best in lora_best), default=0)
    for method, cells in others.items():
        other = at_best_rate(measured, cells)
        swept = [cell for best in lora_best for cell in best.cells]
        rivals = [cell for best in other for cell in best.cells]
        if differences := _pair_values(swept, rivals, lambda a, b: _changed_more(measured, a, b)):
            parts.append(measured.change_part(f"LoRA minus {OTHERS[method]}", differences))
            notes.append(f"LoRA at {_rates(lora_best)}, {OTHERS[method]} at {_rates(other)}")
            seeds = min(
                [seeds, *(len(best.cells) for best in other), *(len(one.by_seed) for one in differences)]
            )
    decides = seeds > 1
    if parts and not decides:
        notes.append("chosen with one seed, so it decides nothing")
    when = "each at the learning rate with the lowest settled loss at the end"
    return question(
        "minus the other methods, each at its best rate", _asks(when), _statistic(when), parts, level=measured.level,
        decides=decides or not parts, note="; ".join(notes) if parts else "no learning-rate variants of both methods",
    )  # fmt: skip


def _changed_more(measured: ClaimStatistics, first: CellReading, second: CellReading) -> CellValue:
    """Last minus first under the first cell minus that under the second; needs starts, or one start for both."""
    means = [measured.group_means(cell) for cell in (first, second)]
    gap = abs(float(means[0].contested[ALL].mean[0] - means[1].contested[ALL].mean[0]))
    why = next(filter(None, map(why_no_start, means)), "")
    if why and not gap <= SAME_START:
        return measured.undefined(f"{why}, and the two starts differ by {number(gap)} nats")
    return contrast(change(measured, first), change(measured, second))


def _pair_values(
    first: Sequence[CellReading],
    second: Sequence[CellReading],
    compared: Callable[[CellReading, CellReading], CellValue],
) -> list[ConditionValue]:
    """A value per pair of conditions that share data set, model and regime, by the seeds that both have."""
    pairs: dict[tuple[str, str], list[Pair]] = {}
    for a in first:
        for b in second:
            if _place(a) == _place(b):
                pairs.setdefault((a.spec.condition, b.spec.condition), []).append((a, b))
    return [
        ConditionValue.of(
            f"{names[0]} minus {names[1]}",
            {a.spec.seed: compared(a, b) for a, b in cell_pairs},
            tuple(cell.name for pair in cell_pairs for cell in pair),
        )
        for names, cell_pairs in pairs.items()
    ]


def _place(cell: CellReading) -> tuple[str, str, str, int]:
    spec = cell.spec
    return spec.dataset.name, spec.model.label, spec.regime, spec.seed


def _where(matches: Sequence[Match], conditions: Sequence[ConditionValue]) -> str:
    """Where the matches lie, for the table."""
    known = [match for match in matches if match.value.defined]
    pairs = sum(one.defined for one in conditions)
    sentence = f"{pairs} of {counted(len(conditions), 'pair')} of conditions could be matched"
    if known:
        sentence += (
            f"; at a settled loss of {spread(m.level for m in known)} nats; LoRA at u "
            f"{spread(m.progress[0] for m in known)} of {_points(known, 0)} points, the other at u "
            f"{spread(m.progress[1] for m in known)} of {_points(known, 1)}"
        )
    reasons = dict.fromkeys(one.why for one in conditions if not one.defined and one.why)
    return "; ".join([sentence, *list(reasons)[:2]])


def _points(matches: Sequence[Match], place: int) -> str:
    return " or ".join(str(n) for n in sorted({match.points[place] for match in matches}))


def _rates(best: Sequence[BestRate]) -> str:
    return " or ".join(f"{rate:g}" for rate in sorted({one.rate for one in best}))


def _asks(when: str) -> str:
    return f"the contested examples' loss has risen more under LoRA than under the other method, {when}"


def _statistic(when: str) -> str:
    return (
        f"change of the contested mean loss under LoRA minus that under the other method, {when}, nats; pairs share "
        "data, model, seed, data order and head"
    )


def _none(parts: Sequence[object]) -> str:
    return "" if parts else "no encoder learned something both by LoRA and by another method"


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


def at_best_rate(measured: ClaimStatistics, cells: Sequence[CellReading]) -> tuple[BestRate, ...]:
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
        seeds = set.intersection(*({cell.spec.seed for cell in cells_at_rate} for cells_at_rate in tried))
        if len(tried) < 2 or not seeds:
            continue
        shared = [tuple(cell for cell in cells_at_rate if cell.spec.seed in seeds) for cells_at_rate in tried]
        chosen = min(shared, key=lambda cells_at_rate: _settled_end(measured, cells_at_rate))
        best.append(BestRate(chosen, chosen[0].spec.method.learning_rate, len(tried)))
    return tuple(best)


def differs_in_rate_alone(variant: CellReading) -> bool:
    """Whether a variant is its base at another learning rate and nothing else."""
    base = variant.base
    if base is None or variant.spec.method.learning_rate == base.method.learning_rate:
        return False
    method = variant.spec.method.model_copy(update={"learning_rate": base.method.learning_rate})
    return variant.spec.model_copy(update={"method": method, "variant": base.variant}) == base


def _settled_end(measured: ClaimStatistics, cells: Sequence[CellReading]) -> float:
    """Mean over cells of the settled, backed loss at the end; infinite where there is none."""
    ends = [float(measured.group_means(cell).settled[BACKED].mean[-1]) for cell in cells]
    return float(np.mean(ends)) if np.isfinite(ends).all() else float("inf")
