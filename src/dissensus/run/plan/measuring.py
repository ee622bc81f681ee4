"""Measuring for a plan: seconds of finished cells, sizes of data, and a short trial of each kind of cell in workers.

A kind of cell is a model as it reads text, a method and the precisions. Of each kind one cell is tried (`trial.py`), in
as many workers at once as would run, because workers share the memory's bandwidth and a processor's clock: one alone
would be too quick. Cells like one that has finished take as long as it did, and of the trial have tokens and weights
alone. What workers write goes into a temporary folder.
"""

from __future__ import annotations

import queue
import socket
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dissensus.config import RunSpec
from dissensus.data.assembly import CellData
from dissensus.errors import DissensusError, ModelError
from dissensus.run.cell_data import assembled_data
from dissensus.run.messages import CellOrder, Ended, Event, Failed, JobOrder, Over
from dissensus.run.plan.facts import (
    CellFacts,
    DataFacts,
    Key,
    Measured,
    StudyFacts,
    Trial,
    combined,
    data_key,
    kind_key,
    likeness,
)
from dissensus.run.plan.trial import read_trial, text_bytes
from dissensus.run.process import ChildProcess
from dissensus.study.status import CellStatus
from dissensus.wording import first_line

_TRIAL = "dissensus.run.plan.trial:trial"
_OFFLINE = {"HF_HUB_OFFLINE": "1"}

Note = Callable[[str], None]


def finished_seconds(
    cells: Sequence[RunSpec], statuses: Mapping[str, CellStatus], *, anywhere: bool
) -> dict[str, float]:
    """Seconds that finished cells took, their median, by what other cells are like them in (`facts.likeness`).

    Only cells that ended at their first try count, and that trained alone: of several in one pass each has the
    seconds of all.

    Args:
        cells: of the study.
        statuses: of each, by id.
        anywhere: whether cells that another machine ran count, too.
    """

    def job(cell: RunSpec) -> tuple[str, int, str]:
        status = statuses[cell.cell_id]
        return status.host, status.pid, status.started

    done = [cell for cell in cells if statuses[cell.cell_id].state == "done"]
    cells_of_job = Counter(map(job, done))
    durations: dict[str, list[float]] = {}
    for cell in done:
        status = statuses[cell.cell_id]
        alone = len(status.tries) <= 1 and cells_of_job[job(cell)] == 1
        if status.seconds > 0 and alone and (anywhere or status.host == socket.gethostname()):
            durations.setdefault(likeness(cell), []).append(status.seconds)
    return {key: statistics.median(seconds) for key, seconds in durations.items()}


@dataclass(frozen=True)
class Workers:
    """The workers that measure, like those of the run.

    Attributes:
        count: how many at the same time.
        threads: of each.
        device: torch device; None: a GPU where there is one.
        data_dir: where data files are looked up first.
    """

    count: int
    threads: int
    device: str | None = None
    data_dir: Path | None = None


def measure_cells(
    cells: Sequence[RunSpec], workers: Workers, *, cell_seconds: Mapping[str, float], note: Note
) -> StudyFacts:
    """Sizes of each cell's data, and a trial of its kind, on this machine.

    Args:
        cells: those that are to be run.
        workers: what measures.
        cell_seconds: `finished_seconds`; those cells take their seconds from there.
        note: called with a line before each measurement.
    """
    facts = cell_sizes(cells, workers.data_dir, cell_seconds=cell_seconds, note=note)
    kinds: dict[Key, list[RunSpec]] = {}
    for cell in cells:
        if facts[cell.cell_id].data is not None:
            kinds.setdefault(kind_key(cell), []).append(cell)
    measured: list[Measured] = []
    for number, alike in enumerate(kinds.values(), 1):
        chosen = _typical(alike)
        kind = chosen.model.label, chosen.method.name, chosen.training.precision
        note(f"timing {', '.join(kind)} ({number} of {len(kinds)})")
        try:
            trial = _tried(chosen, workers)
        except DissensusError as error:
            known = CellFacts(reason=first_line(error))
        else:
            known = CellFacts(trial=trial)
            timed = sum(facts[cell.cell_id].whole is None for cell in alike)
            measured.append(Measured(*kind, chosen.cell_id, workers.count, workers.threads, timed, trial))
        for cell in alike:
            facts[cell.cell_id] = replace(facts[cell.cell_id], trial=known.trial, reason=known.reason)
    return StudyFacts(facts, tuple(measured))


def cell_sizes(
    cells: Sequence[RunSpec], data_dir: Path | None, *, cell_seconds: Mapping[str, float], note: Note
) -> dict[str, CellFacts]:
    """Sizes of the data of each cell, by its id; one cell stands for all with the same data."""
    note("reading the data")
    sizes: dict[Key, CellFacts] = {}
    for cell in cells:
        if data_key(cell) not in sizes:
            try:
                sizes[data_key(cell)] = CellFacts(data=data_sizes(cell, data_dir))
            except DissensusError as error:
                sizes[data_key(cell)] = CellFacts(reason=first_line(error))
    return {
        cell.cell_id: replace(sizes[data_key(cell)], whole=cell_seconds.get(likeness(cell))) for cell in cells
    }


def data_sizes(spec: RunSpec, data_dir: Path | None) -> DataFacts:
    """Sizes of a cell's data; raises what assembling them raises."""
    data = assembled_data(spec, data_dir)
    return DataFacts(
        train=len(data.train),
        tracked=len(data.tracked),
        labels=len(data.tracked.labels),
        id_bytes=sum(len(i.encode()) for i in data.tracked.ids),
        text_bytes=text_bytes(data.tracked),
        train_bytes=text_bytes(data.train),
        validation=len(data.validation or ()),
        validation_bytes=text_bytes(data.validation) if data.validation is not None else 0,
        class_bytes=_class_bytes(data),
    )


def _class_bytes(data: CellData) -> dict[str, int]:
    """Bytes of the tracked texts of each entropy class."""
    if data.classes is None:
        return {}
    ids = np.array(data.tracked.ids)
    return {
        str(name): text_bytes(data.tracked.subset(ids[data.classes == name].tolist()))
        for name in np.unique(data.classes)
    }


def _typical(cells: Sequence[RunSpec]) -> RunSpec:
    """The first cell whose data and batch size are the most frequent."""

    def place(cell: RunSpec) -> Key:
        return (*data_key(cell), str(cell.training.batch_size))

    most = Counter(map(place, cells)).most_common(1)[0][0]
    return next(cell for cell in cells if place(cell) == most)


def _tried(cell: RunSpec, workers: Workers) -> Trial:
    """The trial of a cell, in every worker at the same time.

    Raises:
        DissensusError: its model is not here, or some worker could not try it.
    """
    from dissensus.models.resolve import refuse_download

    refuse_download(cell.model.name, cell.model.revision)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    processes: list[ChildProcess] = []
    with tempfile.TemporaryDirectory(prefix="dissensus-plan-") as scratch:
        orders = [_order(cell, workers, Path(scratch, str(place))) for place in range(workers.count)]
        try:
            for order in orders:
                processes.append(ChildProcess(threads=order.threads, log=order.log, environment=_OFFLINE))
                processes[-1].give(order, events.put)
            running = len(processes)
            while running:
                event = events.get()
                if isinstance(event, Failed | Ended):  # the others' seconds would be those of fewer workers
                    raise ModelError(first_line(event.error, "no reason was given"))
                running -= isinstance(event, Over)
        finally:
            for process in processes:
                process.ask_to_stop()
            for process in processes:
                process.terminate()
        return combined([read_trial(order.cells[0].folder) for order in orders])


def _order(cell: RunSpec, workers: Workers, folder: Path) -> JobOrder:
    folder.mkdir()
    return JobOrder(
        (CellOrder(cell, folder),),
        threads=workers.threads,
        run_cell=_TRIAL,
        data_dir=workers.data_dir,
        device=workers.device,
        log=folder / "log.txt",
    )
