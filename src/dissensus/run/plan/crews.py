"""Who measures for a plan: processes of this machine, all at the same time, or the workers of a study's engine.

A crew is asked for calls of `tasks.py`, each for one cell, in a folder of its own.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from dissensus.config import Execution, RunSpec
from dissensus.run.engines.base import Engine, Event, Needs, Worker
from dissensus.run.plan.calibration import FOUND
from dissensus.run.plan.tasks import READY, WANTED
from dissensus.run.process import WorkerProcess


@dataclass(frozen=True)
class Ask:
    """One call.

    Attributes:
        task: a function of `tasks.py`.
        spec: the cell that it is about.
        wanted: cells that it looks at besides.
        alone: one member of the crew does it; else all of them at the same time.
    """

    task: str
    spec: RunSpec
    wanted: tuple[RunSpec, ...] = ()
    alone: bool = True


@dataclass(frozen=True)
class Answer:
    """What workers found, one mapping each; or in one line what went wrong with the first that failed."""

    found: tuple[dict[str, Any], ...] = ()
    trouble: str = ""


class Crew(Protocol):
    """Who measures.

    Attributes:
        count: workers that do the same thing at the same time.
    """

    count: int

    def answers(self, asks: Iterable[Ask]) -> Iterator[Answer]:
        """An answer to each, in order."""

    def dismiss(self) -> None:
        """Let go of every worker, whatever it is doing."""


class LocalCrew:
    """Worker processes of this machine; each starts when it is first needed, and takes one call after another.

    Args:
        count: how many.
        common: data_dir, threads and device, as a job has them.
        folder: where calls get their folders.
    """

    def __init__(self, count: int, common: Mapping[str, Any], folder: Path) -> None:
        self.count = count
        self._common = common
        self._folder = folder
        self._asked = 0
        self._workers: dict[int, WorkerProcess] = {}

    def answers(self, asks: Iterable[Ask]) -> Iterator[Answer]:
        """See `Crew`; the next question is taken from `asks` when the last one is answered."""
        for ask in asks:
            yield self._answer(ask)

    def dismiss(self) -> None:
        """See `Crew`."""
        while self._workers:
            self._workers.popitem()[1].dismiss()

    def _answer(self, ask: Ask) -> Answer:
        events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
        places = range(1 if ask.alone else self.count)
        self._asked += 1
        folders = [self._folder / f"{self._asked}-{place}" for place in places]
        for place, folder in zip(places, folders, strict=True):
            # What is only counted, one of them counts for all.
            write_wanted(folder, ask.wanted if place == 0 else (), folders)
        for place, folder in zip(places, folders, strict=True):
            if place not in self._workers:
                self._workers[place] = WorkerProcess(threads=self._common["threads"], log=self._log(place))
            hear = partial(lambda at, event: events.put((at, event)), place)
            self._workers[place].give(job_of(ask, folder, self._common), log=self._log(place), hear=hear)
        waiting, troubles, gone = set(places), [], False
        while waiting:
            place, event = events.get()
            if event["event"] in ("failed", "ended"):
                troubles.append(str(event["error"]))
                gone |= event["event"] == "ended"
                (folders[place] / READY).touch()  # nobody waits for it
            if event["event"] in ("ended", "over"):
                waiting.discard(place)
        if troubles:
            if gone or not ask.alone:  # what made heavy work fail may have left the process in any state
                self.dismiss()
            return Answer(trouble=one_line(troubles[0]))
        return Answer(tuple(found_in(folder) for folder in folders))

    def _log(self, place: int) -> Path:
        return self._folder / f"log-{place}.txt"


class EngineCrew:
    """Workers of an engine whose machines are elsewhere: every call is a job with what its cell reserves.

    All calls are handed over at once, so that the engine runs them side by side as it will run the cells.

    Args:
        engine: open.
        needs: of a cell, by its id.
        executions: the same.
        common: what every job carries: data_dir, device, and what `engines.node.sealed` says.
        folder: where calls get their folders; every machine sees it.
    """

    count = 1

    def __init__(
        self,
        engine: Engine,
        needs: Mapping[str, Needs],
        executions: Mapping[str, Execution],
        common: Mapping[str, Any],
        folder: Path,
    ) -> None:
        self._engine = engine
        self._needs = needs
        self._executions = executions
        self._common = common
        self._folder = folder
        self._asked = 0
        self._live: dict[int, Worker] = {}

    def answers(self, asks: Iterable[Ask]) -> Iterator[Answer]:
        """See `Crew`."""
        events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
        folders: dict[int, Path] = {}
        for ask in asks:
            self._asked += 1
            number = self._asked
            folders[number] = self._folder / f"{number}-{ask.task}"
            write_wanted(folders[number], ask.wanted, ())
            hear = partial(lambda at, event: events.put((at, event)), number)
            self._live[number] = self._start(ask, folders[number], hear)
        troubles: dict[int, str] = {}
        while not self._live.keys().isdisjoint(folders):
            number, event = events.get()
            if event["event"] in ("failed", "ended"):
                troubles.setdefault(number, str(event["error"]))
            if event["event"] in ("ended", "over") and number in self._live:
                self._engine.release(self._live.pop(number))
        for number, folder in folders.items():
            yield (
                Answer(trouble=one_line(troubles[number]))
                if number in troubles
                else Answer((found_in(folder),))
            )

    def dismiss(self) -> None:
        """See `Crew`."""
        for worker in self._live.values():
            worker.ask_to_stop()
        while self._live:
            self._live.popitem()[1].terminate()

    def _start(self, ask: Ask, folder: Path, hear: Callable[[Event], None]) -> Worker:
        name, log = ask.spec.cell_id, folder / "log.txt"
        needs = self._needs[name]
        job = job_of(ask, folder, {**self._common, "threads": needs.threads})
        job["cells"][0]["execution"] = self._executions[name].model_dump(mode="json")
        worker = self._engine.hire(needs, log)
        worker.give(job, log=log, hear=hear)
        return worker


def job_of(ask: Ask, folder: Path, common: Mapping[str, Any]) -> dict[str, Any]:
    """A call as a job (see `run/worker.py`)."""
    return {
        **common,
        "run_cell": f"dissensus.run.plan.tasks:{ask.task}",
        "cells": [{"spec": ask.spec.model_dump(mode="json"), "folder": str(folder)}],
    }


def write_wanted(folder: Path, cells: Sequence[RunSpec], peers: Sequence[Path]) -> None:
    """Make the folder of a call, with what is asked for."""
    folder.mkdir()
    asked = {
        "cells": [cell.model_dump(mode="json") for cell in cells],
        "peers": [str(peer) for peer in peers],
    }
    (folder / WANTED).write_text(json.dumps(asked), encoding="utf-8")


def found_in(folder: Path) -> dict[str, Any]:
    """What a call has found."""
    found: dict[str, Any] = json.loads((folder / FOUND).read_text(encoding="utf-8"))
    return found


def one_line(trouble: str) -> str:
    """The first line of what went wrong."""
    return next(iter(trouble.strip().splitlines()), "no reason was given")
