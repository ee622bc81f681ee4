"""The runner's handle on one worker process: start it, hear its events, stop it, say how it died."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]
"""What a worker says, plus {"event": "ended", "code": exit code} when it is gone."""

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


class WorkerProcess:
    """One running worker. `hear` is called from a thread of its own, the last time with the event 'ended'."""

    def __init__(
        self, job: Mapping[str, Any], *, threads: int, log: Path, hear: Callable[[Event], None]
    ) -> None:
        # The child finds modules where this process does, and not in the working directory besides (-P).
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
            **dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        }
        self._log = log
        with log.open("ab") as log_file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-X", "faulthandler", "-m", "dissensus.study.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the runner alone, which then stops its workers
            )
        self.pid = self._process.pid
        threading.Thread(target=self._listen, args=(hear,), daemon=True).start()
        assert self._process.stdin is not None  # PIPE
        with contextlib.suppress(OSError, ValueError):  # it died at once; `_listen` says so
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()  # and stays open: the worker ends when it closes

    def terminate(self, patience: float = 5.0) -> None:
        """Stop the process, by force when it does not heed within `patience` seconds."""
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self, lines: int = 3) -> str:
        """The end of what the worker printed."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def _listen(self, hear: Callable[[Event], None]) -> None:
        assert self._process.stdout is not None  # PIPE
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # half a line: the worker was killed while it wrote
            if isinstance(event, dict):
                hear(event)
        code = self._process.wait()
        self._process.stdout.close()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # a job that the worker did not live to read
                self._process.stdin.close()
        hear({"event": "ended", "code": code})


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
