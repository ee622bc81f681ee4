"""Cells of a job on a machine of a cluster: leased, and, where the study has a URL, fetched and published."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from dissensus.errors import DissensusError
from dissensus.remote import Lease, Mirror, Publisher, Remote
from dissensus.run.job_status import LOG, log_new_try, log_shared_job
from dissensus.run.messages import Done, Ended, Event, Failed, JobOrder


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
