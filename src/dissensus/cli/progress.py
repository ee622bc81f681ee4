"""How a run shows its progress: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dissensus.cli.output import duration, note, number

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from dissensus.study.status import CellStatus

OnChange = Callable[["CellStatus"], None]

LINE_EVERY = 10.0
"""Seconds between two lines about one cell in a log."""


@contextmanager
def run_progress(total: int) -> Iterator[OnChange]:
    """What to hand to `run_study` as `on_change`, for a run of `total` cells."""
    if not sys.stderr.isatty():
        yield _Lines(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps", markup=False),
        TextColumn("{task.fields[facts]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        expand=True,
    )
    with bars:
        yield _Bars(bars, total)


class _Lines:
    """For logs: the start and the end of each cell, and between them a line at most every ten seconds."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._here = socket.gethostname()
        self._order: dict[str, int] = {}
        self._last: dict[str, tuple[float, int]] = {}

    def __call__(self, status: CellStatus) -> None:
        """Take in a change of one cell."""
        new = status.cell not in self._order
        number_of = self._order.setdefault(status.cell, len(self._order) + 1)
        head = f"[{number_of}/{self._total}] {status.cell}:"
        now = time.monotonic()
        if status.state != "running":
            self._last.pop(status.cell, None)
            note(f"{head} {ending(status, was_done=new)}")
        elif status.cell not in self._last:
            self._last[status.cell] = (now, status.tracking_points_done)
            where = f" on {status.host}" if status.host not in ("", self._here) else ""
            note(f"{head} started{where}" + (f", going on from step {status.step}" if status.step else ""))
        else:
            last, points = self._last[status.cell]
            # A line a tracking point; a cell whose points lie far apart still shows that it lives.
            due = LINE_EVERY if status.tracking_points_done != points else 6 * LINE_EVERY
            if now - last >= due:
                self._last[status.cell] = (now, status.tracking_points_done)
                note(f"{head} step {status.step}/{status.total_steps}, {facts(status)}")


class _Bars:
    """For terminals: a bar a running cell, and a line for each that ended."""

    def __init__(self, bars: Progress, total: int) -> None:
        self._bars = bars
        self._total = total
        self._ended = 0
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, status: CellStatus) -> None:
        """Take in a change of one cell."""
        task = self._tasks.get(status.cell)
        if status.state != "running":
            self._ended += status.state in ("done", "failed")
            words = ending(status, was_done=task is None)
            self._bars.console.print(
                f"[{self._ended}/{self._total}] {status.cell}: {words}", markup=False, highlight=False
            )
            if task is not None:
                self._bars.remove_task(self._tasks.pop(status.cell))
            return
        if task is None:
            task = self._tasks[status.cell] = self._bars.add_task(
                status.cell.rpartition("-")[0], total=None, facts=""
            )
        self._bars.update(task, completed=status.step, total=status.total_steps or None, facts=facts(status))


def facts(status: CellStatus) -> str:
    """How far a running cell is, besides its steps."""
    loss = f", loss {number(status.loss)}" if status.loss == status.loss else ""
    return f"{status.tracking_points_done}/{status.tracking_points} tracking points{loss}"


def ending(status: CellStatus, *, was_done: bool) -> str:
    """How a cell ended, in one line."""
    if status.state == "done":
        return "done before" if was_done else f"done in {duration(status.seconds)}"
    return f"{status.state}: {next(iter(status.error.splitlines()), '')}".rstrip(": ")
