"""Plan of a study on the terminal (`run --plan`): a table by model and method, and the sum in a sentence."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dissensus.cli.output import emit_json, note, say, table

if TYPE_CHECKING:
    from dissensus.cli.options import RunOptions
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

UNSTEADY = 2.0
"""Times its median that the slowest step took, above which the seconds are not to be relied on."""

BUSY = 0.9
"""Share of their processors below which the measuring processes count as disturbed."""


def print_plan(
    spec: StudySpec,
    out: Path,
    options: RunOptions,
    *,
    as_json: bool,
) -> int:
    """Measure, count and print; nothing is run. How many cells are left to run."""
    from dissensus.run.plan.plan import plan_study
    from dissensus.run.runner import terminated_is_interrupted

    note(f"plan of the study {spec.name}, in {out}: nothing is run")
    with terminated_is_interrupted():  # the trial's workers and folder go, whatever ends it
        plan = plan_study(
            spec,
            out,
            on_note=note,
            workers=options.workers,
            threads=options.threads,
            fuse=options.fuse,
            device=options.device,
            data_dir=options.data_dir,
            only=options.only,
            engine=options.engine,
        )
    if as_json:
        emit_json(plan.to_json())
        return plan.total.left
    gpus = plan.resources.gpu_hours > 0
    columns = (*COLUMNS, "GPU-hours") if gpus else COLUMNS
    rows = [_cells(row, gpus=gpus) for row in (*plan.rows, plan.total)]
    table(columns, rows, numeric=columns[2:])
    for reason, where in _reasons(plan.rows).items():
        say(f"not known: {'all' if len(where) == len(plan.rows) else ', '.join(where)}: {reason}")
    say(sentence(plan))
    for line in caveats(plan):
        say(line)
    for warning in plan.warnings:
        note(f"warning: {warning.line}")
    return plan.total.left


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
        _part(total, "validation_passes", "{} validation passes", _count) if work.validation_passes else "",
        _part(total, "gradient_points", "{} points of the gradient probe", _count)
        if work.gradient_points
        else "",
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
    threads = f" of {plan.threads} threads" if plan.threads > 1 else ""
    on = f"with {_plural(plan.workers, 'worker')}{threads}" + _engine(plan)
    gpu_hours = f"; {plan.resources.gpu_hours:.1f} GPU-hours" if plan.resources.gpu_hours else ""
    return f"{words}; about {about(plan.wall_seconds)} {on}{without}{gpu_hours}."


def _engine(plan: StudyPlan) -> str:
    return "" if plan.engine == "local" else f" on {plan.engine}"


def caveats(plan: StudyPlan) -> list[str]:
    """Where the time comes from and how far it can be trusted, a line each."""
    lines: list[str] = []
    if plan.finished:
        lines.append(
            f"The time of {_plural(plan.finished, 'cell')} is what finished cells like it took{_engine(plan)}: all but "
            "seed and learning rate are the same. It is by the clock: whatever else the machine was doing is in it. "
            "Analysis and report are not counted."
        )
    lines += _timed(plan)
    if plan.total.work.seconds and not plan.workers:
        lines.append(
            f"All of it is {about(plan.total.work.seconds)} of one worker; --workers N says how long N at a time take."
        )
    if plan.wall_seconds is None:
        return lines
    if plan.several:
        lines.append(
            f"{_plural(plan.several, 'cell')} will be trained by several processes, and counted as if one did it: "
            "an upper bound."
        )
    if plan.jobs < plan.total.left:
        lines.append("Cells that train in one pass are counted as if each were alone: they will be quicker.")
    if plan.running:
        lines.append("The study is being run now: cells under way count what was left of them a moment ago.")
    return lines


def _timed(plan: StudyPlan) -> list[str]:
    """The same of what was timed in a trial."""
    timed = [m for m in plan.measured if m.cells]
    if not timed:
        return _bf16(plan)
    timings = [m.trial for m in timed]
    steps, passes = sum(t.steps for t in timings), sum(t.passes for t in timings)
    low, high = (statistics.median(getattr(t, name) for t in timings) for name in ("low", "high"))
    at_once = max(m.workers for m in timed)
    together = f"in {at_once} processes at once, as they will run" if at_once > 1 else "in one process"
    gpus = " and ".join(dict.fromkeys(t.device for t in timings if t.device != "CPU"))
    where = f"on this machine ({gpus})" if gpus else "on this machine"
    lines = [
        f"The time is from {steps} steps and {passes} short tracking passes of {_plural(len(timings), 'kind')} of "
        f"cell, measured {where} {together}. Single steps took {low:.2f} to {high:.2f} times their median"
        f"{': plan again on a quiet machine' if high > UNSTEADY else ''}. Analysis and report are not counted."
    ]
    share = statistics.median(t.share for t in timings)
    if not all(t.undisturbed for t in timings):
        lines.append("It was measured by the clock: whatever else the machine was doing is in it.")
    elif share < BUSY:
        lines.append(
            "It is that of a machine with nothing else to do. Just now other programs left the measuring processes "
            f"{share:.0%} of their processors; as long as they go on, it takes longer."
        )
    return lines + _bf16(plan)


def _bf16(plan: StudyPlan) -> list[str]:
    """Whether tracking in bf16 would pay here, by model and method."""
    tried = {f"{m.model} {m.method}": m.trial.bf16 for m in plan.measured if m.trial.bf16 is not None}
    if not tried:
        return []
    examples = min(trial.examples for trial in tried.values())
    each = "; ".join(f"{name} {trial.in_words()}" for name, trial in tried.items())
    pays = [name for name, trial in tried.items() if trial.pays]
    verdict = "It would not pay on this machine."
    if pays:
        where = "" if len(pays) == len(tried) else f" for {', '.join(pays)}"
        verdict = (
            f"It would pay on this machine{where}: set tracking: {{precision: bf16}} in the study, whose cells are "
            "then others."
        )
    return [
        f"Tracking in bf16 beside fp32, tried on {examples} examples after a few steps: {each}. {verdict}"
    ]


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
    rows_by_reason: dict[str, list[str]] = {}
    for row in rows:
        for reason in row.reasons:
            rows_by_reason.setdefault(reason, []).append(f"{row.model} {row.method}")
    return rows_by_reason


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
