"""Commands on one study: quickstart, run, analyze, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from dissensus.cli.options import (
    ENGINE_HELP,
    Address,
    DataDir,
    Device,
    EngineName,
    EngineOptions,
    Folder,
    Fuse,
    Json,
    Only,
    OpenPage,
    Plan,
    QuotesOption,
    Retries,
    RunOptions,
    Study,
    StudyOrStore,
    Threads,
    Workers,
)
from dissensus.cli.output import emit_json, next_step, note, say
from dissensus.cli.summary import print_cell_notes, summary
from dissensus.errors import DissensusError, SpecError

if TYPE_CHECKING:
    from dissensus.analysis.rows import SummaryRow
    from dissensus.analysis.tables import Analysis
    from dissensus.config import StudySpec
    from dissensus.report.quotes import Quotes
    from dissensus.run.runner import StudyResult


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command()(quickstart)
    app.command(cls=_RunCommand)(run)
    app.command()(analyze)
    app.command()(report)


class _RunCommand(TyperCommand):
    """`run`, whose help names the engines that installed packages bring; looked up when the help is asked for."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from dissensus.run.engines.named import ENGINES

        brought = ", ".join(name for name in ENGINES.names() if name not in ENGINES.builtin)
        for option in self.params if brought else ():
            if isinstance(option, TyperOption) and option.name == "engine":
                option.help = f"{ENGINE_HELP} Of installed packages: {brought}."
        super().format_help(ctx, formatter)


def quickstart(
    out: Annotated[Path, typer.Option("--out", help="The study's folder.")] = Path("runs/quickstart"),
    workers: Workers = None,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Run the embedded study, start to report.

    It needs no download beyond the model. The same as `run quickstart`.
    """
    from dissensus.study.builtin import load_study

    options = RunOptions(workers=workers, threads=threads, device=device)
    _run_and_report(load_study("quickstart"), out, options)


def run(
    study: Study,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            help="The study's folder, or a URL such as s3://BUCKET/STUDY; default: runs/NAME, or the one given.",
        ),
    ] = None,
    workers: Workers = None,
    threads: Threads = None,
    fuse: Fuse = None,
    device: Device = None,
    engine: EngineName = "local",
    address: Address = None,
    engine_option: EngineOptions = None,
    retries: Retries = None,
    data_dir: DataDir = None,
    only: Only = None,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Do not analyse, do not write the report.")
    ] = False,
    quotes: QuotesOption = None,
    plan: Plan = False,
    as_json: Json = False,
) -> None:
    """Run a study, or resume it.

    Cells that are done are skipped, the others start or resume. Then come the tables and the report.
    """
    from dissensus.analysis.extensions import packages_of
    from dissensus.remote import Remote, fetch_study, is_url, local_folder_for
    from dissensus.report.quotes import read_quotes
    from dissensus.run.engines.named import named_engine
    from dissensus.study.grid import parse_only

    spec, place = _study_and_place(study, out)
    if not no_report:
        packages_of(spec.analysis)  # a missing extension is said now, not after hours of training
    folder = local_folder_for(place) if is_url(place) else Path(place)
    options = RunOptions(
        workers=workers,
        threads=threads,
        fuse=fuse,
        device=device,
        data_dir=data_dir.resolve() if data_dir else None,
        only=parse_only(only) if only else None,
        engine=named_engine(
            engine, folder, workers=workers, device=device, address=address, options=engine_option or ()
        ),
    )
    if plan:
        from dissensus.cli.plan import print_plan

        if is_url(place):
            fetch_study(Remote(place), folder)
        left = print_plan(spec, folder, options, as_json=as_json)
        if not as_json:
            next_step("the same command without --plan" if left else ("report", place))
    else:
        remote = place if is_url(place) else None
        chosen = read_quotes(quotes) if quotes is not None else None
        _run_and_report(
            spec,
            folder,
            options,
            remote=remote,
            with_report=not no_report,
            as_json=as_json,
            quotes=chosen,
            retries=retries,
        )


def analyze(folder: Folder, as_json: Json = False) -> None:
    """Make the tables of a study.

    They are made from its stored curves; no torch is needed.
    """
    from dissensus.analysis.tables import analyze as make_tables
    from dissensus.analysis.tables import summary_rows
    from dissensus.remote import study_folder

    with study_folder(folder) as local:
        tables = make_tables(local)
    rows = summary_rows(tables)
    if as_json:
        emit_json([asdict(row) for row in rows])
    else:
        summary(rows)
        _say_what_did_not_learn(tables)
        say(f"tables: {folder.rstrip('/')}/analysis")
        if tables.measures:
            say(f"measures there: {', '.join(tables.measures)}")
        next_step(("report", folder))


def report(
    folder: StudyOrStore,
    quotes: QuotesOption = None,
    show: OpenPage = False,
    figures: Annotated[
        bool,
        typer.Option(
            "--figures",
            help="For a paper: figures (PDF, SVG), their data, a LaTeX table, BibTeX, in DIR/figures.",
        ),
    ] = False,
) -> None:
    """Write the report of a study, or of a single recording.

    It is one HTML page that needs nothing else. A study is analysed first if need be; no torch is needed.
    """
    from dissensus.remote import study_folder
    from dissensus.report.page import write_report
    from dissensus.report.quotes import kept_quotes, read_quotes
    from dissensus.report.recording import write_recording
    from dissensus.store import is_store

    chosen = read_quotes(quotes) if quotes is not None else None
    recording = is_store(Path(folder))
    if recording and figures:
        raise SpecError(f"--figures draws a study; {folder} is a single recording: see dissensus.plot")
    if recording:
        page = write_recording(Path(folder), quotes=chosen)
        _say_page(page, kept_quotes(Path(folder)))
    else:
        with study_folder(folder) as local:
            page = write_report(local, quotes=chosen)
            _say_page(page, kept_quotes(local))
            if figures:
                from dissensus.plot.files import write_figures

                written = write_figures(local)
                say(
                    f"figures: {len(written.names)} files in {written.folder}, of {written.conditions} conditions"
                )
                say(
                    "  conditions.tex is the table for LaTeX, references.bib what to cite beside the data sets"
                )
    if show and typer.launch(str(page)) != 0:
        note(f"note: no browser could be started; open {page} yourself")
    next_step(f"open {page} in a browser", ("triage" if recording else "queue", folder))


def _say_page(page: Path, quotes: Quotes) -> None:
    """Where the page is, and what it leaves out."""
    from dissensus.report.quotes import quotes_words

    say(f"report: {page}")
    if left_out := quotes_words(quotes):
        say(f"  {left_out} This is kept with the study; --quotes all shows every text.")


def _study_and_place(study: str, out: str | None) -> tuple[StudySpec, str]:
    """What to run, and the folder or URL that it lives in."""
    from dissensus.remote import is_url, study_folder
    from dissensus.study.builtin import load_study

    if is_url(study):
        with study_folder(study, curves=False) as local:
            return load_study(str(local)), out or study
    spec, path = load_study(study), Path(study).expanduser()
    is_folder = path.is_dir() and (path / "study.yaml").is_file()
    return spec, out or str(path if is_folder else Path("runs") / spec.name)


def _run_and_report(
    spec: StudySpec,
    out: Path,
    options: RunOptions,
    *,
    remote: str | None = None,
    with_report: bool = True,
    as_json: bool = False,
    quotes: Quotes | None = None,
    retries: int | None = None,
) -> None:
    from dissensus.cli.progress import run_progress
    from dissensus.report.quotes import keep_quotes, kept_quotes
    from dissensus.run.runner import run_study
    from dissensus.run.step_warnings import step_warnings, steps_before_a_run
    from dissensus.study.folder import StudyFolder
    from dissensus.study.grid import select

    folder = StudyFolder(out, study=spec)
    cells = folder.cells
    chosen = select(cells, options.only) if options.only else cells
    of_all = "" if len(chosen) == len(cells) else f" of {len(cells)}"
    note(f"study {spec.name}: {len(chosen)}{of_all} cells, in {remote or out}")
    unfinished = [cell for cell in chosen if folder.listed[cell.cell_id].state != "done"]
    for warning in step_warnings(steps_before_a_run(unfinished, options.data_dir)):
        note(f"warning: {warning.line}")
    try:
        with run_progress(chosen) as progress:
            result = run_study(
                spec,
                out,
                on_change=progress.change,
                on_stage=progress.stage,
                on_note=note,
                remote=remote,
                retries=retries,
                workers=options.workers,
                threads=options.threads,
                fuse=options.fuse,
                device=options.device,
                data_dir=options.data_dir,
                only=options.only,
                engine=options.engine,
            )
    finally:  # a run that was stopped, or writes no page, keeps the choice for the page that comes later
        if quotes is not None and (out / "study.yaml").is_file():
            keep_quotes(out, quotes)
    if result.study_diff:
        note(f"the study is not the one that was stored here before:\n{result.study_diff}")
    trouble = bool(result.failures)
    rows: Sequence[SummaryRow] = ()
    if with_report and any(cell.state == "done" for cell in result.cells):
        from dissensus.analysis.study_reading import KEPT, StudyReader
        from dissensus.analysis.tables import analyze as make_tables
        from dissensus.analysis.tables import summary_rows
        from dissensus.report.page import write_report

        try:
            note("analysing the curves ...")
            reader = StudyReader.at(out, keep=KEPT)
            tables = make_tables(reader)
            rows = summary_rows(tables)
            note("writing the report ...")
            page = write_report(reader)
        except DissensusError as error:
            note(f"error: the runs ended, but could not be analysed: {error}")
            trouble = True
        else:
            if not as_json:
                summary(rows)
                _say_page(page, kept_quotes(out))
            _say_what_did_not_learn(tables)
        if remote is not None:
            from dissensus.remote import Remote, publish_results

            publish_results(out, Remote(remote))
    if as_json:
        emit_json(
            {
                "out": str(out),
                "cells": [cell.to_json() for cell in result.cells],
                "summary": [asdict(row) for row in rows],
            }
        )
    print_cell_notes(folder, result.cells)
    _name_failures(result)
    if trouble:
        raise typer.Exit(1)
    if not as_json:
        place = remote or str(out)
        if rows:
            next_step(f"open {out / 'report.html'} in a browser", ("queue", place))
        else:
            next_step(("report", place))


def _say_what_did_not_learn(tables: Analysis) -> None:
    """A line for each condition that learned nothing."""
    from dissensus.analysis.condition_tables import training_advice
    from dissensus.analysis.rows import LearnedRow, rows_of

    conditions = rows_of(tables.conditions, LearnedRow)
    for line in training_advice(conditions, tables.reader.folder.cells):
        note(f"warning: {line}")


def _name_failures(result: StudyResult) -> None:
    if not result.failures:
        return
    note(
        f"{len(result.failures)} of {len(result.cells)} cells failed; run the same command to try them again:"
    )
    by_error: dict[str, list[str]] = {}
    for cell in result.failures:
        by_error.setdefault(cell.error, []).append(cell.cell)
    for error, names in by_error.items():
        for name in names:
            note(f"  {name}")
        note("    " + error.replace("\n", "\n    "))
    note(f"Tracebacks are in {result.out}/cells/CELL/status.json, what was printed in log.txt beside it.")
