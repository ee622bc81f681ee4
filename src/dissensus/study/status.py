"""Status of a cell of a study: the file `status.json` in its folder, with every try of the cell so far."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from dissensus.config import RunSpec
from dissensus.errors import DissensusError
from dissensus.files import write_atomic

State = Literal["pending", "running", "interrupted", "failed", "done"]

KILLED = "the run ended without a word: it was killed, or its machine went down"
"""Why a try that says 'running' was interrupted, when no run is under way."""


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a cell, from the moment when a worker took it up.

    Attributes:
        started: ISO 8601 with time zone; "" where no worker took it up.
        ended: likewise; "" while it runs, and where nobody saw the end.
        host: the machine; "" where no worker took it up.
        pid: process id of the worker there.
        state: running, or how it ended.
        step: optimiser steps taken by then, earlier tries included.
        doing: what it did last, in words; "" for one that is done.
        error: why it ended, in one line or a few; "" where it is done or was stopped.
    """

    started: str = ""
    ended: str = ""
    host: str = ""
    pid: int = 0
    state: State = "running"
    step: int = 0
    doing: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class CellStatus:
    """How far one cell is.

    Attributes:
        cell: the cell's id, which names its folder.
        condition: its condition, or "" where its specification cannot be read.
        state: pending (never started), running, interrupted (stopped half-way), failed, or done.
        phase: what a running cell does now (see `doing`); "" otherwise.
        step: optimiser steps taken; total_steps: of the whole run, 0 until known.
        tracking_points_done: tracking points stored; tracking_points: in all, 0 until known.
        loss: training loss of the last step in nats; NaN before the first.
        started: when it was (last) started, ISO 8601 with time zone, "" if never; ended: likewise.
        seconds: time spent on it, over all its runs; of cells that train in one pass each counts the whole.
        pid: process id of its last worker, 0 if never started; host: the machine that it was on.
        error: for a failed cell, one or a few lines that say why.
        traceback: for a failed cell, where in the code, as far as known.
        tries: every try so far, the first one first.
        in_study: whether the study lists it; False for folders left from an earlier form of the study.
    """

    cell: str
    condition: str = ""
    state: State = "pending"
    phase: str = ""
    step: int = 0
    total_steps: int = 0
    tracking_points_done: int = 0
    tracking_points: int = 0
    loss: float = math.nan
    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    pid: int = 0
    host: str = ""
    error: str = ""
    traceback: str = ""
    tries: tuple[Try, ...] = ()
    in_study: bool = True

    def to_json(self) -> dict[str, Any]:
        """As JSON values; an undefined loss is null."""
        data = asdict(self)
        data["loss"] = None if math.isnan(self.loss) else self.loss
        return data


def doing(status: CellStatus) -> str:
    """What a running cell does now, in words; "" for any other."""
    if status.state != "running":
        return ""
    if status.phase == "measuring" and status.tracking_points:
        point = min(status.tracking_points_done + 1, status.tracking_points)
        return f"measuring point {point} of {status.tracking_points}"
    if status.phase in ("", "training"):
        return f"step {status.step} of {status.total_steps}" if status.total_steps else "starting"
    return "waiting for the cells it trains with" if status.phase == "waiting" else status.phase


def ended(status: CellStatus, state: State, *, at: str, error: str = "", traceback: str = "") -> CellStatus:
    """The status after its try ended, now or some time ago (`at` is "" where nobody saw it)."""
    last = status.tries[-1] if status.tries and status.tries[-1].state == "running" else Try(started="")
    known = status.tries if last.started == "" else status.tries[:-1]
    over = replace(
        last,
        ended=at,
        state=state,
        step=status.step,
        doing="" if state == "done" else doing(status),
        error=error,
    )
    return replace(
        status, state=state, phase="", ended=at, error=error, traceback=traceback, tries=(*known, over)
    )


def with_earlier_try(status: CellStatus) -> CellStatus:
    """The status, with a try for what a version that kept no tries left of one."""
    if status.tries or not status.started:
        return status
    only = Try(
        status.started, status.ended, status.host, status.pid, status.state, status.step, "", status.error
    )
    return replace(status, tries=(only,))


def cut_off(status: CellStatus) -> CellStatus:
    """A status that says 'running' of a run that is no more: interrupted, and so is its last try."""
    if status.state != "running":
        return status
    closed = ended(status, "interrupted", at="", error=KILLED) if status.tries else status
    return replace(closed, state="interrupted", phase="", ended=status.ended, error="")


def cell_folder(study_dir: Path, spec: RunSpec) -> Path:
    """Where a study keeps a cell."""
    return study_dir / "cells" / spec.cell_id


def read_status(folder: Path, spec: RunSpec | None = None) -> CellStatus:
    """The stored status of one cell; 'pending' where there is none.

    A cell counts as done when its curves are complete too: a folder whose curves were deleted is run again.
    """
    condition = spec.condition if spec is not None else _condition(folder)
    blank = CellStatus(cell=folder.name, condition=condition)
    try:
        data = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        known = {f.name for f in fields(CellStatus)} - {"cell", "condition", "in_study"}
        values = {key: value for key, value in data.items() if key in known}
        values["loss"] = math.nan if values.get("loss") is None else float(values["loss"])
        values["tries"] = _tries(values.get("tries"))
        status = replace(blank, **values)
    except FileNotFoundError:
        # `run_cell`, called from Python, writes curves but no status.
        return replace(blank, state="done") if _complete(folder) else blank
    except (OSError, ValueError, TypeError, AttributeError):
        return replace(blank, state="interrupted")
    if status.state not in get_args(State) or (status.state == "done" and not _complete(folder)):
        return replace(status, state="interrupted", phase="")
    return status


def write_status(folder: Path, status: CellStatus) -> None:
    """Store a cell's status beside its curves."""
    data = status.to_json()
    del data["in_study"]
    write_atomic(folder / "status.json", json.dumps(data, indent=1) + "\n")


def _tries(stored: Any) -> tuple[Try, ...]:
    """Tries as a file has them; what cannot be read of them is left out."""
    known = {f.name for f in fields(Try)}
    rows = [row for row in stored if isinstance(row, dict)] if isinstance(stored, list) else []
    return tuple(Try(**{key: value for key, value in row.items() if key in known}) for row in rows)


def _complete(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return manifest.get("complete") is True
    except (OSError, ValueError, AttributeError):
        return False


def _condition(folder: Path) -> str:
    try:
        text = (folder / "spec.json").read_text(encoding="utf-8")
        return RunSpec.parse(json.loads(text), str(folder / "spec.json"), stored=True).condition
    except (OSError, ValueError, DissensusError):
        return ""
