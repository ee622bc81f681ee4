"""A terminal for tests: a command in a pseudo-terminal of a given size, and the screen as a person would see it."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from processes import PATIENCE

_SEQUENCE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])")


class Screen:
    """What a terminal shows: as xterm does, lines that are cut when it gets narrower, not folded anew.

    Attributes:
        lines: all lines that were ever drawn, the ones that scrolled away first.
        folded: lines that ran over the right edge, as they were when that happened.
        cursor_shown: whether the cursor is visible.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines: list[str] = [""]
        self.folded: list[str] = []
        self.cursor_shown = True
        self._row = self._column = 0
        self._left = ""

    def feed(self, data: str) -> None:
        """Take in what was written."""
        text = self._left + data
        self._left = ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = _SEQUENCE.match(text, at)
                if found is None:
                    if len(text) - at < 16 and not text[at + 1 : at + 2].isalpha():
                        self._left = text[at:]  # the rest is under way
                        return
                    raise AssertionError(
                        f"a sequence that this terminal does not know: {text[at : at + 12]!r}"
                    )
                self._control(*found.groups())
                at = found.end()
                continue
            self._put(text[at])
            at += 1

    @property
    def shown(self) -> str:
        """Everything that stands on the screen or above it, without trailing blanks."""
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._down()
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character >= " ":
            if self._column >= self.columns:
                self.folded.append(self.lines[self._row])
                self._column = 0
                self._down()
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
            self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self.lines):
            self.lines.append("")

    def _control(self, private: str, numbers: str, kind: str) -> None:
        first = int(numbers.split(";")[0] or 0)
        if private:
            if kind in "hl" and numbers == "25":
                self.cursor_shown = kind == "h"
        elif kind == "A":
            self._row = max(0, len(self.lines) - self.rows, self._row - max(1, first))
        elif kind == "B":
            self._row = min(len(self.lines) - 1, self._row + max(1, first))
        elif kind == "G":
            self._column = max(0, first - 1)
        elif kind == "K":
            line = self.lines[self._row]
            self.lines[self._row] = line[: self._column] if first == 0 else ""
        elif kind == "J" and first == 0:
            self.lines[self._row] = self.lines[self._row][: self._column]
            del self.lines[self._row + 1 :]
        elif kind != "m":
            raise AssertionError(f"a sequence that this terminal does not know: {numbers}{kind}")


class Terminal:
    """A command that runs in a pseudo-terminal of its own; a context manager that leaves no process behind.

    Args:
        command: what runs; its standard input, output and error are the terminal.
        columns, rows: the size.
        cwd: where it runs.
        environment: beside this process' own, in which nothing says how wide a terminal is or that this is CI.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        unwanted = ("COLUMNS", "LINES", "CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
        own = {name: value for name, value in os.environ.items() if name not in unwanted}
        self.screen = Screen(columns, rows)
        self.raw = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._own, child = pty.openpty()
        self._set_size(columns, rows)
        self.process = subprocess.Popen(
            command,
            stdin=child,
            stdout=child,
            stderr=child,
            cwd=cwd,
            env={**own, "TERM": "xterm-256color", **(environment or {})},
            start_new_session=True,
            preexec_fn=_interactive,
        )
        os.close(child)
        self._before = termios.tcgetattr(self._own)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._own)

    def until(self, seen: str | Callable[[Screen], bool], what: str = "") -> None:
        """Read until the screen shows something."""
        there = seen if callable(seen) else lambda screen: seen in screen.shown
        end = time.monotonic() + PATIENCE
        while not there(self.screen):
            assert self._read(), f"the command ended without {what or seen!r}:\n{self.screen.shown}"
            assert time.monotonic() < end, f"waited in vain for {what or seen!r}:\n{self.screen.shown}"

    def end(self) -> int:
        """Read to the end of the command; its exit code."""
        while self._read():
            pass
        code = self.process.wait(PATIENCE)
        assert termios.tcgetattr(self._own) == self._before  # as the shell had it
        return code

    def interrupt(self) -> None:
        """What Ctrl-C does: the terminal sends SIGINT to the processes in its foreground."""
        os.write(self._own, b"\x03")

    def resize(self, columns: int, rows: int = 24) -> None:
        """Another size, and the signal that says so."""
        self.screen.columns, self.screen.rows = columns, rows
        self.screen.lines = [line[:columns] for line in self.screen.lines]
        self._set_size(columns, rows)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGWINCH)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._own, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> bool:
        """Take in what comes within a moment; whether there may be more."""
        ready, _, _ = select.select([self._own], [], [], 0.2)
        if not ready:
            return True
        try:
            data = os.read(self._own, 1 << 16)
        except OSError:  # the last process that had the terminal has ended
            return False
        if not data:
            return False
        text = self._decoder.decode(data)
        self.raw += text
        self.screen.feed(text)
        return True


def _interactive() -> None:
    """In the child: the terminal is its own."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def dissensus(*args: str) -> list[str]:
    """The command line as a list."""
    return [sys.executable, "-m", "dissensus", *args]
