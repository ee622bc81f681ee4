"""What `run --plan` prints: a table by model and method, and the sum in a sentence."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dissensus.cli.output import emit_json, note, say, table

if TYPE_CHECKING:
    from dissensus.config import StudySpec
    from dissensus.run.plan.plan import StudyPlan
    from dissensus.run.plan.work import PlanRow

COLUMNS = (
    "model",
    "method",
    "done",
    "to run",
    "steps",
    "training tokens",
    "points",
    "tracked tokens",
    "one worker",
    "curves, at most",
)

BUSY = 0.9
"""Share of their processors below which the measuring processes count as disturbed."""


def print_plan(
    spec: StudySpec,
    out: Path,
    *,
    as_json: bool,
    cluster: Sequence[str] = (),
    calibration: Path | None = None,
    assume: str | None = None,
    **options: Any,
) -> None:
    """Measure, or take what is given in place of it, reckon and print; nothing is run."""
    from dissensus.run.plan.plan import plan_study
    from dissensus.run.plan.stated import parse_assumption, parse_cluster

    options |= {
        "cluster": parse_cluster(cluster),
        "calibration": calibration,
        "assumption": None if assume is None else parse_assumption(assume),
    }
    note(f"plan of the study {spec.name}, in {out}: nothing is run")
    plan = plan_study(spec, out, on_note=note, **options)
    if as_json:
        emit_json(plan.to_json())
        return
    gpus = plan.resources.standing_gpu_hours > 0
    columns = (*COLUMNS, "GPU-hours") if gpus else COLUMNS
    rows = [_cells(row, gpus=gpus) for row in (*plan.rows, plan.total)]
    table(columns, rows, numeric=columns[2:])
    for reason, where in _reasons(plan.rows).items():
        say(f"not reckoned: {'all' if len(where) == len(plan.rows) else ', '.join(where)}: {reason}")
    say(sentence(plan))
    for line in caveats(plan):
        say(line)
    for warning in plan.warnings:
        note(f"warning: {warning.line}")


def sentence(plan: StudyPlan) -> str:
    """The plan in one sentence."""
    total, work = plan.total, plan.total.work
    cells = f"{_plural(len(plan.cells), 'cell')}: {total.done} done, {total.left} to run"
    if not total.left:
        return f"{cells}; nothing is left to do."
    counted = (
        _part(total, "steps", "{} steps", _count),
        _part(total, "training_tokens", "{} training tokens", _tokens),
        _part(total, "tracking_points", "{} tracking points", _count),
        _part(total, "tracked_tokens", "{} tracked tokens", _tokens),
        "" if total.unknown.get("curve_bytes") else f"at most {_bytes(work.curve_bytes)} of curves",
        ""
        if plan.resources.checkpoint_bytes is None
        else f"{_bytes(plan.resources.checkpoint_bytes)} of checkpoints at a time",
    )
    words = f"{cells}; {', '.join(part for part in counted if part)}"
    if plan.wall_seconds is None:
        return f"{words}; how long it takes cannot be told."
    missing = total.unknown.get("seconds", 0)
    without = f", without {_plural(missing, 'cell')} whose time cannot be told" if missing else ""
    return f"{words}; about {about(plan.wall_seconds)} {_on(plan)}{without}{_hours(plan)}."


def _on(plan: StudyPlan) -> str:
    """On what it takes so long."""
    if plan.machines:
        from dissensus.run.plan.stated import in_words

        usable = [m for m in plan.machines if m.cpus > 0]  # a cluster's head may take no jobs
        return f"on {in_words(usable)}, at most {_plural(plan.workers, 'job')} at a time"
    threads = f" of {plan.threads} threads" if plan.threads > 1 else ""
    return f"with {_plural(plan.workers, 'worker')}{threads}"


def _hours(plan: StudyPlan) -> str:
    """GPU-hours, or processor-hours of a cluster without GPUs."""
    took = plan.resources
    if not plan.machines:
        return f"; {took.gpu_hours:.1f} GPU-hours" if took.gpu_hours else ""
    if took.standing_gpu_hours:
        return (
            f"; {took.gpu_hours:.1f} GPU-hours reserved ({took.standing_gpu_hours:.1f} for as long as the machines "
            "stand there)"
        )
    return f"; {took.cpu_hours:.2g} processor-hours reserved"


def caveats(plan: StudyPlan) -> list[str]:
    """Where the time comes from and how far it can be trusted, a line each."""
    if plan.wall_seconds is None:
        return []
    lines = _assumed(plan) if plan.source.kind == "assumed" else _timed(plan)
    if plan.machines:
        lines.append(
            "Jobs are placed in their order, each as soon as a machine has room; other users' jobs, queues and "
            "retries are not counted."
        )
    if plan.several:
        lines.append(
            f"{_plural(plan.several, 'cell')} will be trained by several processes, and counted as if one did it: "
            "an upper bound."
        )
    if plan.jobs < plan.total.left:
        lines.append("Cells that train in one pass are reckoned as if each were alone: they will be quicker.")
    if plan.running:
        lines.append("The study is being run now: cells under way count what was left of them a moment ago.")
    return lines


def _assumed(plan: StudyPlan) -> list[str]:
    """The same, where nothing was measured."""
    assumption = plan.source.assumption
    assert assumption is not None  # its kind says so
    precisions = " and ".join(sorted({cell.precision for cell in plan.cells if cell.work.seconds}))
    return [
        f"Nothing was measured. The time is each model's operations at an assumed rate: {assumption.words}. Analysis "
        "and report are not counted.",
        f"The cells compute in {precisions}: the peak must be the one of that precision on the device.",
        *plan.notes,
    ]


def _timed(plan: StudyPlan) -> list[str]:
    """The same, where it was."""
    if not plan.measured:
        return []
    timings = [m.timing for m in plan.measured]
    steps, passes = sum(t.steps for t in timings), sum(t.passes for t in timings)
    low, high = (statistics.median(getattr(t, name) for t in timings) for name in ("low", "high"))
    lines = [
        f"The time is from {steps} steps and {passes} short tracking passes of {_plural(len(timings), 'kind')} of "
        f"cell, measured {_where(plan)}; a token took {low:.2f} to {high:.2f} of its median time in "
        "single steps. Analysis and report are not counted."
    ]
    share = statistics.median(t.share for t in timings)
    if not all(t.undisturbed for t in timings):
        lines.append("It was measured by the clock: whatever else the machine was doing is in it.")
    elif share < BUSY:
        when = "Then" if plan.source.kind == "file" else "Just now"
        lines.append(
            f"It is that of a machine with nothing else to do. {when} other programs left the measuring processes "
            f"{share:.0%} of their processors; as long as they go on, it takes longer."
        )
    threads = {m.threads for m in plan.measured if m.threads}
    if plan.machines and threads and threads != {plan.threads}:
        lines.append(
            f"It was measured with {_plural(max(threads), 'thread')} a process; here a cell gets {plan.threads}."
        )
    return lines


def _where(plan: StudyPlan) -> str:
    """On what, and how many at once."""
    at_once = max(m.workers for m in plan.measured)
    together = f"in {at_once} processes at once, as they will run" if at_once > 1 else "in one process"
    devices = " and ".join(dict.fromkeys(m.device for m in plan.measured if m.device))
    on = f" ({devices})" if devices and (plan.machines or devices != "CPU") else ""
    if plan.source.kind == "file":
        where = f"earlier{on}, as {plan.source.file} has it"
        return f"{where}, {together}; the machines here are taken to be as fast"
    if plan.source.engine != "local":
        return f"by {plan.source.engine} on its machines{on}, each kind in one process with what its cell reserves"
    return f"on this machine{on} {together}"


def about(seconds: float) -> str:
    """Seconds as an estimate: 40 s, 12 min, 2.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _cells(row: PlanRow, *, gpus: bool = False) -> tuple[str, ...]:
    work = row.work
    shown = {
        "steps": _count(work.steps),
        "training_tokens": _tokens(work.training_tokens),
        "tracking_points": _count(work.tracking_points),
        "tracked_tokens": _tokens(work.tracked_tokens),
        "seconds": "-" if work.seconds is None else about(work.seconds),
        "curve_bytes": _bytes(work.curve_bytes),
    }
    # A sum that lacks cells says so; a dash means that nothing is known.
    marked = [f"{text}+" if row.unknown.get(name) and text != "-" else text for name, text in shown.items()]
    if gpus:
        marked.append("-" if work.seconds is None else f"{row.gpu_seconds / 3600:.1f}")
    return (row.model or "all", row.method, str(row.done), str(row.left), *marked)


def _reasons(rows: Sequence[PlanRow]) -> dict[str, list[str]]:
    """Why something is not known -> the rows that it is true of."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for reason in row.reasons:
            found.setdefault(reason, []).append(f"{row.model} {row.method}")
    return found


def _part(total: PlanRow, name: str, words: str, shown: Callable[[int | None], str]) -> str:
    """One sum in words; "" where nothing is known of it."""
    value = getattr(total.work, name)
    if value is None:
        return ""
    return ("at least " if total.unknown.get(name) else "") + words.format(shown(value))


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _tokens(value: int | None) -> str:
    if value is None or value < 10_000:
        return _count(value)
    return f"{value / 1e6:.2f} M" if value < 10_000_000 else f"{value / 1e6:.1f} M"


def _bytes(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1e6:.1f} MB" if value < 1e9 else f"{value / 1e9:.1f} GB"
