"""The command that measures triage against people and planted flips: `make bench-triage`, from a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dissensus.cli.output import note, say
from dissensus.files import write_atomic

COMMAND = "python -m benchmarks.triage --fit RUNS/panel"
MODEL = Path(__file__).parents[1] / "src/dissensus/analysis/triage/curve_model.json"


def bench(
    fit: Annotated[
        Path | None,
        typer.Option("--fit", help="Fit the curve model on this run of triage_panel.yaml, and store it."),
    ] = None,
) -> None:
    """Measure triage."""
    from benchmarks import triage_fit
    from benchmarks.triage_worlds import worlds

    if fit is not None:
        model = triage_fit.fit(tuple(worlds(fit)), COMMAND)
        write_atomic(MODEL, model.model_dump_json(indent=1) + "\n")
        say(f"the curve model: {MODEL}")
        note("commit it, and measure with it: python -m benchmarks.triage")


if __name__ == "__main__":
    typer.run(bench)
