"""C2: decoder-only models correlate more strongly than encoders at the same LoRA rank."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dissensus.study.claims.measured import CellValue, Measured, contrast, is_decoder
from dissensus.study.claims.sampled import Sampled
from dissensus.study.claims.texts import counted, spread
from dissensus.study.claims.verdict import ClaimVerdict, claim_verdict, question
from dissensus.study.evidence import Cell
from dissensus.wording import number

Pair = tuple[Cell, Cell]


def decoders_above_encoders(measured: Measured) -> ClaimVerdict:
    """The mean difference of rho over pairs of conditions that share data set, method, regime and seed.

    Both of a pair are read on the examples that both track.
    """
    level = measured.level
    pairs: dict[str, list[Pair]] = {}
    for decoder, encoder in _pairs(measured):
        name = f"{decoder.spec.condition} less {encoder.spec.condition}"
        pairs.setdefault(name, []).append((decoder, encoder))
    differences = {
        name: measured.over_seeds(_difference(measured, p) for p in own) for name, own in pairs.items()
    }
    shown = [measured.rho_part(name, differences[name], _cells(own)) for name, own in pairs.items()]
    every = [cell for own in pairs.values() for cell in _cells(own)]
    mean = measured.rho_part("mean over the pairs", Sampled.mean(list(differences.values())), every)
    overall = question(
        "matched pairs",
        "the mean difference of rho, decoder-only less encoder, is above 0",
        "rho of a decoder-only model less rho of an encoder at the same LoRA rank, data set, regime and seed",
        [mean] if pairs else [],
        level=level,
        note="" if pairs else "no decoder-only model and encoder share LoRA rank, data set, regime and seed",
    )
    each = question(
        "each pair", "the difference is above 0 in every pair", overall.statistic, shown,
        level=level, decides=False,
    )  # fmt: skip
    values = [p.value for p in shown]
    models = [{c.spec.model.name for own in pairs.values() for c in (p[i] for p in own)} for i in (0, 1)]
    limits = [
        f"{counted(len(models[0]), 'decoder-only model')} and {counted(len(models[1]), 'encoder')} are compared: "
        "the interval is about other examples and seeds, not about other models",
        *(_unlike(pairs) if pairs else []),
    ]
    return claim_verdict(
        "C2",
        "Decoder-only models correlate more strongly than encoders at the same LoRA rank.",
        [overall, each],
        finding=f"rho differs by {number(mean.value)} on average over {counted(len(pairs), 'matched pair')} "
        f"({spread(values)}), decoder-only less encoder" if pairs else "nothing to compare",
        limits=limits,
        level=level,
    )  # fmt: skip


def _pairs(measured: Measured) -> Iterator[Pair]:
    lora = [cell for cell in measured.evidence.own if cell.spec.method.name == "lora"]
    for decoder in (cell for cell in lora if is_decoder(cell)):
        for encoder in (cell for cell in lora if not is_decoder(cell)):
            if _key(decoder) == _key(encoder):
                yield decoder, encoder


def _key(cell: Cell) -> tuple[object, ...]:
    spec = cell.spec
    return spec.dataset.name, spec.method.label, spec.regime, spec.seed


def _difference(measured: Measured, pair: Pair) -> CellValue:
    decoder, encoder = pair
    common = frozenset(decoder.curves.ids) & frozenset(encoder.curves.ids)
    return contrast(measured.rho(decoder, ids=common), measured.rho(encoder, ids=common))


def _cells(pairs: list[Pair]) -> list[Cell]:
    return [cell for pair in pairs for cell in pair]


def _unlike(pairs: dict[str, list[Pair]]) -> list[str]:
    """What else differs between the two of a pair, and so may be what is seen."""
    both = [pair for own in pairs.values() for pair in own]
    ratios = [d.curves.total_steps * d.spec.training.batch_size / (e.curves.total_steps * e.spec.training.batch_size)
              for d, e in both]  # fmt: skip
    found = []
    if any(abs(ratio - 1) > 0.05 for ratio in ratios):
        found.append(
            f"the decoder-only model saw {number(float(np.median(ratios)))} times as many examples in training (median "
            "over the pairs), so how far training got differs too"
        )
    common = [len(frozenset(d.curves.ids) & frozenset(e.curves.ids)) for d, e in both]
    if any(n < max(len(d.curves), len(e.curves)) for n, (d, e) in zip(common, both, strict=True)):
        found.append(f"both are read on the {min(common):,} or more examples that both track")
    return found
