"""Lease on a cell's folder: the last attempt that took it may write."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from dissensus.errors import StoreError
from dissensus.files import write_atomic
from dissensus.remote.folder import Remote

LEASE = "lease.json"


class LeaseLostError(StoreError):
    """Another attempt took the cell."""


class Lease:
    """One attempt's lease on a cell's folder, local, on a shared disk or at a remote.

    The last attempt that calls `take` has the cell. An earlier one, whose machine was believed dead and came back,
    finds at its next look that it has not, and must stop writing.

    What this does not guarantee: there is no compare-and-swap. An attempt that looked just before another took the
    cell may still finish the publish that it is in; so for that long two may write. Two attempts that take a cell at
    the same moment are told apart by whose file lies there in the end, which both see from then on. And nothing is
    given back: the lease of an attempt that has ended lies there until the next one takes the cell.

    Args:
        place: the cell's folder, or the remote of it.
        attempt: a name that no other attempt has.
    """

    def __init__(self, place: Path | Remote, attempt: str) -> None:
        if not attempt:
            raise StoreError("an attempt at a cell needs a name of its own; it has none")
        self.attempt = attempt
        self._place = place

    def take(self) -> None:
        """Take the cell from whoever had it. Raises `StoreError` if the folder cannot be written."""
        facts = {
            "attempt": self.attempt,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        text = json.dumps(facts, indent=1) + "\n"
        if isinstance(self._place, Remote):
            self._place.write(LEASE, text.encode())
            return
        try:
            self._place.mkdir(parents=True, exist_ok=True)
            write_atomic(self._place / LEASE, text)
        except OSError as error:
            raise StoreError(f"cannot write {self._place / LEASE}: {error.strerror or error}") from None

    def held(self) -> bool:
        """Whether the cell is still this attempt's; looks anew. Raises `StoreError` if that cannot be found out."""
        return self._holder().get("attempt") == self.attempt

    def check(self) -> None:
        """Raise `LeaseLostError`, a `StoreError`, if the cell is not this attempt's any more."""
        holder = self._holder()
        if holder.get("attempt") != self.attempt:
            raise LeaseLostError(self._lost(holder))

    def _lost(self, holder: dict[str, object]) -> str:
        where = self._place.shown if isinstance(self._place, Remote) else str(self._place)
        who = (
            f"another attempt took it ({holder['attempt']}, process {holder.get('pid')} on {holder.get('host')}, "
            f"{holder.get('time')})"
            if holder.get("attempt")
            else f"its {LEASE} is gone"
        )
        return (
            f"{where} is no longer this attempt's ({self.attempt}): {who}. This attempt stops; nothing of it is "
            "published any more"
        )

    def _holder(self) -> dict[str, object]:
        if isinstance(self._place, Remote):
            content = self._place.read(LEASE)
        else:
            try:
                content = (self._place / LEASE).read_bytes()
            except FileNotFoundError:
                content = None
            except OSError as error:
                raise StoreError(f"cannot read {self._place / LEASE}: {error.strerror or error}") from None
        try:
            facts = json.loads(content or b"{}")
        except (ValueError, RecursionError):
            return {}
        return facts if isinstance(facts, dict) else {}
