"""What a suite of the benchmark found: rows for the table, and the JSON that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.timing import Spread

Value = str | int | float | None


@dataclass(frozen=True)
class Measurement:
    """One contender at one piece of work.

    Attributes:
        work: what was done, e.g. 'tracking pass, 512 ChaosNLI items'.
        contender: who did it.
        seconds: wall-clock time, a value a round.
        speedup: times as fast as `reference`, round by round; None for the reference itself.
        reference: the contender that `speedup` compares with.
        target: the least speed-up that was aimed at; None where there is none.
        facts: further numbers, e.g. items_per_second, efficiency, max_loss_difference.
        note: what a reader must know about this row.
    """

    work: str
    contender: str
    seconds: Spread
    speedup: Spread | None = None
    reference: str | None = None
    target: float | None = None
    facts: Mapping[str, Value] = field(default_factory=dict)
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data: every round's value, and the median."""
        return {
            "work": self.work,
            "contender": self.contender,
            "seconds": list(self.seconds.values),
            "seconds_median": self.seconds.median,
            "speedup": None if self.speedup is None else list(self.speedup.values),
            "speedup_median": None if self.speedup is None else self.speedup.median,
            "reference": self.reference,
            "target": self.target,
            "facts": dict(self.facts),
            "note": self.note,
        }


@dataclass(frozen=True)
class SuiteResult:
    """What one suite measured.

    Attributes:
        suite: 'tracking', 'train', 'grid', 'analysis' or 'size'.
        setting: the work's size and the machine, e.g. model, items, threads, device.
        measurements: rows, in the order of the table.
    """

    suite: str
    setting: Mapping[str, Value]
    measurements: tuple[Measurement, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "suite": self.suite,
            "setting": dict(self.setting),
            "measurements": [m.to_json() for m in self.measurements],
        }
