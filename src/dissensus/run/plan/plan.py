"""Plan of a study: cells, steps, tokens, hours and disk before it starts, by model and method.

Nothing is run and nothing written. What the study's folder holds counts as done. Seconds come from the study's finished
cells where some are like those to come, else from a short trial in workers of this machine (`measuring.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dissensus.config import RunSpec, StudySpec, When
from dissensus.errors import DissensusError
from dissensus.record.schedule import cell_points, epoch_ends, gradient_points, total_steps
from dissensus.run.allocation import DEFAULT_FUSE, allocate, executions, refuse_below_one
from dissensus.run.engines.base import Engine, Needs
from dissensus.run.engines.local import LocalEngine
from dissensus.run.jobs import Job, jobs
from dissensus.run.plan.facts import CellFacts, DataFacts, Measured, StudyFacts, Trial
from dissensus.run.plan.measuring import Note, Workers, cell_sizes, finished_seconds, measure_cells
from dissensus.run.plan.work import NOTHING, CellPlan, PlanRow, Resources, Work, row_of, summed
from dissensus.run.step_warnings import StepWarning, step_warnings, train_size_of
from dissensus.study.folder import StudyFolder
from dissensus.study.grid import select
from dissensus.study.status import CellStatus

_ELSEWHERE = "no cell like it has finished there; run one (--only seed=0, say) and plan again"


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
    on_note: Note | None = None,
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
    refuse_below_one(workers=workers, threads=threads, fuse=fuse)
    engine = engine or LocalEngine(workers=workers, device=device)
    note = on_note or (lambda _line: None)
    folder = StudyFolder(out, study=study)
    cells = select(folder.cells, only or When())
    statuses = folder.listed
    unfinished = [cell for cell in cells if statuses[cell.cell_id].state != "done"]
    layout = _layout(study, unfinished, engine, workers=workers, threads=threads, fuse=fuse)

    cell_seconds = finished_seconds(folder.cells, statuses, anywhere=engine.elsewhere)
    facts = StudyFacts()
    if unfinished and engine.elsewhere:
        sizes = cell_sizes(unfinished, data_dir, cell_seconds=cell_seconds, note=note)
        facts = StudyFacts({name: _without_trial(known) for name, known in sizes.items()})
    elif unfinished:
        measuring = Workers(layout.workers, layout.threads, device, data_dir)
        facts = measure_cells(unfinished, measuring, cell_seconds=cell_seconds, note=note)
    known = {cell.cell_id: facts.cells.get(cell.cell_id, CellFacts()) for cell in cells}

    plans = {cell.cell_id: plan_cell(cell, statuses[cell.cell_id], known[cell.cell_id]) for cell in cells}
    for job, need in zip(layout.jobs, layout.needs, strict=True):
        plans |= {cell.cell_id: replace(plans[cell.cell_id], gpus=need.gpus) for cell in job}
    rows: dict[tuple[str, str], list[CellPlan]] = {}
    for plan in plans.values():
        rows.setdefault((plan.model, plan.method), []).append(plan)
    seconds = [summed([plans[cell.cell_id].work for cell in job]).seconds for job in layout.jobs]
    wall = wall_seconds([s for s in seconds if s is not None], layout.workers)
    return StudyPlan(
        study=study.name,
        out=str(out),
        cells=tuple(plans.values()),
        rows=tuple(row_of(*place, of_row) for place, of_row in rows.items()),
        total=row_of("", "", list(plans.values())),
        workers=layout.workers,
        threads=layout.threads,
        jobs=len(layout.jobs),
        wall_seconds=wall,
        measured=facts.measured,
        finished=sum(known[cell.cell_id].whole is not None for cell in unfinished),
        running=folder.running,
        engine=engine.name,
        resources=_resources(layout, seconds, known, wall),
        several=layout.several,
        warnings=step_warnings(
            (cell, _steps_of(cell, statuses[cell.cell_id], known[cell.cell_id])) for cell in unfinished
        ),
    )


@dataclass(frozen=True)
class _Layout:
    """What would run where.

    Attributes:
        jobs: what workers take one at a time.
        needs: what each of them is given; no GPU on a machine that has none.
        workers: that would run at a time; 0 where nobody has said how many a cluster runs.
        threads: of a worker, the most.
        shared_gpu: whether the workers share this machine's GPU.
        several: cells that several processes train together.
    """

    jobs: tuple[Job, ...]
    needs: tuple[Needs, ...]
    workers: int
    threads: int
    shared_gpu: bool
    several: int


def _layout(
    study: StudySpec,
    cells: Sequence[RunSpec],
    engine: Engine,
    *,
    workers: int | None,
    threads: int | None,
    fuse: int | None,
) -> _Layout:
    carried_out = executions(study)
    waiting = jobs(cells, fuse or DEFAULT_FUSE, carried_out)
    here = not engine.elsewhere  # a cluster is not reached for a plan
    gpus = here and engine.has_gpus()
    slots = engine.slots(len(waiting)) if here else workers or 0
    needs = allocate(waiting, carried_out, gpus=gpus, threads=threads, shared_by=slots if here else None)
    if here and not gpus:  # what a cluster's cells reserve is not here
        needs = [replace(need, gpus=0.0) for need in needs]
    return _Layout(
        waiting,
        tuple(needs),
        workers=min(slots, len(waiting)),
        threads=max((need.threads for need in needs), default=threads or 1),
        shared_gpu=gpus,
        several=sum(carried_out[cell.cell_id].processes > 1 for cell in cells),
    )


def _without_trial(known: CellFacts) -> CellFacts:
    """Facts of a cell that would run on another machine, where a trial here would say nothing."""
    return known if known.whole is not None or known.reason else replace(known, reason=_ELSEWHERE)


def _resources(
    layout: _Layout,
    seconds: Sequence[float | None],
    facts: Mapping[str, CellFacts],
    wall: float | None,
) -> Resources:
    """What the jobs take together, by the seconds of each."""
    timed = [(taken or 0.0, need) for taken, need in zip(seconds, layout.needs, strict=True)]
    rooms = [
        sum(t.checkpoint_bytes(cell.method.rank) for cell in job if (t := facts[cell.cell_id].trial))
        for job in layout.jobs
    ]
    reserved = sum(taken * need.gpus for taken, need in timed)
    return Resources(
        gpu_hours=(wall if layout.shared_gpu and wall is not None else reserved) / 3600,
        cpu_hours=sum(taken * need.threads for taken, need in timed) / 3600,
        checkpoint_bytes=sum(sorted(rooms, reverse=True)[: layout.workers]) if any(rooms) else None,
    )


def plan_cell(cell: RunSpec, status: CellStatus, known: CellFacts) -> CellPlan:
    """What is left of one cell, as far as its specification, its status and what is known tell."""
    work, reason = NOTHING, ""
    if status.state != "done":
        reason = known.reason
        try:
            work = _work(cell, status, known)
        except DissensusError as error:  # the run, too, will refuse it
            work, reason = Work(steps=_steps_of(cell, status, known)), str(error)
    names = (cell.condition, cell.model.label, cell.method.label)
    return CellPlan(cell.cell_id, *names, status.state, work, reason, precision=cell.training.precision)


def _work(cell: RunSpec, status: CellStatus, known: CellFacts) -> Work:
    """What is left of a cell that is not done; raises `DissensusError` where its tracking steps do not fit."""
    steps = _steps_of(cell, status, known)
    if steps is None:
        validations, gradients = _beside(cell, None, None, 0)
        return Work(seconds=known.whole, validation_passes=validations, gradient_points=gradients)
    n = known.data.train if known.data else train_size_of(cell)
    points = len(cell_points(steps, n, cell))
    taken, measured = min(status.step, steps), min(status.tracking_points_done, points)
    passes = points - measured
    validations, gradients = _beside(cell, n, steps, taken)
    tokens = tracked = seconds = room = None
    if (data := known.data) and (trial := known.trial):
        batch = cell.training.batch_size
        examples = examples_seen(data.train, batch, steps) - examples_seen(data.train, batch, taken)
        tokens = round(examples * data.train_bytes / data.train * trial.train_tokens)
        tracked = round(passes * data.text_bytes * trial.tracked_tokens)
        seconds = trial.setup + (steps - taken) * trial.update
        seconds += tokens * trial.gradient + tracked * trial.tracking
        seconds += (validations or 0) * data.validation_bytes * trial.tracked_tokens * trial.tracking
        seconds += _probe_seconds(cell, data, trial, gradients or 0)
    if known.whole is not None:
        seconds = known.whole * (1 - (taken / steps + measured / points) / 2)
    if data:
        room = passes * shard_bound(data) + (0 if measured else examples_bound(data))
    return Work(steps - taken, tokens, passes, tracked, seconds, room, validations, gradients)


def _beside(cell: RunSpec, n: int | None, steps: int | None, taken: int) -> tuple[int | None, int | None]:
    """What is left of passes over the validation set and of points of the gradient probe; None: not known.

    Args:
        n: examples that it trains on; None where that is not known.
        steps: of the whole cell; None where that is not known.
        taken: of them.
    """

    def left(points: Iterable[int]) -> int:
        return sum(taken == 0 or point > taken for point in points)

    validations: int | None = 0
    if cell.dataset.holdout is not None:
        validations = None if n is None else left((0, *epoch_ends(n, cell.training)))
    gradients: int | None = 0
    if (probe := cell.tracking.gradients) is not None:
        gradients = None
        if steps is not None and (n is not None or not probe.epoch_ends):
            gradients = left(gradient_points(steps, n or 0, cell.training, probe))
    return validations, gradients


def _probe_seconds(cell: RunSpec, data: DataFacts, trial: Trial, points: int) -> float:
    """Seconds of the gradient probe at so many points that are left, the run's last one among them."""
    probe = cell.tracking.gradients
    if probe is None or trial.group_gradients is None:
        return 0.0
    tokens = sum(data.class_bytes.get(name, 0) for name in probe.groups) * trial.tracked_tokens
    with_norms = {"all": points, "end": min(points, 1), None: 0}[probe.norms]
    return points * tokens * trial.group_gradients + with_norms * data.tracked * (trial.example_norms or 0.0)


def _steps_of(cell: RunSpec, status: CellStatus, known: CellFacts) -> int | None:
    """Optimiser steps of a cell, start to end; None where they are not known."""
    n = known.data.train if known.data else train_size_of(cell)
    return total_steps(n, cell.training) if n is not None else status.total_steps or None


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
