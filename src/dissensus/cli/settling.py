"""Command `settling`: contested loss against settled loss along training, over methods and rates."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.options import Folders, Json
from dissensus.cli.output import emit_json, interval, next_step, number, say, table
from dissensus.errors import SpecError

if TYPE_CHECKING:
    from dissensus.analysis.settling.verdict import Settling

SHOWN = 10
"""Differences in the terminal; the tables have all."""


def settling(
    folders: Folders,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where tables and figure go; default: DIR/settling.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option("--margin", help="Nats within which contested losses are the same; default: 0.05."),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            "--levels", metavar="LOSS,LOSS,...", help="Settled losses to compare at; default: every 0.1 nats."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare methods and rates at the same settled loss.

    For each finished cell: contested loss along training against settled loss, where it ends, and contested loss at
    common levels of settled loss; whether all runs lie on one curve, in one sentence. No torch is needed.
    """
    from dissensus.analysis.settling.runs import settings_of
    from dissensus.analysis.settling.tables import settling_json, write_settling
    from dissensus.analysis.settling.verdict import MARGIN, settle
    from dissensus.analysis.study_reading import StudyReader
    from dissensus.remote import is_url, study_folder
    from dissensus.report.settling import save_settling

    wanted = MARGIN if margin is None else margin
    if not 0 < wanted < float("inf"):
        raise SpecError(f"--margin {wanted:g}: expected a number of nats above 0, such as 0.05")
    at = _levels(levels)
    if out is None and (len(folders) > 1 or is_url(folders[0])):
        raise SpecError("several folders, or a URL: say where tables and figure go with --out FOLDER")
    place = out or Path(folders[0]) / "settling"
    with ExitStack() as stack:
        local = [stack.enter_context(study_folder(folder)) for folder in folders]
        readings = [StudyReader.at(folder).all() for folder in local]
    results = [settle(one, margin=wanted, levels=at) for one in settings_of(readings)]
    write_settling(results, place)
    save_settling(results, place / "settling")
    if as_json:
        emit_json(settling_json(results))
        return
    for one in results:
        _show(one)
    done, planned = sum(len(one.cells) for one in readings), sum(one.planned for one in readings)
    say(f"from {done} of {planned} cells; tables: {place}; figure: {place}/settling.svg, .pdf, .png")
    next_step(f"open {place / 'settling.svg'} in a browser")


def _levels(text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        values = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        values = ()
    if not values or not all(0 < value < float("inf") for value in values):
        raise SpecError(
            f"--levels {text!r} is no list of losses above 0; expected such as --levels 1.0,0.9,0.8"
        )
    return values


def _level(level: float) -> str:
    """A settled loss as a heading: 1.0, 0.9, 0.85."""
    return f"{level:.1f}" if round(level, 1) == round(level, 10) else f"{level:g}"


def _show(one: Settling) -> None:
    """One setting: where runs end, contested loss at each level, the largest differences, the sentence."""
    say(one.setting.name)
    say("Where each run ends (mean losses, nats):")
    columns = ("run", "learned", "settled", "contested", "change", "interval", "peak (at settled)")
    rows = [
        (
            end.line.name,
            f"{end.learned} of {len(end.line.runs)}",
            number(end.settled),
            number(end.contested),
            number(end.change.value),
            interval(end.change.low, end.change.high),
            f"{number(end.peak)} ({number(end.peak_at)})",
        )
        for end in one.ends
    ]
    table(columns, rows, numeric=columns[1:])
    if one.levels:
        say()
        say("Contested loss where settled loss has come down to a level (- not there, or not to be read):")
        at = ("run", *(_level(level) for level in one.levels))
        by_place = {(row.line.name, row.level): row for row in one.rows}
        at_levels = [
            (line.name, *(number(by_place[line.name, level].value.value) for level in one.levels))
            for line in one.setting.lines
            if any(by_place[line.name, level].read for level in one.levels)
        ]
        table(at, at_levels, numeric=at[1:])
    if one.differences:
        say()
        shown = sorted(one.differences, key=lambda apart: -abs(apart.value.value))[:SHOWN]
        more = len(one.differences) - len(shown)
        say(
            f"Differences at a level, the largest first{f'; {more} more in differences.csv' if more else ''}:"
        )
        heads = ("first", "minus", "at", "difference", "interval", f"within {one.margin:g}")
        rows_of = [
            (
                apart.first.name,
                apart.second.name,
                _level(apart.level),
                number(apart.value.value),
                interval(apart.value.low, apart.value.high),
                "yes" if apart.within else "no",
            )
            for apart in shown
        ]
        table(heads, rows_of, numeric=heads[2:5])
    for scope, words in zip(one.scopes, ("all pairs", "rates of one method", "two methods"), strict=True):
        if scope.pairs:
            say(f"{words} ({scope.pairs}): {scope.verdict}{f' ({scope.reason})' if scope.reason else ''}")
    say(one.sentence)
    say()
