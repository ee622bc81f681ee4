"""Command `init`: a commented study for a data file."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.columns import NamedColumns, column_options, columns_shown
from dissensus.cli.output import next_step, say
from dissensus.errors import SpecError

if TYPE_CHECKING:
    from dissensus.config.sources import SourceSpec


@column_options
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The data: a known format, or a plain table.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="STUDY.yaml", help="Default: the data file's name, .yaml.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the study if it is there.")] = False,
    *,
    columns: NamedColumns,
) -> None:
    """Look at a data file, and write a commented study of it.

    Nothing is asked. What the file does not tell, the options below say; the study is a text file, to be changed.
    """
    from dissensus.data.sniff import load_recognised, recognise
    from dissensus.files import write_atomic
    from dissensus.study.drafting import data_lines, draft_study, study_name

    if file.suffix.lower() in (".yaml", ".yml"):
        raise SpecError(
            f"{file} is a study already, by its name; look at it with: dissensus data check {file}"
        )
    name = study_name((out or Path(file.name.partition(".")[0])).stem)
    place = out or Path(f"{name}.yaml")
    if place.exists() and not force:
        raise SpecError(f"{place} exists; overwrite it with --force, or name another file with --out")
    with columns_shown("init", file):
        seen = recognise(file, columns.named)
        dataset = load_recognised(seen)
    shown = shlex.quote(str(place))
    draft = draft_study(dataset, seen_from_here(seen.spec, file), name=name, file=file.name, study_file=shown)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, draft.text)
    for line in (*data_lines(dataset, draft.report), *dataset.notes):
        say(f"  {line}")
    say(f"study: {place}, with {draft.steps} optimiser steps per cell; each choice has a comment")
    next_step(("run", str(place), "--plan"), ("run", str(place)))


def seen_from_here(spec: SourceSpec, file: Path) -> SourceSpec:
    """A source with the path of its file as it was typed, if a study that is run from here finds it so."""
    from dissensus.data.sources.paths import resolve_path
    from dissensus.errors import DataError

    typed = Path(os.path.normpath(file))
    if typed.is_absolute() or "path" not in type(spec).model_fields:
        return spec
    try:
        same = resolve_path(str(typed)).samefile(file)
    except (DataError, OSError):
        same = False
    return spec.model_copy(update={"path": str(typed)}) if same else spec
