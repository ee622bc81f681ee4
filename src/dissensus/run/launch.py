"""One cell on several processes of one machine: the process that starts them, and the processes.

`run_ranks` starts `python -m dissensus.run.launch` once a process, gives each its job as a line of JSON on standard
input, and waits. The pipe stays open: when it closes, whoever started them is gone, by whatever means, and they end.
They meet through a file (torch's `FileStore`), so no port has to be free; on GPUs each takes the one of its number.
Events come back as lines of JSON: how far the first process is, and what went wrong in any. What libraries print goes
where the starting process prints. When one fails the others are ended at once: they would wait for it.

This is what torch's launcher does, less a process in between that imports torch again, restarts and ports.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dissensus.config import Execution, RunSpec
from dissensus.errors import DissensusError, SpecError

if TYPE_CHECKING:
    from dissensus.run.cell import CellProgress

PATIENCE = 1.0
"""Seconds that the others are listened to after one has failed: theirs may be the error that tells."""

MEMBER = ("-m", "dissensus.run.launch")
"""How Python is asked to be one of the processes."""

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def in_group() -> bool:
    """Whether this process is one of several already (`torchrun`, `accelerate launch`, or started from here)."""
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()


def run_ranks(
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
        RuntimeError: what failed there was no error of ours, or it died.
    """
    from dissensus.run.cell import CellProgress

    world = execution.processes
    _enough_gpus(world, device)
    each = max(1, (threads or os.cpu_count() or 1) // world)
    heard: queue.SimpleQueue[tuple[int, Mapping[str, Any]]] = queue.SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="dissensus-ranks-") as meeting:
        job = {
            "spec": spec.model_dump(mode="json"),
            "folder": str(folder),
            "execution": execution.model_dump(mode="json"),
            "data_dir": None if data_dir is None else str(data_dir),
            "threads": each,
            "device": device,
            "meeting": str(Path(meeting) / "store"),
        }
        members: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(world):
                members.append(_started(rank, world, each))
                threading.Thread(target=_listen, args=(rank, members[rank], heard), daemon=True).start()
                _give(members[rank], job)
            left = world
            while left:
                rank, event = heard.get()
                if event["event"] == "progress" and on_progress is not None:
                    on_progress(CellProgress(**event["progress"]))
                elif event["event"] == "failed" or (event["event"] == "ended" and event["code"] != 0):
                    raise _error(rank, event, heard)
                elif event["event"] == "ended":
                    left -= 1
        finally:
            for member in members:
                member.kill()
            for member in members:
                member.wait()
                if member.stdin is not None:
                    member.stdin.close()


def _enough_gpus(world: int, device: str | None) -> None:
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


def _started(rank: int, world: int, threads: int) -> subprocess.Popen[bytes]:
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    environment = {
        "GLOO_SOCKET_IFNAME": loopback,  # unless told otherwise: the processes are on one machine
        **os.environ,
        "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
        **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        **{name: str(value) for name, value in numbers.items()},
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-X", "faulthandler", *MEMBER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


def _give(member: subprocess.Popen[bytes], job: Mapping[str, Any]) -> None:
    assert member.stdin is not None  # PIPE
    try:
        member.stdin.write(json.dumps(job).encode() + b"\n")
        member.stdin.flush()  # and stays open
    except OSError:
        pass  # it is gone; whoever listens to it says so


def _listen(
    rank: int, member: subprocess.Popen[bytes], heard: queue.SimpleQueue[tuple[int, Mapping[str, Any]]]
) -> None:
    assert member.stdout is not None  # PIPE
    with member.stdout as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # half a line: it was killed while it wrote
            heard.put((rank, event))
    heard.put((rank, {"event": "ended", "code": member.wait()}))


def _error(
    rank: int, event: Mapping[str, Any], heard: queue.SimpleQueue[tuple[int, Mapping[str, Any]]]
) -> Exception:
    """What to raise after a first sign of failure: an error of ours, else what was said first, else how one died."""
    signs, until = [(rank, event)], time.monotonic() + PATIENCE
    while (rest := until - time.monotonic()) > 0 and not any(_ours(sign) for _, sign in signs):
        try:
            signs.append(heard.get(timeout=rest))
        except queue.Empty:
            break
    said = [sign for sign in signs if sign[1]["event"] == "failed"]
    best = next((sign for sign in said if _ours(sign[1])), None) or (said[0] if said else signs[0])
    return _raised(*best)


def _ours(event: Mapping[str, Any]) -> bool:
    from dissensus.record.processes import error_like

    return event["event"] == "failed" and isinstance(error_like(event["kind"], "", 0), DissensusError)


def _raised(rank: int, event: Mapping[str, Any]) -> Exception:
    from dissensus.record.processes import error_like

    if event["event"] == "failed":
        error = error_like(event["kind"], event["error"], rank)
        error.add_note(f"In process {rank} of the cell:\n{event['traceback']}")
        return error
    code = event["code"]
    memory = "; often this means that memory ran out" if code == -signal.SIGKILL else ""
    how = f"died with signal {-code}" if code < 0 else f"ended with exit code {code}"
    return RuntimeError(f"process {rank} of the cell {how} before the cell was done{memory}")


def main() -> int:
    """Be one process of a cell: join the others, run it with them, say how it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    try:
        _join_and_run(job, lambda event: events.write(json.dumps(event) + "\n"))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told to whoever started this
        events.write(
            json.dumps(
                {
                    "event": "failed",
                    "kind": type(error).__name__,
                    "error": str(error),
                    "traceback": "".join(traceback.format_exception(error)),
                }
            )
            + "\n"
        )
        events.flush()
        os._exit(1)  # no orderly end: it would wait for the others
    return 0


def _end_with_the_pipe() -> None:
    while os.read(0, 1 << 12):
        pass
    os._exit(1)


def _join_and_run(job: Mapping[str, Any], send: Callable[[Mapping[str, Any]], object]) -> None:
    import torch
    import torch.distributed as dist

    from dissensus.models.scoring import device_for
    from dissensus.run.cell import CellProgress, run_cell

    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    kind = device_for(job["device"]).type
    if kind == "cuda":
        torch.cuda.set_device(rank)
    # With CUDA both: what waits in the CPU's memory (FSDP's offload) is exchanged by gloo.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo",
        store=dist.FileStore(job["meeting"], world),  # type: ignore[attr-defined]
        rank=rank,
        world_size=world,
    )

    def report(progress: CellProgress) -> None:
        fields = {name: getattr(progress, name) for name in CellProgress.__slots__}
        send({"event": "progress", "progress": fields})

    run_cell(
        RunSpec.parse(job["spec"], "the cell's specification"),
        Path(job["folder"]),
        data_dir=Path(job["data_dir"]) if job["data_dir"] else None,
        threads=job["threads"],
        device=job["device"],
        on_progress=report if rank == 0 else None,
        execution=Execution.parse(job["execution"], "the cell's execution"),
    )
    dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
