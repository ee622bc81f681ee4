"""Commands that hand a study's results out in the forms of others: submission files of shared tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dissensus.cli.options import Folder
from dissensus.cli.output import note, number, say
from dissensus.errors import SpecError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Commands of the group are named, although there is one."""


@app.command()
def lewidi(
    folder: Folder,
    task: Annotated[
        str, typer.Option("--task", metavar="MP|CSC|Paraphrase", help="The data set of LeWiDi 2025.")
    ],
    cell: Annotated[
        str | None,
        typer.Option(
            "--cell", metavar="ID", help="The cell whose model predicts; may be left out if it is one."
        ),
    ] = None,
    step: Annotated[
        int | None, typer.Option("--step", min=0, help="A tracking point; default: the last one.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Of items of several splits, these.")] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", file_okay=False, metavar="FOLDER", help="Where the file goes; its name is the task's."
        ),
    ] = Path(),
) -> None:
    """Write a cell's soft predictions as the submission file of a LeWiDi 2025 task (soft track), and its measure."""
    from dissensus.exchange.lewidi import soft_submission
    from dissensus.files import write_atomic
    from dissensus.remote import study_folder
    from dissensus.store import open_curves
    from dissensus.study.folder import StudyFolder

    with study_folder(folder) as local:
        study = StudyFolder(local)
        if not study.done:
            raise SpecError(f"{folder} has no completed cell. Run it first: dissensus run {folder}")
        if cell is None and len(study.done) > 1:
            raise SpecError(
                f"{len(study.done)} cells are complete, and one model predicts: give --cell, one of\n"
                + "\n".join(f"  {name}" for name in study.done)
            )
        if cell is not None and cell not in study.done:
            raise SpecError(
                f"no completed cell is named {cell!r}; there are:\n"
                + "\n".join(f"  {name}" for name in study.done)
            )
        chosen = cell if cell is not None else study.done[0]
        stored = open_curves(study.cell(chosen))
        steps = stored.steps.tolist()
        if not steps or (step is not None and step not in steps):
            raise SpecError(
                f"{chosen} has no tracking point at step {step}; it has: {', '.join(map(str, steps)) or 'none'}"
            )
        at = stored.at([steps.index(step) if step is not None else len(steps) - 1])
        submission = soft_submission(at.read(0, len(at)), task, split=split)
        regimes = set(stored.column("regime").to_pylist())
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / submission.name, submission.text)
    say(f"{submission.items} items of {chosen} at step {at.steps[0]}: {out / submission.name}")
    say(
        f"average {submission.measure} distance to the annotators' shares: {number(submission.distance, 4)} "
        f"({submission.annotated} items with annotations)"
    )
    if "trained_on" in regimes:
        note(
            "warning: the model was trained on these items, so that the distance is no measure of what it predicts"
        )
    note(
        "note: there is no file of the perspectivist track: the model gives one distribution per item and knows "
        "nothing of single annotators"
    )
    say(f"next: zip -j submission.zip {out / submission.name}")
