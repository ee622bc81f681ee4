"""Measuring for a plan: seconds of finished cells, sizes of data, and a short trial of each kind of cell in workers.

A kind of cell is a model as it reads text, a method and the precisions. Of each kind one cell is tried (`trial.py`), in
as many workers at once as would run, because workers share the memory's bandwidth and a processor's clock: one alone
would be too quick. Cells like one that has finished need no trial: they take as long. What workers write goes into a
temporary folder.
"""

from __future__ import annotations

import json
import queue
import socket
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dissensus.config import RunSpec
from dissensus.errors import DissensusError, ModelError
from dissensus.run.messages import CellOrder, Ended, Event, Failed, JobOrder, Over
from dissensus.run.plan.facts import (
    CellFacts,
    DataFacts,
    Key,
    Measured,
    StudyFacts,
    TrialResult,
    combined,
    data_key,
    kind_key,
    likeness,
)
from dissensus.run.plan.trial import assembled, read_result
from dissensus.run.process import ChildProcess
from dissensus.study.status import CellStatus
from dissensus.wording import first_line

_TRIAL = "dissensus.run.plan.trial:trial"
_COUNT = "dissensus.run.plan.trial:count_only"
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
    """Sizes of each cell's data, its tokens, and the seconds of its kind, on this machine.

    Args:
        cells: those that are to be run.
        workers: what measures.
        cell_seconds: `finished_seconds`; a kind whose cells all have them is not timed.
        note: called with a line before each measurement.
    """
    facts = cell_sizes(cells, workers.data_dir, cell_seconds=cell_seconds, note=note)
    kinds: dict[Key, list[RunSpec]] = {}
    for cell in cells:
        if facts[cell.cell_id].data is not None:
            kinds.setdefault(kind_key(cell), []).append(cell)
    measured: list[Measured] = []
    for number, alike in enumerate(kinds.values(), 1):
        timed = any(facts[cell.cell_id].whole is None for cell in alike)
        chosen = _typical(alike)
        words = f"{chosen.model.label}, {chosen.method.name}, {chosen.training.precision}"
        note(f"{'timing' if timed else 'counting tokens of'} {words} ({number} of {len(kinds)})")
        measured += _try_kind(alike, chosen, workers, facts, timed=timed)
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
    data = assembled(spec, data_dir)
    texts = (json.dumps(dict(e.text), ensure_ascii=False).encode() for e in data.tracked)
    return DataFacts(
        train=len(data.train),
        tracked=len(data.tracked),
        labels=len(data.tracked.labels),
        id_bytes=sum(len(i.encode()) for i in data.tracked.ids),
        text_bytes=sum(map(len, texts)),
    )


def _typical(cells: Sequence[RunSpec]) -> RunSpec:
    """The first cell whose data and batch size are the most frequent."""

    def place(cell: RunSpec) -> Key:
        return (*data_key(cell), str(cell.training.batch_size))

    most = Counter(map(place, cells)).most_common(1)[0][0]
    return next(cell for cell in cells if place(cell) == most)


def _try_kind(
    alike: Sequence[RunSpec], chosen: RunSpec, workers: Workers, facts: dict[str, CellFacts], *, timed: bool
) -> list[Measured]:
    """Put what a trial of one kind finds out into `facts`, by cell id; and say how it was timed, if it was."""
    from dissensus.models.resolve import refuse_download

    by_data = {data_key(chosen): chosen}
    for cell in alike:
        by_data.setdefault(data_key(cell), cell)
    try:
        refuse_download(chosen.model.name, chosen.model.revision)
        answers, others = _run_trial(list(by_data.values()), workers, timed=timed)
    except DissensusError as error:
        for cell in alike:
            facts[cell.cell_id] = replace(facts[cell.cell_id], reason=first_line(error))
        return []
    first = answers[0]
    timings = [answer.timing for answer in answers if answer.timing is not None]
    timing = combined(timings) if timings else None
    counted = dict(zip(by_data, [first, *others], strict=True))
    for cell in alike:
        answer = counted[data_key(cell)]
        facts[cell.cell_id] = replace(
            facts[cell.cell_id],
            tokens=answer.tokens if isinstance(answer, TrialResult) else None,
            timing=timing,
            checkpoint_bytes=first.checkpoint_bytes(cell.method.rank),
            reason="" if isinstance(answer, TrialResult) else answer,
        )
    if timing is None:
        return []
    kind = (chosen.model.label, chosen.method.name, chosen.training.precision, chosen.cell_id)
    return [Measured(*kind, len(timings), timing, first.device, workers.threads)]


def _run_trial(
    cells: Sequence[RunSpec], workers: Workers, *, timed: bool
) -> tuple[list[TrialResult], list[TrialResult | str]]:
    """What each worker found of the first cell; and what the first found of each other, or why it did not.

    Raises:
        ModelError: some worker could not look at the first cell.
    """
    events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="dissensus-plan-") as scratch:
        places = range(workers.count if timed else 1)
        orders = [
            _order(cells[: None if place == 0 else 1], workers, Path(scratch, str(place)), timed)
            for place in places
        ]
        processes: list[ChildProcess] = []
        try:
            for place, order in enumerate(orders):
                process = ChildProcess(threads=order.threads, log=order.log, environment=_OFFLINE)
                processes.append(process)
                process.give(order, lambda event, place=place: events.put((place, event)))  # type: ignore[misc]
            waiting, troubles = set(places), dict[tuple[int, int], str]()
            while waiting:
                place, event = events.get()
                if isinstance(event, Failed | Ended):
                    cell = event.cell if isinstance(event, Failed) else 0
                    troubles.setdefault((place, cell), first_line(event.error, "no reason was given"))
                if isinstance(event, Ended | Over):
                    waiting.discard(place)
        finally:
            for process in processes:
                process.terminate()
        for (_, cell), trouble in troubles.items():
            if cell == 0:
                raise ModelError(trouble)
        others = enumerate(orders[0].cells[1:], 1)
        return (
            [read_result(order.cells[0].folder) for order in orders],
            [troubles.get((0, number)) or read_result(cell.folder) for number, cell in others],
        )


def _order(cells: Sequence[RunSpec], workers: Workers, folder: Path, timed: bool) -> JobOrder:
    folders = [folder / str(number) for number in range(len(cells))]
    for cell_folder in folders:
        cell_folder.mkdir(parents=True)
    return JobOrder(
        tuple(map(CellOrder, cells, folders)),
        threads=workers.threads,
        run_cell="",
        run_cells=_TRIAL if timed else _COUNT,
        data_dir=workers.data_dir,
        device=workers.device,
        log=folder / "log.txt",
    )
