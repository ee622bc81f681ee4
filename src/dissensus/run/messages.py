"""Messages between a study's runner and its workers: the job order, and the events that come back; JSON in one place.

An order goes out as one line of JSON, each event comes back as one. Fields that this version does not know are ignored,
so that a newer worker can be read. What is missing or of the wrong type is an error in words. An event that cannot be
read (a process was killed while it wrote) is skipped, and the job's log says so.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from dissensus import __version__
from dissensus.config import Execution, RunSpec
from dissensus.errors import SpecError
from dissensus.run.progress import CellProgress

RENDEZVOUS = "DISSENSUS_RENDEZVOUS"
"""Variable that names the file through which the processes of one cell meet."""

RUN_CELL = "dissensus.run.cell:run_cell"
"""What runs a cell, as module:function; only the worker imports it."""

RUN_CELLS = "dissensus.run.fused_cells:run_cells"
"""The same for several cells in one pass."""

SKIPPED = "dissensus: skipped an event that cannot be read: "
"""How the line begins that the log gets for an event that was skipped."""


@dataclass(frozen=True)
class CellOrder:
    """One cell of a job.

    Attributes:
        spec: its specification.
        folder: where its curves go.
        execution: how it is carried out.
    """

    spec: RunSpec
    folder: Path
    execution: Execution = field(default_factory=Execution)


@dataclass(frozen=True)
class SharedFolderProof:
    """How another machine can tell whether it sees the study's folder: a file there, with random text.

    Attributes:
        file: the file.
        text: what it holds.
    """

    file: Path
    text: str


@dataclass(frozen=True)
class JobOrder:
    """What a worker is to do: one cell, or several that train in one pass.

    Attributes:
        cells: the cells, in the order by which events name them.
        threads: of the worker's libraries.
        run_cell: what runs a single cell, as module:function; "" where `run_cells` does that, too.
        run_cells: what runs several.
        data_dir: where data files are looked up first.
        device: torch device; None: a GPU where there is one.
        log: where the worker prints; None: where whoever started it prints.
        progress_every: seconds between two events about a cell's steps.
        remote: URL of the study, where the cells are fetched from it and published there.
        attempt: name of this attempt at the cells, for their leases; "" on the runner's own machine.
        environment: variables that the worker process gets beside those of the process that starts it.
        proof: how another machine recognises the study's folder; None on the runner's own machine, or with a URL.
        version: of the package that gave the order.
    """

    cells: tuple[CellOrder, ...]
    threads: int
    run_cell: str = RUN_CELL
    run_cells: str = RUN_CELLS
    data_dir: Path | None = None
    device: str | None = None
    log: Path | None = None
    progress_every: float = 0.5
    remote: str | None = None
    attempt: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    proof: SharedFolderProof | None = None
    version: str = __version__


@dataclass(frozen=True)
class Started:
    """The worker has begun the job.

    Attributes:
        host: its machine.
        pid: its process there.
    """

    host: str
    pid: int
    event: Literal["started"] = "started"


@dataclass(frozen=True)
class Progress:
    """How far a cell is.

    Attributes:
        cell: its place in the order.
        at: phase and numbers; while `total_steps` is 0 the numbers are not known yet.
    """

    cell: int
    at: CellProgress
    event: Literal["progress"] = "progress"


@dataclass(frozen=True)
class Done:
    """A cell is done.

    Attributes:
        cell: its place in the order.
    """

    cell: int
    event: Literal["done"] = "done"


@dataclass(frozen=True)
class Failed:
    """A cell has failed.

    Attributes:
        cell: its place in the order.
        error: why, in words; for an error that is not of this package, its class in front.
        kind: the class of the error.
        traceback: where in the code.
    """

    cell: int
    error: str
    kind: str = ""
    traceback: str = ""
    event: Literal["failed"] = "failed"


@dataclass(frozen=True)
class Over:
    """The worker's last event of a job; it takes another one.

    Attributes:
        failed: whether a cell failed.
    """

    failed: bool
    event: Literal["over"] = "over"


@dataclass(frozen=True)
class Ended:
    """The worker is gone, in the middle of a job.

    Attributes:
        error: how it ended.
        printed: the end of what it printed.
        lost: whether the machine may be to blame rather than the cell, so that another try makes sense.
    """

    error: str
    printed: str = ""
    lost: bool = False
    event: Literal["ended"] = "ended"


Event = Started | Progress | Done | Failed | Over | Ended
"""What a worker says."""

OnEvent = Callable[[Event], None]
"""Called with each event, from any thread."""


def to_json(message: JobOrder | Event) -> str:
    """A message as one line of JSON."""
    adapter: TypeAdapter[Any] = _orders() if isinstance(message, JobOrder) else _events()
    return json.dumps(adapter.dump_python(message, mode="json"))  # which keeps a loss that is NaN


def order_from_json(text: str | bytes) -> JobOrder:
    """A job order from its line of JSON.

    Raises:
        SpecError: it is not a whole order, or was given by another version of the package.
    """
    stored = _loaded(text, "a job order")
    version = stored.get("version", __version__)
    if version != __version__:  # before the rest, which may look different there
        raise SpecError(
            f"{socket.gethostname()} has dissensus {__version__}, and the study is run by {version}: install the same "
            "version on every machine"
        )
    try:
        return _orders().validate_python(stored)
    except ValidationError as error:
        raise SpecError(f"a job order that cannot be read: {_first_problem(error)}") from None


def event_from_json(text: str | bytes) -> Event:
    """An event from its line of JSON.

    Raises:
        SpecError: it is not a whole event, or one that this version does not know.
    """
    stored = _loaded(text, "an event")
    try:
        return _events().validate_python(stored)
    except ValidationError as error:
        raise SpecError(_first_problem(error)) from None


def read_event(line: str | bytes, log: Path | None) -> Event | None:
    """An event from its line of JSON; None for one that cannot be read, and `log` (else standard error) says so."""
    try:
        return event_from_json(line)
    except SpecError as error:
        note = f"{SKIPPED}{error}\n"
        with contextlib.suppress(OSError):  # the listener continues, whatever becomes of its log
            if log is None:
                sys.stderr.write(note)
            else:
                with log.open("a", encoding="utf-8") as file:
                    file.write(note)
        return None


def _loaded(text: str | bytes, expected: str) -> dict[str, Any]:
    try:
        stored = json.loads(text)
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        start = text[:60].decode(errors="replace") if isinstance(text, bytes) else text[:60]
        raise SpecError(f"expected {expected} as one line of JSON, found {start!r}")
    return stored


def _first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, in a line: where, and what."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the message"
    return f"{where}: {first['msg']}"


@cache
def _orders() -> TypeAdapter[JobOrder]:
    return TypeAdapter(JobOrder)


@cache
def _events() -> TypeAdapter[Event]:
    return TypeAdapter(Annotated[Event, Field(discriminator="event")])
