"""What a plan asks of a worker in one call, so that a worker that ends with its job can do it too.

Each function has the signature of `cell.run_cell`. What it is asked for lies as `WANTED` in the folder that it is
given, and what it found is left there, both as JSON: that folder is all that two machines must share. What one cell
lacks is no failure of the call; it stands as `trouble` in that cell's place.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dissensus.config import RunSpec
from dissensus.errors import DissensusError
from dissensus.run.plan import calibration
from dissensus.run.plan.calibration import FOUND
from dissensus.run.plan.presence import refuse_missing, stay_offline

WANTED = "wanted.json"
"""What is asked for: `cells`, specifications; and `peers`, folders of those that measure at the same time."""

READY = "ready"
"""Left in the folder once a cell is set up, or is known never to be: all begin to measure at the same time."""

_LOOK_EVERY = 0.05  # seconds


def surveys(_spec: RunSpec, folder: Path, *, data_dir: Path | None = None, **_: Any) -> None:
    """Find the sizes of the data of each cell that is asked for."""
    cells, _peers = _wanted(folder)
    _leave(folder, {"data": [_tried(_sizes, cell, data_dir) for cell in cells]})


def everything(
    spec: RunSpec,
    folder: Path,
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    **_: Any,
) -> None:
    """Time a cell, and count the tokens of each cell that is asked for with its model.

    Raises whatever keeps the cell from being set up; a model that would have to be fetched is no failure.
    """
    cells, peers = _wanted(folder)
    try:
        stay_offline()
        try:
            refuse_missing(spec.model)
        except DissensusError as error:
            _leave(folder, {"trouble": str(error)})
            return
        calibration.prepare(spec, folder, data_dir=data_dir, threads=threads, device=device)
        tokens = [_tried(_tokens, cell, data_dir) for cell in cells]
        weights, where = asdict(calibration.weights_of(spec)), calibration.device_of()
    finally:
        (folder / READY).touch()
    while not all((peer / READY).exists() for peer in peers):
        time.sleep(_LOOK_EVERY)
    timing = asdict(calibration.timing_of(spec))
    _leave(folder, {"timing": timing, "weights": weights, "device": where, "tokens": tokens})


def estimates(_spec: RunSpec, folder: Path, *, data_dir: Path | None = None, **_: Any) -> None:
    """Sizes and tokens of each cell that is asked for, without its model; see `approximate.py`."""
    from dissensus.run.plan.approximate import approximate

    stay_offline()
    cells, _peers = _wanted(folder)
    _leave(folder, {"cells": [_tried(approximate, cell, data_dir) for cell in cells]})


def _wanted(folder: Path) -> tuple[list[RunSpec], list[Path]]:
    asked = json.loads((folder / WANTED).read_text(encoding="utf-8"))
    cells = [RunSpec.parse(cell, "a cell to be looked at") for cell in asked["cells"]]
    return cells, [Path(peer) for peer in asked["peers"]]


def _sizes(cell: RunSpec, data_dir: Path | None) -> Mapping[str, Any]:
    return asdict(calibration.sizes(cell, data_dir))


def _tokens(cell: RunSpec, data_dir: Path | None) -> Mapping[str, Any]:
    return asdict(calibration.tokens_of(cell, data_dir))


def _tried(
    find: Callable[[RunSpec, Path | None], Mapping[str, Any]], cell: RunSpec, data_dir: Path | None
) -> Mapping[str, Any]:
    try:
        return find(cell, data_dir)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other cells can still be looked at
        words = str(error) if isinstance(error, DissensusError) else f"{type(error).__name__}: {error}"
        return {"trouble": next(iter(words.strip().splitlines()), "no reason was given")}


def _leave(folder: Path, found: Mapping[str, Any]) -> None:
    (folder / FOUND).write_text(json.dumps(found), encoding="utf-8")
