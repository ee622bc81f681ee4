"""A job on a machine of a cluster: a worker process there, as on one's own machine, and its events sent home."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dissensus import __version__
from dissensus.errors import DissensusError, SpecError
from dissensus.run.engines.base import Event, Hear
from dissensus.run.engines.hosted import HostedCells, hosted_cells
from dissensus.run.process import WorkerProcess

PROGRESS_EVERY = 2.0
"""Seconds between two events about a cell's steps: many cells share one way home."""

CLAIM_EVERY = 10.0
"""Seconds between two looks at whether the cells are still this attempt's."""

_SEAL = ".seal-"
_LAST = ("over", "ended")


@contextlib.contextmanager
def sealed(out: Path) -> Iterator[dict[str, Any]]:
    """What a job carries to another machine, so that it can tell whether it stands on the same ground.

    A file in the study's folder, with random text: a machine that does not read the same text there does not share
    the folder.
    """
    seal = (out / f"{_SEAL}{secrets.token_hex(8)}").resolve()
    text = secrets.token_hex(16)
    seal.write_text(text, encoding="utf-8")
    own = {name: value for name, value in os.environ.items() if name.startswith("DISSENSUS_")}
    try:
        yield {
            "version": __version__,
            "seal": [str(seal), text],
            "environment": own,
            "progress_every": PROGRESS_EVERY,
            "remote": None,  # unless the study has a URL
        }
    finally:
        seal.unlink(missing_ok=True)


def run_job(
    job: Mapping[str, Any], *, log: str, tell: Hear, stopped: Callable[[], bool] = lambda: False
) -> None:
    """Run a job on this machine, in a worker process of its own; returns when its last word was told.

    Where the study lives at a URL, each cell is brought into a folder of this machine, published as it trains, and
    published to its end before its end is told. Either way this attempt claims the cells first, and stops when
    another one has taken them: this machine was believed dead, and the cells are in other hands.

    Args:
        job: see `run/worker.py`, with what `sealed` adds, and a name for this attempt.
        log: where it prints, where the study's folder is on a shared disk.
        tell: called with each event, from this thread.
        stopped: asked now and then; once it says so, the worker is stopped and nothing more is told.
    """
    try:
        check_ground(job, host=os.uname().nodename)
        with hosted_cells(job, log) as here:
            _work(here, tell, stopped)
    except DissensusError as error:
        tell({"event": "ended", "error": str(error), "lost": False})


def _work(here: HostedCells, tell: Hear, stopped: Callable[[], bool]) -> None:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    job = here.job
    worker = WorkerProcess(threads=job["threads"], log=here.log, environment=job["environment"])
    try:
        worker.give(job, log=here.log, hear=events.put)
        looked = time.monotonic()
        while not stopped():
            with contextlib.suppress(queue.Empty):
                event = here.settled(events.get(timeout=0.5))
                tell(event)
                if event["event"] in _LAST:
                    return
            if time.monotonic() - looked > CLAIM_EVERY:
                looked = time.monotonic()
                here.check()
    finally:
        worker.terminate()


def check_ground(job: Mapping[str, Any], *, host: str) -> None:
    """Raise `SpecError` where this machine has another version of the package, or other files, than the runner."""
    if job["version"] != __version__:
        raise SpecError(
            f"{host} has dissensus {__version__}, and the study is run by {job['version']}: install the same version "
            "on every machine"
        )
    if job["remote"] is None:
        path, text = job["seal"]
        _check_seal(path, text, host)
    data = job["data_dir"]
    if data is not None and not Path(data).is_dir():
        raise SpecError(f"{host} does not see the data folder {data}: put it where every machine has it")


def _check_seal(path: str, text: str, host: str) -> None:
    seal = Path(path)
    if not seal.is_file() or seal.read_text(encoding="utf-8") != text:
        raise SpecError(
            f"{host} does not see the study's folder {seal.parent}: put it where every machine has it under the same "
            "path (a network file system), or let --out be a URL such as s3://bucket/study"
        )
