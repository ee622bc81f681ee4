"""Commands on the built-in studies."""

from __future__ import annotations

from typing import Annotated

import typer

from dissensus.cli.options import Json
from dissensus.cli.output import emit_json, next_step, table, verbatim

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the built-in studies."""
    from dissensus.study.builtin import builtin_names, load_study
    from dissensus.study.grid import expand

    studies = [(name, load_study(name)) for name in builtin_names()]
    if as_json:
        emit_json(
            [
                {"name": n, "title": s.title, "description": s.description, "cells": len(expand(s))}
                for n, s in studies
            ]
        )
    else:
        table(
            ("study", "cells", "title"),
            ((n, len(expand(s)), s.title) for n, s in studies),
            numeric=("cells",),
        )
        next_step("dissensus run NAME --plan")


@app.command()
def show(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A built-in name; with --cells also a YAML file.")
    ],
    cells: Annotated[
        bool, typer.Option("--cells", help="List the cells instead, without running them.")
    ] = False,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Show every setting, defaults included.")
    ] = False,
) -> None:
    """Print a built-in study: a start for one of your own."""
    from dissensus.study.builtin import builtin_text, load_study
    from dissensus.study.grid import expand

    if cells:
        for cell in expand(load_study(study)):
            verbatim(cell.cell_id)
    else:
        verbatim((load_study(study).to_yaml() if resolved else builtin_text(study)).rstrip("\n"))
    next_step(("run", study, "--plan"))
