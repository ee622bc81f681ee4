"""What a recorder says while somebody's training runs: to their log where it is heard, else to stderr. No torch."""

from __future__ import annotations

import logging
import sys

log = logging.getLogger("dissensus")


class Notices:
    """Says each thing once, in the first process of a run alone.

    Args:
        quiet: leave out what is no warning.
        first: whether this process is the one that speaks.
    """

    def __init__(self, *, quiet: bool = False, first: bool = True) -> None:
        self._quiet, self._first = quiet, first
        self._said: set[str] = set()

    def say(self, message: str) -> None:
        """Tell the user something. Python hides INFO unless logging was set up, so without that it goes to stderr."""
        if self._quiet or self._is_old(message):
            return
        if log.isEnabledFor(logging.INFO) and log.hasHandlers():
            log.info("%s", message)
        else:
            sys.stderr.write(f"dissensus: {message}\n")
            sys.stderr.flush()

    def warn(self, message: str) -> None:
        """Warn through the logger "dissensus", which Python shows on stderr where nobody set up logging."""
        if not self._is_old(message):
            log.warning("%s", message)

    def _is_old(self, message: str) -> bool:
        if not self._first or message in self._said:
            return True
        self._said.add(message)
        return False
