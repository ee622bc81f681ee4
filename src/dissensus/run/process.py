"""The runner's handle on one worker process: start it, give it jobs, hear its events, say how it died."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dissensus.run.engines.base import Event, Hear

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


class WorkerProcess:
    """One worker on this machine (`engines.base.Worker`), which runs a job at a time.

    Args:
        threads: of its libraries.
        log: what it prints before its first job.
        environment: variables that it has beside this process' own.
    """

    def __init__(self, *, threads: int, log: Path, environment: Mapping[str, str] | None = None) -> None:
        # The child finds modules where this process does, and not in the working directory besides (-P).
        variables = {
            **os.environ,
            **(environment or {}),
            "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
            **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        }
        self.threads = threads
        self._log = log
        self._hear: Hear = lambda _event: None
        with log.open("ab") as log_file:
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

    def give(self, job: Mapping[str, Any], *, log: Path, hear: Hear) -> None:
        """Give it its next job; what it prints meanwhile goes to `log`."""
        self._log, self._hear = log, hear
        if self._listener is None:
            self._listener = threading.Thread(target=self._listen, daemon=True)
            self._listener.start()
        assert self._process.stdin is not None  # PIPE
        try:
            self._process.stdin.write(json.dumps({**job, "log": str(log)}).encode() + b"\n")
            self._process.stdin.flush()  # and stays open: the worker ends when it closes
        except (
            OSError,
            ValueError,
        ):  # it is gone; whoever listened may have said so to its last job's hearer
            self._listener.join()
            hear(self._gone(self._process.wait()))

    def dismiss(self) -> None:
        """Let it end; it has no job."""
        self._hear = lambda _event: None
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process.wait()

    def ask_to_stop(self) -> None:
        """Ask the process to stop, without waiting."""
        self._process.terminate()

    def terminate(self, patience: float = 5.0) -> None:
        """Stop the process, by force when it does not heed within `patience` seconds."""
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _gone(self, code: int) -> Event:
        """The event of its end."""
        return {
            "event": "ended",
            "error": words_for_exit(code),
            "words": self._last_words(),
            "lost": code < 0,
        }

    def _last_words(self, lines: int = 3) -> str:
        """The end of what the worker printed."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def _listen(self) -> None:
        assert self._process.stdout is not None  # PIPE
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # half a line: the worker was killed while it wrote
            if isinstance(event, dict):
                self._hear(event)
        code = self._process.wait()
        self._process.stdout.close()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # a job that the worker did not live to read
                self._process.stdin.close()
        self._hear(self._gone(code))


def words_for_exit(code: int) -> str:
    """How a worker that said nothing came to its end."""
    if code < 0:
        try:
            name = f" ({signal.Signals(-code).name})"
        except ValueError:
            name = ""
        memory = (
            "; often this means that memory ran out: use fewer workers or smaller batches"
            if code == -9
            else ""
        )
        return f"worker died with signal {-code}{name}{memory}"
    return f"worker ended with exit code {code} before the cell was done"
