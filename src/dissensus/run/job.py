"""A job under way: its worker, and the status of each of its cells, kept in their folders."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dissensus.config import Execution
from dissensus.run.cell_log import begin_try, trained_together
from dissensus.run.engines.base import Event, Hear, Worker
from dissensus.run.jobs import Job
from dissensus.study.status import (
    CellStatus,
    State,
    Try,
    cell_folder,
    ended,
    with_earlier_try,
    write_status,
)

_STATUS_EVERY = 1.0  # seconds between two writes of an unfinished cell's status
AGAIN = "its machine let go of it, and the queue started it again"
"""Why a try ended when the same job begins once more."""
_TOLD = ("phase", "step", "total_steps", "tracking_points_done", "tracking_points", "loss")
"""What an event may say of how far a cell is; anything else in it is of another version, and left aside."""


@dataclass
class _Cell:
    """One of the job's cells: its status, the seconds of earlier runs, and when its status was last written."""

    status: CellStatus
    seconds_before: float
    written: float = 0.0


class LiveJob:
    """A job from when it is handed to a worker to that worker's last word of it.

    Args:
        job: the cells.
        before: what had become of each cell, by id.
        out: the study's folder.
        worker: what runs it.
        order: what the worker is told besides the cells.
        executions: how each cell is carried out, by id.
        last_try: whether a lost worker makes the cells fail; else they are interrupted, to be tried again.
        hear: called with each event of the worker, from another thread.

    Attributes:
        over: whether the worker has said its last of this job.
        lost: whether that was because the worker was lost, and the cells are to be tried again.
        worker: what runs it, and other jobs afterwards; None once it is gone, or no longer to be trusted.
    """

    def __init__(
        self,
        job: Job,
        before: Mapping[str, CellStatus],
        out: Path,
        *,
        worker: Worker,
        order: Mapping[str, Any],
        executions: Mapping[str, Execution],
        last_try: bool,
        hear: Hear,
    ) -> None:
        folders = [cell_folder(out, cell) for cell in job]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        waiting = [
            replace(with_earlier_try(before[c.cell_id]), state="pending", error="", traceback="") for c in job
        ]
        for folder, status in zip(folders, waiting, strict=True):
            begin_try(folder, _now(), number=len(status.tries) + 1)
        trained_together(folders)
        cells = [
            {
                "spec": cell.model_dump(mode="json"),
                "folder": str(folder.resolve()),  # the worker may stand elsewhere
                "execution": executions[cell.cell_id].model_dump(mode="json"),
            }
            for cell, folder in zip(job, folders, strict=True)
        ]
        self.worker: Worker | None = worker
        self.over = False
        self.lost = False
        self._last_try = last_try
        self._clock: float | None = None  # since the worker took the job up
        self._folders = folders
        self._cells = [_Cell(status, status.seconds) for status in waiting]
        worker.give({**order, "cells": cells}, log=(folders[0] / "log.txt").resolve(), hear=hear)

    @property
    def left(self) -> tuple[int, ...]:
        """Places of the cells that neither are done nor failed."""
        return tuple(p for p, cell in enumerate(self._cells) if cell.status.state not in ("done", "failed"))

    def heed(self, event: Event) -> tuple[CellStatus, ...]:
        """Take in an event of the worker; the cells that it changed. After the last one the job is `over`."""
        kind = event["event"]
        if kind == "started":
            return self._begin(event)
        if kind == "over":
            self.over = True
            if event["failed"]:  # what made a cell fail may have left the process in any state
                self._dismiss()
            return ()
        if kind == "ended":
            self.over, self.worker = True, None
            return self._cut_off(event)
        place = int(event.get("cell", -1))
        if not 0 <= place < len(self._cells):
            return ()
        if kind == "done":
            self._end(place, state="done")
        elif kind == "failed":
            self._end(place, state="failed", error=str(event["error"]), traceback=str(event["traceback"]))
        elif kind == "progress":
            self._progress(place, {key: event[key] for key in _TOLD if key in event})
        else:
            return ()
        return (self._cells[place].status,)

    def stop(self) -> tuple[CellStatus, ...]:
        """End the worker before its time; the cells that are interrupted by it."""
        if self.worker is not None:
            self.worker.terminate()
            self.worker = None
        cut = [place for place, cell in enumerate(self._cells) if cell.status.state == "running"]
        for place in cut:
            self._end(place, state="interrupted")
        return tuple(self._cells[place].status for place in cut)

    def _begin(self, event: Event) -> tuple[CellStatus, ...]:
        """The worker has taken the job up, or once more on another machine."""
        self._clock = time.monotonic()
        for place in self.left:
            cell = self._cells[place]
            if cell.status.state == "running":  # a queue started the job once more, and nobody saw its end
                cell.status = ended(cell.status, "interrupted", at="", error=AGAIN)
            cell.seconds_before = cell.status.seconds
            taken = Try(started=_now(), host=str(event["host"]), pid=int(event["pid"]), step=cell.status.step)
            cell.status = replace(
                cell.status,
                state="running",
                phase="starting",
                started=taken.started,
                ended="",
                pid=taken.pid,
                host=taken.host,
                error="",
                traceback="",
                tries=(*cell.status.tries, taken),
            )
            self._keep(place)
        return tuple(self._cells[place].status for place in self.left)

    def _cut_off(self, event: Event) -> tuple[CellStatus, ...]:
        """The worker is gone; its cells are tried again, or have failed."""
        words = str(event.get("words", ""))
        error = str(event["error"]) + (f". Its last words:\n{words}" if words else "")
        cut = self.left
        self.lost = bool(event["lost"]) and not self._last_try and bool(cut)
        for place in cut:
            self._end(place, state="interrupted" if self.lost else "failed", error=error)
        return tuple(self._cells[place].status for place in cut)

    def _dismiss(self) -> None:
        if self.worker is not None:
            self.worker.dismiss()
            self.worker = None

    def _progress(self, place: int, told: Mapping[str, Any]) -> None:
        cell = self._cells[place]
        before = cell.status
        cell.status = replace(before, **told)
        due = time.monotonic() - cell.written > _STATUS_EVERY
        changed = (before.phase, before.tracking_points_done)
        if due or (cell.status.phase, cell.status.tracking_points_done) != changed:
            self._keep(place)

    def _end(self, place: int, state: State, *, error: str = "", traceback: str = "") -> None:
        cell = self._cells[place]
        cell.status = ended(cell.status, state, at=_now(), error=error, traceback=traceback)
        self._keep(place)

    def _keep(self, place: int) -> None:
        cell = self._cells[place]
        cell.written = time.monotonic()
        if self._clock is not None:
            seconds = round(cell.seconds_before + cell.written - self._clock, 1)
            cell.status = replace(cell.status, seconds=seconds)
        write_status(self._folders[place], cell.status)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
