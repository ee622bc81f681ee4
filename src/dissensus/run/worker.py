"""The worker process that runs jobs, one cell or several each: `python -m dissensus.run.worker` (see `process.py`).

An order comes as one line of JSON on standard input, the next one when the job is over: starting Python, torch and
transformers takes as long as a small cell. When standard input closes, the runner has gone or has no more jobs, and
the worker ends, so that no orphan writes beside a resumed run. Events leave as lines of JSON on standard output
(`messages.py`); everything that libraries print goes to the job's log. The environment (thread counts) is set by
whoever starts the process, before anything is imported here.
"""

from __future__ import annotations

import gc
import importlib
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dissensus.errors import DissensusError
from dissensus.run.messages import (
    Done,
    Event,
    Failed,
    JobOrder,
    OnEvent,
    Over,
    Progress,
    Started,
    order_from_json,
    to_json,
)
from dissensus.run.progress import CellProgress


def main() -> int:
    """Run the jobs that standard input orders until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    if hasattr(signal, "SIGUSR2"):
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # a scheduler's warning, to the engine's process
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def send(event: Event) -> None:
        events.write(to_json(event) + "\n")

    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(lines.put,), daemon=True).start()
    while True:
        try:
            order = order_from_json(lines.get())
        except DissensusError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        if order.log is not None:
            _print_to(order.log)
        run_order(order, send)
        gc.collect()


def run_order(order: JobOrder, send: OnEvent) -> None:
    """Run one job and say that it has begun, how each of its cells ended, and that it is over."""
    outcomes: dict[int, bool] = {}
    send(Started(socket.gethostname(), os.getpid()))

    def on_end(cell: int, error: Exception | None) -> None:
        outcomes[cell] = error is None
        send(Done(cell) if error is None else _failure(cell, error))

    try:
        _run(order, send, on_end)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the failure of the cells that are left
        for cell in range(len(order.cells)):
            if cell not in outcomes:
                on_end(cell, error)
    send(Over(failed=not all(outcomes.values())))


def _run(order: JobOrder, send: OnEvent, on_end: Callable[[int, Exception | None], None]) -> None:
    reports = [_throttled(send, cell, order.progress_every) for cell in range(len(order.cells))]
    common: dict[str, Any] = {
        "data_dir": order.data_dir,
        "threads": order.threads,
        "device": order.device,
        "execution": order.cells[0].execution,
    }
    if len(order.cells) == 1 and order.run_cell:
        (cell,) = order.cells
        _load(order.run_cell)(cell.spec, cell.folder, on_progress=reports[0], **common)
        on_end(0, None)
    else:
        _load(order.run_cells)(
            [(cell.spec, cell.folder) for cell in order.cells],
            on_progress=lambda cell, progress: reports[cell](progress),
            on_end=on_end,
            **common,
        )


def _failure(cell: int, error: Exception) -> Failed:
    kind = type(error).__name__
    words = str(error) if isinstance(error, DissensusError) else f"{kind}: {error}"
    return Failed(cell, words, kind, "".join(traceback.format_exception(error)))


def _read_lines(take: Callable[[bytes], None]) -> None:
    """Take in orders, a line each, until the runner closes the pipe or dies; then end, whatever is under way."""
    unread = b""
    while part := os.read(0, 1 << 16):
        *lines, unread = (unread + part).split(b"\n")
        for line in lines:
            take(line)
    os._exit(0)


def _print_to(log: Path) -> None:
    """Let standard output and standard error be the end of a file."""
    sys.stderr.flush()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _load(path: str) -> Callable[..., None]:
    module, _, name = path.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(module), name)
    return function


def _throttled(send: OnEvent, cell: int, every: float) -> Callable[[CellProgress], None]:
    """Reports a cell's progress: each new phase and tracking point, and steps `every` so many seconds."""
    sent, last = 0.0, ("", -1)

    def report(progress: CellProgress) -> None:
        nonlocal sent, last
        now, news = time.monotonic(), (progress.phase, progress.tracking_points_done)
        if now - sent < every and news == last and progress.step < progress.total_steps:
            return
        sent, last = now, news
        send(Progress(cell, progress))

    return report


if __name__ == "__main__":
    sys.exit(main())
