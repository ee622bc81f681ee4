"""The cells of a job on a machine of a cluster: claimed, and, where the study has a URL, brought and published."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dissensus.errors import DissensusError
from dissensus.remote import Claim, Mirror, Publisher, Remote
from dissensus.run.cell_log import LOG, begin_try, trained_together
from dissensus.run.engines.base import Event


class HostedCells:
    """A job's cells while they are here.

    Args:
        job: as this machine's worker is given it.
        log: where the worker prints.
        claims: this attempt's, one a cell.
        publishers: one a cell, entered; none where the cells lie on a shared disk.
    """

    def __init__(
        self, job: Mapping[str, Any], log: Path, claims: list[Claim], publishers: list[Publisher]
    ) -> None:
        self.job = job
        self.log = log
        self._claims = claims
        self._open = dict(enumerate(publishers))

    def check(self) -> None:
        """Raise `StoreError` when another attempt has taken a cell."""
        for claim in self._claims:
            claim.check()

    def settled(self, event: Event) -> Event:
        """An event of the worker, once what it says is true at the URL, too; a failure if that cannot be."""
        if event["event"] in ("done", "failed"):
            try:
                self._close(int(event["cell"]))
            except DissensusError as error:
                if event["event"] == "done":
                    return {"event": "failed", "cell": event["cell"], "error": str(error), "traceback": ""}
        elif event["event"] == "ended":
            self.close()  # whoever goes on with the cells finds what they left
        return event

    def close(self) -> None:
        """Publish what is left of every cell."""
        for place in list(self._open):
            # The cell did not end here: what is there is gone on with.
            with contextlib.suppress(DissensusError):
                self._close(place)

    def _close(self, place: int) -> None:
        publisher = self._open.pop(place, None)
        if publisher is not None:
            publisher.__exit__(None, None, None)


@contextlib.contextmanager
def hosted_cells(job: Mapping[str, Any], log: str) -> Iterator[HostedCells]:
    """Claim a job's cells, bring them here if need be, and publish what is left of them at the end.

    Raises:
        StoreError: a cell cannot be claimed, brought or published.
    """
    if job["remote"] is None:
        attempt = job.get("attempt")  # a plan's measurements have no cells of their own
        claims = [Claim(Path(cell["folder"]), attempt) for cell in job["cells"]] if attempt else []
        for claim in claims:
            claim.take()
        yield HostedCells(job, Path(log), claims, [])
        return
    study = Remote(job["remote"])
    with tempfile.TemporaryDirectory(prefix="dissensus-") as scratch:
        cells, claims, publishers = [], [], []
        for cell in job["cells"]:
            name = cell["folder"].rpartition("/")[2]
            folder = Path(scratch) / "cells" / name
            folder.mkdir(parents=True)
            remote = study.child(f"cells/{name}")
            claim = Claim(remote, job["attempt"])
            claim.take()
            mirror = Mirror(folder, remote)
            if not mirror.fetch(checkpoint=True):
                remote.get(LOG, folder / LOG)  # an earlier try may have left no more than that
            begin_try(folder, datetime.now(UTC).isoformat(timespec="seconds"), where=socket.gethostname())
            publishers.append(Publisher(mirror, claim=claim))
            claims.append(claim)
            cells.append({**cell, "folder": str(folder)})
        trained_together([Path(cell["folder"]) for cell in cells])
        here = HostedCells({**job, "cells": cells}, Path(cells[0]["folder"]) / "log.txt", claims, publishers)
        for publisher in publishers:
            publisher.__enter__()
        try:
            yield here
        finally:
            here.close()
