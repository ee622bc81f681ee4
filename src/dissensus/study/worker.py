"""The process that runs one cell: `python -m dissensus.study.worker`, started by the runner.

The job comes as one line of JSON on standard input, which then stays open: when it closes, the runner has
gone and the worker ends too, so that no orphan writes beside a resumed run. Events leave as lines of JSON on
standard output; everything that libraries print goes to standard error, which the runner keeps in a file.
The environment (thread counts) is set by the runner, before anything is imported here.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dissensus.config import RunSpec
from dissensus.errors import DissensusError

if TYPE_CHECKING:
    from dissensus.study.cell import CellProgress

_PROGRESS_EVERY = 0.5  # seconds


def main() -> int:
    """Run the job that standard input names; 0 when the cell is done, 1 when it failed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    job = json.loads(_first_line())
    threading.Thread(target=_end_with_runner, daemon=True).start()

    def send(**event: Any) -> None:
        events.write(json.dumps(event) + "\n")

    try:
        _load(job["run"])(
            RunSpec.parse(job["spec"], "the job's specification"),
            Path(job["folder"]),
            data_dir=Path(job["data_dir"]) if job["data_dir"] else None,
            threads=job["threads"],
            device=job["device"],
            on_progress=_throttled(send),
        )
    except DissensusError as error:
        send(event="failed", error=str(error), traceback=traceback.format_exc())
        return 1
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this cell's failure, with its traceback
        send(event="failed", error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
        return 1
    send(event="done")
    return 0


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1 << 16)
        if not part:
            break
        line += part
    return line


def _end_with_runner() -> None:
    while os.read(0, 1 << 16):
        pass
    os._exit(1)


def _load(path: str) -> Callable[..., None]:
    module, _, name = path.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(module), name)
    return function


def _throttled(send: Callable[..., None]) -> Callable[[CellProgress], None]:
    last = (0.0, -1)

    def report(progress: CellProgress) -> None:
        nonlocal last
        now, points = time.monotonic(), progress.tracking_points_done
        if now - last[0] < _PROGRESS_EVERY and points == last[1] and progress.step < progress.total_steps:
            return
        last = (now, points)
        send(
            event="progress",
            step=progress.step,
            total_steps=progress.total_steps,
            tracking_points_done=points,
            tracking_points=progress.tracking_points,
            loss=progress.loss,
        )

    return report


if __name__ == "__main__":
    sys.exit(main())
