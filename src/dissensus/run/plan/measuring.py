"""Measures for a plan what its cells cost: here, in as many workers as would run, or on the machines of an engine.

A kind of cell is a model as it reads text, a method and the precisions. Of each kind one cell is timed
(`calibration.py`). Here that is done in every worker at once, because workers share the memory's bandwidth and a
processor's clock: one alone would be too quick. On an engine each kind is a job with what its cell reserves. Nothing is
kept: what workers write goes into a temporary folder.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dissensus.config import Execution, RunSpec
from dissensus.run.engines.base import Engine, Needs
from dissensus.run.engines.node import sealed
from dissensus.run.plan.crews import Ask, Crew, EngineCrew, LocalCrew
from dissensus.run.plan.facts import DataFacts, Timing, TokenFacts, Weights, combined
from dissensus.run.plan.findings import (
    Findings,
    Key,
    Known,
    Measured,
    data_key,
    kind_key,
    model_key,
    token_key,
)

__all__ = ["Findings", "Known", "Measured", "measure_cells", "measure_elsewhere", "model_key"]

Note = Callable[[str], None]


def measure_cells(
    cells: Sequence[RunSpec],
    *,
    workers: int,
    threads: int,
    device: str | None = None,
    data_dir: Path | None = None,
    on_note: Note | None = None,
) -> Findings:
    """Find the sizes of each cell's data, count its tokens and time its kind, on this machine.

    Args:
        cells: what is to be known.
        workers: processes that measure at the same time.
        threads: of each.
        device: as `runner.run_study`.
        data_dir: where data files are looked up first.
        on_note: called with a line before each measurement.
    """
    common = {"data_dir": str(data_dir) if data_dir else None, "threads": threads, "device": device}
    with tempfile.TemporaryDirectory(prefix="dissensus-plan-") as scratch:
        crew = LocalCrew(workers, common, Path(scratch))
        try:
            return _findings(cells, crew, on_note or _no_note, {cell.cell_id: threads for cell in cells})
        finally:
            crew.dismiss()


def measure_elsewhere(
    cells: Sequence[RunSpec],
    engine: Engine,
    *,
    needs: Mapping[str, Needs],
    executions: Mapping[str, Execution],
    beside: Path,
    device: str | None = None,
    data_dir: Path | None = None,
    on_note: Note | None = None,
) -> Findings:
    """The same on the machines of an engine that is open.

    Args:
        cells: what is to be known.
        engine: whose workers measure.
        needs: what each cell reserves, by its id.
        executions: how each cell is carried out, by its id.
        beside: the study's folder. What workers write goes beside it, since every machine sees that place.
        device: as `runner.run_study`.
        data_dir: where data files are looked up first.
        on_note: called with a line before each measurement.
    """
    shared = beside.absolute().parent
    while not shared.is_dir():
        shared = shared.parent
    with tempfile.TemporaryDirectory(prefix=".dissensus-plan-", dir=shared) as scratch:
        folder = Path(scratch).resolve()
        with sealed(folder) as ground:
            common = {**ground, "data_dir": str(data_dir) if data_dir else None, "device": device}
            crew = EngineCrew(engine, needs, executions, common, folder)
            try:
                threads = {name: need.threads for name, need in needs.items()}
                return _findings(cells, crew, on_note or _no_note, threads)
            finally:
                crew.dismiss()


def _findings(cells: Sequence[RunSpec], crew: Crew, note: Note, threads: Mapping[str, int]) -> Findings:
    note("reading the data")
    known = _sizes(cells, crew)
    kinds: dict[Key, list[RunSpec]] = {}
    for cell in cells:
        if known[cell.cell_id].data is not None:
            kinds.setdefault(kind_key(cell), []).append(cell)
    counted: dict[Key, TokenFacts | str] = {}  # or why they could not be
    asked: list[tuple[Key, ...]] = []  # whose tokens, in each call

    def asks() -> Iterator[Ask]:
        for number, alike in enumerate(kinds.values(), 1):
            chosen = _typical(alike)
            words = f"{chosen.model.label}, {chosen.method.name}, {chosen.training.precision}"
            note(f"timing {words} ({number} of {len(kinds)})")
            new = {token_key(cell): cell for cell in reversed(alike) if token_key(cell) not in counted}
            asked.append(tuple(new))
            yield Ask("everything", chosen, tuple(new.values()), alone=False)

    measured: list[Measured] = []
    for place, (alike, answer) in enumerate(zip(kinds.values(), crew.answers(asks()), strict=True)):
        chosen = _typical(alike)
        trouble = answer.trouble or str(answer.found[0].get("trouble", ""))
        timing = weights = None
        if not trouble:
            timing = combined([Timing(**found["timing"]) for found in answer.found])
            weights = Weights(**answer.found[0]["weights"])
            kind = (chosen.model.label, chosen.method.name, chosen.training.precision, chosen.cell_id)
            where = str(answer.found[0]["device"])
            measured.append(Measured(*kind, crew.count, timing, where, threads[chosen.cell_id]))
            for key, one in zip(asked[place], answer.found[0]["tokens"], strict=True):
                counted[key] = one["trouble"] if "trouble" in one else TokenFacts(**one)
        for cell in alike:
            tokens = counted.get(token_key(cell), trouble)
            known[cell.cell_id] = Known(
                known[cell.cell_id].data,
                tokens if isinstance(tokens, TokenFacts) else None,
                timing,
                trouble or (tokens if isinstance(tokens, str) else ""),
                weights,
            )
    return Findings(known, tuple(measured))


def _sizes(cells: Sequence[RunSpec], crew: Crew) -> dict[str, Known]:
    """What the data of each cell are; one cell stands for all with the same data."""
    first: dict[Key, RunSpec] = {}
    for cell in cells:
        first.setdefault(data_key(cell), cell)
    (answer,) = crew.answers([Ask("surveys", cells[0], tuple(first.values()))])
    if answer.trouble:
        return {cell.cell_id: Known(reason=answer.trouble) for cell in cells}
    found = dict(zip(first, answer.found[0]["data"], strict=True))
    sizes = {
        key: Known(reason=one["trouble"]) if "trouble" in one else Known(data=DataFacts(**one))
        for key, one in found.items()
    }
    return {cell.cell_id: sizes[data_key(cell)] for cell in cells}


def _typical(cells: Sequence[RunSpec]) -> RunSpec:
    """The first cell whose data and batch size are the most frequent."""

    def place(cell: RunSpec) -> Key:
        return (*data_key(cell), str(cell.training.batch_size))

    most = Counter(map(place, cells)).most_common(1)[0][0]
    return next(cell for cell in cells if place(cell) == most)


def _no_note(_line: str) -> None:
    """Nobody hears it."""
