"""What a plan measured, as JSON values that another plan can stand on: made where the GPU is, read where it is not.

It is keyed by what the numbers depend on, as text: kinds of cell, models as they read text, data sets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dissensus.config import RunSpec
from dissensus.errors import SpecError
from dissensus.run.plan.facts import DataFacts, Timing, TokenFacts, Weights
from dissensus.run.plan.findings import (
    Findings,
    Key,
    Known,
    Measured,
    data_key,
    kind_key,
    token_key,
)

VERSION = 1
"""Of the layout below."""

_HOW = "`dissensus run STUDY --plan --json > FILE`, where it can be measured, makes one"


def to_json(cells: Sequence[RunSpec], findings: Findings) -> dict[str, Any]:
    """The numbers of `findings`, each once; `from_file` reads them.

    `kinds` is empty where nothing was measured.
    """
    data: dict[Key, Any] = {}
    tokens: dict[Key, Any] = {}
    kinds: dict[Key, Any] = {}
    by_cell = {measured.cell: measured for measured in findings.measured}
    specs = {cell.cell_id: cell for cell in cells}
    for name, known in findings.known.items():
        cell = specs[name]
        if known.data:
            data.setdefault(data_key(cell), asdict(known.data))
        if known.tokens:
            tokens.setdefault(token_key(cell), asdict(known.tokens))
        if name in by_cell:
            kinds[kind_key(cell)] = {
                "measured": asdict(by_cell[name]),
                "weights": asdict(known.weights) if known.weights else None,
            }
    parts = {"data": data, "tokens": tokens, "kinds": kinds}
    listed = {
        name: [{"key": list(key), **found} for key, found in part.items()] for name, part in parts.items()
    }
    return {"version": VERSION, **listed}


def from_file(path: Path, cells: Iterable[RunSpec]) -> Findings:
    """What an earlier plan's JSON holds of these cells.

    Raises:
        SpecError: no such file, not such a file, or a plan in which nothing was measured.
    """
    stored = _read(path)
    try:
        data = {key: DataFacts(**one) for key, one in _keyed(stored["data"])}
        tokens = {key: TokenFacts(**one) for key, one in _keyed(stored["tokens"])}
        kinds = {key: _kind(one) for key, one in _keyed(stored["kinds"])}
    except (KeyError, TypeError, AttributeError):
        raise SpecError(f"{path} is not the JSON of a plan, or is damaged; {_HOW}") from None
    if not kinds:
        raise SpecError(f"{path} is a plan in which nothing was measured; {_HOW}")
    known: dict[str, Known] = {}
    used: dict[str, Measured] = {}
    for cell in cells:
        measured, weights = kinds.get(kind_key(cell), (None, None))
        sizes, text = data.get(data_key(cell)), tokens.get(token_key(cell))
        lacking = [
            words
            for words, found in (
                (f"{cell.model.label}, {cell.method.name}, {cell.training.precision}", measured),
                (f"the tokens of {cell.dataset.name}, {cell.regime}", text),
                (f"the data {cell.dataset.name}, {cell.regime}", sizes),
            )
            if found is None
        ]
        known[cell.cell_id] = Known(
            sizes,
            text,
            measured.timing if measured else None,
            f"not in {path}: {'; '.join(lacking)}" if lacking else "",
            weights,
        )
        if measured:
            used.setdefault(measured.cell, measured)
    return Findings(known, tuple(used.values()))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}; {_HOW}") from None
    except ValueError:
        raise SpecError(f"{path} is not JSON; {_HOW}") from None
    part = stored.get("calibration") if isinstance(stored, dict) else None
    if not isinstance(part, dict):
        raise SpecError(f"{path} is not the JSON of a plan, or of one made by an older version; {_HOW}")
    if part.get("version") != VERSION:
        raise SpecError(
            f"{path} holds a calibration of version {part.get('version')}, and this is for {VERSION}; measure anew"
        )
    return part


def _keyed(listed: Sequence[Mapping[str, Any]]) -> list[tuple[Key, dict[str, Any]]]:
    return [(tuple(one["key"]), {k: v for k, v in one.items() if k != "key"}) for one in listed]


def _kind(stored: Mapping[str, Any]) -> tuple[Measured, Weights | None]:
    measured = dict(stored["measured"])
    timing = Timing(**measured.pop("timing"))
    weights = stored["weights"]
    return Measured(**measured, timing=timing), Weights(**weights) if weights else None
