"""Ends of lines: how far each got, and how its contested loss changed by then and at its highest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dissensus.analysis.claims.parts import Part, part
from dissensus.analysis.claims.sampled import CellValue, ConditionValue
from dissensus.analysis.claims.statistics import ALL
from dissensus.analysis.settling.runs import Line, Setting, SettlingRun


@dataclass(frozen=True, eq=False)
class End:
    """Where one line ends, means over its seeds, in nats.

    Attributes:
        line: which.
        settled: settled loss at the end.
        start: contested loss before training.
        contested: contested loss at the end.
        change: end minus start, with its interval.
        peak: highest contested loss minus the start: 0 at least, by construction.
        peak_at: settled loss where it is highest.
        learned: of its seeds, how many learned.
        why: why it has no numbers, or ''.
    """

    line: Line
    settled: float
    start: float
    contested: float
    change: Part
    peak: float
    peak_at: float
    learned: int
    why: str


def line_ends(setting: Setting) -> tuple[End, ...]:
    """The end of every line. Where a line has one seed, the variance between seeds is that of the others."""
    changes = {line.name: _changes(setting, line) for line in setting.lines}
    return tuple(_end(setting, line, changes[line.name], list(changes.values())) for line in setting.lines)


def _changes(setting: Setting, line: Line) -> ConditionValue:
    return ConditionValue.of(
        line.name,
        {run.seed: _change(setting, run) for run in line.runs},
        [run.cell.name for run in line.runs],
    )


def _change(setting: Setting, run: SettlingRun) -> CellValue:
    """Contested loss at the end minus the start."""
    if run.why_none:
        return setting.statistics.undefined(run.why_none)
    contested = run.means.contested[ALL]
    return CellValue(
        float(contested.mean[-1] - contested.mean[0]),
        contested.resampled[:, -1] - contested.resampled[:, 0],
        contested.clusters,
    )


def _end(setting: Setting, line: Line, own: ConditionValue, pool: list[ConditionValue]) -> End:
    settings = setting.statistics.settings
    change = part(
        line.name, [own], smallest=settings.smallest_change, confidence=settings.confidence, pool=pool
    )
    runs = [run for run in line.runs if not run.why_none]
    if not runs:
        nan = float("nan")
        return End(line, nan, nan, nan, change, nan, nan, 0, own.why)
    tops = [int(np.argmax(run.contested)) for run in runs]
    return End(
        line,
        settled=float(np.mean([run.settled[-1] for run in runs])),
        start=float(np.mean([run.contested[0] for run in runs])),
        contested=float(np.mean([run.contested[-1] for run in runs])),
        change=change,
        peak=float(
            np.mean([run.contested[top] - run.contested[0] for run, top in zip(runs, tops, strict=True)])
        ),
        peak_at=float(np.mean([run.settled[top] for run, top in zip(runs, tops, strict=True)])),
        learned=sum(run.cell.learning.learned == "yes" for run in runs),
        why="",
    )
