"""Other processes in tests: waiting for what they do, and seeing that none outlives its test.

A wait ends when what it waits for has happened; `PATIENCE` is only how long a test may hang before it says so, far more
than a busy machine needs.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 900.0
"""Seconds until a wait is given up."""
_SETTLE = 60.0
"""Seconds that a process which is about to end may take; it has nothing left to do."""
_KEPT = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Python's own helpers, which live as long as the process that they serve."""


def wait_for(condition: Callable[[], bool], what: str, *, seconds: float = PATIENCE) -> None:
    """Return once `condition` holds; an AssertionError says what never happened."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended; one whose parent has not yet asked how counts as ended, and 0 is none."""
    if pid <= 0:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return _state(pid) in ("", "Z")


@contextmanager
def no_child_left() -> Iterator[None]:
    """Fail where a process that was started inside still lives at the end, and kill it.

    Processes of fixtures that live longer than the test (a cluster, a server) were there before and are let be.
    """
    before = _children()
    yield
    left = _children() - before
    with suppress(AssertionError):
        wait_for(lambda: all(map(gone, left)), "the test's processes to end", seconds=_SETTLE)
    alive = sorted(pid for pid in left if not gone(pid))
    named = [_command(pid) for pid in alive]
    for pid in alive:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not alive, f"the test left processes behind: {named}"


def _children() -> set[int]:
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):  # nothing where there is no /proc
        with suppress(OSError):
            found.update(map(int, path.read_text().split()))
    return {pid for pid in found if not any(kept in _command(pid) for kept in _KEPT)}


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:300]
    except OSError:
        return ""


def _state(pid: int) -> str:
    """One letter, 'Z' for a process that has ended and was not asked how; '' where it is not known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
