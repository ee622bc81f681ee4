"""Runs the cells of a study in worker processes, one process a cell; stored curves are all that it leaves.

Cells that are done are skipped, others start or resume; a cell that fails does not stop the others. The
runner owns each cell's `status.json`; what happens inside a cell is `study/cell.py`'s.
"""

from __future__ import annotations

import difflib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dissensus.config import RunSpec, StudySpec, When
from dissensus.errors import SpecError
from dissensus.files import write_atomic
from dissensus.study.grid import expand, select
from dissensus.study.lock import StudyLock
from dissensus.study.process import Event, WorkerProcess, words_for_exit
from dissensus.study.status import CellStatus, cell_folder, read_status, write_status

RUN_CELL = "dissensus.study.cell:run_cell"
"""What runs a cell, as module:function; imported by the worker alone."""

_STATUS_EVERY = 1.0  # seconds between two writes of an unfinished cell's status

OnChange = Callable[[CellStatus], None]


@dataclass(frozen=True)
class StudyResult:
    """What a run of a study came to.

    Attributes:
        out: the study's folder.
        cells: status of each cell that was asked for, in the study's order.
        skipped: ids of the cells that were done before.
        study_diff: how study.yaml differs from the one that was there ("" if it does not); cells are known
            by their own settings, so changing the study never mixes up results.
    """

    out: Path
    cells: tuple[CellStatus, ...]
    skipped: frozenset[str]
    study_diff: str

    @property
    def failures(self) -> tuple[CellStatus, ...]:
        """The cells that failed."""
        return tuple(cell for cell in self.cells if cell.state == "failed")


def run_study(
    study: StudySpec,
    out: Path,
    *,
    workers: int = 1,
    threads: int | None = None,
    device: str | None = None,
    data_dir: Path | None = None,
    only: When | None = None,
    on_change: OnChange | None = None,
    run_cell: str | None = None,
) -> StudyResult:
    """Run every cell of a study that is not done, and say what became of each.

    Args:
        study: what to run.
        out: the study's folder; made if need be.
        workers: cells that run at a time, each in a process of its own.
        threads: threads of each worker; default: OMP_NUM_THREADS, or else the cores divided by the workers.
        device: torch device of every worker; default: a GPU where there is one.
        data_dir: where data files are looked up first.
        only: run only the cells that this matches.
        on_change: called when a cell starts, advances or ends, from this thread.
        run_cell: another module:function with the signature of `study.cell.run_cell`.

    Raises:
        SpecError: the study is not valid, `only` matches nothing, or the folder holds another study.
        StoreError: another run is under way in the folder.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after the workers were stopped; running again resumes.
    """
    if workers < 1:
        raise SpecError(f"workers is {workers}; expected 1 or more")
    if threads is not None and threads < 1:
        raise SpecError(f"threads is {threads}; expected 1 or more")
    cells = select(expand(study), only or When())
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"cannot make the study's folder {out}: {error.strerror}") from None
    with StudyLock(out):
        diff = _keep_study(study, out)
        _mark_interrupted(out)
        session = _Session(
            out=out,
            threads=threads or default_threads(workers),
            device=device,
            data_dir=data_dir,
            run_cell=run_cell or RUN_CELL,
            on_change=on_change or (lambda _status: None),
        )
        return StudyResult(out, *session.run(cells, workers), diff)


def default_threads(workers: int) -> int:
    """Threads of each worker: what OMP_NUM_THREADS says, or the usable cores shared out."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // workers)


@dataclass
class _Live:
    """A cell under way: its worker, its status, and when each was last touched."""

    worker: WorkerProcess
    status: CellStatus
    clock: float
    seconds_before: float
    written: float = 0.0


@dataclass(frozen=True)
class _Session:
    """One call of `run_study`."""

    out: Path
    threads: int
    device: str | None
    data_dir: Path | None
    run_cell: str
    on_change: OnChange

    def run(self, cells: Sequence[RunSpec], workers: int) -> tuple[tuple[CellStatus, ...], frozenset[str]]:
        """Run the cells that are not done; the status of each, and the ids of those that were."""
        statuses = {cell.cell_id: read_status(cell_folder(self.out, cell), cell) for cell in cells}
        skipped = frozenset(name for name, status in statuses.items() if status.state == "done")
        for name in statuses:
            if name in skipped:
                self.on_change(statuses[name])
        waiting = [cell for cell in cells if cell.cell_id not in skipped]
        live: dict[str, _Live] = {}
        events: queue.SimpleQueue[tuple[str, Event]] = queue.SimpleQueue()
        with _terminated_is_interrupted():
            try:
                while waiting or live:
                    while waiting and len(live) < workers:
                        cell = waiting.pop(0)
                        live[cell.cell_id] = self._start(cell, statuses[cell.cell_id], events)
                        self.on_change(live[cell.cell_id].status)
                    name, event = events.get()
                    if self._heed(live[name], event):
                        ended = live.pop(name).status
                        statuses[name] = ended
                        self.on_change(ended)
            finally:
                # Empty unless something (Ctrl-C, an error in `on_change`) cut the loop short.
                for cut in live.values():
                    cut.worker.terminate()
                    if cut.status.state == "running":
                        cut.status = replace(cut.status, state="interrupted")
                    self._end(cut)
        return tuple(statuses.values()), skipped

    def _start(
        self, cell: RunSpec, before: CellStatus, events: queue.SimpleQueue[tuple[str, Event]]
    ) -> _Live:
        folder = cell_folder(self.out, cell)
        folder.mkdir(parents=True, exist_ok=True)
        job = {
            "run": self.run_cell,
            "spec": cell.model_dump(mode="json"),
            "folder": str(folder),
            "data_dir": str(self.data_dir) if self.data_dir else None,
            "threads": self.threads,
            "device": self.device,
        }
        name = cell.cell_id
        worker = WorkerProcess(
            job, threads=self.threads, log=folder / "log.txt", hear=lambda event: events.put((name, event))
        )
        status = replace(
            before, state="running", started=_now(), ended="", pid=worker.pid, error="", traceback=""
        )
        live = _Live(worker, status, time.monotonic(), before.seconds)
        self._keep(live)
        return live

    def _heed(self, live: _Live, event: Event) -> bool:
        """Take in one event of a worker; whether it was its last."""
        kind = event.get("event")
        if kind == "progress":
            points = live.status.tracking_points_done
            live.status = replace(live.status, **{k: v for k, v in event.items() if k != "event"})
            due = time.monotonic() - live.written > _STATUS_EVERY
            if due or live.status.tracking_points_done != points:
                self._keep(live)
            self.on_change(live.status)
        elif kind == "done":
            live.status = replace(live.status, state="done")
        elif kind == "failed":
            live.status = replace(
                live.status, state="failed", error=str(event["error"]), traceback=str(event["traceback"])
            )
        elif kind == "ended":
            if live.status.state == "running":
                words = live.worker.last_words()
                error = words_for_exit(int(event["code"])) + (f". Its last words:\n{words}" if words else "")
                live.status = replace(live.status, state="failed", error=error)
            self._end(live)
            return True
        return False

    def _end(self, live: _Live) -> None:
        live.status = replace(live.status, ended=_now())
        self._keep(live)

    def _keep(self, live: _Live) -> None:
        live.written = time.monotonic()
        seconds = round(live.seconds_before + live.written - live.clock, 1)
        live.status = replace(live.status, seconds=seconds)
        write_status(self.out / "cells" / live.status.cell, live.status)


def _keep_study(study: StudySpec, out: Path) -> str:
    """Write study.yaml; how it differs from the one that was there. Another study's folder is refused."""
    path, text = out / "study.yaml", study.to_yaml()
    old = path.read_text(encoding="utf-8") if path.exists() else text
    if old != text:
        diff = "\n".join(
            difflib.unified_diff(old.splitlines(), text.splitlines(), "stored", "now", lineterm="", n=1)
        )
        try:
            name = StudySpec.from_text(old, str(path)).name
        except SpecError:  # written by another version, or by hand: its cells are still checked one by one
            name = study.name
        if name != study.name:
            raise SpecError(
                f"{out} holds the study {name!r}, not {study.name!r}; choose another folder with --out. "
                f"The two differ in:\n{diff}"
            )
    else:
        diff = ""
    write_atomic(path, text)
    return diff


def _mark_interrupted(out: Path) -> None:
    """Nothing runs here while this process holds the lock: what says 'running' was killed."""
    root = out / "cells"
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        status = read_status(folder)
        if status.state == "running":
            write_status(folder, replace(status, state="interrupted"))


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM (a scheduler's, or `kill`) ends a run as cleanly as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
