"""Slurm engine, through submitit: each job a Slurm job, its events a file in a folder that both sides see.

submitit writes the call as a pickle into its folder and would read a result back as one; the result is never asked for
here, so that nothing which a compute node wrote is unpickled. A job that Slurm stops at its time limit, or preempts, is
queued again by submitit, with the same attempt, and resumes from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dissensus.errors import MissingDependencyError, SpecError
from dissensus.run.engines.base import EngineSettings, Needs
from dissensus.run.engines.node import run_job
from dissensus.run.engines.queued import QueuedEngine
from dissensus.run.messages import Ended, Event, JobOrder, OnEvent, Over, read_event, to_json
from dissensus.wording import last_line

_OPTIONS = ("partition", "account", "qos", "constraint", "exclude", "nodelist", "gres", "reservation")
"""Options that are Slurm's own words."""

_LOOK_EVERY = 0.5  # seconds
_GRACE = 10.0
"""Seconds after a job's end in which its last events may still come over the network file system."""
_STOP_SECONDS = 30.0


def slurm_engine(settings: EngineSettings) -> SlurmEngine:
    """`--engine slurm`."""
    return SlurmEngine(settings.out / ".slurm", settings.options)


class SlurmEngine(QueuedEngine):
    """Jobs on a Slurm cluster; see `base.Engine`.

    Args:
        folder: for the call, the logs and the events of each job; every machine must see it.
        options: partition, account, qos, constraint, exclude, nodelist, gres, reservation, as Slurm takes them; time
            (minutes a job may run; default 1440); gpus (yes or no: whether jobs get a GPU when the study does not
            say; default no); cluster (slurm, or local: processes of this machine, to try it out).
    """

    name = "slurm"

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        super().__init__()
        settings = dict(options or {})
        self._cluster = _choice(settings, "cluster", ("slurm", "local"), "slurm")
        self._gpus = _choice(settings, "gpus", ("yes", "no"), "no") == "yes"
        minutes = settings.pop("time", "1440")
        if not minutes.isdigit() or int(minutes) < 1:
            raise SpecError(
                f"--engine-option time={minutes}: expected the minutes that a job may run, e.g. time=240"
            )
        self._minutes = int(minutes)
        unknown = sorted(set(settings) - set(_OPTIONS))
        if unknown:
            raise SpecError(
                f"--engine-option {unknown[0]}={settings[unknown[0]]}: unknown to Slurm's engine; known: "
                f"{', '.join((*_OPTIONS, 'time', 'gpus', 'cluster'))}"
            )
        self._slurm = settings
        self._folder = folder
        self._submitit: Any = None
        self._jobs: dict[str, _Submitted] = {}
        self._lost = False

    def open(self) -> None:
        """Find Slurm, and begin to listen."""
        try:
            import submitit
        except ImportError:
            raise MissingDependencyError("submitit", "slurm", "running a study on Slurm") from None
        self._submitit = submitit
        if self._cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
            raise SpecError(
                "Slurm is not on this machine (there is no srun): run this on a login node, or give --engine-option "
                "cluster=local to try it with processes of this machine"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        self._start_listening()

    def has_gpus(self) -> bool:
        """As the options say: the login node cannot tell."""
        return self._gpus

    def check(self, needs: Sequence[Needs]) -> None:
        """Refuse what Slurm cannot give: parts of a GPU. What is too much, Slurm says when a job is handed in."""
        parts = [need.gpus for need in needs if need.gpus != int(need.gpus)]
        if parts:
            raise SpecError(
                f"a cell reserves {parts[0]:g} GPUs, and Slurm gives whole ones: let 'execution' say gpus: 1, and "
                "train several LoRA cells in one pass with --fuse"
            )

    def close(self) -> None:
        """Stop listening. What lies in the folder goes, unless a job was lost: its logs may say why."""
        if self._stop_listening():
            for submitted in self._jobs.values():  # those that have said their last, and are about to end
                submitted.wait()
            if not self._lost:
                shutil.rmtree(self._folder, ignore_errors=True)

    def submit(self, order: JobOrder, needs: Needs, on_event: OnEvent) -> _Submitted:
        """Hand a job in."""
        attempt = uuid.uuid4().hex
        events = (self._folder / f"{attempt}.jsonl").resolve()
        executor = self._submitit.AutoExecutor(folder=self._folder, cluster=self._cluster)
        executor.update_parameters(**self._parameters(needs, order.cells[0].folder.name))
        try:
            ticket = executor.submit(_Call(), to_json(replace(order, attempt=attempt)), str(events))
        except self._submitit.core.utils.FailedJobError as error:
            reason = last_line(error, "no reason was given")
            raise SpecError(f"Slurm did not take a job: {reason}") from None
        submitted = _Submitted(ticket, events, on_event, order.log)
        with self._lock:
            self._jobs[attempt] = submitted
        return submitted

    def _parameters(self, needs: Needs, name: str) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "name": name,
            "timeout_min": self._minutes,
            "cpus_per_task": math.ceil(needs.cpus),
            "mem_gb": needs.memory_gib,
            "gpus_per_node": int(needs.gpus),
        }
        return parameters | {f"slurm_{key}": value for key, value in self._slurm.items()}

    def _listen(self) -> None:
        while not self._closing.wait(_LOOK_EVERY):
            with self._lock:
                under_way = list(self._jobs.items())
            for attempt, submitted in under_way:
                if self._closing.is_set():
                    return
                if submitted.look():
                    self._lost |= submitted.lost
                    with self._lock:
                        del self._jobs[attempt]


@dataclass
class _Submitted:
    """A job that was handed in; see `queued.Submission`.

    Attributes:
        ticket: submitit's handle.
        events: the file that it writes its events to.
        on_event: called with each.
        log: the job's.
    """

    ticket: Any
    events: Path
    on_event: OnEvent
    log: Path | None
    lost: bool = False
    said_all: bool = False
    read: int = 0
    ended: float = 0.0

    def look(self) -> bool:
        """Pass on what is new; whether the job has said its last and has ended."""
        for event in self._new():
            self.on_event(event)
            self.said_all |= isinstance(event, Over | Ended)
        if not self.ticket.done():
            self.ended = 0.0
            return False
        if not self.said_all:
            self.ended = self.ended or time.monotonic()
            if time.monotonic() - self.ended < _GRACE:
                return False
            self.lost = True
            error = f"worker lost: Slurm job {self.ticket.job_id} ended as {self.ticket.state} without a word"
            self.on_event(Ended(error, self._printed(), lost=True))
        self.events.unlink(missing_ok=True)
        return True

    def cancel(self) -> None:
        """Cancel the job."""
        with contextlib.suppress(Exception):  # it may have ended just now
            self.ticket.cancel()

    def stop(self) -> None:
        """See `queued.Submission`."""
        self.cancel()
        self.wait()

    def wait(self) -> None:
        """Wait until it has ended, half a minute at most."""
        end = time.monotonic() + _STOP_SECONDS
        while not self.ticket.done(force_check=True) and time.monotonic() < end:
            time.sleep(_LOOK_EVERY)
        self.events.unlink(missing_ok=True)

    def _new(self) -> list[Event]:
        """Events that came since the last look."""
        try:
            with self.events.open("rb") as file:
                file.seek(self.read)
                text = file.read()
        except OSError:
            return []
        complete_lines = text[: text.rfind(b"\n") + 1]
        self.read += len(complete_lines)
        events = (read_event(line, self.log) for line in complete_lines.splitlines())
        return [event for event in events if event is not None]

    def _printed(self) -> str:
        """The end of what the job printed outside its worker."""
        with contextlib.suppress(Exception):
            lines = str(self.ticket.stderr() or "").strip().splitlines()
            return "\n".join(lines[-3:])
        return ""


class _Call:
    """What runs on a compute node; submitit asks it what to do when Slurm is about to stop the job."""

    def __call__(self, order: str, events: str) -> None:
        """Run the job here and write its events down."""

        def on_event(event: Event) -> None:
            with Path(events).open("a", encoding="utf-8") as file:  # closed at once: others see it then
                file.write(to_json(event) + "\n")

        run_job(order, on_event)

    def checkpoint(self, order: str, events: str) -> Any:
        """Queue the same job again: its cells resume from their checkpoints."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, order, events)


def _choice(options: dict[str, str], key: str, known: tuple[str, ...], default: str) -> str:
    value = options.pop(key, default)
    if value not in known:
        raise SpecError(f"--engine-option {key}={value}: expected {' or '.join(known)}")
    return value
