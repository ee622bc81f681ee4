"""Contested loss read at common levels of settled loss, and differences of lines there.

A run is read where its mean settled loss (examples that annotators back) first comes down to a level: between tracking
points along the cubic through the two on either side. A level counts for a line when all its seeds come down to it, on
the examples as they are and in `REACHED` of the resamples, from a start that lies `LEARNED` above it. It does not
where the cubic and the straight line differ by more than half of the margin: the points are too far apart to say.

Two lines differ by the mean over the seeds that both have. Its interval covers examples (clusters, resampled together
for all runs) and seeds; the variance between seeds is borrowed from other pairs where a pair has one seed, and not
covered at all where no pair has several (`claims.parts.part`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from dissensus.analysis.claims.c3_matching import LEARNED, read_at
from dissensus.analysis.claims.parts import Part, part
from dissensus.analysis.claims.sampled import CellValue, ConditionValue
from dissensus.analysis.claims.statistics import ALL, contrast
from dissensus.analysis.reading import BACKED
from dissensus.analysis.settling.runs import Line, Setting, SettlingRun
from dissensus.stats import holm
from dissensus.stats.intervals import few_units

STEP = 0.1
"""Nats between two levels, unless they are given."""
REACHED = 0.95
"""Share of the resamples in which a run must come down to a level."""
POINTS = 4
"""Tracking points that a cubic needs."""


@dataclass(frozen=True, eq=False)
class AtLevel:
    """The contested loss of one line at one settled loss.

    Attributes:
        line: which.
        level: the settled loss, nats.
        by_seed: seed -> contested loss there; empty where the line is not read.
        value: mean over seeds as a part, with its interval.
        why: why it is not read, or ''.
    """

    line: Line
    level: float
    by_seed: dict[int, CellValue]
    value: Part
    why: str

    @property
    def read(self) -> bool:
        """Whether there is a value."""
        return bool(self.by_seed)


@dataclass(frozen=True, eq=False)
class Difference:
    """Contested loss of the first line minus that of the second at the same settled loss.

    Attributes:
        first: a line.
        second: another.
        level: nats.
        value: with interval.
        p_beyond: of a true difference within the margin, adjusted by Holm over all pairs and levels of the setting.
        margin: nats.
    """

    first: Line
    second: Line
    level: float
    value: Part
    p_beyond: float
    margin: float

    @property
    def same_method(self) -> bool:
        """Whether the two differ in their rate alone."""
        return self.first.method == self.second.method

    @property
    def within(self) -> bool:
        """Whether the whole interval lies within the margin."""
        return bool(-self.margin < self.value.low and self.value.high < self.margin)

    def beyond(self, level: float) -> bool:
        """Whether the difference exceeds the margin, at this level of the tests."""
        return bool(self.p_beyond < level)


def read_levels(setting: Setting, margin: float, levels: Sequence[float] = ()) -> tuple[AtLevel, ...]:
    """Every line at every level, level by level, from the highest.

    Args:
        setting: whose lines.
        margin: nats.
        levels: settled losses; default: the multiples of `STEP` that at least one line is read at.
    """
    chosen = sorted(set(levels) or _levels(setting), reverse=True)
    rows = [_at_level(setting, line, level, margin) for level in chosen for line in setting.lines]
    known = {row.level for row in rows if row.read}
    return tuple(row for row in rows if levels or row.level in known)


def differences(setting: Setting, rows: Sequence[AtLevel], margin: float) -> tuple[Difference, ...]:
    """Every pair of lines at every level that both are read at and that share a seed."""
    settings = setting.statistics.settings
    named: list[tuple[AtLevel, AtLevel, ConditionValue]] = []
    for first, second in combinations([row for row in rows if row.read], 2):
        shared = [seed for seed in first.by_seed if seed in second.by_seed]
        if first.level != second.level or not shared:
            continue
        cells = [run.cell.name for row in (first, second) for run in row.line.runs if run.seed in shared]
        values = {seed: contrast(first.by_seed[seed], second.by_seed[seed]) for seed in shared}
        name = f"{first.line.name} minus {second.line.name} at {first.level:g}"
        named.append((first, second, ConditionValue.of(name, values, cells)))
    pool: dict[float, list[ConditionValue]] = {}
    for first, _, value in named:
        pool.setdefault(first.level, []).append(value)
    found = [
        Difference(
            first.line,
            second.line,
            first.level,
            part(
                value.name, [value], smallest=margin, confidence=settings.confidence, pool=pool[first.level]
            ),
            float("nan"),
            margin,
        )
        for first, second, value in named
    ]
    adjusted = holm(np.array([_beyond(one.value, margin) for one in found], dtype=np.float64))
    return tuple(replace(one, p_beyond=float(p)) for one, p in zip(found, adjusted, strict=True))


def _beyond(value: Part, margin: float) -> float:
    """One-sided p of a difference within the margin; NaN without an error."""
    from scipy import special  # as elsewhere in the package: its import is slow

    if not value.defined or not value.se > 0:
        return float("nan")
    return float(special.stdtr(value.df, -(abs(value.value) - margin) / value.se))


def _levels(setting: Setting) -> set[float]:
    runs = [run for line in setting.lines for run in line.runs if not run.why_none]
    if not runs:
        return set()
    low = min(float(run.settled.min()) for run in runs)
    high = max(_start(run) for run in runs) - LEARNED
    return {
        round(step * STEP, 10) for step in range(int(np.ceil(low / STEP)), int(high / STEP) + 1) if step > 0
    }


def _start(run: SettlingRun) -> float:
    """The settled loss at the start, ln K at most: a fresh head's first loss falls without anything being learned."""
    return float(min(run.settled[0], run.means.chance if np.isfinite(run.means.chance) else np.inf))


def _at_level(setting: Setting, line: Line, level: float, margin: float) -> AtLevel:
    values = {run.seed: _value(setting, run, level, margin) for run in line.runs}
    reasons = list(dict.fromkeys(one.why for one in values.values() if one.why))
    if reasons:
        several = f" ({len(reasons)} reasons among its seeds)" if len(reasons) > 1 else ""
        values, why = {}, reasons[0] + several
    else:
        why = ""
    name, names = f"{line.name} at {level:g}", [run.cell.name for run in line.runs]
    condition = ConditionValue.of(name, values, names)
    settings = setting.statistics.settings
    value = part(name, [condition], smallest=margin, confidence=settings.confidence)
    return AtLevel(line, level, values, value, why)


def _value(setting: Setting, run: SettlingRun, level: float, margin: float) -> CellValue:
    """The contested loss of a run at a level."""
    undefined = setting.statistics.undefined
    settled, contested = run.means.settled[BACKED], run.means.contested[ALL]
    if run.why_none:
        return undefined(run.why_none)
    if len(run.settled) < POINTS:
        return undefined(f"{len(run.settled)} tracking points; reading between them needs {POINTS}")
    if few := few_units(min(settled.clusters, contested.clusters), clustered=True):
        return undefined(few)
    if _start(run) < level + LEARNED:
        return undefined(f"it starts at {_start(run):.2f}")
    if run.settled.min() > level:
        return undefined(f"its settled loss ends at {run.settled[-1]:.2f}, lowest {run.settled.min():.2f}")
    progress = run.means.progress
    here = read_at(progress, run.settled[None], run.contested[None], np.array([level]))
    coarse = abs(float(here.change[0] - here.straight[0]))
    if coarse > margin / 2:
        return undefined(f"tracking points too far apart: known to {coarse:.2f} nats")
    drawn = read_at(progress, settled.resampled, contested.resampled, np.full(len(settled.resampled), level))
    if np.isfinite(drawn.change).mean() < REACHED:
        return undefined("just reached: on other examples it would not be")
    return CellValue(
        float(run.contested[0] + here.change[0]),
        contested.resampled[:, 0] + drawn.change,
        min(settled.clusters, contested.clusters),
    )
