"""Destination of a running study: its folder here, and, where it has a URL, its image there. Imports no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from dissensus.errors import StoreError
from dissensus.remote import Mirror, Publisher, Remote, fetch_study
from dissensus.study.status import CellStatus


class Destination:
    """The study's folder, and its URL if it has one; without one nothing here does anything.

    Cells that train on this machine are published from here as they train. Cells that train elsewhere are published
    by the machine that has them (`engines/node.py`): from here go their statuses alone, and their curves are
    brought here when all is over.

    Args:
        out: the study's folder here.
        url: where the study lives.
        elsewhere: whether its cells train on other machines.
    """

    def __init__(self, out: Path, url: str | None, *, elsewhere: bool) -> None:
        self._out = out
        self._remote = Remote(url) if url is not None else None
        self._elsewhere = elsewhere
        self._publishers: dict[str, Publisher] = {}

    def fetch(self) -> None:
        """Fetch what is there already: finished cells, and what others resume from if they are to train here."""
        if self._remote is not None:
            fetch_study(self._remote, self._out, checkpoints=not self._elsewhere)

    def publish_study(self) -> None:
        """Publish what the study is."""
        if self._remote is not None:
            self._remote.put(self._out / "study.yaml", "study.yaml")

    def cell_changed(self, before: CellStatus, now: CellStatus) -> None:
        """Publish what a change of a cell asks for.

        Raises:
            StoreError: the end of a cell that trained here cannot be published.
        """
        if self._remote is None or now.state == before.state:
            return
        folder, remote_cell = self._out / "cells" / now.cell, self._remote.child(f"cells/{now.cell}")
        if self._elsewhere:
            remote_cell.put(folder / "status.json", "status.json")
        elif now.state == "running":
            publisher = Publisher(Mirror(folder, remote_cell))
            self._publishers[now.cell] = publisher.__enter__()
        elif publisher_of := self._publishers.pop(now.cell, None):
            publisher_of.__exit__(None, None, None)

    def fetch_curves(self, statuses: Mapping[str, CellStatus]) -> None:
        """Fetch the curves of cells that ended elsewhere."""
        if self._remote is None or not self._elsewhere:
            return
        for name, status in statuses.items():
            if status.state == "done":
                Mirror(self._out / "cells" / name, self._remote.child(f"cells/{name}")).fetch(
                    checkpoint=False
                )

    def close(self) -> None:
        """Publish what is left of cells that did not end; what cannot be published is resumed from here."""
        while self._publishers:
            with contextlib.suppress(StoreError):
                self._publishers.popitem()[1].__exit__(None, None, None)
