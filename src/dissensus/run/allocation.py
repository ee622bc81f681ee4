"""Allocation: workers, threads of each and cells in one pass when nobody says; what a study says of each cell."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dissensus import threads as usable
from dissensus.config import Execution, StudySpec
from dissensus.errors import SpecError
from dissensus.run.engines.base import GIB_A_PROCESS, Needs, needs_of
from dissensus.run.jobs import Job
from dissensus.study.grid import expand, matching

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
    return max(1, min(usable.available(), jobs, by_memory))


def default_threads(workers: int) -> int:
    """Threads of each worker: what OMP_NUM_THREADS says, or the usable cores shared out."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdigit() and int(named) > 0:
        return int(named)
    return max(1, usable.available() // workers)


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


def executions(study: StudySpec) -> dict[str, Execution]:
    """What each cell of a study is given, by its id; later rules over earlier ones.

    Raises:
        SpecError: a rule matches no cell, or what comes together for a cell is not valid.
    """
    cells = expand(study)
    settings_of: dict[str, dict[str, Any]] = {cell.cell_id: {} for cell in cells}
    last = dict.fromkeys(settings_of, 0)
    for index, rule in enumerate(study.execution):
        for cell in matching(rule.when, cells, f"study {study.name!r}: execution.{index}.when"):
            settings_of[cell.cell_id].update(rule.set)
            last[cell.cell_id] = index
    return {
        name: Execution.parse(settings, f"study {study.name!r}", prefix=f"execution.{last[name]}.set")
        for name, settings in settings_of.items()
    }


def allocate(
    jobs: Sequence[Job],
    carried_out: Mapping[str, Execution],
    *,
    gpus: bool,
    threads: int | None,
    shared_by: int | None,
) -> list[Needs]:
    """What each job is given.

    Args:
        jobs: to be run.
        carried_out: see `executions`.
        gpus: whether the machines have GPUs.
        threads: of each, where somebody said so.
        shared_by: workers that share this machine's cores; None on a cluster, where a job has those it reserves.
    """
    if shared_by is not None:
        threads = threads or default_threads(max(shared_by, 1))
    return [needs_of([carried_out[cell.cell_id] for cell in job], gpus=gpus, threads=threads) for job in jobs]


def refuse_below_one(**options: int | None) -> None:
    """Raise `SpecError` for an option that is below 1; None stands for the default."""
    for option, value in options.items():
        if value is not None and value < 1:
            raise SpecError(f"{option} is {value}; expected 1 or more")
