"""A thread that publishes a cell's folder while it trains."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from dissensus.remote.lease import Lease, LeaseLostError
from dissensus.remote.mirror import Mirror

log = logging.getLogger("dissensus")


class Publisher:
    """Context manager: publishes every so many seconds while its body runs, and once more at its end.

    What goes wrong in the thread stops no training: it is tried again at the next tick, and what went wrong at the
    last publish is raised at the exit. If the body itself ends with an error, what it left is published all the same,
    and the body's error is the one that is raised. Where another attempt took the cell, nothing more is published.

    Args:
        mirror: of the cell.
        every: seconds between two publishes: what a lost machine costs, besides a tracking point.
        lease: this attempt's lease, taken already; it is looked at before each publish.

    Raises:
        StoreError: at the exit: the last publish failed, or another attempt took the cell.
    """

    def __init__(self, mirror: Mirror, *, every: float = 15.0, lease: Lease | None = None) -> None:
        self._mirror = mirror
        self._every = every
        self._lease = lease
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ticks, name="publisher", daemon=True)
        self._lost: LeaseLostError | None = None
        self._failed = ""

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        try:
            self._publish()
        except Exception as problem:
            if error is None:
                raise
            error.add_note(f"and what it left could not be published: {problem}")

    def check(self) -> None:
        """Raise `StoreError` if another attempt took the cell; for a training loop to ask between two steps.

        It asks nobody: it says what the last publish found.
        """
        if self._lost is not None:
            raise self._lost

    def _publish(self) -> None:
        self.check()
        if self._lease is not None:
            try:
                self._lease.check()
            except LeaseLostError as lost:
                self._lost = lost
                raise
        self._mirror.publish()

    def _ticks(self) -> None:
        while not self._end.wait(self._every):
            try:
                self._publish()
            except LeaseLostError as lost:
                log.warning("%s", lost)
                return
            except Exception as problem:  # noqa: BLE001 - whatever it is, training goes on
                if str(problem) != self._failed:
                    log.warning("not published, tried again in %g s: %s", self._every, problem)
                self._failed = str(problem)
            else:
                self._failed = ""
