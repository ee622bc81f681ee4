"""Plan of a study: cells, steps, tokens, hours and disk before it starts, by model and method.

Nothing is run and nothing written. What the study's folder holds counts as done. Seconds come from the study's finished
cells where some are like those to come, else from a short trial in workers of this machine (`measuring.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dissensus.config import RunSpec, StudySpec, When
from dissensus.errors import DissensusError, SpecError
from dissensus.record.schedule import total_steps, tracking_steps
from dissensus.run.allocation import DEFAULT_FUSE, default_threads, default_workers, executions, on_gpu
from dissensus.run.engines.base import Engine, Needs, needs_of
from dissensus.run.jobs import Job, jobs
from dissensus.run.plan.facts import CellFacts, DataFacts, Measured, StudyFacts, model_key
from dissensus.run.plan.measuring import Workers, cell_sizes, finished_seconds, measure_cells
from dissensus.run.plan.work import NOTHING, CellPlan, PlanRow, Resources, Work, row_of, summed
from dissensus.run.step_warnings import StepWarning, step_warnings, train_size_of
from dissensus.study.folder import StudyFolder
from dissensus.study.grid import select
from dissensus.study.status import CellStatus

_HOUR = 3600.0


@dataclass(frozen=True)
class StudyPlan:
    """What a study will cost.

    Attributes:
        study: its name.
        out: its folder.
        cells: each cell that was asked for.
        rows: by model and method, in the order in which each first comes.
        total: all of them.
        workers: that would run; 0 where nothing is left, or where nobody has said how many a cluster runs.
        threads: of each.
        jobs: what the workers take one at a time: a cell, or several that train in one pass. Those are counted as if
            each were alone, which is an upper bound.
        wall_seconds: until all is done: the workers share the seconds evenly, and none is quicker than the longest job.
            Without the cells whose seconds are not known; None where no cell's are.
        measured: what was timed in trials.
        finished: cells whose seconds are those of finished cells like them.
        running: whether another process runs this study now.
        engine: what it would run on; local is this machine.
        resources: hours of GPUs and processors, and room for checkpoints.
        several: cells that several processes train together: counted as if one did it.
        warnings: conditions whose training may be too short for what is asked of it.
    """

    study: str
    out: str
    cells: tuple[CellPlan, ...]
    rows: tuple[PlanRow, ...]
    total: PlanRow
    workers: int
    threads: int
    jobs: int
    wall_seconds: float | None
    measured: tuple[Measured, ...]
    finished: int
    running: bool
    engine: str = "local"
    resources: Resources = field(default_factory=Resources)
    several: int = 0
    warnings: tuple[StepWarning, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def plan_study(
    study: StudySpec,
    out: Path,
    *,
    workers: int | None = None,
    threads: int | None = None,
    fuse: int | None = None,
    device: str | None = None,
    data_dir: Path | None = None,
    only: When | None = None,
    engine: Engine | None = None,
    on_note: Callable[[str], None] | None = None,
) -> StudyPlan:
    """What `runner.run_study` with the same arguments would do, and how long it would take.

    Args:
        study: what would run.
        out: the study's folder; what it holds counts as done.
        workers: as for a run, like `threads`, `fuse`, `device`, `data_dir` and `only`.
        threads: see `workers`.
        fuse: see `workers`.
        device: see `workers`.
        data_dir: see `workers`.
        only: see `workers`.
        engine: what it would run on; default: this machine. On another one nothing is measured: seconds are those of
            the study's finished cells.
        on_note: called with a line before each measurement.

    Raises:
        SpecError: the study is not valid, or `only` matches nothing.
    """
    for option, value in (("workers", workers), ("threads", threads), ("fuse", fuse)):
        if value is not None and value < 1:
            raise SpecError(f"{option} is {value}; expected 1 or more")
    elsewhere = engine is not None and engine.elsewhere
    note = on_note or (lambda _line: None)
    folder = StudyFolder(out, study=study)
    cells = select(folder.cells, only or When())
    carried_out = executions(study)
    statuses = folder.listed
    unfinished = [cell for cell in cells if statuses[cell.cell_id].state != "done"]
    waiting = jobs(unfinished, fuse or DEFAULT_FUSE, carried_out)
    gpus = not elsewhere and on_gpu(device)
    if elsewhere:
        count = min(workers or 0, len(waiting))
    else:
        count = min(workers or default_workers(len(waiting), device), len(waiting))
        threads = threads or default_threads(max(count, 1))
    needs = [
        needs_of([carried_out[cell.cell_id] for cell in job], gpus=gpus, threads=threads) for job in waiting
    ]
    if not (gpus or elsewhere):  # what a cluster's cells reserve is not here
        needs = [replace(need, gpus=0.0) for need in needs]
    cell_seconds = finished_seconds(folder.cells, statuses, anywhere=elsewhere)
    facts = StudyFacts()
    if unfinished and elsewhere:
        facts = StudyFacts(
            _facts_elsewhere(cell_sizes(unfinished, data_dir, cell_seconds=cell_seconds, note=note))
        )
    elif unfinished:
        most_threads = max(need.threads for need in needs)
        facts = measure_cells(
            unfinished, Workers(count, most_threads, device, data_dir), cell_seconds=cell_seconds, note=note
        )
    planned = _planned(cells, statuses, facts)
    for job, need in zip(waiting, needs, strict=True):
        for cell in job:
            planned[cell.cell_id] = replace(planned[cell.cell_id], gpus=need.gpus)
    rows: dict[tuple[str, str], list[CellPlan]] = {}
    for plan in planned.values():
        rows.setdefault((plan.model, plan.method), []).append(plan)
    seconds = [summed([planned[cell.cell_id].work for cell in job]).seconds for job in waiting]
    wall = wall_seconds([s for s in seconds if s is not None], count)
    of_cell = {cell.cell_id: facts.cells.get(cell.cell_id, CellFacts()) for cell in unfinished}
    return StudyPlan(
        study=study.name,
        out=str(out),
        cells=tuple(planned.values()),
        rows=tuple(row_of(*place, plans) for place, plans in rows.items()),
        total=row_of("", "", list(planned.values())),
        workers=count,
        threads=max((need.threads for need in needs), default=threads or 1),
        jobs=len(waiting),
        wall_seconds=wall,
        measured=facts.measured,
        finished=sum(known.whole is not None for known in of_cell.values()),
        running=folder.running,
        engine=engine.name if engine is not None else "local",
        resources=_resources(waiting, needs, seconds, of_cell, count, wall if gpus else None),
        several=sum(carried_out[cell.cell_id].processes > 1 for cell in unfinished),
        warnings=step_warnings(
            (cell, _steps_of(cell, statuses[cell.cell_id], of_cell[cell.cell_id])) for cell in unfinished
        ),
    )


def _facts_elsewhere(facts: Mapping[str, CellFacts]) -> dict[str, CellFacts]:
    """Facts of cells that would run on other machines, where a trial here would say nothing."""
    reason = "no cell like it has finished there; run one (--only seed=0, say) and plan again"
    return {
        name: known if known.whole is not None or known.reason else replace(known, reason=reason)
        for name, known in facts.items()
    }


def _resources(
    waiting: Sequence[Job],
    needs: Sequence[Needs],
    seconds: Sequence[float | None],
    facts: Mapping[str, CellFacts],
    workers: int,
    gpu_seconds: float | None,
) -> Resources:
    """What the jobs take together; `gpu_seconds`: for how long the workers share this machine's GPU, if it has one."""
    rooms = [
        sum(
            known.weights.checkpoint_bytes(cell.method.rank)
            for cell in job
            if (known := facts[cell.cell_id]).weights
        )
        for job in waiting
    ]
    reserved = sum((s or 0.0) * need.gpus for s, need in zip(seconds, needs, strict=True))
    return Resources(
        gpu_hours=(reserved if gpu_seconds is None else gpu_seconds) / _HOUR,
        cpu_hours=sum((s or 0.0) * need.threads for s, need in zip(seconds, needs, strict=True)) / _HOUR,
        checkpoint_bytes=sum(sorted(rooms, reverse=True)[:workers]) if any(rooms) else None,
        jobs_at_once=workers,
    )


def _planned(
    cells: Sequence[RunSpec], statuses: Mapping[str, CellStatus], facts: StudyFacts
) -> dict[str, CellPlan]:
    """The plan of each cell, in the study's order."""
    planned: dict[str, CellPlan] = {}
    begun: set[tuple[str, ...]] = set()
    for cell in sorted(cells, key=lambda cell: not statuses[cell.cell_id].tracking_points_done):
        known = facts.cells.get(cell.cell_id, CellFacts())
        planned[cell.cell_id] = plan_cell(
            cell, statuses[cell.cell_id], known, start_known=_start(cell) in begun
        )
        begun.add(_start(cell))
    return {cell.cell_id: planned[cell.cell_id] for cell in cells}


def plan_cell(cell: RunSpec, status: CellStatus, known: CellFacts, *, start_known: bool = False) -> CellPlan:
    """What is left of one cell, as far as its specification, its status and what is known tell.

    `start_known`: another cell comes before it that begins with the same body (see `Timing.shares_start`).
    """

    def planned(work: Work, reason: str) -> CellPlan:
        names = (cell.condition, cell.model.label, cell.method.label)
        precision = cell.training.precision
        return CellPlan(cell.cell_id, *names, status.state, work, reason, precision=precision)

    if status.state == "done":
        return planned(NOTHING, "")
    n = known.data.train if known.data else train_size_of(cell)
    steps = _steps_of(cell, status, known)
    if steps is None:
        return planned(Work(seconds=known.whole), known.reason)
    tracking = cell.tracking
    try:
        points = len(
            tracking_steps(steps, points=tracking.points, schedule=tracking.schedule, steps=tracking.steps)
        )
    except DissensusError as error:  # the run, too, will refuse it
        return planned(Work(steps=steps), str(error))
    steps_taken = min(status.step, steps)
    passes = points - min(status.tracking_points_done, points)
    tokens = tracked = seconds = room = None
    if known.tokens and n is not None:
        seen = examples_seen(n, cell.training.batch_size, steps)
        seen -= examples_seen(n, cell.training.batch_size, steps_taken)
        tokens = round(seen * known.tokens.per_train_example)
        tracked = passes * known.tokens.tracked
        if (timing := known.timing) is not None:
            seconds = timing.setup + (steps - steps_taken) * timing.update
            seconds += tokens * timing.gradient + tracked * timing.tracking
            if start_known and timing.shares_start and passes == points:
                seconds -= known.tokens.tracked * timing.tracking
    if known.whole is not None:
        seconds = known.whole * (1 - (steps_taken / steps + 1 - passes / points) / 2)
    if known.data:
        room = passes * shard_bound(known.data) + (
            0 if status.tracking_points_done else examples_bound(known.data)
        )
    return planned(Work(steps - steps_taken, tokens, passes, tracked, seconds, room), known.reason)


def _steps_of(cell: RunSpec, status: CellStatus, known: CellFacts) -> int | None:
    """Optimiser steps of a cell, start to end; None where they are not known."""
    n = known.data.train if known.data else train_size_of(cell)
    return total_steps(n, cell.training) if n is not None else status.total_steps or None


def _start(cell: RunSpec) -> tuple[str, ...]:
    """What cells agree in that begin with the same body and track the same examples."""
    data, tracking = cell.dataset, cell.tracking
    tracked = (data.tracked.canonical(), str(data.tracked_size))
    return model_key(cell), *tracked, cell.method.name, str(tracking.token_budget), tracking.precision


def examples_seen(n: int, batch_size: int, steps: int) -> int:
    """Training examples in the batches of the first `steps` steps; an epoch's last batch may be smaller."""
    epochs, rest = divmod(steps, math.ceil(n / batch_size))
    return epochs * n + min(rest * batch_size, n)


def shard_bound(data: DataFacts) -> int:
    """Bytes of one tracking point, at most: ids, and a float32 per label twice over, as Parquet's dictionaries may."""
    return data.id_bytes + data.tracked * (8 * data.labels + 8) + 4096


def examples_bound(data: DataFacts) -> int:
    """Bytes of `examples.parquet`, at most: ids, texts, counts and a dozen numbers each."""
    return data.id_bytes + data.text_bytes + data.tracked * (16 * data.labels + 96) + 8192


def wall_seconds(jobs: Sequence[float], workers: int) -> float | None:
    """Seconds until the last job is over, at least; None where no job's seconds are known."""
    return max(sum(jobs) / workers, *jobs) if jobs and workers else None
