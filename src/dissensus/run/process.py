"""A child process that runs jobs on this machine: start it, give it orders, receive its events, say how it ended.

The runner's workers, the worker on a machine of a cluster and the processes that train one cell together are all of
this class; what runs in them is `worker.py`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from dissensus.run.messages import SKIPPED, Ended, JobOrder, OnEvent, read_event, to_json

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


class ChildProcess:
    """A process that takes one order at a time (`engines.base.Worker`).

    Args:
        threads: of its libraries.
        log: what it prints before its first order; None: it prints where this process does.
        environment: variables that it has beside this process' own.
        name: what messages call it.
    """

    def __init__(
        self,
        *,
        threads: int,
        log: Path | None,
        environment: Mapping[str, str] | None = None,
        name: str = "worker",
    ) -> None:
        # The child finds modules where this process does, and not in the working directory besides (-P).
        variables = {
            **os.environ,
            **(environment or {}),
            "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
            **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        }
        self.threads = threads
        self._name = name
        self._log = log
        self._on_event: OnEvent = _ignore
        with contextlib.nullcontext() if log is None else log.open("ab") as log_file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-X", "faulthandler", "-m", "dissensus.run.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=variables,
                start_new_session=True,  # Ctrl-C reaches the runner alone, which then stops its workers
            )
        self.pid = self._process.pid
        self._listener: threading.Thread | None = None

    def give(self, order: JobOrder, on_event: OnEvent) -> None:
        """Give it its next order; its events come from another thread, `Over` or `Ended` last."""
        self._log, self._on_event = order.log, on_event
        if self._listener is None:
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()
        assert self._process.stdin is not None  # PIPE
        try:
            self._process.stdin.write(to_json(order).encode() + b"\n")
            self._process.stdin.flush()  # and stays open: the worker ends when it closes
        except (OSError, ValueError):  # it is gone, and its end may have been told to the previous job
            self._listener.join()
            on_event(self._end(self._process.wait()))

    def dismiss(self) -> None:
        """Let it end; it has no job."""
        self._on_event = _ignore
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process.wait()

    def ask_to_stop(self) -> None:
        """Ask the process to stop, without waiting."""
        self._process.terminate()

    def terminate(self, patience: float = 5.0) -> None:
        """Stop the process, by force if it still runs after `patience` seconds."""
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _end(self, code: int) -> Ended:
        """The event of its end."""
        return Ended(words_for_exit(code, self._name), self._last_lines(), lost=code < 0)

    def _last_lines(self, number: int = 3) -> str:
        """The end of what it printed."""
        if self._log is None or not self._log.exists():
            return ""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "\n".join([line for line in lines if not line.startswith(SKIPPED)][-number:])

    def _listen(self) -> None:
        assert self._process.stdout is not None  # PIPE
        for line in self._process.stdout:
            event = read_event(line, self._log)
            if event is not None:
                self._on_event(event)
        code = self._process.wait()
        self._process.stdout.close()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # an order that the process did not live to read
                self._process.stdin.close()
        self._on_event(self._end(code))


def words_for_exit(code: int, name: str = "worker") -> str:
    """How a process that said nothing came to its end; `name` is what it is called."""
    if code < 0:
        try:
            signal_name = f" ({signal.Signals(-code).name})"
        except ValueError:
            signal_name = ""
        memory = (
            "; often this means that memory ran out: use fewer workers or smaller batches"
            if code == -9
            else ""
        )
        return f"{name} died with signal {-code}{signal_name}{memory}"
    return f"{name} ended with exit code {code} before the cell was done"


def _ignore(_event: object) -> None:
    """Nobody listens."""
