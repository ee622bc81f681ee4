"""C2: decoder-only models correlate more strongly than encoders at the same LoRA rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from dissensus.analysis.claims.sampled import CellValue, ConditionValue
from dissensus.analysis.claims.statistics import ClaimStatistics, contrast, is_decoder
from dissensus.analysis.claims.texts import COVARIATES, counted, spread
from dissensus.analysis.claims.verdict import ClaimVerdict, claim_verdict, question
from dissensus.analysis.reading import CellReading
from dissensus.wording import number

Pair = tuple[CellReading, CellReading]
SAME_TRAINING = 0.10
"""Share by which the examples seen in training may differ between the two of a pair."""
SAME_POINT = 0.02
"""Of progress: tracking points this close are the same. AULC hangs on where the curve is measured."""


def decoders_above_encoders(measured: ClaimStatistics) -> ClaimVerdict:
    """The mean difference of rho over pairs of conditions that share data set, method, regime and seed.

    A pair counts if both learned something, were tracked at the same points and saw as many examples in training. Both
    are read on the examples that both track. The difference of the partial correlations must be above 0 too (an
    untrained head may correlate with entropy by itself), and does not count against the claim where it is not.
    """
    level = measured.level
    every = list(_pairs(measured))
    why = [_why_unlike(measured, pair) for pair in every]
    pairs: dict[str, list[Pair]] = {}
    for decoder, encoder in (pair for pair, unlike in zip(every, why, strict=True) if not unlike):
        name = f"{decoder.spec.condition} minus {encoder.spec.condition}"
        pairs.setdefault(name, []).append((decoder, encoder))
    plain, partial = (
        [
            ConditionValue.of(
                name,
                {pair[0].spec.seed: _difference(measured, pair, partial=held) for pair in cell_pairs},
                tuple(cell.name for pair in cell_pairs for cell in pair),
            )
            for name, cell_pairs in pairs.items()
        ]
        for held in (False, True)
    )
    reasons = [reason for reason in why if reason]
    words = (
        ", ".join(COVARIATES.get(c, c) for c in _held(measured, next(iter(pairs.values()))[0]))
        if pairs
        else ""
    )
    overall = question(
        "matched pairs",
        "the mean difference of rho, decoder-only minus encoder, is above 0",
        "rho of a decoder-only model minus rho of an encoder at the same LoRA rank, data set, regime, seed, tracking "
        "points and training",
        [measured.difference_part("mean over the pairs", plain)] if pairs else [],
        level=level,
        note="" if pairs else _listed(reasons) if every else
        "no decoder-only model and encoder share LoRA rank, data set, regime and seed",
        needed=True,
    )  # fmt: skip
    held = question(
        "matched pairs, covariates held fixed",
        "the same of the partial correlations",
        f"partial rho given {words}, decoder-only minus encoder" if pairs else "partial rho",
        [
            measured.difference_part(
                "mean over the pairs, partial", partial, spared="a control: it must be shown, and is no claim"
            )
        ] if pairs else [],
        level=level,
        note=overall.note,
    )  # fmt: skip
    each = question(
        "each pair", "the difference is above 0 in every pair", overall.statistic,
        [measured.difference_part(one.name, [one]) for one in plain], level=level, decides=False,
    )  # fmt: skip
    return claim_verdict(
        "C2",
        "Decoder-only models correlate more strongly than encoders at the same LoRA rank.",
        [overall, held, each],
        finding=_finding([p.value for p in overall.parts], [p.value for p in held.parts], [p.value for p in each.parts])
        if overall.parts else f"nothing to compare: {'; '.join(overall.undefined) or overall.note}",
        limits=_limits(pairs, reasons, len(every)),
        level=level,
    )  # fmt: skip


def _finding(plain: list[float], partial: list[float], each: list[float]) -> str:
    finding = (
        f"rho differs by {number(plain[0])} on average over {counted(len(each), 'matched pair')} ({spread(each)}), "
        "decoder-only minus encoder"
    )
    return finding + (f"; partial rho by {number(partial[0])}" if partial else "")


def _pairs(measured: ClaimStatistics) -> Iterator[Pair]:
    lora = [cell for cell in measured.reading.own if cell.spec.method.name == "lora"]
    for decoder in (cell for cell in lora if is_decoder(cell)):
        for encoder in (cell for cell in lora if not is_decoder(cell)):
            if _key(decoder) == _key(encoder):
                yield decoder, encoder


def _key(cell: CellReading) -> tuple[object, ...]:
    spec = cell.spec
    return spec.dataset.name, spec.method.label, spec.regime, spec.seed


def _why_unlike(measured: ClaimStatistics, pair: Pair) -> str:
    """Why the two cannot be compared, or ''."""
    decoder, encoder = pair
    idle = [
        kind
        for kind, cell in zip(("decoder-only model", "encoder"), pair, strict=True)
        if not measured.counts(cell)
    ]
    if idle:
        return f"the {' and the '.join(idle)} learned nothing"
    points = [len(cell.curves.steps) for cell in pair]
    if points[0] != points[1]:
        return f"they have {points[0]} and {points[1]} tracking points"
    if np.abs(decoder.curves.progress - encoder.curves.progress).max() > SAME_POINT:
        return "their tracking points lie at other shares of training"
    seen = [_seen(cell) for cell in pair]
    if abs(seen[0] - seen[1]) > SAME_TRAINING * max(seen):
        return f"they saw {seen[0]:,} and {seen[1]:,} examples in training"
    return ""


def _seen(cell: CellReading) -> int:
    training = cell.spec.training
    return cell.curves.total_steps * training.batch_size * training.gradient_accumulation_steps


def _difference(measured: ClaimStatistics, pair: Pair, *, partial: bool) -> CellValue:
    decoder, encoder = pair
    common = frozenset(decoder.curves.ids) & frozenset(encoder.curves.ids)
    covariates = _held(measured, pair) if partial else ()
    return contrast(*(measured.rho(cell, covariates, ids=common) for cell in pair))


def _held(measured: ClaimStatistics, pair: Pair) -> tuple[str, ...]:
    """The standard covariates that both have."""
    return tuple(c for c in measured.covariates(pair[0]) if c in measured.covariates(pair[1]))


def _limits(pairs: dict[str, list[Pair]], reasons: list[str], every: int) -> list[str]:
    limits = []
    if reasons:
        limits.append(
            f"{len(reasons)} of {counted(every, 'pair')} of cells are not comparable: {_listed(reasons)}"
        )
    if pairs:
        both = [pair for cell_pairs in pairs.values() for pair in cell_pairs]
        models = [len({pair[i].spec.model.name for pair in both}) for i in (0, 1)]
        limits.append(
            f"{counted(models[0], 'decoder-only model')} and {counted(models[1], 'encoder')} are compared: the "
            "interval is about other examples and seeds, not about other models"
        )
        common = [len(frozenset(d.curves.ids) & frozenset(e.curves.ids)) for d, e in both]
        if any(n < max(len(d.curves), len(e.curves)) for n, (d, e) in zip(common, both, strict=True)):
            limits.append(f"both are read on the {min(common):,} or more examples that both track")
    return limits


def _listed(reasons: list[str]) -> str:
    """Reasons, the most frequent first."""
    return "; ".join(reason for reason, _ in Counter(reasons).most_common(3))
