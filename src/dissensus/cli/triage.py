"""Command `triage`: which examples are mislabelled, contested, hard or forgotten, each with the evidence."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.options import Json
from dissensus.cli.output import emit_json, note, number, say, table, terminal_width
from dissensus.errors import SpecError

if TYPE_CHECKING:
    from dissensus.analysis.triage.folder import TriagedExample

SHOWN = 20
"""Examples on the screen, unless --top says another number."""
QUOTED = 90
"""Characters of a text on the screen."""


class Kind(StrEnum):
    """Kinds; `analysis.triage.kinds` has what they mean."""

    MISLABELLED, CONTESTED, HARD = "mislabelled", "contested", "hard"
    FORGOTTEN, SETTLED, NOT_TOLD = "forgotten", "settled", "not-told"


def triage(
    folder: Annotated[
        str,
        typer.Argument(metavar="DIR", help="A study's folder, a single recording's store, or a study's URL."),
    ],
    kind: Annotated[
        list[Kind] | None, typer.Option("--kind", help="Only this kind; may be repeated. Default: all.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Only this data set of the study.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top", min=1, help=f"So many examples; default: {SHOWN} on the screen, all in a file."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", dir_okay=False, help="Write them to a .csv or .jsonl file, with every text."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Sort examples into mislabelled, contested, hard, forgotten and settled, each with a probability and the reason.

    Where people voted, votes lead and curves add to them. Without votes the curves speak alone, and more cautiously.
    """
    from dissensus.analysis.triage.folder import STUDY, chosen, triage_folder
    from dissensus.exchange.triage import triage_csv, triage_jsonl, triage_table
    from dissensus.files import write_atomic
    from dissensus.remote import study_folder
    from dissensus.report.quotes import kept_quotes

    writers = {".csv": triage_csv, ".jsonl": triage_jsonl}
    if out is not None and out.suffix.lower() not in writers:
        raise SpecError(f"--out {out}: expected a name that ends with {' or '.join(writers)}")
    with study_folder(folder) as local:
        every = triage_folder(local)
        is_study = (local / STUDY).is_file()
        quotes = kept_quotes(local) if is_study else "all"
    rows = chosen(every, [one.value.replace("-", " ") for one in kind or ()], dataset)
    shown = rows[: top if top is not None or out is not None or as_json else SHOWN]
    if out is not None:
        made = triage_table(
            [row.triaged for row in shown], [{"given": row.given, **row.text} for row in shown]
        )
        write_atomic(out, writers[out.suffix.lower()](made))
        say(f"{len(shown)} examples with text and reason: {out}")
        if quotes != "all":
            note(
                f"note: this study's page is to quote {quotes or 'no'} texts (report.json); the file holds every text. "
                "Keep it where the data are kept"
            )
    elif as_json:
        emit_json(
            [
                asdict(row.triaged) | {"given": row.given, "text": dict(row.text) if quotes == "all" else {}}
                for row in shown
            ]
        )
        return
    else:
        _print(every if dataset is None else rows, rows, shown, quoted=quotes == "all")
    _next(folder, every, is_study=is_study, written=out is not None)


def _print(
    every: tuple[TriagedExample, ...],
    rows: tuple[TriagedExample, ...],
    shown: tuple[TriagedExample, ...],
    *,
    quoted: bool,
) -> None:
    """How many there are of each kind and what to do with them, then the table."""
    from dissensus.analysis.triage.kinds import KINDS, STEPS, TITLES
    from dissensus.report.examples import shorten

    counts = Counter((row.triaged.dataset, row.triaged.regime, row.triaged.kind) for row in every)
    for dataset, regime in dict.fromkeys(key[:2] for key in counts):
        total = sum(count for key, count in counts.items() if key[:2] == (dataset, regime))
        say(f"{f'{dataset}, ' if dataset else ''}{regime.replace('_', ' ')}: {total} examples")
        for kind in KINDS:
            if count := counts[dataset, regime, kind]:
                say(f"  {count:>6} {TITLES[kind].lower()}. {STEPS[kind]}")
    say()
    say(f"{len(shown)} of {len(rows)}, those that ask for a person first:")
    most = QUOTED if terminal_width(sys.stdout) else 10 * QUOTED
    columns = ["item", *(["text"] if quoted else []), "kind", "score", "instead", "why"]
    table(
        columns,
        [
            [
                shorten(row.triaged.id),
                *([shorten(" / ".join(row.text.values()), most)] if quoted else []),
                row.triaged.kind,
                _probability(row.triaged.score),
                row.triaged.label or "-",
                row.triaged.why,
            ]
            for row in shown
        ],
        numeric=["score"],
    )
    if not quoted:
        say("Texts are left out here, as in this study's page (report.json); --out FILE writes them.")


def _probability(score: float) -> str:
    """A probability that never claims to be certain."""
    return ">0.99" if score > 0.99 else number(score)


def _next(folder: str, every: tuple[TriagedExample, ...], *, is_study: bool, written: bool) -> None:
    """The next step."""
    place = shlex.quote(folder)
    suspects = any(row.triaged.kind == Kind.MISLABELLED for row in every)
    if is_study and suspects:
        say(f"next: dissensus queue {place} --by triage --to label-studio --out look-again.json")
    elif suspects and not written:
        say(f"next: dissensus triage {place} --kind mislabelled --out look-again.csv")
    elif all(row.triaged.kind == Kind.NOT_TOLD.replace("-", " ") for row in every):
        say("next: train longer or collect votes; triage has nothing to go by yet")
    elif is_study:
        say(f"next: dissensus report {place}")
    else:
        say("next: correct the labels, and record the training again")
