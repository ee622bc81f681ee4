"""Ray engine: each job a Ray task with its processors, GPUs and memory, packed by Ray.

A task starts a worker process on its machine (`node.py`) and sends its events to a mailbox, an actor that lives where
the runner does. Whether a task still lives is Ray's word: one that ended without its last event was lost with its
machine, or with Ray's own process there, and the runner hands its cells out again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dissensus.errors import MissingDependencyError, SpecError
from dissensus.run.engines.base import EngineSettings, Needs, refuse_options
from dissensus.run.engines.queued import QueuedEngine
from dissensus.run.messages import Ended, Event, JobOrder, OnEvent, Over, Progress, read_event, to_json
from dissensus.wording import first_line, last_line

_STOP_SECONDS = 15.0
"""What a cancelled task is given to stop its worker before it is stopped by force."""


def ray_engine(settings: EngineSettings) -> RayEngine:
    """`--engine ray`."""
    left = dict(settings.options)
    address, wait = left.pop("address", None), left.pop("wait", "false")
    if wait not in ("true", "false"):
        raise SpecError(f"--engine-option wait={wait}: expected true or false")
    refuse_options(left, "ray", "address, wait")
    return RayEngine(address, wait=wait == "true")


class RayEngine(QueuedEngine):
    """Jobs as tasks of a Ray cluster; see `base.Engine`.

    Args:
        address: of a running cluster, as `ray.init` takes it; default: what RAY_ADDRESS says, else a cluster that
            runs on this machine, else one that is started for the study and ends with it.
        wait: hand out jobs that no machine has room for now, because the cluster grows by itself.
    """

    name = "ray"

    def __init__(self, address: str | None = None, *, wait: bool = False) -> None:
        super().__init__()
        self._address = address
        self._wait = wait
        self._ray: Any = None
        self._started_ray = False
        self._mail: Any = None
        self._task: Any = None
        self._listeners: dict[str, _Listener] = {}
        self._refs: dict[Any, str] = {}

    def open(self) -> None:
        """Connect, and set up the mailbox."""
        try:
            import ray
        except ImportError:
            raise MissingDependencyError("ray", "ray", "running a study on Ray") from None
        self._ray = ray
        # A task without GPUs sees what its machine has, as Ray's next versions do; a cell there is told to use the CPU.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if not ray.is_initialized():
            self._connect(ray)
            self._started_ray = True
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        this_node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._mail = ray.remote(_Mailbox).options(num_cpus=0, scheduling_strategy=this_node).remote()
        self._task = ray.remote(_run_on_node)
        self._start_listening()

    def has_gpus(self) -> bool:
        """See `base.Engine`."""
        return float(self._ray.cluster_resources().get("GPU", 0)) > 0

    def check(self, needs: Sequence[Needs]) -> None:
        """Raise `SpecError` for a job that no machine of the cluster has room for."""
        if self._wait:
            return
        alive = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        machines = [_Machine(n.get("CPU", 0), n.get("GPU", 0), n.get("memory", 0) / 2**30) for n in alive]
        for need in dict.fromkeys(needs):
            if not any(machine.holds(need) for machine in machines):
                room = "; ".join(machine.words for machine in machines) or "no machine"
                raise SpecError(
                    f"no machine of the Ray cluster has room for a cell that takes {_words(need)}; the cluster has: "
                    f"{room}. Lower the study's 'execution', or, where the cluster grows by itself, give "
                    "--engine-option wait=true"
                )

    def close(self) -> None:
        """Leave the cluster; one that was started for the study ends."""
        self._stop_listening()
        if self._ray is None or self._mail is None:
            return
        with contextlib.suppress(Exception):
            self._ray.kill(self._mail)
        if self._started_ray:
            self._ray.shutdown()

    def submit(self, order: JobOrder, needs: Needs, on_event: OnEvent) -> _ClusterTask:
        """Hand a job to the cluster, which runs it when there is room."""
        attempt = uuid.uuid4().hex
        task = self._task.options(
            name=order.cells[0].folder.name,
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=int(needs.memory_gib * 2**30),
            max_retries=0,  # the runner tries again: it knows the cells, and says so
        )
        with self._lock:
            self._listeners[attempt] = _Listener(on_event, order.log)
            ref = task.remote(to_json(replace(order, attempt=attempt)), attempt, self._mail)
            self._refs[ref] = attempt
        return _ClusterTask(self, ref)

    def cancel(self, ref: Any, *, force: bool = False, seconds: float = 0.0) -> bool:
        """Cancel a task, and wait so long for its end; whether it has ended."""
        with contextlib.suppress(Exception):  # it may have ended just now
            self._ray.cancel(ref, force=force)
        return bool(self._ray.wait([ref], timeout=seconds)[0])

    def forget(self, ref: Any) -> None:
        """Listen to a task no longer."""
        with self._lock:
            attempt = self._refs.pop(ref, "")
            self._listeners.pop(attempt, None)

    def _connect(self, ray: Any) -> None:
        quiet = {"log_to_driver": False, "logging_level": "WARNING"}
        address = self._address or os.environ.get("RAY_ADDRESS")
        try:
            if address is not None:
                _refuse_silence(address)
                ray.init(address=address, **quiet)
                return
            try:
                ray.init(address="auto", **quiet)
            except ConnectionError:
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of a study is told to anybody
                ray.init(include_dashboard=False, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            reason = first_line(error)
            raise SpecError(
                f"no Ray cluster answers at {address or 'this machine'}: {reason}. Start one with `ray start --head`, "
                "or leave --address out to run on this machine"
            ) from None

    def _listen(self) -> None:
        """Take in events, and the ends of tasks, until the engine is closed."""
        while not self._closing.is_set():
            try:
                self._take(0.5)
                self._look()
            except Exception as error:  # noqa: BLE001 - the cluster itself is gone: every job is lost
                self._give_up(error)
                return

    def _take(self, seconds: float) -> None:
        for attempt, text in self._ray.get(self._mail.take.remote(seconds)):
            with self._lock:
                listener = self._listeners.get(attempt)
            event = read_event(text, listener.log) if listener is not None else None
            if listener is None or event is None:
                continue
            if isinstance(event, Over | Ended):
                with self._lock:
                    self._listeners.pop(attempt, None)
            listener.on_event(event)

    def _look(self) -> None:
        """Find tasks that ended, and say so of those that did not say it themselves."""
        with self._lock:
            refs = list(self._refs)
        if not refs:
            return
        ended, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        if ended:
            self._take(0.0)  # what they said before they ended is in the mailbox by now
        for ref in ended:
            with self._lock:
                listener = self._listeners.pop(self._refs.pop(ref, ""), None)
            if listener is not None:
                listener.on_event(self._end_of(ref))

    def _end_of(self, ref: Any) -> Ended:
        try:
            self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            reason = last_line(error.cause)
            return Ended(f"the task could not run on its machine: {reason}")
        except self._ray.exceptions.RayError as error:
            return Ended(_lost(error), lost=True)
        return Ended("the task ended without a word", lost=True)

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            listeners = list(self._listeners.values())
            self._listeners.clear()
        reason = first_line(error)
        for listener in listeners:
            listener.on_event(Ended(f"the Ray cluster is gone: {reason}"))


@dataclass(frozen=True)
class _Listener:
    """Who receives the events of a task.

    Attributes:
        on_event: called with each.
        log: the job's, where it is on this machine.
    """

    on_event: OnEvent
    log: Path | None


class _ClusterTask:
    """A task of the cluster; see `queued.Submission`."""

    def __init__(self, engine: RayEngine, ref: Any) -> None:
        self._engine = engine
        self._ref = ref

    def cancel(self) -> None:
        """See `queued.Submission`."""
        self._engine.cancel(self._ref)

    def stop(self) -> None:
        """See `queued.Submission`."""
        if not self._engine.cancel(self._ref, seconds=_STOP_SECONDS):
            self._engine.cancel(self._ref, force=True, seconds=_STOP_SECONDS)
        self._engine.forget(self._ref)


class _Mailbox:
    """An actor that keeps events until the runner takes them, in the order in which they came."""

    def __init__(self) -> None:
        self._events: list[tuple[str, str]] = []
        self._some = asyncio.Event()

    async def put(self, attempt: str, event: str) -> None:
        """Leave an event of a task, as JSON."""
        self._events.append((attempt, event))
        self._some.set()

    async def take(self, seconds: float) -> list[tuple[str, str]]:
        """The events that are there; where there are none, what comes within so many seconds."""
        if not self._events and seconds > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._some.wait(), seconds)
        events, self._events = self._events, []
        self._some.clear()
        return events


def _run_on_node(order: str, attempt: str, mail: Any) -> None:
    """The task: run the job here and send its events to the runner."""
    import ray

    from dissensus.run.engines.node import run_job

    def on_event(event: Event) -> None:
        sent = mail.put.remote(attempt, to_json(event))
        if not isinstance(event, Progress):
            ray.get(sent)  # so that it is there before the task ends

    run_job(order, on_event)


def _refuse_silence(address: str, seconds: float = 10.0) -> None:
    """Raise `OSError` where nothing listens at HOST:PORT: Ray itself would wait for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=seconds).close()


def _lost(error: Exception) -> str:
    """Why a task was lost, in a line."""
    kinds = {
        "NodeDiedError": "its machine died",
        "WorkerCrashedError": "Ray's process died on its machine",
        "OutOfMemoryError": "its machine ran out of memory and Ray stopped it: let the cell reserve more memory_gib",
        "TaskCancelledError": "it was cancelled",
    }
    return "worker lost: " + kinds.get(type(error).__name__, f"{type(error).__name__}")


@dataclass(frozen=True)
class _Machine:
    """What one machine of the cluster has room for."""

    cpus: float
    gpus: float
    memory_gib: float

    def holds(self, needs: Needs) -> bool:
        """Whether a job fits, when nothing else is there."""
        return needs.cpus <= self.cpus and needs.gpus <= self.gpus and needs.memory_gib <= self.memory_gib

    @property
    def words(self) -> str:
        return f"{self.cpus:g} processors, {self.gpus:g} GPUs, {self.memory_gib:.1f} GiB"


def _words(need: Needs) -> str:
    return f"{need.cpus:g} processors, {need.gpus:g} GPUs and {need.memory_gib:g} GiB"
