"""Engines: what runs the jobs of a study. The interface that each keeps; nothing in the science knows which one it is.

An engine hands out workers. A worker takes one job order at a time and says what becomes of it in events
(`run/messages.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from dissensus.config import Execution
from dissensus.errors import SpecError
from dissensus.run.messages import JobOrder, OnEvent

GIB_A_PROCESS = 3.0
"""Memory that a process is taken to need: torch, a base model in fp32 and the activations of a batch."""


@dataclass(frozen=True)
class Needs:
    """What a job is given.

    Attributes:
        cpus: processors.
        gpus: GPUs, fractions too.
        memory_gib: memory, GiB.
        threads: of its libraries, all processes together.
    """

    cpus: float
    gpus: float
    memory_gib: float
    threads: int


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is made from: what was said of it on the command line.

    Attributes:
        out: the study's folder.
        workers: jobs at a time; None where nobody said.
        device: torch device of every worker; None where nobody said.
        options: of `--engine-option KEY=VALUE`, by key.
    """

    out: Path
    workers: int | None = None
    device: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def refuse_options(options: Mapping[str, str], name: str, known: str) -> None:
    """Raise `SpecError` for an option that the engine `name` does not have; `known`: those that it has, in words."""
    for key, value in options.items():
        raise SpecError(f"--engine-option {key}={value}: unknown to the engine {name}; known: {known}")


class Worker(Protocol):
    """What runs a job."""

    def give(self, order: JobOrder, on_event: OnEvent) -> None:
        """Give it a job; `on_event` is called with each event, `Over` or `Ended` last."""

    def ask_to_stop(self) -> None:
        """Ask it to stop, without waiting."""

    def terminate(self) -> None:
        """Stop it, by force if need be, and wait until it has."""

    def dismiss(self) -> None:
        """Let it go; it has no job."""


@runtime_checkable
class Engine(Protocol):
    """What hands out workers.

    Attributes:
        name: as on the command line.
        elsewhere: whether jobs run on other machines.
        retries: how often a job whose worker was lost is tried again, when nobody says.
    """

    name: str
    elsewhere: bool
    retries: int

    def open(self) -> None:
        """Reach the machines. Raises `SpecError` when they cannot be reached."""

    def has_gpus(self) -> bool:
        """Whether jobs compute on GPUs."""

    def check(self, needs: Sequence[Needs]) -> None:
        """Raise `SpecError` for a job that no machine has room for."""

    def slots(self, jobs: int) -> int:
        """How many of so many jobs to hand over at a time."""

    def hire(self, needs: Needs, log: Path) -> Worker:
        """A worker for one job; `log`: where it prints before its first job."""

    def release(self, worker: Worker) -> None:
        """Take back a worker whose job is over."""

    def close(self) -> None:
        """Let go of everything."""


def needs_of(executions: Sequence[Execution], *, gpus: bool, threads: int | None) -> Needs:
    """What a job of cells that are carried out so is given: the most that any of them asks for.

    Args:
        executions: of each of its cells.
        gpus: whether the machines have GPUs, so that a process gets one when nothing is said.
        threads: of a cell, where somebody said so; default: its processors.
    """
    processes = max(e.processes for e in executions)
    cpus = max((e.cpus for e in executions if e.cpus is not None), default=float(processes * (threads or 1)))
    wanted = [float(e.processes if gpus else 0) if e.gpus is None else e.gpus for e in executions]
    memory = [GIB_A_PROCESS * e.processes if e.memory_gib is None else e.memory_gib for e in executions]
    return Needs(cpus, max(wanted), max(memory), threads or max(1, int(cpus)))
