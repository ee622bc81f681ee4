"""A job on a machine of a cluster: its cells leased, fetched and published, its worker process, its events sent on."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dissensus.errors import DissensusError, SpecError
from dissensus.remote import Lease, Mirror, Publisher, Remote
from dissensus.run.job_status import LOG, log_new_try, log_shared_job
from dissensus.run.messages import (
    Done,
    Ended,
    Event,
    Failed,
    JobOrder,
    OnEvent,
    Over,
    SharedFolderProof,
    order_from_json,
)
from dissensus.run.process import ChildProcess

PROGRESS_EVERY = 2.0
"""Seconds between two events about a cell's steps: many cells share one way back."""

LEASE_EVERY = 10.0
"""Seconds between two looks at whether the cells are still this attempt's."""

_PROOF = ".shared-"


@contextlib.contextmanager
def order_for_nodes(order: JobOrder, out: Path) -> Iterator[JobOrder]:
    """The order with what lets another machine carry it out: settings, and the proof of a shared folder.

    The proof is a file in the study's folder, with random text, for as long as this lasts: a machine that does not
    read the same text there does not share the folder.
    """
    proof = SharedFolderProof((out / f"{_PROOF}{secrets.token_hex(8)}").resolve(), secrets.token_hex(16))
    proof.file.write_text(proof.text, encoding="utf-8")
    settings = {name: value for name, value in os.environ.items() if name.startswith("DISSENSUS_")}
    try:
        yield replace(order, proof=proof, environment=settings, progress_every=PROGRESS_EVERY)
    finally:
        proof.file.unlink(missing_ok=True)


def run_job(order: str, on_event: OnEvent, *, stopped: Callable[[], bool] = lambda: False) -> None:
    """Run a job on this machine, in a worker process of its own; returns when its last event was sent.

    Where the study lives at a URL, each cell is fetched into a folder of this machine, published as it trains, and
    published to its end before its end is told. Either way this attempt takes a lease on the cells first, and stops
    when another one has taken them: this machine was believed dead, and the cells are in other hands.

    Args:
        order: the job order as JSON, with what `order_for_nodes` adds, and a name for this attempt.
        on_event: called with each event, from this thread.
        stopped: asked now and then; once it says so, the worker is stopped and no more is sent.
    """
    try:
        job = order_from_json(order)
        check_machine(job, host=os.uname().nodename)
        with cells_on_node(job) as cells:
            _work(cells, on_event, stopped)
    except DissensusError as error:
        on_event(Ended(str(error)))


def _work(cells: NodeCells, on_event: OnEvent, stopped: Callable[[], bool]) -> None:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    order = cells.order
    worker = ChildProcess(threads=order.threads, log=order.log, environment=order.environment)
    try:
        worker.give(order, events.put)
        looked = time.monotonic()
        while not stopped():
            with contextlib.suppress(queue.Empty):
                event = cells.published(events.get(timeout=0.5))
                on_event(event)
                if isinstance(event, Over | Ended):
                    return
            if time.monotonic() - looked > LEASE_EVERY:
                looked = time.monotonic()
                cells.check()
    finally:
        worker.terminate()


def check_machine(order: JobOrder, *, host: str) -> None:
    """Raise `SpecError` where this machine does not see the files that the runner sees."""
    proof = order.proof if order.remote is None else None
    if proof is not None and not _reads(proof):
        raise SpecError(
            f"{host} does not see the study's folder {proof.file.parent}: put it where every machine has it under the "
            "same path (a network file system), or let --out be a URL such as s3://bucket/study"
        )
    if order.data_dir is not None and not order.data_dir.is_dir():
        raise SpecError(
            f"{host} does not see the data folder {order.data_dir}: put it where every machine has it"
        )


def _reads(proof: SharedFolderProof) -> bool:
    return proof.file.is_file() and proof.file.read_text(encoding="utf-8") == proof.text


class NodeCells:
    """A job's cells while they are on this machine.

    Args:
        order: as this machine's worker is given it.
        leases: this attempt's, one per cell.
        publishers: one per cell, entered; none where the cells lie on a shared disk.
    """

    def __init__(self, order: JobOrder, leases: list[Lease], publishers: list[Publisher]) -> None:
        self.order = order
        self._leases = leases
        self._open = dict(enumerate(publishers))

    def check(self) -> None:
        """Raise `StoreError` when another attempt has taken a cell."""
        for lease in self._leases:
            lease.check()

    def published(self, event: Event) -> Event:
        """An event of the worker, once what it says is true at the URL, too; a failure if that cannot be."""
        if isinstance(event, Done | Failed):
            try:
                self._close(event.cell)
            except DissensusError as error:
                if isinstance(event, Done):
                    return Failed(event.cell, str(error), type(error).__name__)
        elif isinstance(event, Ended):
            self.close()  # whoever resumes the cells finds what they left
        return event

    def close(self) -> None:
        """Publish what is left of every cell."""
        for place in list(self._open):
            # The cell did not end here: what is there is resumed.
            with contextlib.suppress(DissensusError):
                self._close(place)

    def _close(self, place: int) -> None:
        publisher = self._open.pop(place, None)
        if publisher is not None:
            publisher.__exit__(None, None, None)


@contextlib.contextmanager
def cells_on_node(order: JobOrder) -> Iterator[NodeCells]:
    """Take the leases of a job's cells, fetch them if need be, and publish what is left of them at the end.

    Raises:
        StoreError: a cell cannot be leased, fetched or published.
    """
    if order.remote is None:
        leases = [Lease(cell.folder, order.attempt) for cell in order.cells]
        for lease in leases:
            lease.take()
        yield NodeCells(order, leases, [])
        return
    study = Remote(order.remote)
    with tempfile.TemporaryDirectory(prefix="dissensus-") as scratch:
        cells, leases, publishers = [], [], []
        for cell in order.cells:
            name = cell.folder.name
            folder = Path(scratch) / "cells" / name
            folder.mkdir(parents=True)
            remote = study.child(f"cells/{name}")
            lease = Lease(remote, order.attempt)
            lease.take()
            mirror = Mirror(folder, remote)
            if not mirror.fetch(checkpoint=True):
                remote.get(LOG, folder / LOG)  # an earlier try may have left no more than that
            log_new_try(folder, datetime.now(UTC).isoformat(timespec="seconds"), where=socket.gethostname())
            publishers.append(Publisher(mirror, lease=lease))
            leases.append(lease)
            cells.append(replace(cell, folder=folder))
        log_shared_job([cell.folder for cell in cells])
        local = replace(order, cells=tuple(cells), log=cells[0].folder / LOG)
        node_cells = NodeCells(local, leases, publishers)
        for publisher in publishers:
            publisher.__enter__()
        try:
            yield node_cells
        finally:
            node_cells.close()
