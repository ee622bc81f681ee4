"""Engines with a queue of their own (Ray, Slurm): a job is handed over whole, and waits there for room."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

from dissensus.run.engines.base import Needs
from dissensus.run.messages import JobOrder, OnEvent


class Submission(Protocol):
    """A job that was handed over."""

    def cancel(self) -> None:
        """Ask it to stop, without waiting."""

    def stop(self) -> None:
        """Stop it, by force if need be, and wait until it has ended."""


class QueuedEngine:
    """The part of `base.Engine` that such engines share."""

    name: str
    elsewhere = True
    retries = 3

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._listener: threading.Thread | None = None

    def _listen(self) -> None:
        """Pass events of the jobs on until `_closing` is set; runs in a thread of its own."""
        raise NotImplementedError

    def _start_listening(self) -> None:
        self._listener = threading.Thread(target=self._listen, daemon=True, name=f"{self.name}-events")
        self._listener.start()

    def _stop_listening(self) -> bool:
        """Let the thread end, and wait for it; whether there was one, which is after `open` alone."""
        self._closing.set()
        if self._listener is not None:
            self._listener.join()
        return self._listener is not None

    def submit(self, order: JobOrder, needs: Needs, on_event: OnEvent) -> Submission:
        """Hand a job over."""
        raise NotImplementedError

    def slots(self, jobs: int) -> int:
        """All of them: the queue is there for that, and a cluster that grows by itself sees what is wanted."""
        return max(1, jobs)

    def hire(self, needs: Needs, log: Path) -> QueuedWorker:  # noqa: ARG002 - each job has its own log
        """What will be a job of the cluster once it is given one."""
        return QueuedWorker(self, needs)

    def release(self, worker: object) -> None:
        """What was handed over ends with its job."""


class QueuedWorker:
    """A worker from the moment when it is given its job, which it is until its end; see `base.Worker`."""

    def __init__(self, engine: QueuedEngine, needs: Needs) -> None:
        self._engine = engine
        self._needs = needs
        self._submission: Submission | None = None

    def give(self, order: JobOrder, on_event: OnEvent) -> None:
        """Hand the job over; it runs when there is room."""
        self._submission = self._engine.submit(order, self._needs, on_event)

    def ask_to_stop(self) -> None:
        """See `base.Worker`."""
        if self._submission is not None:
            self._submission.cancel()

    def terminate(self) -> None:
        """See `base.Worker`."""
        if self._submission is not None:
            self._submission.stop()

    def dismiss(self) -> None:
        """It ends with its job."""
