"""C3: under LoRA contested examples are un-learned; largely absent under full fine-tuning and IA3.

Asked for each regime by itself, because it decides the answer: an example that is trained on can be memorised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dissensus.config import Regime
from dissensus.study.claims.matching import difference_at_matched_loss
from dissensus.study.claims.measured import CellValue, Measured, contrast, is_decoder
from dissensus.study.claims.parts import Part
from dissensus.study.claims.rates import at_best_rate
from dissensus.study.claims.sampled import Sampled
from dissensus.study.claims.texts import counted
from dissensus.study.claims.verdict import ClaimVerdict, Question, claim_verdict, question
from dissensus.study.evidence import Cell, by_condition
from dissensus.wording import number

OTHERS = {"full": "full fine-tuning", "ia3": "IA3"}
REGIMES: dict[Regime, str] = {"trained_on": "trained on", "held_out": "held out"}
Comparison = Callable[[Cell, Cell], CellValue]


@dataclass(frozen=True)
class _Scene:
    """Cells of one regime.

    Attributes:
        measured: statistics of the study's cells.
        encoders: LoRA cells of encoders.
        decoders: LoRA cells of decoder-only models.
        others: method -> cells of encoders under it.
    """

    measured: Measured
    encoders: tuple[Cell, ...]
    decoders: tuple[Cell, ...]
    others: dict[str, tuple[Cell, ...]]


def unlearned_under_lora(measured: Measured, regime: Regime) -> ClaimVerdict:
    """The claim for one regime; see the module's first lines."""
    own = [cell for cell in measured.evidence.own if cell.spec.regime == regime]
    lora = [cell for cell in own if cell.spec.method.name == "lora"]
    scene = _Scene(
        measured,
        tuple(cell for cell in lora if not is_decoder(cell)),
        tuple(cell for cell in lora if is_decoder(cell)),
        {name: tuple(c for c in own if c.spec.method.name == name and not is_decoder(c)) for name in OTHERS},
    )
    questions = [
        _rises(scene, "LoRA, encoders", scene.encoders),
        _less_others(
            scene,
            "less the other methods, at the same steps",
            "at the end of training",
            lambda lora, other: contrast(measured.change(lora), measured.change(other)),
        ),
        _less_others(
            scene,
            "less the other methods, at the same settled loss",
            "when the settled examples' mean loss comes down to the lowest that both methods reach",
            lambda lora, other: difference_at_matched_loss(
                measured.group_means(lora), measured.group_means(other)
            ),
        ),
        _at_best_rates(scene),
        _rises(scene, "LoRA, decoder-only models", scene.decoders),
    ]
    for method, cells in scene.others.items():
        questions.append(_rises(scene, f"{OTHERS[method]}, encoders", cells, decides=False))
    return claim_verdict(
        f"C3, {REGIMES[regime]}",
        "Under LoRA the contested examples' gold-label loss rises during training; largely absent under full "
        f"fine-tuning and IA3, present in decoder-only models. Examples {REGIMES[regime]}.",
        questions,
        finding=_finding(questions),
        level=scene.measured.level,
    )


def _rises(scene: _Scene, name: str, cells: tuple[Cell, ...], *, decides: bool = True) -> Question:
    measured = scene.measured
    found = {key: measured.of_condition(own, measured.change) for key, own in by_condition(cells).items()}
    known = {key: one for key, one in found.items() if np.isfinite(one.value)}
    count = counted(len(known), "condition")
    mean = [
        scene.measured.change_part(f"{name}: mean over {count}", Sampled.mean(list(known.values())), cells)
    ]
    return question(
        name,
        "the contested examples' mean loss is higher at the end of training than at its start",
        "change of the contested examples' mean gold-label loss from start to end, nats, over conditions and seeds",
        mean if known else [],
        level=scene.measured.level,
        decides=decides,
        note="" if known else "no such cells",
    )


def _less_others(scene: _Scene, name: str, when: str, compared: Comparison) -> Question:
    parts = [
        made
        for method, cells in scene.others.items()
        if (made := _less(scene, f"LoRA less {OTHERS[method]}", scene.encoders, cells, compared)) is not None
    ]
    return question(
        name,
        f"the contested examples' loss has risen more under LoRA than under the other method, {when}",
        f"change of the contested mean loss under LoRA less that under the other method, {when}, nats; pairs share "
        "data, model, seed, data order and head",
        parts,
        level=scene.measured.level,
        note="" if parts else "no encoder was trained both by LoRA and by another method",
    )


def _less(
    scene: _Scene, name: str, lora: Sequence[Cell], other: Sequence[Cell], compared: Comparison
) -> Part | None:
    """The mean over pairs of conditions; None where there is no pair."""
    pairs: dict[tuple[str, str], list[tuple[Cell, Cell]]] = {}
    for first in lora:
        for second in other:
            if _place(first) == _place(second):
                key = (first.spec.condition, second.spec.condition)
                pairs.setdefault(key, []).append((first, second))
    measured = scene.measured
    found = [measured.over_seeds(compared(a, b) for a, b in own) for own in pairs.values()]
    cells = [cell for own in pairs.values() for pair in own for cell in pair]
    note = f"mean over {counted(len(pairs), 'pair')} of conditions"
    return scene.measured.change_part(name, Sampled.mean(found), cells, note) if found else None


def _at_best_rates(scene: _Scene) -> Question:
    """Each method at the learning rate, of those tried, that lowered the settled examples' loss the most."""
    measured = scene.measured
    lora, swept_lora = at_best_rate(measured, scene.encoders)
    parts, notes = [], []
    for method, cells in scene.others.items():
        other, swept = at_best_rate(measured, cells)
        if not (swept_lora and swept):
            continue
        made = _less(
            scene, f"LoRA less {OTHERS[method]}", lora, other,
            lambda a, b: contrast(measured.change(a), measured.change(b)),
        )  # fmt: skip
        if made is not None:
            parts.append(made)
            rates = {
                "LoRA": sorted({c.spec.method.learning_rate for c in lora}),
                OTHERS[method]: sorted({c.spec.method.learning_rate for c in other}),
            }
            notes.append(", ".join(f"{k} at {' or '.join(f'{r:g}' for r in v)}" for k, v in rates.items()))
    return question(
        "less the other methods, each at its best rate",
        "the contested examples' loss has risen more under LoRA than under the other method, each at the learning rate "
        "with the lowest settled loss at the end",
        "change of the contested mean loss under LoRA less that under the other method, nats, over the cells whose "
        "learning rates were swept",
        parts,
        level=scene.measured.level,
        note="; ".join(notes) if parts else "no learning-rate variants of both methods",
    )


def _place(cell: Cell) -> tuple[str, str, str, int]:
    spec = cell.spec
    return spec.dataset.name, spec.model.label, spec.regime, spec.seed


def _finding(questions: Sequence[Question]) -> str:
    said = [f"{q.name}: {'; '.join(map(_with_interval, q.parts))}" for q in questions if q.parts]
    return "change of contested loss in nats. " + ". ".join(said) if said else "no cells of this regime"


def _with_interval(part: Part) -> str:
    name = part.name.rpartition(": ")[2]  # without the question's own name in front
    return f"{name} {number(part.value)} [{number(part.low)}, {number(part.high)}]"
