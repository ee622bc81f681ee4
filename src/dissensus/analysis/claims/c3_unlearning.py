"""C3: under LoRA contested examples are un-learned; largely absent under full fine-tuning and IA3.

Asked for each regime by itself, because it decides the answer: an example that is trained on can be memorised. Which
reading of "rises" decides is said in `c3_readings.py` and stated before any number is seen: last minus first where the
start is one, else lowest to end with at least two seeds. The other readings stand beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dissensus.analysis.claims.c3_comparing import (
    minus_others,
    minus_others_at_best_rates,
    minus_others_at_equal_loss,
)
from dissensus.analysis.claims.c3_readings import change, late_slope, rise, why_no_start
from dissensus.analysis.claims.parts import Part
from dissensus.analysis.claims.sampled import ConditionValue
from dissensus.analysis.claims.statistics import ALL, ClaimStatistics, is_decoder
from dissensus.analysis.claims.texts import OTHERS, counted
from dissensus.analysis.claims.verdict import ClaimVerdict, Question, claim_verdict, question
from dissensus.analysis.reading import BACKED, REJECTED, CellReading
from dissensus.analysis.study_reading import by_condition
from dissensus.config import Regime
from dissensus.wording import interval_end, number

REGIMES: dict[Regime, str] = {"trained_on": "trained on", "held_out": "held out"}
Conditions = Mapping[str, tuple[CellReading, ...]]


@dataclass(frozen=True)
class _Kind:
    """Conditions of one kind and the readings of them.

    Attributes:
        name: 'LoRA, encoders'.
        cells: their cells that count.
        planned: cells of the kind, those that learned nothing included.
    """

    name: str
    cells: tuple[CellReading, ...]
    planned: int


def unlearned_under_lora(measured: ClaimStatistics, regime: Regime) -> ClaimVerdict:
    """The claim for one regime; see the module's first lines."""
    in_regime = [cell for cell in measured.reading.own if cell.spec.regime == regime]

    def kind(name: str, fits: Callable[[CellReading], bool]) -> _Kind:
        every = [cell for cell in in_regime if fits(cell)]
        return _Kind(name, tuple(cell for cell in every if measured.counts(cell)), len(every))

    lora = kind("LoRA, encoders", lambda c: c.spec.method.name == "lora" and not is_decoder(c))
    decoders = kind("LoRA, decoder-only models", lambda c: c.spec.method.name == "lora" and is_decoder(c))
    others = {
        method: kind(f"{words}, encoders", lambda c, m=method: c.spec.method.name == m and not is_decoder(c))  # type: ignore[misc]
        for method, words in OTHERS.items()
    }
    cells = {method: one.cells for method, one in others.items()}
    questions = [
        _rises(measured, lora),
        minus_others(measured, lora.cells, cells),
        minus_others_at_equal_loss(measured, lora.cells, cells),
        minus_others_at_best_rates(measured, lora.cells, cells),
        _rises(measured, decoders),
        *(_readings(measured, one) for one in (lora, decoders) if one.cells),
        *(_rises(measured, one, decides=False) for one in others.values()),
    ]
    return claim_verdict(
        f"C3, {REGIMES[regime]}",
        "Under LoRA the contested examples' gold-label loss rises during training; largely absent under full "
        f"fine-tuning and IA3, present in decoder-only models. Examples {REGIMES[regime]}.",
        questions,
        finding=_finding(questions, len(in_regime)),
        limits=[
            *measured.left_out(in_regime),
            *_without_start(measured, [c for c in in_regime if measured.counts(c)]),
        ],
        level=measured.level,
    )


def _rises(measured: ClaimStatistics, kind: _Kind, *, decides: bool = True) -> Question:
    """Last minus first over the conditions with a start, lowest to end over those without."""
    conditions = by_condition(kind.cells)
    begun, other = _by_start(measured, conditions)
    parts = []
    if begun:
        lowest = _mean(measured, "", _rise(measured, begun))
        spared = ""
        several_seeds = all(
            len(cells) > 1 for cells in begun.values()
        )  # with one the lowest point decides nothing
        if several_seeds and lowest.defined and lowest.p_above < measured.level / 2:
            spared = f"from its lowest point the loss rises by {number(lowest.value)} nats"
        name = f"{kind.name}: last minus first, mean over {counted(len(begun), 'condition')}"
        parts.append(_mean(measured, name, _change(measured, begun), note=spared, spared=spared))
    if other:
        several = {name: cells for name, cells in other.items() if len(cells) > 1}
        name = f"{kind.name}: lowest to end, mean over {counted(len(several or other), 'condition')} without a start"
        values = _rise(measured, several)
        if not several:
            why = "no start, and one seed: its lowest point cannot be found on another seed"
            values = [ConditionValue(name, {}, measured.undefined(why).resampled, 0, (), why=why)]
        parts.append(_mean(measured, name, values))
    note = ""
    if not kind.cells:
        note = (
            f"all {counted(kind.planned, 'such cell')} learned nothing" if kind.planned else "no such cells"
        )
    return question(
        kind.name,
        "the contested examples' mean loss rises during training",
        "change of the contested examples' mean gold-label loss, nats, over conditions and seeds: last minus first, or "
        "lowest to end where the first point is no start",
        parts,
        level=measured.level,
        decides=decides,
        note=note,
    )


def _readings(measured: ClaimStatistics, kind: _Kind) -> Question:
    """Every reading over all conditions of a kind, whether or not they have a start."""
    conditions = by_condition(kind.cells)
    by_side = [
        _mean(
            measured,
            f"last minus first, contested and {side}",
            _change(measured, conditions, side),
        )
        for side in (BACKED, REJECTED)
    ]
    return question(
        f"{kind.name}: other readings",
        "each reading of the contested examples' mean loss is above 0",
        "nats; the late slope in nats per run",
        [
            _mean(measured, "last minus first", _change(measured, conditions)),
            _mean(measured, "lowest to end", _rise(measured, conditions)),
            _mean(
                measured,
                "slope of the late half",
                [
                    measured.condition(k, c, lambda cell: late_slope(measured, cell))
                    for k, c in conditions.items()
                ],
            ),
            *by_side,
        ],
        level=measured.level,
        decides=False,
        note="backed: most annotators chose the gold label; rejected: they did not",
    )


def _change(measured: ClaimStatistics, conditions: Conditions, side: str = ALL) -> list[ConditionValue]:
    return [
        measured.condition(k, cells, lambda cell: change(measured, cell, side))
        for k, cells in conditions.items()
    ]


def _rise(measured: ClaimStatistics, conditions: Conditions) -> list[ConditionValue]:
    return [rise(measured, name, cells) for name, cells in conditions.items()]


def _mean(
    measured: ClaimStatistics,
    name: str,
    values: Sequence[ConditionValue],
    *,
    note: str = "",
    spared: str = "",
) -> Part:
    return measured.change_part(name, values, note=note, spared=spared)


def _by_start(measured: ClaimStatistics, conditions: Conditions) -> tuple[Conditions, Conditions]:
    """Conditions of which every seed has a start, and the others."""
    begun = {
        name: cells
        for name, cells in conditions.items()
        if not any(why_no_start(measured.group_means(cell)) for cell in cells)
    }
    return begun, {name: cells for name, cells in conditions.items() if name not in begun}


def _without_start(measured: ClaimStatistics, cells: Sequence[CellReading]) -> list[str]:
    _, other = _by_start(measured, by_condition(cells))
    if not other:
        return []
    names = []
    for name, condition_cells in other.items():
        why = next(filter(None, (why_no_start(measured.group_means(cell)) for cell in condition_cells)))
        names.append(f"{name} ({why})")
    shown = "; ".join(names[:3]) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")
    return [f"last minus first does not decide where the first point is no start: {shown}"]


def _finding(questions: Sequence[Question], cells: int) -> str:
    sentences = [
        f"{q.name}: {'; '.join(map(_with_interval, q.parts))}" for q in questions if q.decides and q.parts
    ]
    if sentences:
        return "change of contested loss in nats. " + ". ".join(sentences)
    if not cells:
        return "no cells of this regime"
    reasons = [
        reason for q in questions if q.decides for reason in (*q.undefined, *([q.note] if q.note else []))
    ]
    why = "; ".join(dict.fromkeys(reasons))
    return f"{counted(cells, 'cell')} of this regime, and nothing that can be judged: {why}"


def _with_interval(part: Part) -> str:
    name = part.name.rpartition(": ")[2]  # without the question's own name in front
    return f"{name} {number(part.value)} [{interval_end(part.low)}, {interval_end(part.high)}]"
