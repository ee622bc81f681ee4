"""The command that measures triage against people and planted flips: `make bench-triage`, from a checkout."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dissensus.cli.output import note, say, table
from dissensus.errors import DissensusError, SpecError
from dissensus.files import write_atomic

if TYPE_CHECKING:
    from benchmarks.triage_worlds import World

COMMAND = "python -m benchmarks.triage --fit RUNS/panel --fit RUNS/quickstart"
ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "src/dissensus/analysis/triage/curve_model.json"
RUNS_FIRST = (
    "run it first: dissensus run benchmarks/triage_panel.yaml --out RUNS/panel (docs/design/triage.md)"
)


class Part(StrEnum):
    """What to measure."""

    VARIERR, FLIPS = "varierr", "flips"


def bench(
    part: Annotated[
        list[Part] | None,
        typer.Option("--part", help="What to measure; may be repeated. Default: what is there."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Where varierr/ and chaosnli/ lie, for VariErr.")
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--runs", help="A folder of triage_panel.yaml, triage_md.yaml or paper-mini. May be repeated."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the tables go.")] = ROOT / "results/triage",
    fit: Annotated[
        list[Path] | None,
        typer.Option("--fit", help="Fit the curve model on a run of the panel instead. May be repeated."),
    ] = None,
) -> None:
    """Measure triage: errors among people's labels (VariErr), and flips planted in training labels."""
    if fit:
        from benchmarks import triage_fit
        from benchmarks.triage_worlds import worlds

        model = triage_fit.fit([world for folder in fit for world in worlds(folder)], COMMAND)
        write_atomic(MODEL, model.model_dump_json(indent=1) + "\n")
        say(f"the curve model: {MODEL}")
        return
    parts = part or [*([Part.VARIERR] if data_dir else []), *([Part.FLIPS] if runs else [])]
    if not parts:
        raise SpecError(
            f"there is nothing to measure: give --data-dir DATA, --runs FOLDER or both; {RUNS_FIRST}"
        )
    out.mkdir(parents=True, exist_ok=True)
    if Part.VARIERR in parts:
        _varierr(data_dir, runs or [], out)
    if Part.FLIPS in parts:
        _flips(runs or [], out)


def _varierr(data_dir: Path | None, runs: Sequence[Path], out: Path) -> None:
    from benchmarks.triage_varierr import curve_rows, published, read_pairs, rows

    if data_dir is None:
        raise SpecError("VariErr needs --data-dir DATA, with varierr/varierr_half.jsonl and chaosnli/")
    pairs = read_pairs(data_dir)
    note(f"VariErr: {len(pairs.error)} labels, {int(pairs.error.sum())} errors; some minutes")
    measured = rows(pairs)
    for folder in runs:
        measured += curve_rows(pairs, folder)
    _write(out / "varierr.csv", [*measured, *published()])
    table(
        ["score", "AP", "interval", "P@50"],
        [
            [row.score, f"{row.ap:.1f}", f"[{row.low:.1f}, {row.high:.1f}]", f"{row.precision_at_50:.2f}"]
            for row in measured
        ],
        numeric=["AP", "P@50"],
    )


def _flips(runs: Sequence[Path], out: Path) -> None:
    from benchmarks.triage_flips import calibration, ranks
    from benchmarks.triage_worlds import worlds

    every: list[World] = [world for folder in runs for world in worlds(folder)]
    if not every:
        raise SpecError(f"the flips need --runs FOLDER; {RUNS_FIRST}")
    found = ranks(every)
    _write(out / "ranks.csv", found)
    _write(out / "calibration.csv", calibration(every))
    rows = [[r.world, r.score, r.task, f"{r.auroc:.2f}", f"{r.ap:.2f}"] for r in found]
    table(["world", "score", "task", "AUROC", "AP"], rows, numeric=["AUROC", "AP"])


def _write(path: Path, rows: Sequence[Any]) -> None:
    """Rows of one dataclass as CSV; numbers to 4 decimals, NaN empty."""
    stream = io.StringIO()
    columns = list(asdict(rows[0]))
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(value) for value in asdict(row).values()])
    write_atomic(path, stream.getvalue())
    say(f"{len(rows)} rows: {path}")


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else round(value, 4)
    return value


def main() -> None:
    """Run the command; errors of the package are messages."""
    try:
        typer.run(bench)
    except DissensusError as error:
        note(f"error: {error}")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
