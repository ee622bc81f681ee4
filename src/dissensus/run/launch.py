"""Launching the processes of one cell on one machine.

`run_processes` starts a worker process for each (`process.py`) and orders it to run `cell.run_process`. They meet
through a file (torch's `FileStore`), so no port has to be free; on GPUs each takes the one of its number. Progress
comes from the first process, errors from any. When one fails the others are ended at once: they would wait for it. When
whoever started them is gone, by whatever means, they end.

This is what torch's launcher does, without a process in between that imports torch again, restarts and ports.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dissensus.config import Execution, RunSpec
from dissensus.errors import DissensusError, SpecError
from dissensus.run.messages import RENDEZVOUS, CellOrder, Ended, Event, Failed, JobOrder, Over, Progress
from dissensus.run.process import ChildProcess

if TYPE_CHECKING:
    from dissensus.run.progress import CellProgress

PATIENCE = 1.0
"""Seconds in which the others' errors are collected after one has failed: theirs may be the cause."""

RUN_PROCESS = "dissensus.run.cell:run_process"
"""What each process runs, as module:function."""


def in_group() -> bool:
    """Whether this process is one of several already (`torchrun`, `accelerate launch`, or started from here)."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()


def run_processes(
    spec: RunSpec,
    folder: Path,
    execution: Execution,
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    on_progress: Callable[[CellProgress], None] | None = None,
) -> None:
    """Start the processes of a cell and wait for their end; see `cell.run_cell`.

    Args:
        threads: of all processes together; each gets its share, at least one.

    Raises:
        DissensusError: of the kind and with the words of the process that failed first.
        RuntimeError: what failed there was no error of this package, or the process died.
    """
    world = execution.processes
    _refuse_too_few_gpus(world, device)
    order = JobOrder(
        (CellOrder(spec, folder, execution),),
        threads=max(1, (threads or os.cpu_count() or 1) // world),
        run_cell=RUN_PROCESS,
        data_dir=data_dir,
        device=device,
        progress_every=0.0,
    )
    events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
    processes: list[ChildProcess] = []
    with tempfile.TemporaryDirectory(prefix="dissensus-processes-") as folder_of_rendezvous:
        rendezvous = Path(folder_of_rendezvous) / "store"
        try:
            for rank in range(world):
                process = _started(rank, world, order.threads, rendezvous)
                processes.append(process)
                process.give(order, lambda event, rank=rank: events.put((rank, event)))  # type: ignore[misc]
            running = world
            while running:
                rank, event = events.get()
                if isinstance(event, Progress) and on_progress is not None:
                    on_progress(event.at)
                elif isinstance(event, Failed | Ended):
                    raise _error(rank, event, events)
                elif isinstance(event, Over):
                    running -= 1
            while processes:
                processes.pop().dismiss()
        finally:
            for process in processes:
                process.ask_to_stop()
            for process in processes:
                process.terminate()


def _refuse_too_few_gpus(world: int, device: str | None) -> None:
    import torch

    if device is None and not torch.cuda.is_available():
        return
    kind, _, index = (device or "cuda").partition(":")
    if index:
        raise SpecError(
            f"device is {device!r}: {world} processes take a GPU each; name the kind alone ({kind!r})"
        )
    if kind == "cuda" and torch.cuda.device_count() < world:
        raise SpecError(
            f"execution: processes: {world} need a GPU each, and there are {torch.cuda.device_count()}; lower "
            "processes, or compute on the CPU (--device cpu)"
        )


def _started(rank: int, world: int, threads: int, rendezvous: Path) -> ChildProcess:
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    environment = {
        # Unless told otherwise: the processes are on one machine.
        "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", loopback),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        RENDEZVOUS: str(rendezvous),
    }
    return ChildProcess(
        threads=threads, log=None, environment=environment, name=f"process {rank} of the cell"
    )


def _error(rank: int, first: Failed | Ended, events: queue.SimpleQueue[tuple[int, Event]]) -> Exception:
    """What to raise after a first failure: an error of this package, else what failed first, else how one died."""
    signs: list[tuple[int, Failed | Ended]] = [(rank, first)]
    until = time.monotonic() + PATIENCE
    while (rest := until - time.monotonic()) > 0 and not any(_of_this_package(sign) for _, sign in signs):
        try:
            other, event = events.get(timeout=rest)
        except queue.Empty:
            break
        if isinstance(event, Failed | Ended):
            signs.append((other, event))
    failed = [sign for sign in signs if isinstance(sign[1], Failed)]
    best = next((sign for sign in failed if _of_this_package(sign[1])), None) or (failed or signs)[0]
    return _raised(*best)


def _of_this_package(event: Failed | Ended) -> bool:
    from dissensus.record.processes import error_like

    return isinstance(event, Failed) and isinstance(error_like(event.kind, "", 0), DissensusError)


def _raised(rank: int, event: Failed | Ended) -> Exception:
    from dissensus.record.processes import error_like

    if isinstance(event, Ended):
        return RuntimeError(event.error)
    error = error_like(event.kind, event.error.removeprefix(f"{event.kind}: "), rank)
    error.add_note(f"In process {rank} of the cell:\n{event.traceback}")
    return error
