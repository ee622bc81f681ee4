"""Command `rates`: searches the learning rate of each condition of a study."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.options import DataDir, Device, Fuse, Json, Only, Plan, RunOptions, Study, Threads, Workers
from dissensus.cli.output import emit_json, next_step, note, number, say, table, verbatim
from dissensus.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dissensus.analysis.rates.search import RateSearch, RunStudy
    from dissensus.config import StudySpec
    from dissensus.study.rates import Searched, SearchSettings


def rates(
    study: Study,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the short runs; default: runs/NAME-rates.")
    ] = None,
    only: Only = None,
    rates: Annotated[
        str | None,
        typer.Option(
            "--rates",
            metavar="RATE,RATE,...",
            help="Candidates beside each condition's own rate; default: three below it and three above.",
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option("--share", help="Share of the training length of the first rung; default: 0.0625."),
    ] = None,
    rungs: Annotated[
        int | None,
        typer.Option("--rungs", help="Rungs, each twice as long on the better half; default: 3."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Write the study with the best rates set.")
    ] = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    threads: Threads = None,
    fuse: Fuse = None,
    device: Device = None,
    plan: Plan = False,
    yes: Annotated[bool, typer.Option("--yes", help="On a terminal: start without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Search the learning rate of each condition by successive halving on short runs.

    Finished short runs are kept: the same command resumes. A short run is a whole run over a share of the epochs, with
    a warm-up and a decay of its own length. The study itself is not changed.
    """
    from dissensus.analysis.rates.search import search_rates
    from dissensus.analysis.rates.tables import chosen_study, rates_json, write_rates
    from dissensus.files import write_atomic
    from dissensus.study.builtin import load_study
    from dissensus.study.grid import parse_only
    from dissensus.study.rates import FIRST_SHARE, RUNGS, SearchSettings, searched_cells

    spec = load_study(study)
    settings = SearchSettings(
        _rates(rates), FIRST_SHARE if share is None else share, RUNGS if rungs is None else rungs
    )
    searched = searched_cells(spec, parse_only(only or ()))
    folder = out or Path("runs") / f"{spec.name}-rates"
    if write is not None and write.exists():
        raise SpecError(f"--write {write}: that file exists, and would lose its comments; give another name")
    options = RunOptions(workers, threads, fuse, device, data_dir.resolve() if data_dir else None)
    if plan:
        _print_plan(spec, searched, settings, folder, as_json, options)
        return
    _announce(spec, searched, settings, folder)
    if not yes and sys.stdin.isatty() and sys.stderr.isatty():
        typer.confirm("Start?", default=True, abort=True, err=True)
    searches = search_rates(spec, searched, folder, settings, _runner(folder, options))
    write_rates(searches, folder)
    chosen = chosen_study(spec, searches)
    if as_json:
        emit_json(rates_json(searches))
    else:
        _show(spec, searches, chosen)
        say(f"all runs: {folder}/rates.csv, {folder}/rates.json")
    if write is not None:
        write_atomic(write, chosen.to_yaml())
        note(f"{write}: the study with these rates")
        if not as_json:
            next_step(("run", str(write)))
    elif not as_json and chosen != spec:
        next_step("paste these lines into the study; or the same command with --write FILE, and run FILE")
    if any(search.best is None for search in searches):
        raise typer.Exit(1)


def _rates(text: str | None) -> tuple[float, ...]:
    """The rates of `--rates`."""
    if text is None:
        return ()
    try:
        values = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        values = ()
    if not values:
        raise SpecError(f"--rates {text!r} is no list of numbers; expected such as --rates 2e-5,1e-4,5e-4")
    return values


def _runner(folder: Path, options: RunOptions) -> RunStudy:
    """Runs short runs with the study runner, and shows how far they are."""
    from dissensus.cli.progress import run_progress
    from dissensus.config import FEWEST_STEPS, When
    from dissensus.run.runner import run_study
    from dissensus.run.step_warnings import steps_before_a_run
    from dissensus.study.grid import expand, select

    def run(study: StudySpec, only: When) -> None:
        cells = select(expand(study), only)
        steps = [known for _, known in steps_before_a_run(cells, options.data_dir) if known is not None]
        if steps and min(steps) < FEWEST_STEPS:
            note(
                f"warning: short runs of {min(steps)} steps: below {FEWEST_STEPS}, small models learned nothing at "
                "usual rates. Raise --share"
            )
        with run_progress(cells) as progress:
            run_study(
                study,
                folder,
                workers=options.workers,
                threads=options.threads,
                fuse=options.fuse,
                device=options.device,
                data_dir=options.data_dir,
                only=only,
                on_change=progress.change,
                on_stage=progress.stage,
                on_note=note,
            )

    return run


def _announce(spec: StudySpec, searched: Sequence[Searched], settings: SearchSettings, folder: Path) -> None:
    """Say what is searched: candidates and rungs."""
    from dissensus.analysis.rates.search import percent

    shares = ", ".join(percent(share) for share in settings.shares)
    note(f"learning rates of the study {spec.name}: {len(searched)} conditions, in {folder}")
    note(f"rungs: {shares} of the training length, each for the better half of the rung before")
    by_grid: dict[tuple[float, ...], list[str]] = {}
    for one in searched:
        grid = settings.candidates(one.cell.method.learning_rate)
        by_grid.setdefault(grid, []).append(one.cell.condition)
    for grid, names in by_grid.items():
        note(f"candidates of {', '.join(names)}: {', '.join(f'{rate:g}' for rate in grid)}")


def _print_plan(
    spec: StudySpec,
    searched: Sequence[Searched],
    settings: SearchSettings,
    folder: Path,
    as_json: bool,
    options: RunOptions,
) -> None:
    """The plan of all rungs, as if the lowest rates went on: which ones will is not known, how many is."""
    from dissensus.cli.plan import print_plan
    from dissensus.study.rates import every_run, search_study

    _announce(spec, searched, settings, folder)
    runs = [run for one in searched for run in every_run(one, settings)]
    print_plan(search_study(spec, runs), folder, options, as_json=as_json)
    if not as_json:
        say(
            "Not counted: rates that join where the best lies at an end of the grid, up to three more per condition."
        )
        next_step("the same command without --plan")


def _show(spec: StudySpec, searches: Sequence[RateSearch], chosen: StudySpec) -> None:
    """A table and a sentence per condition, then the lines to paste."""
    from dissensus.analysis.rates.search import percent
    from dissensus.analysis.rates.tables import yaml_lines

    for search in searches:
        say(search.name)
        columns = ("rate", *(percent(rung.share) for rung in search.rungs), "learned", "")
        table(columns, _rows(search), numeric=columns[: 1 + len(search.rungs)])
        say(search.sentence)
        for warning in search.warnings:
            note(f"warning: {warning}")
        say()
    lines = yaml_lines(spec, chosen)
    if lines:
        say("To paste into the study:")
        for line in lines:
            verbatim(line)
    else:
        say("The study's own rates are the best of those tried: nothing to change.")


def _rows(search: RateSearch) -> list[tuple[str, ...]]:
    """A row per rate: its loss at each rung, '-' where it was not run, whether it learned in its longest run."""
    best, own = search.best, search.searched.cell.method.learning_rate
    by_rate = {
        rate: [next((s for s in rung.scores if s.run.rate == rate), None) for rung in search.rungs]
        for rate in search.grid
    }
    rows = []
    for rate, scores in by_rate.items():
        losses = ["-" if s is None else number(s.loss, 3) if s.ended else "failed" for s in scores]
        longest = next((s for s in reversed(scores) if s is not None), None)
        words = ["best"] if best is not None and best.run.rate == rate else []
        words += ["the study's"] if rate == own else []
        words += ["added"] if rate in search.added else []
        rows.append((f"{rate:g}", *losses, longest.learned if longest else "-", ", ".join(words)))
    return rows
