"""One completed cell as it is stored: its curves, checked against what the study says of it. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dissensus.config import AnalysisSpec, RunSpec
from dissensus.curves import Curves
from dissensus.data.annotations import NO_GOLD, majority
from dissensus.errors import DissensusError, StoreError
from dissensus.store import load_curves


def read_cell(folder: Path, spec: RunSpec) -> Curves:
    """The curves of a completed cell.

    Raises:
        StoreError: the folder holds another specification's cell, or its store is damaged; the cell is named.
    """
    try:
        stored = RunSpec.parse(_read_json(folder / "spec.json"), str(folder / "spec.json"))
        if stored != spec:
            raise StoreError("spec.json is not the study's specification of this cell")
        return _read_curves(folder)
    except DissensusError as problem:
        raise StoreError(f"cell {folder.name}: {problem}") from None


def on_gold(curves: Curves, settings: AnalysisSpec) -> Curves:
    """The curves with the gold label that the study's analysis reads the loss on."""
    if settings.gold == "as_stored":
        return curves
    golds = [majority(row) for row in curves.counts.tolist()]
    return replace(curves, gold=np.array([NO_GOLD if g is None else g for g in golds], dtype=np.int64))


def _read_curves(folder: Path) -> Curves:
    """The stored curves. What fails here is the store's fault; what fails in computing is not, and is let through."""
    try:
        return load_curves(folder)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as problem:
        raise StoreError(
            f"its curves store is damaged and cannot be read ({type(problem).__name__}: {problem}); "
            f"delete the folder {folder} and run the study again"
        ) from problem


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path.name} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise StoreError(f"{path.name} holds {type(data).__name__}; expected an object")
    return data
