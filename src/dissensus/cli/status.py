"""Command `status`: each cell of a study, how far it is, and how often it was tried."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dissensus.cli.options import Folder, Json
from dissensus.cli.output import duration, emit_json, next_step, number, say, table
from dissensus.wording import first_line

if TYPE_CHECKING:
    from dissensus.study.status import CellStatus


def status(folder: Folder, as_json: Json = False) -> None:
    """Show how far each cell of a study is."""
    from dissensus.remote import is_url, study_folder
    from dissensus.study.folder import StudyFolder

    with study_folder(folder, curves=False) as local:
        cells = StudyFolder(local, elsewhere=is_url(folder)).statuses
    if as_json:
        emit_json([cell.to_json() for cell in cells])
        return
    table(
        ("cell", "state", "steps", "points", "loss", "time", "note"),
        (
            (
                cell.cell,
                cell.state,
                f"{cell.step}/{cell.total_steps}" if cell.total_steps else "-",
                f"{cell.tracking_points_done}/{cell.tracking_points}" if cell.tracking_points else "-",
                number(cell.loss),
                duration(cell.seconds) if cell.seconds else "-",
                "; ".join(_remarks(cell)),
            )
            for cell in cells
        ),
        numeric=("steps", "points", "loss", "time"),
        names="cell",
    )
    _say_errors(cells)
    _say_tries(cells)
    states = [cell.state for cell in cells if cell.in_study]
    known = ("done", "running", "interrupted", "failed", "pending")
    counted = ", ".join(f"{states.count(state)} {state}" for state in known if state in states)
    say(f"{len(states)} cells: {counted}")
    if "running" not in states:  # else somebody runs it already
        next_step(("report" if set(states) == {"done"} else "run", folder))


def _remarks(cell: CellStatus) -> list[str]:
    """What else there is to say of a cell, in a line of its table."""
    from dissensus.study.status import doing

    if not cell.in_study:
        return ["not in study.yaml any more"]
    tries = f"{len(cell.tries)} tries" if len(cell.tries) > 1 else ""
    # A running cell's steps stand beside it already.
    now = "" if doing(cell).startswith("step") else doing(cell)
    return [part for part in (now, first_line(cell.error), tries) if part]


def _say_errors(cells: Sequence[CellStatus]) -> None:
    """The whole of each error of which the table has only the first line; once, with the cells that it befell."""
    by_error: dict[str, list[str]] = {}
    for cell in cells:
        if cell.state == "failed" and len(cell.error.splitlines()) > 1:
            by_error.setdefault(cell.error, []).append(cell.cell)
    for error, names in by_error.items():
        say("failed:")
        for name in names:
            say(f"  {name}")
        for line in error.splitlines():
            say(f"    {line}")


def _say_tries(cells: Sequence[CellStatus]) -> None:
    """Every try of the cells that were tried more than once."""
    several = [cell for cell in cells if len(cell.tries) > 1]
    if several:
        say("tried more than once:")
    for cell in several:
        say(f"  {cell.cell}")
        for number_of, one in enumerate(cell.tries, 1):
            where = f" on {one.host}" if one.host else ""
            last = f", {one.doing}" if one.doing and one.state != "running" else ""
            why = f": {first_line(one.error)}" if one.error else ""
            say(f"    {number_of}. {_span(one.started, one.ended)}{where}: {one.state}{last}{why}")


def _span(started: str, ended: str) -> str:
    """From when to when, in this machine's time."""
    if not started:
        return f"{_clock(ended)}, never begun" if ended else "never begun"
    return f"{_clock(started)} to {_clock(ended) if ended else '?'}"


def _clock(moment: str) -> str:
    try:
        return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return moment
