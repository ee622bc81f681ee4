"""How much of the machine a study takes when nobody says: workers, threads of each, cells trained in one pass."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dissensus import threads
from dissensus.run.engines.base import GIB_A_PROCESS

DEFAULT_FUSE = 1
"""Most LoRA cells that train in one pass when nobody says: a CPU gains nothing from more, and no GPU was measured."""

_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""One of them is there wherever Linux has a driver that torch computes on: NVIDIA's, WSL's, AMD's."""


def on_gpu(device: str | None) -> bool:
    """Whether cells on `device` (None: the default) compute on a GPU."""
    if device is not None:
        return device.startswith("cuda")
    if sys.platform == "linux" and not any(Path(driver).exists() for driver in _DRIVERS):
        return False  # torch takes a second or two to say the same
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def default_workers(jobs: int, device: str | None) -> int:
    """Workers for so many jobs: one on a GPU, else one a core as far as jobs and memory go.

    A core of its own serves a cell better than a share of several: small products do not gain from threads.
    """
    if on_gpu(device):
        return 1
    memory = available_gib()
    by_memory = jobs if memory is None else int(memory / GIB_A_PROCESS)
    return max(1, min(threads.available(), jobs, by_memory))


def default_threads(workers: int) -> int:
    """Threads of each worker: what OMP_NUM_THREADS says, or the usable cores shared out."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return max(1, threads.available() // workers)


def available_gib(meminfo: Path = Path("/proc/meminfo")) -> float | None:
    """Memory that is free or can be freed, in GiB; None where the system does not say."""
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return int(rest.split()[0]) / 2**20  # the file counts in KiB
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, OSError, ValueError):
        return None
