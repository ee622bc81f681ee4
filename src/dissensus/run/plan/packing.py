"""When and where a study's jobs would run on given machines: list scheduling, as a pure function.

Jobs are taken in their order. Whenever something is free, every waiting job that fits on a machine starts there, the
first of them first; one that does not fit keeps no later one waiting. That is what Ray and Slurm's backfill come to,
and by Graham's bound the end is at most twice the best one where a job fills a machine.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dissensus.errors import SpecError
from dissensus.run.engines.base import Machine, Needs

_TINY = 1e-9
"""What sums of fractions may be off by."""


@dataclass(frozen=True)
class Placed:
    """Where one job runs.

    Attributes:
        start: seconds after the first job's start.
        end: the same, of its end.
        machine: its place in the list of machines.
    """

    start: float
    end: float
    machine: int


@dataclass(frozen=True)
class Packing:
    """Where each job runs, in the order of the jobs."""

    placed: tuple[Placed, ...]

    @property
    def wall_seconds(self) -> float:
        """Until the last job is over."""
        return max((job.end for job in self.placed), default=0.0)

    def peak(self, values: Sequence[float]) -> float:
        """The largest sum of a value of the jobs that run at the same time."""
        # At one instant what ends goes before what begins.
        changes = [(p.start, 1, v) for p, v in zip(self.placed, values, strict=True)]
        changes += [(p.end, 0, -v) for p, v in zip(self.placed, values, strict=True)]
        most = now = 0.0
        for _, _, change in sorted(changes):
            now += change
            most = max(most, now)
        return most


def pack(
    seconds: Sequence[float],
    needs: Sequence[Needs],
    machines: Sequence[Machine],
    *,
    at_once: int | None = None,
) -> Packing:
    """Place jobs on machines.

    A part of a GPU comes from one GPU: of two GPUs with 0.4 free each, none holds a job that reserves 0.6. Jobs
    without a GPU go to machines without one while there is room.

    Args:
        seconds: of each job.
        needs: of each job.
        machines: what there is.
        at_once: most jobs at a time; default: as many as there is room for.

    Raises:
        SpecError: no machine has room for a job, even when nothing else runs.
    """
    check(needs, machines)
    rooms = [_Room(machine) for machine in machines]
    for_gpus = list(range(len(rooms)))
    for_none = sorted(for_gpus, key=lambda place: machines[place].gpus > 0)
    placed: list[Placed | None] = [None] * len(seconds)
    waiting = list(range(len(seconds)))
    running: list[tuple[float, int, int, tuple[tuple[int, float], ...]]] = []
    now = 0.0
    while waiting:
        refused: set[Needs] = set()
        still: list[int] = []
        for job in waiting:
            need = needs[job]
            full = at_once is not None and len(running) >= at_once
            if full or need in refused:
                still.append(job)
                continue
            for place in for_gpus if need.gpus > 0 else for_none:
                if (taken := rooms[place].take(need)) is not None:
                    placed[job] = Placed(now, now + seconds[job], place)
                    heapq.heappush(running, (now + seconds[job], job, place, taken))
                    break
            else:
                refused.add(need)
                still.append(job)
        waiting = still
        if waiting:
            now = running[0][0]
            while running and running[0][0] <= now:
                _, job, place, taken = heapq.heappop(running)
                rooms[place].give_back(needs[job], taken)
    return Packing(tuple(job for job in placed if job is not None))


def check(needs: Sequence[Needs], machines: Sequence[Machine]) -> None:
    """Raise `SpecError` for a job that no machine has room for."""
    for need in dict.fromkeys(needs):
        if not any(_Room(machine).take(need) is not None for machine in machines):
            there = "; ".join(dict.fromkeys(machine.words for machine in machines)) or "no machine"
            raise SpecError(
                f"no machine has room for a cell that takes {need.cpus:g} processors, {need.gpus:g} GPUs and "
                f"{need.memory_gib:g} GiB; there is: {there}. Lower the study's 'execution', or state larger machines "
                "with --cluster"
            )


class _Room:
    """What is free on one machine."""

    def __init__(self, machine: Machine) -> None:
        self.cpus = machine.cpus
        self.memory_gib = machine.memory_gib
        self.gpus = [1.0] * int(machine.gpus)
        if part := machine.gpus - int(machine.gpus):
            self.gpus.append(part)

    def take(self, needs: Needs) -> tuple[tuple[int, float], ...] | None:
        """Take what a job needs, and say which parts of which GPUs; None, and nothing taken, where it does not fit."""
        if needs.cpus > self.cpus + _TINY or needs.memory_gib > self.memory_gib + _TINY:
            return None
        whole = math.floor(needs.gpus + _TINY)
        part = needs.gpus - whole
        free = [place for place, left in enumerate(self.gpus) if left >= 1 - _TINY]
        if len(free) < whole:
            return None
        taken = [(place, 1.0) for place in free[:whole]]
        if part > _TINY:
            # The fullest GPU that still has room, so that whole ones stay free.
            fits = [p for p, left in enumerate(self.gpus) if left >= part - _TINY and p not in free[:whole]]
            if not fits:
                return None
            taken.append((min(fits, key=lambda place: self.gpus[place]), part))
        self.cpus -= needs.cpus
        self.memory_gib -= needs.memory_gib
        for place, share in taken:
            self.gpus[place] -= share
        return tuple(taken)

    def give_back(self, needs: Needs, taken: tuple[tuple[int, float], ...]) -> None:
        """A job is over."""
        self.cpus += needs.cpus
        self.memory_gib += needs.memory_gib
        for place, share in taken:
            self.gpus[place] += share
