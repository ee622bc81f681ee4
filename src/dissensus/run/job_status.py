"""A running job: its worker, and the status and log of each of its cells, kept in their folders.

A cell's log.txt keeps what every try printed: tries are appended under a line of their own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dissensus.config import Execution
from dissensus.run.engines.base import Worker
from dissensus.run.jobs import Job
from dissensus.run.messages import (
    CellOrder,
    Done,
    Ended,
    Event,
    Failed,
    JobOrder,
    OnEvent,
    Over,
    Progress,
    Started,
)
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
LOG = "log.txt"


@dataclass
class _Cell:
    """One of the job's cells: its status, the seconds of earlier runs, and when its status was last written."""

    status: CellStatus
    seconds_before: float
    written: float = 0.0


class RunningJob:
    """A job from when it is handed to a worker to that worker's last word of it.

    Args:
        job: the cells.
        before: what had become of each cell, by id.
        out: the study's folder.
        worker: what runs it.
        order: what the worker is told, but for the cells and the log.
        executions: how each cell is carried out, by id.
        last_try: whether a lost worker makes the cells fail; else they are interrupted, to be tried again.
        on_event: called with each event of the worker, from another thread.

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
        order: JobOrder,
        executions: Mapping[str, Execution],
        last_try: bool,
        on_event: OnEvent,
    ) -> None:
        folders = [cell_folder(out, cell) for cell in job]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        waiting = [
            replace(with_earlier_try(before[c.cell_id]), state="pending", error="", traceback="") for c in job
        ]
        for folder, status in zip(folders, waiting, strict=True):
            log_new_try(folder, _now(), number=len(status.tries) + 1)
        log_shared_job(folders)
        cells = tuple(
            CellOrder(cell, folder.resolve(), executions[cell.cell_id])  # the worker may stand elsewhere
            for cell, folder in zip(job, folders, strict=True)
        )
        self.worker: Worker | None = worker
        self.over = False
        self.lost = False
        self._last_try = last_try
        self._begun: float | None = None  # when the worker began the job
        self._folders = folders
        self._cells = [_Cell(status, status.seconds) for status in waiting]
        worker.give(replace(order, cells=cells, log=(folders[0] / LOG).resolve()), on_event)

    @property
    def left(self) -> tuple[int, ...]:
        """Places of the cells that neither are done nor failed."""
        return tuple(p for p, cell in enumerate(self._cells) if cell.status.state not in ("done", "failed"))

    def handle(self, event: Event) -> tuple[CellStatus, ...]:
        """Take in an event of the worker; the cells that it changed. After the last one the job is `over`."""
        if isinstance(event, Started):
            return self._begin(event)
        if isinstance(event, Over):
            self.over = True
            if event.failed:  # what made a cell fail may have left the process in any state
                self._dismiss()
            return ()
        if isinstance(event, Ended):
            self.over, self.worker = True, None
            return self._cut_off(event)
        place = event.cell
        if not 0 <= place < len(self._cells):
            return ()
        if isinstance(event, Done):
            self._end(place, state="done")
        elif isinstance(event, Failed):
            self._end(place, state="failed", error=event.error, traceback=event.traceback)
        else:
            self._progress(place, event)
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

    def _begin(self, event: Started) -> tuple[CellStatus, ...]:
        """The worker has begun the job, or a queue has started it once more on another machine."""
        self._begun = time.monotonic()
        for place in self.left:
            cell = self._cells[place]
            if cell.status.state == "running":  # a queue started the job once more, and nobody saw its end
                cell.status = ended(cell.status, "interrupted", at="", error=AGAIN)
            cell.seconds_before = cell.status.seconds
            this_try = Try(started=_now(), host=event.host, pid=event.pid, step=cell.status.step)
            cell.status = replace(
                cell.status,
                state="running",
                phase="starting",
                started=this_try.started,
                ended="",
                pid=this_try.pid,
                host=this_try.host,
                error="",
                traceback="",
                tries=(*cell.status.tries, this_try),
            )
            self._keep(place)
        return tuple(self._cells[place].status for place in self.left)

    def _cut_off(self, event: Ended) -> tuple[CellStatus, ...]:
        """The worker is gone; its cells are tried again, or have failed."""
        error = event.error + (f". Its last words:\n{event.printed}" if event.printed else "")
        cut = self.left
        self.lost = event.lost and not self._last_try and bool(cut)
        for place in cut:
            self._end(place, state="interrupted" if self.lost else "failed", error=error)
        return tuple(self._cells[place].status for place in cut)

    def _dismiss(self) -> None:
        if self.worker is not None:
            self.worker.dismiss()
            self.worker = None

    def _progress(self, place: int, event: Progress) -> None:
        cell = self._cells[place]
        before = cell.status
        if event.at.total_steps == 0:  # what an earlier try came to stands until more is known
            cell.status = replace(before, phase=event.at.phase)
        else:
            cell.status = replace(before, **asdict(event.at))
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
        if self._begun is not None:
            seconds = round(cell.seconds_before + cell.written - self._begun, 1)
            cell.status = replace(cell.status, seconds=seconds)
        write_status(self._folders[place], cell.status)


def log_new_try(folder: Path, when: str, *, number: int = 0, where: str = "") -> None:
    """Write the line under which stands what the next try prints; nothing in a log that is empty still.

    Args:
        folder: the cell's.
        when: ISO 8601.
        number: of the try, from 1; 0 where it is not known.
        where: the machine, if it is known by now.
    """
    log = folder / LOG
    if log.is_file() and log.stat().st_size > 0:
        title = f"try {number}" if number else "tried again"
        _append(log, f"--- {title}, {when}{f', on {where}' if where else ''} ---\n")


def log_shared_job(folders: Sequence[Path]) -> None:
    """Say in the log of each cell but the first that the first one's holds what they print together."""
    for folder in folders[1:]:
        _append(folder / LOG, f"Trained together with {folders[0].name}; what was printed is in its {LOG}.\n")


def _append(log: Path, line: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(line)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
