"""Runner of a study: runs its cells on an engine's workers, a job at a time each; stored curves are all that it leaves.

A job is one cell, or several that train in one pass (`jobs.py`). Cells that are done are skipped, others start or
resume; a cell that fails does not stop the others. The runner owns each cell's `status.json`; what happens inside a
cell is `run/cell.py`'s.
"""

from __future__ import annotations

import difflib
import queue
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dissensus.config import Execution, RunSpec, StudySpec, When
from dissensus.errors import SpecError, StoreError
from dissensus.files import write_atomic
from dissensus.run import messages
from dissensus.run.allocation import DEFAULT_FUSE, allocate, executions, refuse_below_one
from dissensus.run.destination import Destination
from dissensus.run.engines.base import Engine, Needs
from dissensus.run.engines.local import LocalEngine
from dissensus.run.engines.node import order_for_nodes
from dissensus.run.job_status import RunningJob
from dissensus.run.jobs import Job, jobs
from dissensus.run.messages import RUN_CELL, RUN_CELLS, Event, JobOrder
from dissensus.study.folder import StudyFolder
from dissensus.study.grid import select
from dissensus.study.lock import StudyLock
from dissensus.study.status import CellStatus, cell_folder, cut_off, write_status

OnChange = Callable[[CellStatus], None]
OnStage = Callable[[str], None]


@dataclass(frozen=True)
class StudyResult:
    """What a run of a study came to.

    Attributes:
        out: the study's folder.
        cells: status of each cell that was asked for, in the study's order.
        skipped: ids of the cells that were done before.
        study_diff: how study.yaml differs from the one that was there ("" if it does not); cells are known
            by their own settings, so changing the study never mixes up results.
    """

    out: Path
    cells: tuple[CellStatus, ...]
    skipped: frozenset[str]
    study_diff: str

    @property
    def failures(self) -> tuple[CellStatus, ...]:
        """The cells that failed."""
        return tuple(cell for cell in self.cells if cell.state == "failed")


def run_study(
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
    retries: int | None = None,
    remote: str | None = None,
    on_change: OnChange | None = None,
    on_stage: OnStage | None = None,
    on_note: OnStage | None = None,
    run_cell: str | None = None,
    run_cells: str | None = None,
) -> StudyResult:
    """Run every cell of a study that is not done, and say what became of each.

    Args:
        study: what to run.
        out: the study's folder; made if need be.
        workers: jobs that run at a time, each in a process of its own; default: one on a GPU, else one per core,
            as far as there are cells and memory; on a cluster, as many as it has room for.
        threads: threads of each worker; default: OMP_NUM_THREADS, or else the cores divided by the workers; on a
            cluster, the processors that the cell reserves.
        fuse: most cells per job: LoRA cells that differ in seed, rank, alpha and learning rate alone train in one
            pass over one frozen model, with the results that they have alone, up to rounding; default: 1.
        device: torch device of every worker; default: a GPU where there is one.
        data_dir: where data files are looked up first.
        only: run only the cells that this matches.
        engine: what the jobs run on; default: processes on this machine.
        retries: how often a job is tried again whose worker was lost; default: as the engine says.
        remote: URL of the study, of which `out` is this machine's image: cells are brought from there, and published.
        on_change: called when a cell starts, advances or ends, from this thread.
        on_stage: called with what the run as a whole does beside its cells, e.g. 'checking the data'; "" when that
            is over.
        on_note: called with what whoever started the run should know.
        run_cell: another module:function with the signature of `run.cell.run_cell`.
        run_cells: another one with that of `run.fused_cells.run_cells`.

    Raises:
        SpecError: the study is not valid, `only` matches nothing, the folder holds another study, or the engine
            cannot be reached or has no room for a cell.
        DataError, ModelError: data or a model of a cell that is not done is missing or malformed; no worker was
            started.
        StoreError: another run is under way in the folder.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after the workers were stopped; running again resumes.
    """
    refuse_below_one(workers=workers, threads=threads, fuse=fuse)
    if retries is not None and retries < 0:
        raise SpecError(f"retries is {retries}; expected 0 or more")
    folder = StudyFolder(out, study=study)
    cells = select(folder.cells, only or When())
    carried_out = executions(study)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"cannot make the study's folder {out}: {error.strerror}") from None
    engine = engine or LocalEngine(workers=workers, device=device)
    with StudyLock(out):
        destination = Destination(out, remote, elsewhere=engine.elsewhere)
        destination.fetch()
        diff = _keep_study(study, out)
        destination.publish_study()
        for status in folder.statuses:  # read now that all is here
            # Nothing runs here while this process holds the lock: what says 'running' was killed.
            if status.state == "running":
                write_status(folder.cell(status.cell), cut_off(status))
        statuses = {cell.cell_id: cut_off(folder.listed[cell.cell_id]) for cell in cells}
        skipped = frozenset(name for name, status in statuses.items() if status.state == "done")
        session = _Session(
            out,
            engine,
            carried_out,
            destination,
            order=JobOrder(
                cells=(),  # and threads: as each job has them
                threads=1,
                run_cell=run_cell or RUN_CELL,
                run_cells=run_cells or RUN_CELLS,
                data_dir=data_dir,
                device=device,
                remote=remote,
            ),
            tries=1 + (engine.retries if retries is None else retries),
            on_change=on_change or (lambda _status: None),
            on_stage=on_stage or (lambda _words: None),
            statuses=statuses,
        )
        for name in statuses:
            if name in skipped:
                session.on_change(statuses[name])
        unfinished = [cell for cell in cells if cell.cell_id not in skipped]
        if unfinished:
            if session.order.run_cell == messages.RUN_CELL:  # what another one needs, cannot be known here
                from dissensus.run.checking import check_inputs

                check_inputs(
                    unfinished,
                    data_dir=data_dir,
                    elsewhere=engine.elsewhere,
                    on_stage=session.on_stage,
                    on_note=on_note or (lambda _words: None),
                )
            session.run(unfinished, fuse=fuse, workers=workers, threads=threads)
            destination.fetch_curves(statuses)
        return StudyResult(out, tuple(statuses.values()), skipped, diff)


@dataclass
class _Task:
    """A job that is to be run: its cells, what it is given, and how often it was tried."""

    job: Job
    needs: Needs
    tried: int = 0


@dataclass(frozen=True)
class _Session:
    """One call of `run_study`; `statuses` holds what has become of each cell, by id."""

    out: Path
    engine: Engine
    executions: Mapping[str, Execution]
    destination: Destination
    order: JobOrder
    tries: int
    on_change: OnChange
    on_stage: OnStage
    statuses: dict[str, CellStatus]

    def run(
        self, cells: Sequence[RunSpec], *, fuse: int | None, workers: int | None, threads: int | None
    ) -> None:
        """Run cells, so many jobs at a time, until none is left."""
        running: dict[int, RunningJob] = {}
        events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
        orders: AbstractContextManager[JobOrder] = (
            order_for_nodes(self.order, self.out) if self.engine.elsewhere else nullcontext(self.order)
        )
        with terminated_is_interrupted(), orders as order:
            try:
                self.engine.open()
                tasks, slots = self._tasks(cells, fuse=fuse, workers=workers, threads=threads)
                waiting = list(enumerate(tasks))
                while waiting or running:
                    while waiting and len(running) < slots:
                        number, task = waiting.pop(0)
                        running[number] = self._start(number, task, order, events)
                    number, event = events.get()
                    if number not in running:  # the end of an idle worker, or of one that was given up
                        continue
                    self._changed(running[number].handle(event))
                    if running[number].over:
                        job, task = running.pop(number), tasks[number]
                        if job.worker is not None:
                            self.engine.release(job.worker)
                        if job.lost:
                            remainder = replace(task, job=tuple(task.job[place] for place in job.left))
                            waiting.append((len(tasks), remainder))
                            tasks.append(remainder)
            finally:
                # Empty unless something (Ctrl-C, an error in `on_change`) cut the loop short.
                if running:
                    with suppress(Exception):  # whoever shows this may be what went wrong
                        self.on_stage("stopping the workers")
                for cut in running.values():
                    if cut.worker is not None:
                        cut.worker.ask_to_stop()
                for cut in running.values():
                    for status in cut.stop():
                        with suppress(StoreError):  # something else ended the run, and is what is said
                            self.destination.cell_changed(self.statuses[status.cell], status)
                self.engine.close()
                self.destination.close()

    def _tasks(
        self, cells: Sequence[RunSpec], *, fuse: int | None, workers: int | None, threads: int | None
    ) -> tuple[list[_Task], int]:
        """The jobs, and how many to run at a time."""
        gpus = self.engine.has_gpus()
        waiting = jobs(cells, fuse or DEFAULT_FUSE, self.executions)
        slots = workers or self.engine.slots(len(waiting))
        shared_by = None if self.engine.elsewhere else slots
        needs = allocate(waiting, self.executions, gpus=gpus, threads=threads, shared_by=shared_by)
        self.engine.check(needs)
        return [_Task(job, need) for job, need in zip(waiting, needs, strict=True)], slots

    def _start(
        self,
        number: int,
        task: _Task,
        order: JobOrder,
        events: queue.SimpleQueue[tuple[int, Event]],
    ) -> RunningJob:
        task.tried += 1
        folder = cell_folder(self.out, task.job[0])
        folder.mkdir(parents=True, exist_ok=True)
        return RunningJob(
            task.job,
            self.statuses,
            self.out,
            worker=self.engine.hire(task.needs, folder / "log.txt"),
            order=replace(order, threads=task.needs.threads, device=self._device(task.needs)),
            executions=self.executions,
            last_try=task.tried >= self.tries,
            on_event=lambda event: events.put((number, event)),
        )

    def _device(self, needs: Needs) -> str | None:
        """What the job computes on: no GPU that it did not reserve."""
        default = self.order.device
        return "cpu" if default is None and self.engine.elsewhere and needs.gpus == 0 else default

    def _changed(self, changed: Iterable[CellStatus]) -> None:
        for status in changed:
            self.destination.cell_changed(self.statuses[status.cell], status)
            self.statuses[status.cell] = status
            self.on_change(status)


def _keep_study(study: StudySpec, out: Path) -> str:
    """Write study.yaml; how it differs from the one that was there. Another study's folder is refused."""
    path, text = out / "study.yaml", study.to_yaml()
    old = path.read_text(encoding="utf-8") if path.exists() else text
    if old != text:
        diff = "\n".join(
            difflib.unified_diff(old.splitlines(), text.splitlines(), "stored", "now", lineterm="", n=1)
        )
        try:
            name = StudySpec.from_text(old, str(path), stored=True).name
        except SpecError:  # written by another version, or by hand: its cells are still checked one by one
            name = study.name
        if name != study.name:
            raise SpecError(
                f"{out} holds the study {name!r}, not {study.name!r}; choose another folder with --out. "
                f"The two differ in:\n{diff}"
            )
    else:
        diff = ""
    write_atomic(path, text)
    return diff


@contextmanager
def terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM (a scheduler's, or `kill`) ends a run as cleanly as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
