"""Progress of a run on the terminal: one bar for all and a line for each running cell; else plain lines."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from dissensus.cli.output import can_print, duration, moves, note, number
from dissensus.wording import first_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from dissensus.config import RunSpec
    from dissensus.run.time_left import Left, TimeLeft
    from dissensus.study.status import CellStatus

LINE_EVERY = 10.0
"""Seconds between two lines about one cell in a log."""
BAR = 24
"""Columns of the bar, at most."""


class RunProgress(Protocol):
    """Shows a run."""

    def stage(self, words: str) -> None:
        """The run as a whole does something else now, e.g. 'checking the data'; "" when the cells run."""

    def change(self, status: CellStatus) -> None:
        """A cell started, advanced or ended."""


@contextmanager
def run_progress(cells: Sequence[RunSpec]) -> Iterator[RunProgress]:
    """Shows a run of these cells: what to hand to `run_study` as `on_stage` and `on_change`."""
    from dissensus.run.time_left import TimeLeft

    time_left = TimeLeft.of(cells)
    if not moves(sys.stderr):
        yield Lines(len(cells), time_left)
        return
    from rich.console import Console
    from rich.live import Live

    from dissensus.cli.layout import short_names

    short, pattern = short_names([f"{cell.condition}.s{cell.seed}" for cell in cells])
    if pattern:
        note(f"every cell is {pattern}; shown is the *")
    screen = Screen(dict(zip((cell.cell_id for cell in cells), short, strict=True)), time_left)
    console = Console(stderr=True, highlight=False)
    screen.console = console
    with Live(screen, console=console, refresh_per_second=4, transient=True):
        yield screen


class Lines:
    """For logs: the start and the end of each cell, and between them a line at most every ten seconds."""

    def __init__(self, total: int, time_left: TimeLeft) -> None:
        self._total = total
        self._left = time_left
        self._here = socket.gethostname()
        self._order: dict[str, int] = {}
        self._last: dict[str, tuple[float, int]] = {}

    def stage(self, words: str) -> None:
        """See `RunProgress`."""
        if words:
            note(f"{words} ...")

    def change(self, status: CellStatus) -> None:
        """See `RunProgress`."""
        from dissensus.study.status import doing

        new = status.cell not in self._order
        number_of = self._order.setdefault(status.cell, len(self._order) + 1)
        head = f"[{number_of}/{self._total}] {status.cell}:"
        now = time.monotonic()
        self._left.update(status)
        if status.state != "running":
            began = self._last.pop(status.cell, None) is not None
            tell = began and status.state == "done" and self._left.share < 1
            rest = f" ({left_in_words(self._left.left())})" if tell else ""
            note(f"{head} {ending(status, was_done=new)}{rest}")
        elif status.cell not in self._last:
            self._last[status.cell] = (now, status.tracking_points_done)
            where = f" on {status.host}" if status.host not in ("", self._here) else ""
            note(f"{head} started{where}" + (f", resuming from step {status.step}" if status.step else ""))
        else:
            last, points = self._last[status.cell]
            # A line per tracking point; a cell whose points lie far apart still shows that it lives.
            due = LINE_EVERY if status.tracking_points_done != points else 6 * LINE_EVERY
            if now - last >= due:
                self._last[status.cell] = (now, status.tracking_points_done)
                note(f"{head} {doing(status)}{facts(status)}")


class Screen:
    """For terminals: what `rich.live` draws anew, four times per second."""

    console: Console

    def __init__(self, names: dict[str, str], time_left: TimeLeft) -> None:
        self._names = names
        self._left = time_left
        self._lock = threading.Lock()  # drawn from a thread of its own
        self._running: dict[str, CellStatus] = {}
        self._stage = ""
        self._ended = 0
        self._began = time.monotonic()
        self._plain = not can_print("━·", sys.stderr)  # before rich stands in for it

    def stage(self, words: str) -> None:
        """See `RunProgress`."""
        with self._lock:
            self._stage = words

    def change(self, status: CellStatus) -> None:
        """See `RunProgress`."""
        with self._lock:
            before = self._running.pop(status.cell, None)
            self._left.update(status)
            if status.state == "running":
                self._running[status.cell] = status
                return
            self._ended += status.state in ("done", "failed")
            words = f"[{self._ended}/{len(self._names)}] {self._names.get(status.cell, status.cell)}: "
        self._print(words + ending(status, was_done=before is None))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What stands on the screen now: one line for the study, one for each running cell as far as there is room."""
        from rich.text import Text

        with self._lock:
            lines = self.lines(options.max_width, max(3, options.size.height - 1))
        for line in lines:
            yield Text(line, no_wrap=True, overflow="crop")

    def lines(self, width: int, height: int) -> list[str]:
        """The lines, at most `height` of them, each at most `width` wide."""
        share = self._left.share
        elapsed = duration(time.monotonic() - self._began)
        words = f"{share:4.0%}  {self._ended}/{len(self._names)} cells  {elapsed} so far, "
        words += left_in_words(self._left.left())
        size = max(0, min(BAR, width - len(words) - 2))
        filled = round(share * size)
        done, rest = ("#", ".") if self._plain else ("━", "·")
        bar = f"{done * filled}{rest * (size - filled)}" if size >= 6 else ""
        lines = [cut(f"{bar} {words}".strip(), width)]
        if self._stage:
            lines.append(cut(f"  {self._stage}", width))
        room = height - len(lines)
        running = list(self._running.values())
        shown = running if len(running) <= room else running[: room - 1]
        widest = max((len(self._names.get(s.cell, s.cell)) for s in shown), default=0)
        lines += [self._line(status, width, widest) for status in shown]
        if len(shown) < len(running):
            lines.append(cut(f"  and {len(running) - len(shown)} more cells", width))
        return lines

    def _line(self, status: CellStatus, width: int, widest: int) -> str:
        from dissensus.study.status import doing

        now = doing(status) + facts(status)
        name = self._names.get(status.cell, status.cell)
        room = max(12, width - len(now) - 4)
        name = cut(name, room).ljust(min(room, widest))
        return cut(f"  {name}  {now}", width)

    def _print(self, line: str) -> None:
        from rich.text import Text

        from dissensus.cli.layout import sentence_lines

        for part in sentence_lines(line, self.console.width):
            self.console.print(Text(part, no_wrap=True, overflow="ignore"))


def facts(status: CellStatus) -> str:
    """How far a running cell is, besides what it does."""
    if not status.total_steps:
        return ""
    from dissensus.study.status import doing

    step = "" if doing(status).startswith("step") else f", step {status.step} of {status.total_steps}"
    points = f", {status.tracking_points_done}/{status.tracking_points} points" if not step else ""
    loss = f", loss {number(status.loss)}" if status.loss == status.loss else ""
    return step + points + loss


def left_in_words(left: Left) -> str:
    """How long the rest takes, as an estimate."""
    if left.seconds is None:
        return "time left unknown"
    return f"{'over' if left.at_least else 'about'} {rounded(left.seconds)} left"


def rounded(seconds: float) -> str:
    """An estimate of seconds: to five seconds, then to minutes."""
    if seconds < 90:
        return duration(max(5.0, 5 * round(seconds / 5)))
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    return duration(60 * round(seconds / 60))


def ending(status: CellStatus, *, was_done: bool) -> str:
    """How a cell ended, in one line."""
    tries = f", in {len(status.tries)} tries" if len(status.tries) > 1 else ""
    if status.state == "done":
        return f"done before{tries}" if was_done else f"done in {duration(status.seconds)}{tries}"
    return f"{status.state}: {first_line(status.error)}".rstrip(": ") + tries


def cut(line: str, width: int) -> str:
    """A line that is at most so wide; what is cut off ends at a space or a dot, and three dots say so."""
    if len(line) <= width:
        return line
    from dissensus.cli.layout import wrapped

    indent = len(line) - len(line.lstrip())
    first = " " * indent + wrapped(line, max(1, width - indent - 3))[0]
    return first[: max(1, width - 3)] + "..."[: max(0, width - 1)]
