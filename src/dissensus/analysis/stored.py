"""One completed cell as it is stored: its curves, checked against what the study says of it. Imports no torch."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dissensus.analysis.cell_source import CellSource, InMemory, Streamed, majority_gold
from dissensus.config import AnalysisSpec, RunSpec
from dissensus.curves import Curves
from dissensus.data.annotations import NO_GOLD, majority
from dissensus.errors import DissensusError, StoreError
from dissensus.store import StoredCurves, open_curves

LIMIT = 2**30
"""Bytes of a cell's curves above which its analysis reads them block by block instead of all at once."""


def read_cell(folder: Path, spec: RunSpec) -> Curves:
    """The curves of a completed cell.

    Raises:
        StoreError: the folder holds another specification's cell, or its store is damaged; the cell is named.
    """
    try:
        _check_spec(folder, spec)
        curves = _read_curves(folder)
        assert isinstance(curves, Curves)  # there is no limit
        return curves
    except DissensusError as problem:
        raise StoreError(f"cell {folder.name}: {problem}") from None


def open_cell(folder: Path, spec: RunSpec, settings: AnalysisSpec) -> CellSource:
    """What the tables of a completed cell are made from, on the gold label that the study's analysis reads the loss on.

    Its curves are in memory up to `LIMIT`, and stay in their store above.

    Raises:
        StoreError: the folder holds another specification's cell, or its store is damaged; the cell is named.
    """
    try:
        _check_spec(folder, spec)
        stored = _read_curves(folder, LIMIT)
        if isinstance(stored, Curves):
            return InMemory(on_gold(stored, settings), settings.clusters)
        gold = None if settings.gold == "as_stored" else majority_gold(stored.counts)
        return Streamed(stored, gold, settings.clusters)
    except DissensusError as problem:
        raise StoreError(f"cell {folder.name}: {problem}") from None


def on_gold(curves: Curves, settings: AnalysisSpec) -> Curves:
    """The curves with the gold label that the study's analysis reads the loss on."""
    if settings.gold == "as_stored":
        return curves
    golds = [majority(row) for row in curves.counts.tolist()]
    return replace(curves, gold=np.array([NO_GOLD if g is None else g for g in golds], dtype=np.int64))


def _check_spec(folder: Path, spec: RunSpec) -> None:
    stored = RunSpec.parse(_read_json(folder / "spec.json"), str(folder / "spec.json"))
    if stored != spec:
        raise StoreError("spec.json is not the study's specification of this cell")


def _read_curves(folder: Path, limit: float = math.inf) -> Curves | StoredCurves:
    """The stored curves, read if they take `limit` bytes at most.

    What fails here is the store's fault; what fails in computing is not, and is let through.
    """
    try:
        stored = open_curves(folder)
        return stored if stored.nbytes > limit else stored.read(0, len(stored), text=True)
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
