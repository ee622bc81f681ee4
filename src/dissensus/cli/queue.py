"""Command `queue`: the items of a study that deserve another look, for the tool that people annotate with."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.options import DatasetName, Folder, Json
from dissensus.cli.output import emit_json, note, say, table, terminal_width, verbatim
from dissensus.errors import SpecError

if TYPE_CHECKING:
    from dissensus.analysis.queue.tasks import Queue
    from dissensus.report.quotes import Quotes

SHOWN = 20
"""Items on the screen, unless --top says another number."""
QUOTED = 90
"""Characters of a text on the screen."""


class Criterion(StrEnum):
    """Criteria; `analysis.queue.criteria` has what they mean."""

    ENTROPY, UNLEARNING, REJECTED, TRIAGE = "entropy", "unlearning", "rejected", "triage"


class Tool(StrEnum):
    """Forms; `exchange.annotation_tools` writes them."""

    LABEL_STUDIO, ARGILLA, PRODIGY, CSV = "label-studio", "argilla", "prodigy", "csv"


def queue(
    folder: Folder,
    by: Annotated[
        Criterion,
        typer.Option(
            "--by",
            help="entropy: annotators disagree most; unlearning: the loss on the gold label rises in training; "
            "rejected: most annotators reject the gold label; triage: votes and curves together speak against it.",
        ),
    ] = Criterion.ENTROPY,
    dataset: DatasetName = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top", min=1, help=f"So many items; default: {SHOWN}, and with --budget all candidates."
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget", min=1, help="Spread so many further labels over the items by expected gain."
        ),
    ] = None,
    to: Annotated[Tool | None, typer.Option("--to", help="The tool that shall import them.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", dir_okay=False, help="The file; without it, standard output.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the items of a study that most deserve another look, each with its votes and the reason.

    Tasks for a tool hold texts, votes and reasons. No torch is needed.
    """
    from dissensus.analysis.queue.tasks import queue_of
    from dissensus.exchange.annotation_tools import FORMS
    from dissensus.files import write_atomic
    from dissensus.remote import study_folder
    from dissensus.report.quotes import kept_quotes

    if out is not None and to is None:
        tools = ", ".join(tool.value for tool in Tool)
        raise SpecError(f"--out {out} needs --to: which tool is the file for? One of {tools}")
    if as_json and to is not None:
        raise SpecError("--json and --to are two forms; give one")
    with study_folder(folder) as local:
        chosen = queue_of(
            local,
            by.value,
            dataset=dataset,
            top=top if top is not None or budget is not None else SHOWN,
            budget=budget,
        )
        quotes = kept_quotes(local)
    for line in chosen.notes:
        note(f"note: {line}")
    back = f"dissensus merge {shlex.quote(folder)}" + (
        f" --dataset {shlex.quote(dataset)}" if dataset else ""
    )
    if to is not None:
        text = FORMS[to.value](chosen.tasks)
        if out is None:
            verbatim(text.removesuffix("\n"))
        else:
            write_atomic(out, text)
            say(f"{len(chosen.tasks)} items for {to.value}: {out}")
        if quotes != "all":
            note(
                f"note: this study's page is to quote {quotes or 'no'} texts (report.json); the tasks hold every text, "
                "for nobody can label what they cannot read. Keep the file where the data are kept"
            )
        note(f"next: have them labelled, export the labels, then: {back} EXPORT --out ALL.jsonl")
        return
    if as_json:
        shown = chosen.tasks if quotes == "all" else tuple(replace(task, text={}) for task in chosen.tasks)
        emit_json({**asdict(replace(chosen, tasks=shown)), "by": by.value})
        return
    _print(chosen, by, quotes)
    say(f"next: for a tool, add --to TOOL --out FILE ({', '.join(tool.value for tool in Tool)});")
    say(f"when it is labelled: {back} EXPORT --out ALL.jsonl")


def _print(chosen: Queue, by: Criterion, quotes: Quotes) -> None:
    """The tasks as a table; texts only where the study's page may show them all."""
    from dissensus.report.examples import shorten

    say(
        f"{chosen.dataset}: {len(chosen.tasks)} of {chosen.candidates} candidates by {by.value} "
        f"({chosen.items} items in all)"
    )
    quoted = quotes == "all"
    budgeted = any(task.labels_wanted is not None for task in chosen.tasks)
    columns = ["item", *(["text"] if quoted else []), "votes and why", *(["labels"] if budgeted else [])]
    most = QUOTED if terminal_width(sys.stdout) else 10 * QUOTED
    rows = []
    for task in chosen.tasks:
        text = [shorten(" / ".join(task.text.values()), most)] if quoted else []
        labels = [str(task.labels_wanted)] if budgeted else []
        rows.append([shorten(task.id), *text, f"{task.votes_in_words}. {task.why}", *labels])
    table(columns, rows, numeric=["labels"])
    if not quoted:
        say("Texts are left out here, as in this study's page (report.json); files for a tool hold them.")
