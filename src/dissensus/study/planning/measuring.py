"""Measures for a plan what its cells cost here, in as many workers as would run, all at the same time.

A kind of cell is a model as it reads text, a method and the precisions. Of each kind one cell is timed
(`calibration.py`), in every worker at once, because workers share the memory's bandwidth and a processor's clock: one
alone would be too quick. Nothing is kept: what workers write goes into a temporary folder.
"""

from __future__ import annotations

import json
import queue
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dissensus.config import RunSpec
from dissensus.study.engines.base import Event
from dissensus.study.planning.calibration import FOUND
from dissensus.study.planning.facts import DataFacts, Timing, TokenFacts, combined
from dissensus.study.process import WorkerProcess

Note = Callable[[str], None]
_Key = tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """What could be found out about one cell.

    Attributes:
        data: sizes of its data; None where they could not be loaded.
        tokens: None where the model, too, could not be loaded.
        timing: of its kind of cell.
        reason: why something is missing, in one line; "" where nothing is.
    """

    data: DataFacts | None = None
    tokens: TokenFacts | None = None
    timing: Timing | None = None
    reason: str = ""


@dataclass(frozen=True)
class Measured:
    """How one kind of cell was timed.

    Attributes:
        model: its model's name, as the cell's.
        method: full, lora or ia3.
        precision: of training.
        cell: id of the cell that was timed.
        workers: processes that timed it at the same time.
        timing: what they found.
    """

    model: str
    method: str
    precision: str
    cell: str
    workers: int
    timing: Timing


@dataclass(frozen=True)
class Findings:
    """What is known of cells.

    Attributes:
        known: by cell id.
        measured: what was timed.
    """

    known: Mapping[str, Known] = field(default_factory=dict)
    measured: tuple[Measured, ...] = ()


def measure_cells(
    cells: Sequence[RunSpec],
    *,
    workers: int,
    threads: int,
    device: str | None = None,
    data_dir: Path | None = None,
    on_note: Note | None = None,
) -> Findings:
    """Find the sizes of each cell's data, count its tokens and time its kind.

    Args:
        cells: what is to be known.
        workers: processes that measure at the same time.
        threads: of each.
        device: as `runner.run_study`.
        data_dir: where data files are looked up first.
        on_note: called with a line before each measurement.
    """
    note = on_note or (lambda _line: None)
    common = {"data_dir": str(data_dir) if data_dir else None, "threads": threads, "device": device}
    with tempfile.TemporaryDirectory(prefix="dissensus-plan-") as scratch:
        crew = _Crew(workers, common, Path(scratch))
        try:
            return _findings(cells, crew, note)
        finally:
            crew.dismiss()


def _findings(cells: Sequence[RunSpec], crew: _Crew, note: Note) -> Findings:
    note("reading the data")
    sizes: dict[_Key, _Answer] = {}
    for cell in cells:
        if _data_key(cell) not in sizes:
            sizes[_data_key(cell)] = crew.ask("survey", cell, alone=True)
    data = {cell.cell_id: sizes[_data_key(cell)] for cell in cells}
    known = {
        name: Known(reason=answer.trouble) if answer.trouble else Known(data=DataFacts(**answer.found[0]))
        for name, answer in data.items()
    }
    measured: list[Measured] = []
    kinds: dict[_Key, list[RunSpec]] = {}
    for cell in cells:
        if known[cell.cell_id].data is not None:
            kinds.setdefault(_kind(cell), []).append(cell)
    counted: dict[_Key, _Answer] = {}
    for number, alike in enumerate(kinds.values(), 1):
        chosen = _typical(alike)
        words = f"{chosen.model.label}, {chosen.method.name}, {chosen.training.precision}"
        note(f"timing {words} ({number} of {len(kinds)})")
        timing, trouble = _one_kind(alike, chosen, crew, counted)
        if timing is not None:
            measured.append(
                Measured(
                    chosen.model.label,
                    chosen.method.name,
                    chosen.training.precision,
                    chosen.cell_id,
                    crew.count,
                    timing,
                )
            )
        for cell in alike:
            tokens = counted.get(_token_key(cell), _Answer(trouble=trouble))
            known[cell.cell_id] = Known(
                known[cell.cell_id].data,
                None if tokens.trouble else TokenFacts(**tokens.found[0]),
                timing,
                trouble or tokens.trouble,
            )
    return Findings(known, tuple(measured))


def _one_kind(
    cells: Sequence[RunSpec], chosen: RunSpec, crew: _Crew, counted: dict[_Key, _Answer]
) -> tuple[Timing | None, str]:
    """Time the chosen cell, and count the tokens of all that were not counted before; or what went wrong."""
    there = crew.ask("find", chosen, alone=True)
    prepared = there if there.trouble else crew.ask("prepare", chosen)
    if prepared.trouble:
        return None, prepared.trouble
    for cell in cells:
        if _token_key(cell) not in counted:
            counted[_token_key(cell)] = crew.ask("count", cell, alone=True)
    timed = crew.ask("measure", chosen)
    if timed.trouble:
        return None, timed.trouble
    return combined([Timing(**found) for found in timed.found]), ""


def _data_key(cell: RunSpec) -> _Key:
    return cell.dataset.canonical(), cell.regime


def model_key(cell: RunSpec) -> str:
    """The model and how it reads text."""
    return cell.model.model_copy(update={"tag": None, "dropout": None}).canonical()


def _token_key(cell: RunSpec) -> _Key:
    return model_key(cell), *_data_key(cell)


def _kind(cell: RunSpec) -> _Key:
    """What the seconds of a token depend on."""
    return model_key(cell), cell.method.name, cell.training.precision, cell.tracking.precision


def _typical(cells: Sequence[RunSpec]) -> RunSpec:
    """The first cell whose data and batch size are the most frequent."""

    def place(cell: RunSpec) -> _Key:
        return (*_data_key(cell), str(cell.training.batch_size))

    most = Counter(map(place, cells)).most_common(1)[0][0]
    return next(cell for cell in cells if place(cell) == most)


@dataclass(frozen=True)
class _Answer:
    """What workers found, one mapping each; or in one line what went wrong with the first that failed."""

    found: tuple[dict[str, Any], ...] = ()
    trouble: str = ""


class _Crew:
    """Worker processes that do the same thing at the same time; each starts when it is first needed."""

    def __init__(self, count: int, common: Mapping[str, Any], folder: Path) -> None:
        self.count = count
        self._common = common
        self._folder = folder
        self._asked = 0
        self._workers: dict[int, WorkerProcess] = {}

    def ask(self, function: str, spec: RunSpec, *, alone: bool = False) -> _Answer:
        """Let every worker, or the first one alone, call a function of `calibration` for a cell."""
        events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
        places = range(1 if alone else self.count)
        self._asked += 1
        folders = [self._folder / f"{self._asked}-{place}" for place in places]
        for place, folder in zip(places, folders, strict=True):
            folder.mkdir()
            if place not in self._workers:
                self._workers[place] = WorkerProcess(threads=self._common["threads"], log=self._log(place))
            job = {
                **self._common,
                "run_cell": f"dissensus.study.planning.calibration:{function}",
                "cells": [{"spec": spec.model_dump(mode="json"), "folder": str(folder)}],
            }
            hear = partial(lambda at, event: events.put((at, event)), place)
            self._workers[place].give(job, log=self._log(place), hear=hear)
        waiting, troubles, gone = set(places), [], False
        while waiting:
            place, event = events.get()
            if event["event"] == "failed":
                troubles.append(str(event["error"]))
            elif event["event"] == "ended":
                troubles.append(str(event["error"]))
                gone = True
            if event["event"] in ("ended", "over"):
                waiting.discard(place)
        if troubles:
            if gone or not alone:  # what made heavy work fail may have left the process in any state
                self.dismiss()
            return _Answer(trouble=next(iter(troubles[0].strip().splitlines()), "no reason was given"))
        files = [folder / FOUND for folder in folders]
        return _Answer(tuple(json.loads(f.read_text(encoding="utf-8")) if f.exists() else {} for f in files))

    def dismiss(self) -> None:
        """Let go of every worker, whatever it is doing."""
        while self._workers:
            self._workers.popitem()[1].dismiss()

    def _log(self, place: int) -> Path:
        return self._folder / f"log-{place}.txt"
