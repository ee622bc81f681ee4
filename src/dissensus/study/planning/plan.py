"""What a study will cost before it starts: cells, steps, tokens, hours and room on the disk, by model and method.

Nothing is run and nothing written. What the study's folder holds counts as done. Needs no torch: what must be measured
with it is measured in other processes (`measuring.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dissensus.config import RunSpec, SimulatedSource, StudySpec, When
from dissensus.errors import DissensusError, SpecError
from dissensus.study.grid import expand, select
from dissensus.study.jobs import jobs
from dissensus.study.lock import lock_held
from dissensus.study.planning.facts import DataFacts
from dissensus.study.planning.measuring import Findings, Known, Measured, measure_cells, model_key
from dissensus.study.planning.work import NOTHING, CellPlan, PlanRow, Work, row_of, summed
from dissensus.study.resources import default_fuse, default_threads, default_workers, on_gpu
from dissensus.study.status import CellStatus, cell_folder, read_status
from dissensus.train.schedule import total_steps, tracking_steps


@dataclass(frozen=True)
class StudyPlan:
    """What a study will cost.

    Attributes:
        study: its name.
        out: its folder.
        cells: each cell that was asked for.
        rows: by model and method, in the order in which each first comes.
        total: all of them.
        workers: that would run; 0 where nothing is left.
        threads: of each.
        jobs: what the workers take one at a time: a cell, or several that train in one pass. Those are reckoned as if
            each were alone, which is an upper bound.
        wall_seconds: until all is done: the workers share the seconds evenly, and none is quicker than the longest
            job. Without the cells whose seconds are not known; None where no cell's are.
        measured: what the seconds come from.
        running: whether another process runs this study now.
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
    on_note: Callable[[str], None] | None = None,
) -> StudyPlan:
    """Reckon what `runner.run_study` with the same arguments would do; `on_note` hears what is being measured.

    Raises:
        SpecError: the study is not valid, or `only` matches nothing.
    """
    for option, value in (("workers", workers), ("threads", threads), ("fuse", fuse)):
        if value is not None and value < 1:
            raise SpecError(f"{option} is {value}; expected 1 or more")
    cells = select(expand(study), only or When())
    statuses = {cell.cell_id: read_status(cell_folder(out, cell), cell) for cell in cells}
    running = lock_held(out)
    if not running:  # what says so was killed
        statuses = {
            name: replace(status, state="interrupted") if status.state == "running" else status
            for name, status in statuses.items()
        }
    left = [cell for cell in cells if statuses[cell.cell_id].state != "done"]
    waiting = jobs(left, fuse or default_fuse(gpus=on_gpu(device)))
    crew = min(workers or default_workers(len(waiting), device), len(waiting))
    threads = threads or default_threads(max(crew, 1))
    findings = Findings()
    if left:
        findings = measure_cells(
            left, workers=crew, threads=threads, device=device, data_dir=data_dir, on_note=on_note
        )
    planned: dict[str, CellPlan] = {}
    begun: set[tuple[str, ...]] = set()
    for cell in sorted(cells, key=lambda cell: not statuses[cell.cell_id].tracking_points_done):
        known = findings.known.get(cell.cell_id, Known())
        planned[cell.cell_id] = plan_cell(
            cell, statuses[cell.cell_id], known, start_known=_start(cell) in begun
        )
        begun.add(_start(cell))
    planned = {cell.cell_id: planned[cell.cell_id] for cell in cells}
    seconds = [summed([planned[cell.cell_id].work for cell in job]).seconds for job in waiting]
    rows: dict[tuple[str, str], list[CellPlan]] = {}
    for plan in planned.values():
        rows.setdefault((plan.model, plan.method), []).append(plan)
    return StudyPlan(
        study=study.name,
        out=str(out),
        cells=tuple(planned.values()),
        rows=tuple(row_of(*place, plans) for place, plans in rows.items()),
        total=row_of("", "", list(planned.values())),
        workers=crew,
        threads=threads,
        jobs=len(waiting),
        wall_seconds=wall_seconds([s for s in seconds if s is not None], crew),
        measured=findings.measured,
        running=running,
    )


def plan_cell(cell: RunSpec, status: CellStatus, known: Known, *, start_known: bool = False) -> CellPlan:
    """What is left of one cell, as far as its specification, its status and what was found out tell.

    `start_known`: another cell comes before it that begins with the same body (see `Timing.shares_start`).
    """

    def planned(work: Work, reason: str) -> CellPlan:
        names = (cell.condition, cell.model.label, cell.method.label)
        return CellPlan(cell.cell_id, *names, status.state, work, reason)

    if status.state == "done":
        return planned(NOTHING, "")
    n = known.data.train if known.data else train_size_of(cell)
    steps = total_steps(n, cell.training) if n is not None else status.total_steps or None
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


def _start(cell: RunSpec) -> tuple[str, ...]:
    """What cells agree in that begin with the same body and track the same examples."""
    data, tracking = cell.dataset, cell.tracking
    tracked = (data.tracked.canonical(), str(data.tracked_size))
    return model_key(cell), *tracked, cell.method.name, str(tracking.token_budget), tracking.precision


def examples_seen(n: int, batch_size: int, steps: int) -> int:
    """Training examples in the batches of the first `steps` steps; an epoch's last batch may be smaller."""
    epochs, rest = divmod(steps, math.ceil(n / batch_size))
    return epochs * n + min(rest * batch_size, n)


def train_size_of(cell: RunSpec) -> int | None:
    """Training examples as far as the specification alone says."""
    data = cell.dataset
    drawn = data.train_size if data.train is not None else 0
    if cell.regime == "held_out" or drawn is None:
        return drawn
    own = data.tracked_size
    if own is None and isinstance(data.tracked, SimulatedSource):
        own = data.tracked.size
    return None if own is None else own + drawn


def shard_bound(data: DataFacts) -> int:
    """Bytes of one tracking point, at most: ids, and a float32 a label twice over, as Parquet's dictionaries may."""
    return data.id_bytes + data.tracked * (8 * data.labels + 8) + 4096


def examples_bound(data: DataFacts) -> int:
    """Bytes of `examples.parquet`, at most: ids, texts, counts and a dozen numbers each."""
    return data.id_bytes + data.text_bytes + data.tracked * (16 * data.labels + 96) + 8192


def wall_seconds(jobs: Sequence[float], workers: int) -> float | None:
    """Seconds until the last job is over, at least; None where there is no job whose seconds are known."""
    return max(sum(jobs) / workers, *jobs) if jobs else None
