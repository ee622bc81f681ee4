"""Notes that loaders left on the data sets and models of a study's cells, in their manifests. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dissensus.config import RunSpec
from dissensus.errors import DissensusError


@dataclass(frozen=True, slots=True)
class Remark:
    """Notes on one data set or model of a study.

    Attributes:
        about: 'data set NAME' or 'model NAME'.
        notes: a sentence each, each once, in the order in which cells have them.
    """

    about: str
    notes: tuple[str, ...]


def remarks(study_dir: Path, cells: Iterable[str]) -> tuple[Remark, ...]:
    """Notes of the cells with these ids, once for each data set and each model; cells without a manifest have none.

    Of a model only what is out of the ordinary is told: prefixes that were stripped, a scoring head that came with it.
    """
    notes_by_subject: dict[str, dict[str, None]] = {}
    for cell in cells:
        folder = study_dir / "cells" / cell
        manifest, spec = _read(folder / "manifest.json"), _read(folder / "spec.json")
        try:
            run = RunSpec.parse(spec, str(folder), stored=True)
        except DissensusError:
            continue
        provenance = manifest.get("provenance") or {}
        for about, key in (
            (f"data set {run.dataset.name}", "data_notes"),
            (f"model {run.model.label}", "model_notes"),
        ):
            recorded = provenance.get(key)
            for note in recorded if isinstance(recorded, list) else ():
                notes_by_subject.setdefault(about, {})[str(note)] = None
    return tuple(Remark(about, tuple(notes)) for about, notes in sorted(notes_by_subject.items()))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
