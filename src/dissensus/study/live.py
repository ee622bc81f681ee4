"""A job under way: its worker process, and the status of each of its cells, kept in their folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dissensus.study.jobs import Job
from dissensus.study.process import Event, WorkerProcess, words_for_exit
from dissensus.study.status import CellStatus, cell_folder, write_status

_STATUS_EVERY = 1.0  # seconds between two writes of an unfinished cell's status


@dataclass
class _Cell:
    """One of the job's cells: its status, the seconds of earlier runs, and when its status was last written."""

    status: CellStatus
    seconds_before: float
    written: float = 0.0


class LiveJob:
    """A job from its start to the end of its worker.

    Args:
        job: the cells.
        before: what had become of each cell, by id.
        out: the study's folder.
        order: what the worker is told besides the cells.
        worker: what runs it; None starts a new one.
        threads: of a new worker.
        hear: called with each event of the worker, from another thread.

    Attributes:
        over: whether the worker has said its last of this job.
        worker: what runs it, and the next job afterwards; None once it is gone, or no longer to be trusted.
    """

    def __init__(
        self,
        job: Job,
        before: Mapping[str, CellStatus],
        out: Path,
        *,
        order: Mapping[str, Any],
        worker: WorkerProcess | None,
        threads: int,
        hear: Callable[[Event], None],
    ) -> None:
        folders = [cell_folder(out, cell) for cell in job]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for folder in folders[1:]:
            note = f"Trained together with {folders[0].name}; what was printed is in its log.txt.\n"
            (folder / "log.txt").write_text(note, encoding="utf-8")
        cells = [
            {"spec": cell.model_dump(mode="json"), "folder": str(folder)}
            for cell, folder in zip(job, folders, strict=True)
        ]
        log = folders[0] / "log.txt"
        own = worker or WorkerProcess(threads=threads, log=log)
        self.worker: WorkerProcess | None = own
        self._clock = time.monotonic()
        self._folders = folders
        self._cells: list[_Cell] = []
        self.over = False
        for cell in job:
            old = before[cell.cell_id]
            begun = replace(old, state="running", started=_now(), ended="", pid=own.pid)
            self._cells.append(_Cell(replace(begun, error="", traceback=""), old.seconds))
        for place in range(len(job)):
            self._keep(place)
        own.give({**order, "cells": cells}, log=log, hear=hear)

    @property
    def statuses(self) -> tuple[CellStatus, ...]:
        """Of its cells, in order."""
        return tuple(cell.status for cell in self._cells)

    def heed(self, event: Event) -> tuple[CellStatus, ...]:
        """Take in an event of the worker; the cells that it changed. After the last one the job is `over`."""
        kind = event.get("event")
        if kind == "over":
            self.over = True
            if event["failed"]:  # what made a cell fail may have left the process in any state
                self._dismiss()
            return ()
        if kind == "ended":
            self.over = True
            words = self.worker.last_words() if self.worker is not None and self._running() else ""
            self.worker = None
            error = words_for_exit(int(event["code"])) + (f". Its last words:\n{words}" if words else "")
            cut = self._running()
            for place in cut:
                self._end(place, state="failed", error=error)
            return tuple(self._cells[place].status for place in cut)
        place = int(event["cell"])
        if kind == "done":
            self._end(place, state="done")
        elif kind == "failed":
            self._end(place, state="failed", error=str(event["error"]), traceback=str(event["traceback"]))
        else:
            self._progress(
                place, {key: value for key, value in event.items() if key not in ("event", "cell")}
            )
        return (self._cells[place].status,)

    def stop(self) -> None:
        """End the worker before its time; cells that have not ended are interrupted."""
        if self.worker is not None:
            self.worker.terminate()
            self.worker = None
        for place in self._running():
            self._end(place, state="interrupted")

    def _dismiss(self) -> None:
        if self.worker is not None:
            self.worker.dismiss()
            self.worker = None

    def _running(self) -> list[int]:
        return [place for place, cell in enumerate(self._cells) if cell.status.state == "running"]

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
        seconds = round(cell.seconds_before + cell.written - self._clock, 1)
        cell.status = replace(cell.status, seconds=seconds)
        write_status(self._folders[place], cell.status)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
