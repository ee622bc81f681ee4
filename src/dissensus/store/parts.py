"""A tracking point written by several processes of a run, each its own rows of the tracking order.

After a tracking pass every process has the whole result, so each writes a share in the background and nobody sends
anything to anybody. The first process lists the point in the manifest when all its parts are on the disk. How it
learns of them: beside its part each process leaves a note of the same name (`.json`) with the checksum, which the first
process picks up and deletes. No collective is needed, which a background thread could not join while training has its
own. A crash in between leaves the point unlisted, and so does a note of an earlier session: notes bear the number that
the first process drew for this one.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from dissensus.errors import StoreError
from dissensus.files import write_atomic
from dissensus.store.files import ROW_GROUP
from dissensus.store.manifest import ListedPart, part_name
from dissensus.store.points import Floats, Tag, write_point

SPLIT_FROM = 4_000_000
"""Log-probabilities of a point (examples x labels) from which on several processes write it. Below, one process has
written it in some 0.1 s (16 MB), which is over long before the next point, and every part is one more file."""
PATIENCE = 600.0
"""Seconds for which the first process waits for the others' parts of a point."""
_NAMES = re.compile(r"step-\d{8,}\.part-\d\d+-of-\d\d+\.(parquet|json)")


def shares(n: int, labels: int, processes: int) -> list[tuple[int, int]]:
    """The rows [begin, end) that each process writes of a point: one share for all below `SPLIT_FROM`.

    Each begins where a row group does; there are at most as many as there are row groups.
    """
    groups = -(-n // ROW_GROUP)
    count = max(1, min(processes, groups)) if n * labels >= SPLIT_FROM else 1
    bounds = [min(n, ROW_GROUP * (groups * place // count)) for place in range(count)] + [n]
    return list(pairwise(bounds))


def new_session(folder: Path) -> int:
    """Draw a session's number, and put a file of that name into the folder, by which other processes know it again."""
    session = secrets.randbits(62)
    write_atomic(_sign_of(folder, session), "")
    return session


def sees_session(folder: Path, session: int) -> bool:
    """Whether this process sees the folder in which the first one began the session: one disk, and not two."""
    return _sign_of(folder, session).is_file()


def end_session_sign(folder: Path, session: int) -> None:
    """Delete the file of `new_session`, once every process has looked for it."""
    _sign_of(folder, session).unlink(missing_ok=True)


def _sign_of(folder: Path, session: int) -> Path:
    return folder / "curves" / f".session-{session}"


class PartWriter:
    """Writes one process's share of each point; in the first process `CurvesWriter` does.

    Args:
        path: the store's folder, as the first process has it.
        labels: how many.
        fingerprint: of the tracked examples.
        number: which share is this process's, from 1 on.
        rows: the shares; see `shares`.
        session: the number of this session, from the first process.
    """

    def __init__(
        self,
        path: Path,
        *,
        labels: int,
        fingerprint: str,
        number: int,
        rows: Sequence[tuple[int, int]],
        session: int,
    ) -> None:
        self._path, self._labels, self._session = path, labels, session
        self._fingerprint = fingerprint
        self._number, self._rows = number, tuple(rows)

    def write(
        self,
        step: int,
        log_probs: Floats,
        *,
        values: Mapping[str, Floats] | None = None,
        token_losses: Sequence[Floats] | None = None,
    ) -> None:
        """Write this process's rows of a point, given whole and in the tracking order, and leave the note of it.

        Raises what went wrong, after a note of that for the first process.
        """
        if self._number >= len(self._rows):
            return  # fewer shares than processes
        begin, end = self._rows[self._number]
        name = part_name(step, self._number, len(self._rows))
        note: dict[str, Any] = {"session": self._session, "begin": begin, "end": end}
        try:
            expected = (self._rows[-1][1], self._labels)
            if log_probs.shape != expected:
                raise StoreError(f"log_probs has shape {log_probs.shape}; expected {expected}")
            sha256 = write_point(
                self._path / name,
                log_probs[begin:end],
                {key: column[begin:end] for key, column in sorted((values or {}).items())},
                None if token_losses is None else token_losses[begin:end],
                Tag(self._fingerprint, step, begin),
            )
            note |= {"sha256": sha256, "bytes": (self._path / name).stat().st_size}
        except BaseException as problem:
            note["error"] = f"{type(problem).__name__}: {problem}"
            raise
        finally:
            write_atomic(_note_of(self._path / name), json.dumps(note))


def gather(folder: Path, step: int, rows: Sequence[tuple[int, int]], session: int) -> list[ListedPart]:
    """The manifest's entries of the parts that the other processes write, once all are on the disk.

    Raises `StoreError` when a process could not write its part, or is not done after `PATIENCE` seconds.
    """
    parts: list[ListedPart] = []
    until = time.monotonic() + PATIENCE
    for number in range(1, len(rows)):
        begin, end = rows[number]
        path = folder / part_name(step, number, len(rows))
        while (note := _read_note(path, session)) is None:
            if time.monotonic() > until:
                raise StoreError(
                    f"process {number} has not written {path.name} within {PATIENCE:g} s; the point stays unlisted. "
                    f"Is {folder} one folder for all processes, with room on the disk? The run can be resumed."
                )
            time.sleep(0.02)
        if "error" in note:
            raise StoreError(f"process {number} could not write {path.name}: {note['error']}")
        if (note["begin"], note["end"]) != (begin, end):
            raise StoreError(
                f"process {number} wrote the rows {note['begin']} to {note['end']} of point {step}; expected "
                f"{begin} to {end}: the processes do not have the same tracked examples"
            )
        parts.append(ListedPart(part_name(step, number, len(rows)), begin, end, note["sha256"]))
    for number in range(1, len(rows)):
        _note_of(folder / part_name(step, number, len(rows))).unlink(missing_ok=True)
    return parts


def sweep(folder: Path, listed: Mapping[str, str]) -> None:
    """Delete parts and notes that an interrupted session left and no manifest lists."""
    for path in sorted((folder / "curves").glob("step-*.part-*")):
        if _NAMES.fullmatch(path.name) and f"curves/{path.name}" not in listed:
            path.unlink(missing_ok=True)


def _note_of(part: Path) -> Path:
    return part.with_suffix(".json")


def _read_note(part: Path, session: int) -> dict[str, Any] | None:
    """The note beside a part, once both are there whole, of this session."""
    try:
        note: dict[str, Any] = json.loads(_note_of(part).read_text(encoding="utf-8"))
        if note["session"] != session:
            return None
        # On a network disk the note may be seen before the part is.
        return note if "error" in note or part.stat().st_size == note["bytes"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
