"""Processes that a test sends Ctrl-C to."""

from __future__ import annotations

import signal


def in_foreground() -> None:
    """For `preexec_fn`: Ctrl-C means what it does for somebody who sits before the terminal.

    A shell starts background jobs with SIGINT ignored, and every process hands that on to those that it starts. So a
    test run that was started in the background would start processes that Ctrl-C does not reach.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
