"""Runs of the settling analysis: cells of one or several studies, grouped so that method and rate alone differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from dissensus.analysis.claims.statistics import ALL, ClaimStatistics, GroupMeans
from dissensus.analysis.reading import BACKED, CellReading
from dissensus.analysis.study_reading import StudyReading
from dissensus.config import AnalysisSpec, RunSpec
from dissensus.curves import FloatArray
from dissensus.errors import SpecError

_GROUPING = ("entropy", "gold", "contested_share", "cuts", "cuts_unit", "clusters")


@dataclass(frozen=True, eq=False)
class SettlingRun:
    """One cell along training. Losses are means over a group of examples, in nats.

    Attributes:
        cell: the cell.
        means: its groups' mean curves, with resamples.
    """

    cell: CellReading
    means: GroupMeans

    @property
    def settled(self) -> FloatArray:
        """Of the settled examples that annotators back, shape (T,)."""
        return self.means.settled[BACKED].mean

    @property
    def contested(self) -> FloatArray:
        """Of the contested examples, shape (T,)."""
        return self.means.contested[ALL].mean

    @property
    def seed(self) -> int:
        """Of the cell."""
        return self.cell.spec.seed

    @property
    def why_none(self) -> str:
        """Why the run cannot be read, or ''."""
        if not self.means.starts:
            return "the loss before training was not measured"
        if not self.means.settled[BACKED].n:
            return "no settled example whose gold label most annotators back"
        return "" if self.means.contested[ALL].n else "no contested example"


@dataclass(frozen=True, eq=False)
class Line:
    """The runs of one method at one rate: its seeds.

    Attributes:
        method: label of the method, `lora-r4`.
        rate: learning rate.
        name: of both, told apart from other lines.
        runs: a run per seed.
    """

    method: str
    rate: float
    name: str
    runs: tuple[SettlingRun, ...]

    @property
    def kind(self) -> str:
        """`lora`, `full` or `ia3`."""
        return self.runs[0].cell.spec.method.name


@dataclass(frozen=True, eq=False)
class Setting:
    """Lines that method and rate alone set apart: data, model, regime and the rest of the training are the same.

    Attributes:
        name: data set, model and regime, and the variant if these are variants.
        lines: by method, then rate.
        statistics: of the cells under common resamples.
    """

    name: str
    lines: tuple[Line, ...]
    statistics: ClaimStatistics

    @cached_property
    def chance(self) -> float:
        """Loss of an even guess, ln K; NaN where the probabilities of the labels do not sum to 1."""
        return self.lines[0].runs[0].means.chance


def settings_of(readings: Sequence[StudyReading]) -> tuple[Setting, ...]:
    """The completed cells of studies, by what else they have in common; a cell that two studies hold counts once.

    Raises:
        SpecError: the studies do not agree on what contested and settled are.
    """
    _refuse_other_groups([one.study.analysis for one in readings], [one.study.name for one in readings])
    cells = {cell.name: cell for one in readings for cell in one.cells}
    joint = StudyReading(readings[0].study, tuple(cells.values()), len(cells))
    statistics = ClaimStatistics(joint)
    by_rest: dict[str, list[CellReading]] = {}
    for cell in joint.cells:
        by_rest.setdefault(_rest(cell.spec), []).append(cell)
    names = [_name(one) for one in by_rest.values()]
    several = Counter(names)
    numbered: Counter[str] = Counter()
    settings = []
    for name, members in zip(names, by_rest.values(), strict=True):
        numbered[name] += 1
        full = f"{name} ({numbered[name]})" if several[name] > 1 else name
        settings.append(Setting(full, _lines(members, statistics), statistics))
    return tuple(settings)


def _rest(spec: RunSpec) -> str:
    """Everything of a cell but method, seed, the variant's name and where it is measured."""
    data = json.loads(spec.canonical())
    return json.dumps({k: v for k, v in data.items() if k not in ("method", "seed", "variant", "tracking")})


def _name(cells: Sequence[CellReading]) -> str:
    spec = cells[0].spec
    variants = {cell.spec.variant for cell in cells}
    variant = f".{'+'.join(sorted(filter(None, variants)))}" if None not in variants else ""
    return f"{spec.dataset.name}.{spec.model.label}.{spec.regime}{variant}"


def _lines(cells: Iterable[CellReading], statistics: ClaimStatistics) -> tuple[Line, ...]:
    by_method: dict[str, dict[int, CellReading]] = {}
    for cell in cells:
        plain = cell.spec.method.model_copy(update={"tag": None})
        by_method.setdefault(plain.canonical(), {}).setdefault(cell.spec.seed, cell)
    lines = []
    for seeds in by_method.values():
        method = next(iter(seeds.values())).spec.method.model_copy(update={"tag": None})
        runs = tuple(SettlingRun(seeds[seed], statistics.group_means(seeds[seed])) for seed in sorted(seeds))
        lines.append(
            Line(method.label, method.learning_rate, f"{method.label} {method.learning_rate:g}", runs)
        )
    seen = Counter(line.name for line in lines)
    told = [
        line
        if seen[line.name] == 1
        else Line(line.method, line.rate, f"{line.name} ({line.runs[0].cell.name[-8:]})", line.runs)
        for line in lines
    ]
    return tuple(sorted(told, key=lambda line: (line.method, line.rate, line.name)))


def _refuse_other_groups(analyses: Sequence[AnalysisSpec], names: Sequence[str]) -> None:
    for analysis, name in zip(analyses[1:], names[1:], strict=True):
        for key in _GROUPING:
            mine, other = getattr(analyses[0], key), getattr(analysis, key)
            if mine != other:
                raise SpecError(
                    f"the studies {names[0]!r} and {name!r} differ in analysis.{key} ({mine!r} and {other!r}), so "
                    "contested and settled are not the same examples; give them one and run the command again"
                )
