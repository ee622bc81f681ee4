"""Seconds without a measurement: a cell's operations over a rate that somebody states. An estimate, and called one.

Operations are those of `models/shapes.py`: of a training token 3 forward passes' worth, or 2 and the adapters' where
the weights are frozen; of a tracked token one. The rate is a stated share of a stated peak. Sizes and tokens are found
in a worker of this machine (`approximate.py`), with stand-ins where a model or a training pool is not here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dissensus.config import RunSpec
from dissensus.models.registry import BUILTIN
from dissensus.models.shapes import Shape
from dissensus.run.plan.crews import Ask, LocalCrew
from dissensus.run.plan.facts import DataFacts, Timing, TokenFacts, Weights
from dissensus.run.plan.findings import Findings, Key, Known, token_key
from dissensus.run.plan.stated import Assumption


def assume_cells(
    cells: Sequence[RunSpec],
    assumption: Assumption,
    *,
    gpus: Mapping[str, float],
    data_dir: Path | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Findings:
    """What cells come to under an assumption.

    Args:
        cells: what is to be known.
        assumption: how fast a device is.
        gpus: what each cell reserves, by its id; a part of a GPU has that part of its rate.
        data_dir: where data files are looked up first.
        on_note: called with a line before data are read.
    """
    if on_note:
        on_note("reading the data, counting tokens")
    found = _estimates(cells, data_dir)
    known: dict[str, Known] = {}
    tokenizers: dict[str, dict[str, None]] = {}
    pools: dict[str, str] = {}
    for cell in cells:
        one = found[token_key(cell)]
        if "trouble" in one:
            known[cell.cell_id] = Known(reason=one["trouble"])
            continue
        data, tokens = DataFacts(**one["data"]), TokenFacts(**one["tokens"])
        shape = BUILTIN[cell.model.name].shape
        assert shape is not None  # every built-in model has one
        timing = assumed_timing(cell, shape, data, tokens, assumption, gpus=gpus[cell.cell_id])
        known[cell.cell_id] = Known(data, tokens, timing, "", assumed_weights(cell, shape, data.labels))
        if one["tokenizer"]:
            tokenizers.setdefault(one["tokenizer"], {})[cell.model.name] = None
        if one["train"]:
            pools.setdefault(cell.dataset.name, one["train"])
    notes = [
        f"Tokens are approximate: those of {', '.join(names)} were counted with the tokenizer of {other}."
        for other, names in tokenizers.items()
    ]
    notes += [
        f"The training pool of {name} is not here: its examples are taken to be as long as the tracked ones. ({why})"
        for name, why in pools.items()
    ]
    return Findings(known, notes=tuple(notes))


def assumed_timing(
    cell: RunSpec,
    shape: Shape,
    data: DataFacts,
    tokens: TokenFacts,
    assumption: Assumption,
    *,
    gpus: float,
) -> Timing:
    """Seconds of a cell: operations a token over the rate."""
    rate = assumption.rate * (min(1.0, gpus) or 1.0)
    adapters = shape.lora_weights(cell.method.rank) if cell.method.rank else 0
    step = shape.step_operations(
        tokens.per_train_example, full=cell.method.name == "full", adapter_weights=adapters
    )
    return Timing(
        setup=assumption.setup,
        gradient=step / rate,
        update=assumption.step,
        tracking=shape.forward_operations(tokens.tracked / data.tracked) / rate,
        steps=0,
        passes=0,
        low=1.0,
        high=1.0,
        shares_start=False,
        undisturbed=False,
        share=1.0,
    )


def assumed_weights(cell: RunSpec, shape: Shape, labels: int) -> Weights:
    """Weights of a cell, at most: its head counts as a fresh one."""
    head = shape.head_weights(labels) if cell.model.head == "classifier" else 0
    if cell.method.name == "full":
        return Weights(shape.parameters + head, shape.parameters + head)
    if cell.method.rank:
        adapters = shape.lora_weights(cell.method.rank)
        return Weights(shape.parameters + head + adapters, head + adapters, adapters, cell.method.rank)
    return Weights(shape.parameters + head + shape.ia3_weights, head + shape.ia3_weights)


def _estimates(cells: Sequence[RunSpec], data_dir: Path | None) -> dict[Key, dict[str, Any]]:
    first: dict[Key, RunSpec] = {}
    for cell in cells:
        first.setdefault(token_key(cell), cell)
    common = {"data_dir": str(data_dir) if data_dir else None, "threads": 1, "device": "cpu"}
    with tempfile.TemporaryDirectory(prefix="dissensus-plan-") as scratch:
        crew = LocalCrew(1, common, Path(scratch))
        try:
            (answer,) = crew.answers([Ask("estimates", cells[0], tuple(first.values()))])
        finally:
            crew.dismiss()
    if answer.trouble:
        return {key: {"trouble": answer.trouble} for key in first}
    return dict(zip(first, answer.found[0]["cells"], strict=True))
