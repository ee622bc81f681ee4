"""The command that makes the figures of docs/performance.md: `python -m benchmarks`, from a checkout."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.output import emit_json, note, say, table
from dissensus.errors import DissensusError

if TYPE_CHECKING:
    from benchmarks.result import Measurement, SuiteResult


class Suite(StrEnum):
    """What to time."""

    tracking = "tracking"
    train = "train"
    grid = "grid"
    analysis = "analysis"
    size = "size"


def bench(
    suite: Annotated[
        list[Suite] | None, typer.Option("--suite", help="What to time; may be repeated. Default: all five.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="'cpu', 'cuda', ...; default: a GPU where there is one.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="Which model trains and tracks.")] = "minilm-l6",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Times each contender runs, in turn.")] = 5,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="torch threads of tracking and train; default: torch's."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", exists=True, file_okay=False, help="Where ChaosNLI and SNLI are."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder that keeps each suite's figures as JSON.")
    ] = Path("runs/bench"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Time tracking, training, a grid and the analysis beside what people would otherwise use.

    All contenders run in turn in one process, so that a machine that slows down slows them all; quoted are
    medians, with the smallest and the largest value. An hour on two cores; one suite alone takes minutes.
    """
    from benchmarks.suites import run_suite
    from dissensus.files import write_atomic

    results = []
    for chosen in suite or list(Suite):
        note(f"timing {chosen.value} ...")
        result = run_suite(
            chosen.value, model=model, rounds=rounds, device=device, threads=threads, data_dir=data_dir
        )
        results.append(result.to_json())
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(
            out / f"{chosen.value}.json", json.dumps(result.to_json(), indent=1, allow_nan=False) + "\n"
        )
        if not as_json:
            _show(result)
    if as_json:
        emit_json(results)
    else:
        note(f"kept in {out}/")


def _show(result: SuiteResult) -> None:
    say("  ".join(f"{key}: {value}" for key, value in result.setting.items() if value not in ("", None)))
    table(
        ("work", "contender", "seconds", "range", "times as fast", "range of it", "target", "facts"),
        (_row(m) for m in result.measurements),
        numeric=("seconds", "times as fast", "target"),
    )
    say()


def _row(m: Measurement) -> tuple[str, ...]:
    fast = m.speedup
    facts = ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in m.facts.items())
    return (
        m.work,
        m.contender,
        _short(m.seconds.median),
        f"{_short(m.seconds.low)}-{_short(m.seconds.high)}",
        "-" if fast is None else f"{fast.median:.2f}",
        "-" if fast is None else f"{fast.low:.2f}-{fast.high:.2f}",
        "-" if m.target is None else f"{m.target:g}",
        f"{facts}; {m.note}" if facts and m.note else facts or m.note,
    )


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(bench)


if __name__ == "__main__":
    try:
        app(prog_name="python -m benchmarks")
    except DissensusError as error:
        note(f"error: {error}")
        sys.exit(2)
