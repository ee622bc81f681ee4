"""The process that runs jobs, one cell or several each: `python -m dissensus.run.worker`, started by the runner.

A job comes as one line of JSON on standard input, the next one when it is over: starting Python, torch and
transformers takes as long as a small cell. When standard input closes, the runner has gone or has no more jobs, and
the worker ends, so that no orphan writes beside a resumed run. Events leave as lines of JSON on standard output, each
with its cell's place in the job; everything that libraries print goes to standard error, which is the job's log.
The environment (thread counts) is set by the runner, before anything is imported here.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dissensus.config import Execution, RunSpec
from dissensus.errors import DissensusError

if TYPE_CHECKING:
    from dissensus.run.cell import CellProgress

_PROGRESS_EVERY = 0.5  # seconds, where the job does not say


def main() -> int:
    """Run the jobs that standard input names until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    if hasattr(signal, "SIGUSR2"):
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # a scheduler's warning, to the engine's process
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def send(**event: Any) -> None:
        events.write(json.dumps(event) + "\n")

    jobs: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs.put,), daemon=True).start()
    while True:
        job = jobs.get()
        _print_to(Path(job["log"]))
        _do(job, send)
        gc.collect()


def _do(job: Mapping[str, Any], send: Callable[..., None]) -> None:
    """Run one job and say that it has begun, how each of its cells ended, and that it is over."""
    outcomes: dict[int, bool] = {}
    send(event="started", pid=os.getpid(), host=socket.gethostname())

    def ended(place: int, error: Exception | None) -> None:
        outcomes[place] = error is None
        if error is None:
            send(event="done", cell=place)
        else:
            trace = "".join(traceback.format_exception(error))
            send(event="failed", cell=place, error=_words(error), traceback=trace)

    try:
        every = float(job.get("progress_every", _PROGRESS_EVERY))
        reports = [_throttled(partial(send, cell=place), every) for place in range(len(job["cells"]))]
        _run(job, reports, ended)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the failure of the cells that are left
        for place in range(len(job["cells"])):
            if place not in outcomes:
                ended(place, error)
    send(event="over", failed=not all(outcomes.values()))


def _read_jobs(take: Callable[[Mapping[str, Any]], None]) -> None:
    """Take in jobs, a line each, until the runner closes the pipe or dies; then end, whatever is under way."""
    left = b""
    while part := os.read(0, 1 << 16):
        *lines, left = (left + part).split(b"\n")
        for line in lines:
            take(json.loads(line))
    os._exit(0)


def _print_to(log: Path) -> None:
    """Let standard output and standard error be the end of a file."""
    sys.stderr.flush()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _run(
    job: Mapping[str, Any],
    reports: Sequence[Callable[[CellProgress], None]],
    ended: Callable[[int, Exception | None], None],
) -> None:
    cells = [(RunSpec.parse(c["spec"], "the job's specification"), Path(c["folder"])) for c in job["cells"]]
    common = {
        "data_dir": Path(job["data_dir"]) if job["data_dir"] else None,
        "threads": job["threads"],
        "device": job["device"],
        "execution": Execution.parse(job["cells"][0].get("execution", {}), "the job's execution"),
    }
    if len(cells) == 1:
        _load(job["run_cell"])(*cells[0], on_progress=reports[0], **common)
        ended(0, None)
    else:
        _load(job["run_cells"])(
            cells, on_progress=lambda place, progress: reports[place](progress), on_end=ended, **common
        )


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, DissensusError) else f"{type(error).__name__}: {error}"


def _load(path: str) -> Callable[..., None]:
    module, _, name = path.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(module), name)
    return function


def _throttled(send: Callable[..., None], every: float) -> Callable[[CellProgress], None]:
    sent, last = 0.0, ("", -1)

    def report(progress: CellProgress) -> None:
        nonlocal sent, last
        now, news = time.monotonic(), (progress.phase, progress.tracking_points_done)
        if now - sent < every and news == last and progress.step < progress.total_steps:
            return
        sent, last = now, news
        if progress.total_steps == 0:  # what an earlier try came to stands until more is known
            send(event="progress", phase=progress.phase)
            return
        send(
            event="progress",
            phase=progress.phase,
            step=progress.step,
            total_steps=progress.total_steps,
            tracking_points_done=progress.tracking_points_done,
            tracking_points=progress.tracking_points,
            loss=progress.loss,
        )

    return report


if __name__ == "__main__":
    sys.exit(main())
