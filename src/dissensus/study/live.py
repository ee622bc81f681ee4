"""A job under way: its worker, and the status of each of its cells, kept in their folders."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dissensus.config import Execution
from dissensus.study.engines.base import Event, Hear, Worker
from dissensus.study.jobs import Job
from dissensus.study.status import CellStatus, cell_folder, write_status

_STATUS_EVERY = 1.0  # seconds between two writes of an unfinished cell's status


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
        for folder in folders[1:]:
            note = f"Trained together with {folders[0].name}; what was printed is in its log.txt.\n"
            (folder / "log.txt").write_text(note, encoding="utf-8")
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
        waiting = [replace(before[c.cell_id], state="pending", error="", traceback="") for c in job]
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
        place = int(event["cell"])
        if kind == "done":
            self._end(place, state="done")
        elif kind == "failed":
            self._end(place, state="failed", error=str(event["error"]), traceback=str(event["traceback"]))
        else:
            told = {key: value for key, value in event.items() if key not in ("event", "cell")}
            self._progress(place, told)
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
            cell.seconds_before = cell.status.seconds
            cell.status = replace(
                cell.status,
                state="running",
                started=_now(),
                ended="",
                pid=int(event["pid"]),
                host=str(event["host"]),
                error="",
                traceback="",
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
        points = cell.status.tracking_points_done
        cell.status = replace(cell.status, **told)
        due = time.monotonic() - cell.written > _STATUS_EVERY
        if due or cell.status.tracking_points_done != points:
            self._keep(place)

    def _end(self, place: int, **news: Any) -> None:
        cell = self._cells[place]
        cell.status = replace(cell.status, ended=_now(), **news)
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
