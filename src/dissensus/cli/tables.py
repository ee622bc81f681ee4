"""Command `tables`: the paper's tables and figures from finished cells of one or several studies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.options import Folders
from dissensus.cli.output import can_print, next_step, note, say, terminal_width, verbatim
from dissensus.errors import SpecError

if TYPE_CHECKING:
    from dissensus.analysis.paper.conditions import PaperReading
    from dissensus.analysis.paper.layout import PaperTable

FILE_WIDTH, UNBOUNDED = 120, 100_000
"""Columns of a text file, and of a pipe, in which a row is one line."""


class Format(StrEnum):
    """Formats of the tables."""

    TEXT, CSV, LATEX = "text", "csv", "latex"


FILES = {Format.TEXT: "tables.txt", Format.CSV: "tables.csv", Format.LATEX: "tables.tex"}


def tables(
    folders: Folders,
    paper: Annotated[
        bool, typer.Option("--paper", help="By the paper's definitions, whatever the studies' analysis says.")
    ] = False,
    form: Annotated[Format, typer.Option("--format", help="text, one tidy CSV, or LaTeX.")] = Format.TEXT,
    out: Annotated[
        Path | None,
        typer.Option("--out", file_okay=False, help="Write the tables here, and figures 1 to 3 (PDF, SVG)."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="NAME", help="Only this table: 1, 2, 3, D, ... May be repeated."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print the appendix tables too.")] = False,
) -> None:
    """Lay out finished cells as the tables of arXiv 2604.16332, its known figures beside ours.

    Prints Tables 1 to 3 and names the others; all of them with --all, as CSV or LaTeX, and with --out. Several studies
    are read together. Where a number is missing, its place says why. Without --paper each study's own analysis settings
    hold. No torch is needed.
    """
    from dissensus.analysis.paper.conditions import read_conditions
    from dissensus.analysis.paper.tables import APPENDIX, MAIN, check_names, paper_tables
    from dissensus.files import write_atomic
    from dissensus.remote import study_folder
    from dissensus.report.paper_tables import csv_text, latex_text

    if everything and only:
        raise SpecError(
            "--all and --table do not go together: --all prints every table; leave one of them out"
        )
    short = form is Format.TEXT and out is None and not everything and not only
    check_names(only or ())
    if len(set(folders)) < len(folders):
        raise SpecError("the same folder is given twice; name each once")
    note("reading the finished cells ...")
    with ExitStack() as stack:
        places = [stack.enter_context(study_folder(folder)) for folder in folders]
        reading = read_conditions(places, paper=paper)
    chosen = paper_tables(reading, MAIN if short else only or ())
    if form is Format.TEXT:
        width = FILE_WIDTH if out is not None else terminal_width(sys.stdout) or UNBOUNDED
        text = "\n".join(text_lines(reading, chosen, width, paper=paper))
    else:
        text = csv_text(chosen) if form is Format.CSV else latex_text(reading, chosen)
    if out is None:
        plain = text if can_print("±−", sys.stdout) else text.replace("±", "+-").replace("−", "-")
        verbatim(plain.removesuffix("\n"))
        if short:
            say("\nAppendix tables, each printed by --table NAME, all of them by --all:")
            for name, about in APPENDIX.items():
                say(f"  {name:<10}  {about}")
        if form is Format.TEXT:
            next_step("add --out FOLDER, for figures and for the tables in a file")
        return
    from dissensus.report.paper_figures import paper_figures

    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / FILES[form], text.removesuffix("\n") + "\n")
    say(f"tables: {out / FILES[form]}")
    for words in paper_figures(reading, out):
        say(f"{out}/{words}")
    next_step(f"open {out / FILES[form]}")


def text_lines(
    reading: PaperReading, chosen: Sequence[PaperTable], width: int, *, paper: bool = True
) -> list[str]:
    """All tables as lines of at most `width` columns, as far as words let them be."""
    from dissensus.cli.layout import sentence_lines, table_lines
    from dissensus.report.paper_tables import entry_words, heading, top_lines

    by = "The paper's definitions" if paper else "The studies' own definitions"
    lines = sentence_lines("\n".join((f"{by} (arXiv 2604.16332's layout).", *top_lines(reading))), width)
    for table in chosen:
        lines += ["", *sentence_lines(heading(table), width), *sentence_lines(table.definition, width)]
        if not table.rows:
            lines += sentence_lines(f"No row: {table.absent}.", width)
        else:
            rows = [(", ".join(row.labels), *map(entry_words, row.entries)) for row in table.rows]
            numeric = [
                name
                for place, name in enumerate(table.columns)
                if not any(row.entries[place].missing or row.entries[place].words for row in table.rows)
            ]
            columns = (", ".join(table.stub), *table.columns)
            lines += ["", *table_lines(columns, rows, width=width, numeric=numeric)]
        for words in table.notes:
            lines += sentence_lines(words, width)
    return lines
