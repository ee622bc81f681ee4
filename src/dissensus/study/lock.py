"""Lock of a study's folder: one run at a time.

The operating system holds the lock for the life of the process that took it, so that a killed run leaves
nothing to clean up, and whether a run is under way can be asked without trusting a stored process id.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from dissensus.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows: runs are not guarded against each other there
    fcntl = None  # type: ignore[assignment]

_NAME = ".lock"


class StudyLock:
    """Context manager that holds a study's folder; `StoreError` names the process that holds it already."""

    def __init__(self, study_dir: Path) -> None:
        self._path = study_dir / _NAME
        self._handle: IO[str] | None = None

    def __enter__(self) -> StudyLock:
        handle = self._path.open("a+", encoding="utf-8")
        # `lock_held` holds the lock for an instant while it looks; a run does not give up for that.
        for attempt in range(10):
            if _try_lock(handle, exclusive=True):
                break
            if attempt == 9:
                holder = self._path.read_text(encoding="utf-8").strip() or "another process"
                handle.close()
                raise StoreError(
                    f"a run is already under way in {self._path.parent} ({holder}); wait for it, stop it, "
                    "or choose another folder with --out"
                )
            time.sleep(0.05)
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        handle.flush()
        self._handle = handle
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.truncate(0)
            self._handle.close()
            self._handle = None


def lock_held(study_dir: Path) -> bool:
    """Whether a run is under way in the folder."""
    try:
        handle = (study_dir / _NAME).open(encoding="utf-8")
    except OSError:
        return False
    with handle:
        return not _try_lock(handle, exclusive=False)


def _try_lock(handle: IO[str], *, exclusive: bool) -> bool:
    if fcntl is None:
        return exclusive
    try:
        fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
