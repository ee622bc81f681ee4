"""Local engine: worker processes on this machine, so many at a time, each used again and again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dissensus.run.allocation import default_workers, on_gpu
from dissensus.run.engines.base import EngineSettings, Needs, Worker, refuse_options
from dissensus.run.process import ChildProcess


def local_engine(settings: EngineSettings) -> LocalEngine:
    """`--engine local`."""
    refuse_options(settings.options, "local", "none")
    return LocalEngine(workers=settings.workers, device=settings.device)


class LocalEngine:
    """Worker processes on this machine; see `base.Engine`. What cells reserve is not looked at: `workers` decides.

    Args:
        workers: jobs at a time; default: one on a GPU, else one per core, as far as there are jobs and memory.
        device: torch device of every worker; default: a GPU where there is one.
    """

    name = "local"
    elsewhere = False
    retries = 0

    def __init__(self, *, workers: int | None = None, device: str | None = None) -> None:
        self._workers = workers
        self._device = device
        self._idle: list[tuple[int, ChildProcess]] = []

    def open(self) -> None:
        """Nothing to reach."""

    def has_gpus(self) -> bool:
        """See `base.Engine`."""
        return on_gpu(self._device)

    def check(self, needs: Sequence[Needs]) -> None:
        """Nothing is reserved, so nothing can be too much."""

    def slots(self, jobs: int) -> int:
        """See `base.Engine`."""
        return self._workers or default_workers(jobs, self._device)

    def hire(self, needs: Needs, log: Path) -> ChildProcess:
        """An idle process with as many threads, or a new one."""
        for place, (count, worker) in enumerate(self._idle):
            if count == needs.threads:
                del self._idle[place]
                return worker
        return ChildProcess(threads=needs.threads, log=log)

    def release(self, worker: Worker) -> None:
        """Keep it for the next job."""
        assert isinstance(worker, ChildProcess)
        self._idle.append((worker.threads, worker))

    def close(self) -> None:
        """Let every idle process end."""
        while self._idle:
            self._idle.pop()[1].dismiss()
