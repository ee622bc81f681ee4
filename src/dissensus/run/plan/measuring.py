"""Measuring for a plan: sizes of data here, tokens and seconds by a short trial of each kind of cell in workers.

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

from dissensus.config import ModelSpec, RunSpec
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
    token_key,
)
from dissensus.run.plan.trial import assembled
from dissensus.run.process import ChildProcess
from dissensus.study.status import CellStatus

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
    durations: dict[str, list[float]] = {}
    done = [cell for cell in cells if statuses[cell.cell_id].state == "done"]
    jobs = Counter(_job(statuses[cell.cell_id]) for cell in done)
    for cell in done:
        status = statuses[cell.cell_id]
        if status.seconds <= 0 or len(status.tries) > 1 or jobs[_job(status)] > 1:
            continue
        if anywhere or status.host == socket.gethostname():
            durations.setdefault(likeness(cell), []).append(status.seconds)
    return {key: statistics.median(seconds) for key, seconds in durations.items()}


def _job(status: CellStatus) -> tuple[str, int, str]:
    return status.host, status.pid, status.started


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
    with tempfile.TemporaryDirectory(prefix="dissensus-plan-") as scratch:
        pool = _Pool(workers, Path(scratch))
        try:
            for number, alike in enumerate(kinds.values(), 1):
                timed = any(facts[cell.cell_id].whole is None for cell in alike)
                chosen = _typical(alike)
                words = f"{chosen.model.label}, {chosen.method.name}, {chosen.training.precision}"
                note(f"{'timing' if timed else 'counting tokens of'} {words} ({number} of {len(kinds)})")
                by_tokens, timed_kind = _try_kind(alike, chosen, pool, timed=timed)
                measured += [timed_kind] if timed_kind is not None else []
                for cell in alike:
                    known = by_tokens[token_key(cell)]
                    facts[cell.cell_id] = replace(
                        known, data=facts[cell.cell_id].data, whole=facts[cell.cell_id].whole
                    )
        finally:
            pool.close()
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
                sizes[data_key(cell)] = CellFacts(reason=_one_line(str(error)))
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


def refuse_missing(model: ModelSpec) -> None:
    """Raise `ModelError` for a model that a run would have to fetch first. Asks no network."""
    from dissensus.models.registry import BUILTIN
    from dissensus.models.resolve import list_models

    folder = Path(model.name).expanduser()
    card = BUILTIN.get(model.name)
    hub = card.hub if card else model.name
    if (folder / "config.json").is_file():
        return
    if card is None and (folder.exists() or "/" not in hub):
        return  # nothing to fetch: loading says at once what is wrong
    if card is not None and model.revision is None:
        cached = next(listing.cached for listing in list_models() if listing.name == model.name)
    else:
        cached = _in_cache(hub, model.revision)
    if not cached:
        raise ModelError(
            f"model {model.name!r} is not on this machine; `dissensus models pull {model.name}` fetches it"
        )


def _in_cache(hub: str, revision: str | None) -> bool:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return False
    return isinstance(try_to_load_from_cache(hub, "config.json", revision=revision), str)


def _try_kind(
    alike: Sequence[RunSpec], chosen: RunSpec, pool: _Pool, *, timed: bool
) -> tuple[dict[Key, CellFacts], Measured | None]:
    """What a trial of one kind finds out, by the cells' tokens, and how it was timed."""
    others = {token_key(cell): cell for cell in reversed(alike)}
    del others[token_key(chosen)]
    keys = [token_key(chosen), *others]
    try:
        refuse_missing(chosen.model)
        answers = pool.run([chosen, *others.values()], timed=timed)
    except DissensusError as error:
        return dict.fromkeys(keys, CellFacts(reason=_one_line(str(error)))), None
    timings = [answer.timing for answer in answers[0] if answer.timing is not None]
    timing = combined(timings) if timings else None
    first = answers[0][0]
    facts = {
        key: CellFacts(tokens=answer.tokens, timing=timing, weights=first.weights)
        if isinstance(answer, TrialResult)
        else CellFacts(timing=timing, weights=first.weights, reason=answer)
        for key, answer in zip(keys, [first, *answers[1]], strict=True)
    }
    if timing is None:
        return facts, None
    kind = (chosen.model.label, chosen.method.name, chosen.training.precision, chosen.cell_id)
    return facts, Measured(*kind, len(timings), timing, first.device, pool.workers.threads)


class _Pool:
    """Worker processes that each take the same order at the same time; each starts when it is first needed."""

    def __init__(self, workers: Workers, folder: Path) -> None:
        self.workers = workers
        self._folder = folder
        self._orders = 0
        self._processes: dict[int, ChildProcess] = {}

    def run(
        self, cells: Sequence[RunSpec], *, timed: bool
    ) -> tuple[list[TrialResult], list[TrialResult | str]]:
        """What each worker found of the first cell; and what the first found of each other, or why it did not.

        Raises:
            ModelError: some worker could not look at the first cell.
        """
        self._orders += 1
        events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
        places = range(self.workers.count if timed else 1)
        orders = [self._order(cells if place == 0 else cells[:1], place, timed=timed) for place in places]
        for place, order in zip(places, orders, strict=True):
            if place not in self._processes:
                self._processes[place] = ChildProcess(
                    threads=order.threads, log=order.log, environment=_OFFLINE
                )
            self._processes[place].give(order, lambda event, at=place: events.put((at, event)))  # type: ignore[misc]
        waiting, troubles = set(places), dict[tuple[int, int], str]()
        while waiting:
            place, event = events.get()
            if isinstance(event, Failed):
                troubles[place, event.cell] = _one_line(event.error)
            elif isinstance(event, Ended):
                troubles.setdefault((place, 0), _one_line(event.error))
            if isinstance(event, Ended | Over):
                waiting.discard(place)
        first = [trouble for (_, cell), trouble in troubles.items() if cell == 0]
        if first:  # what made heavy work fail may have left the process in any state
            self.close()
            raise ModelError(first[0])
        others = enumerate(orders[0].cells[1:], 1)
        return (
            [TrialResult.read(order.cells[0].folder) for order in orders],
            [troubles.get((0, place)) or TrialResult.read(cell.folder) for place, cell in others],
        )

    def close(self) -> None:
        """End every worker."""
        while self._processes:
            self._processes.popitem()[1].terminate()

    def _order(self, cells: Sequence[RunSpec], place: int, *, timed: bool) -> JobOrder:
        folders = [self._folder / f"{self._orders}-{place}-{number}" for number in range(len(cells))]
        for folder in folders:
            folder.mkdir()
        return JobOrder(
            tuple(CellOrder(cell, folder) for cell, folder in zip(cells, folders, strict=True)),
            threads=self.workers.threads,
            run_cell="",
            run_cells=_TRIAL if timed else _COUNT,
            data_dir=self.workers.data_dir,
            device=self.workers.device,
            log=self._folder / f"log-{place}.txt",
        )


def _typical(cells: Sequence[RunSpec]) -> RunSpec:
    """The first cell whose data and batch size are the most frequent."""

    def place(cell: RunSpec) -> Key:
        return (*data_key(cell), str(cell.training.batch_size))

    most = Counter(map(place, cells)).most_common(1)[0][0]
    return next(cell for cell in cells if place(cell) == most)


def _one_line(trouble: str) -> str:
    """The first line of what went wrong."""
    return next(iter(trouble.strip().splitlines()), "no reason was given")
