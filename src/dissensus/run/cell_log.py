"""A cell's log.txt, which keeps what every try printed: tries are appended under a line of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

LOG = "log.txt"


def begin_try(folder: Path, when: str, *, number: int = 0, where: str = "") -> None:
    """Write the line that what the next try prints stands under; nothing in a log that is empty still.

    Args:
        folder: the cell's.
        when: ISO 8601.
        number: of the try, from 1; 0 where it is not known.
        where: the machine, if it is known by now.
    """
    log = folder / LOG
    if log.is_file() and log.stat().st_size > 0:
        _append(
            log,
            f"--- {f'try {number}' if number else 'tried again'}, {when}{f', on {where}' if where else ''} ---\n",
        )


def trained_together(folders: Sequence[Path]) -> None:
    """Say in the log of each cell but the first that the first one's holds what they print together."""
    for folder in folders[1:]:
        _append(folder / LOG, f"Trained together with {folders[0].name}; what was printed is in its {LOG}.\n")


def _append(log: Path, line: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(line)
