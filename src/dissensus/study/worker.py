"""The process that runs a job, one cell or several: `python -m dissensus.study.worker`, started by the runner.

The job comes as one line of JSON on standard input, which then stays open: when it closes, the runner has
gone and the worker ends too, so that no orphan writes beside a resumed run. Events leave as lines of JSON on
standard output, each with its cell's place in the job; everything that libraries print goes to standard error,
which the runner keeps in a file.
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
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dissensus.config import RunSpec
from dissensus.errors import DissensusError

if TYPE_CHECKING:
    from dissensus.study.cell import CellProgress

_PROGRESS_EVERY = 0.5  # seconds


def main() -> int:
    """Run the job that standard input names; 0 when its cells are done, 1 when one failed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    job = json.loads(_first_line())
    threading.Thread(target=_end_with_runner, daemon=True).start()

    def send(**event: Any) -> None:
        events.write(json.dumps(event) + "\n")

    outcomes: dict[int, bool] = {}

    def ended(place: int, error: Exception | None) -> None:
        outcomes[place] = error is None
        if error is None:
            send(event="done", cell=place)
        else:
            trace = "".join(traceback.format_exception(error))
            send(event="failed", cell=place, error=_words(error), traceback=trace)

    try:
        _run(job, [_throttled(partial(send, cell=place)) for place in range(len(job["cells"]))], ended)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the failure of the cells that are left
        for place in range(len(job["cells"])):
            if place not in outcomes:
                ended(place, error)
    return 0 if all(outcomes.values()) else 1


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
