"""What a study will cost before it starts: cells, steps, tokens, hours and room on the disk, by model and method.

Nothing is run and nothing written. What the study's folder holds counts as done. Needs no torch: what must be measured
with it is measured in other processes (`measuring.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dissensus.config import Execution, RunSpec, StudySpec, When
from dissensus.errors import DissensusError, SpecError
from dissensus.record.schedule import total_steps, tracking_steps
from dissensus.run.allocation import DEFAULT_FUSE, default_threads, default_workers
from dissensus.run.engines.base import Engine, Machine, Needs, needs_of
from dissensus.run.execution import executions
from dissensus.run.jobs import jobs
from dissensus.run.plan import calibration_file
from dissensus.run.plan.assumed import assume_cells
from dissensus.run.plan.facts import DataFacts
from dissensus.run.plan.ground import Ground, Source, ground_of
from dissensus.run.plan.measuring import (
    Findings,
    Known,
    Measured,
    measure_cells,
    measure_elsewhere,
    model_key,
)
from dissensus.run.plan.packing import check, pack
from dissensus.run.plan.reckoning import Reckoned
from dissensus.run.plan.stated import Assumption
from dissensus.run.plan.work import NOTHING, CellPlan, PlanRow, Resources, Work, row_of
from dissensus.run.step_warnings import StepWarning, step_warnings, train_size_of
from dissensus.study.grid import expand, select
from dissensus.study.lock import lock_held
from dissensus.study.status import CellStatus, cell_folder, read_status


@dataclass(frozen=True)
class StudyPlan:
    """What a study will cost.

    Attributes:
        study: its name.
        out: its folder.
        cells: each cell that was asked for.
        rows: by model and method, in the order in which each first comes.
        total: all of them.
        workers: that would run; 0 where nothing is left. On a cluster, the most jobs at a time.
        threads: of each; on a cluster, the most of any.
        jobs: what the workers take one at a time: a cell, or several that train in one pass. Those are reckoned as if
            each were alone, which is an upper bound.
        wall_seconds: until all is done. On this machine the workers share the seconds evenly, and none is quicker
            than the longest job; on a cluster the jobs are placed on its machines (`packing.py`). Without the cells
            whose seconds are not known; None where no cell's are.
        measured: what the seconds come from, where they were measured.
        running: whether another process runs this study now.
        source: where the seconds come from.
        machines: of the cluster; empty for this machine.
        resources: hours of GPUs and processors, and room for checkpoints.
        notes: what stands for what, where something was not here.
        several: cells that several processes train together: reckoned as if one did it.
        calibration: what was found out, for other plans (`calibration_file.py`).
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
    running: bool
    source: Source = field(default_factory=lambda: Source("measured"))
    machines: tuple[Machine, ...] = ()
    resources: Resources = field(default_factory=Resources)
    notes: tuple[str, ...] = ()
    several: int = 0
    calibration: Mapping[str, Any] = field(default_factory=dict)
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
    cluster: Sequence[Machine] = (),
    calibration: Path | None = None,
    assumption: Assumption | None = None,
    on_note: Callable[[str], None] | None = None,
) -> StudyPlan:
    """Reckon what `runner.run_study` with the same arguments would do; `on_note` hears what is being measured.

    Args:
        study: what would run.
        out: the study's folder; what it holds counts as done.
        workers: as for a run, like `threads`, `fuse`, `device`, `data_dir` and `only`.
        threads: see `workers`.
        fuse: see `workers`.
        device: see `workers`.
        data_dir: see `workers`.
        only: see `workers`.
        engine: what it would run on, not open yet; its workers measure. Default: this machine.
        cluster: machines to plan for, in place of the engine's.
        calibration: JSON of an earlier plan, whose timings stand in place of a measurement.
        assumption: how fast a device is, in place of a measurement.
        on_note: called with a line before each measurement.

    Raises:
        SpecError: the study is not valid, `only` matches nothing, the engine cannot be reached, or no machine has
            room for a cell.
    """
    for option, value in (("workers", workers), ("threads", threads), ("fuse", fuse)):
        if value is not None and value < 1:
            raise SpecError(f"{option} is {value}; expected 1 or more")
    cells = select(expand(study), only or When())
    carried_out = executions(study)
    statuses = {cell.cell_id: read_status(cell_folder(out, cell), cell) for cell in cells}
    running = lock_held(out)
    if not running:  # what says so was killed
        statuses = {
            name: replace(status, state="interrupted") if status.state == "running" else status
            for name, status in statuses.items()
        }
    left = [cell for cell in cells if statuses[cell.cell_id].state != "done"]
    with ground_of(
        out, engine=engine, cluster=cluster, calibration=calibration, assumption=assumption, device=device
    ) as ground:
        waiting = jobs(left, fuse or DEFAULT_FUSE)
        crew = len(waiting)
        if ground.machines:
            threads_of = threads
        else:
            crew = min(workers or default_workers(len(waiting), device), len(waiting))
            threads_of = threads or default_threads(max(crew, 1))
        needs = [
            needs_of([carried_out[cell.cell_id] for cell in job], gpus=ground.gpus, threads=threads_of)
            for job in waiting
        ]
        if ground.machines:
            check(needs, ground.machines)
        findings = Findings()
        if left:
            look = _Look(device, data_dir, on_note)
            of_cell = {cell.cell_id: n for job, n in zip(waiting, needs, strict=True) for cell in job}
            findings = look.at(left, ground, out, carried_out, of_cell, crew)
    planned = _planned(cells, statuses, findings)
    for job, need in zip(waiting, needs, strict=True):
        for place, cell in enumerate(job):
            known = findings.known.get(cell.cell_id, Known())
            starts = bool(ground.machines) and place == 0  # a process of its own for each job
            planned[cell.cell_id] = _reserving(planned[cell.cell_id], need, ground.gpus, starts, known)
    rows: dict[tuple[str, str], list[CellPlan]] = {}
    for plan in planned.values():
        rows.setdefault((plan.model, plan.method), []).append(plan)
    reckoned = Reckoned.of(waiting, needs, planned, findings)
    if ground.machines:
        packing = pack(reckoned.seconds, reckoned.needs, ground.machines, at_once=workers)
        wall = packing.wall_seconds if reckoned.seconds else None
        resources = reckoned.on_cluster(packing, ground.machines)
        crew = resources.jobs_at_once
    else:
        wall = wall_seconds(reckoned.seconds, crew)
        resources = reckoned.here(wall or 0.0, crew, gpus=ground.gpus)
    return StudyPlan(
        study=study.name,
        out=str(out),
        cells=tuple(planned.values()),
        rows=tuple(row_of(*place, plans) for place, plans in rows.items()),
        total=row_of("", "", list(planned.values())),
        workers=crew,
        threads=max((need.threads for need in needs), default=threads_of or 1),
        jobs=len(waiting),
        wall_seconds=wall,
        measured=findings.measured,
        running=running,
        source=ground.source,
        machines=ground.machines,
        resources=resources,
        notes=findings.notes,
        several=sum(carried_out[cell.cell_id].processes > 1 for cell in left),
        calibration=calibration_file.to_json(left, findings),
        warnings=step_warnings(
            (cell, _steps_of(cell, statuses[cell.cell_id], findings.known.get(cell.cell_id, Known())))
            for cell in left
        ),
    )


@dataclass(frozen=True)
class _Look:
    """How cells are looked at; see `plan_study`."""

    device: str | None
    data_dir: Path | None
    on_note: Callable[[str], None] | None

    def at(
        self,
        cells: Sequence[RunSpec],
        ground: Ground,
        out: Path,
        carried_out: Mapping[str, Execution],
        needs: Mapping[str, Needs],
        workers: int,
    ) -> Findings:
        """What is known of cells: from a file, by an assumption, or measured, there or here."""
        source = ground.source
        if source.file:
            found = calibration_file.from_file(Path(source.file), cells)
            _refuse_other_device(found, source.file, gpus=any(need.gpus for need in needs.values()))
            return found
        if source.assumption is not None:
            gpus = {name: need.gpus for name, need in needs.items()}
            return assume_cells(
                cells, source.assumption, gpus=gpus, data_dir=self.data_dir, on_note=self.on_note
            )
        common: dict[str, Any] = {"device": self.device, "data_dir": self.data_dir, "on_note": self.on_note}
        if ground.engine is not None:
            return measure_elsewhere(
                cells, ground.engine, needs=needs, executions=carried_out, beside=out, **common
            )
        if ground.machines:  # stated, and like this one: measured here as its own workers would
            workers = min(default_workers(workers, self.device), workers)
        threads = max(need.threads for need in needs.values())
        return measure_cells(cells, workers=workers, threads=threads, **common)


def _refuse_other_device(found: Findings, file: str, *, gpus: bool) -> None:
    """Raise `SpecError` where cells get a GPU and were timed on a processor, or the other way round."""
    for measured in found.measured:
        if measured.device and (measured.device != "CPU") != gpus:
            given = "get a GPU" if gpus else "get none"
            raise SpecError(
                f"{file} was measured on {measured.device}, and the cells planned here {given}; measure on a machine "
                "like those of the cluster"
            )


def _planned(
    cells: Sequence[RunSpec], statuses: Mapping[str, CellStatus], findings: Findings
) -> dict[str, CellPlan]:
    """The plan of each cell, in the study's order."""
    planned: dict[str, CellPlan] = {}
    begun: set[tuple[str, ...]] = set()
    for cell in sorted(cells, key=lambda cell: not statuses[cell.cell_id].tracking_points_done):
        known = findings.known.get(cell.cell_id, Known())
        planned[cell.cell_id] = plan_cell(
            cell, statuses[cell.cell_id], known, start_known=_start(cell) in begun
        )
        begun.add(_start(cell))
    return {cell.cell_id: planned[cell.cell_id] for cell in cells}


def _reserving(plan: CellPlan, needs: Needs, gpus: bool, starts: bool, known: Known) -> CellPlan:
    """A cell's plan with what its job reserves, and a process' start where it is the first of its job."""
    seconds = plan.work.seconds
    if seconds is not None and starts and known.timing is not None:
        seconds += known.timing.start
    return replace(plan, work=replace(plan.work, seconds=seconds), gpus=needs.gpus if gpus else 0.0)


def plan_cell(cell: RunSpec, status: CellStatus, known: Known, *, start_known: bool = False) -> CellPlan:
    """What is left of one cell, as far as its specification, its status and what was found out tell.

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
        return planned(Work(), known.reason)
    tracking = cell.tracking
    try:
        points = len(
            tracking_steps(steps, points=tracking.points, schedule=tracking.schedule, steps=tracking.steps)
        )
    except DissensusError as error:  # the run, too, will refuse it
        return planned(Work(steps=steps), str(error))
    taken = min(status.step, steps)
    passes = points - min(status.tracking_points_done, points)
    tokens = tracked = seconds = room = None
    if known.tokens and n is not None:
        seen = examples_seen(n, cell.training.batch_size, steps)
        seen -= examples_seen(n, cell.training.batch_size, taken)
        tokens = round(seen * known.tokens.per_train_example)
        tracked = passes * known.tokens.tracked
        if (timing := known.timing) is not None:
            seconds = timing.setup + (steps - taken) * timing.update
            seconds += tokens * timing.gradient + tracked * timing.tracking
            if start_known and timing.shares_start and passes == points:
                seconds -= known.tokens.tracked * timing.tracking
    if known.data:
        room = passes * shard_bound(known.data) + (
            0 if status.tracking_points_done else examples_bound(known.data)
        )
    return planned(Work(steps - taken, tokens, passes, tracked, seconds, room), known.reason)


def _steps_of(cell: RunSpec, status: CellStatus, known: Known) -> int | None:
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
    """Bytes of one tracking point, at most: ids, and a float32 a label twice over, as Parquet's dictionaries may."""
    return data.id_bytes + data.tracked * (8 * data.labels + 8) + 4096


def examples_bound(data: DataFacts) -> int:
    """Bytes of `examples.parquet`, at most: ids, texts, counts and a dozen numbers each."""
    return data.id_bytes + data.text_bytes + data.tracked * (16 * data.labels + 96) + 8192


def wall_seconds(jobs: Sequence[float], workers: int) -> float | None:
    """Seconds until the last job is over, at least; None where there is no job whose seconds are known."""
    return max(sum(jobs) / workers, *jobs) if jobs else None
