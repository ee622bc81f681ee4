"""Learning rates to try: candidates around a cell's own, short runs that compare them, and these as a study.

A short run is a whole run over a share of the epochs, not the beginning of a long one: warm-up and decay are those of
its own length, so that its end is that of a run that was meant to be so short.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from dissensus.config import DatasetSpec, ExecutionRule, ModelSpec, RunSpec, StudySpec, When
from dissensus.errors import SpecError
from dissensus.study.grid import expand, matching, merge, select

RATIO = math.sqrt(10)
"""Between two neighbouring candidates."""
EACH_WAY = 3
"""Candidates below and above a cell's own rate; and how many are added, once, beyond an end that is the best."""
FIRST_SHARE = 1 / 16
"""Of the training length: what the first rung trains for. Each rung trains twice as long as the one before it."""
RUNGS = 3
_FEWEST = 2
_AXES = {"dataset": "name", "model": "name", "method": "name"}


@dataclass(frozen=True)
class SearchSettings:
    """How rates are searched.

    Attributes:
        rates: candidates for every cell, beside its own rate; () for a grid around its own.
        first_share: share of the training length of the first rung.
        rungs: how many; each trains twice as long as the one before, on the better half of its rates.
    """

    rates: tuple[float, ...] = ()
    first_share: float = FIRST_SHARE
    rungs: int = RUNGS

    def __post_init__(self) -> None:
        for rate in self.rates:
            if not (math.isfinite(rate) and rate > 0):
                raise SpecError(f"a learning rate is {rate:g}; expected a number above 0, such as 2e-5")
        if self.rungs < 1:
            raise SpecError(f"rungs is {self.rungs}; expected 1 or more")
        if not 0 < self.first_share <= 1:
            raise SpecError(
                f"share is {self.first_share:g}; expected a share of the training length, above 0 and at most 1"
            )
        if self.shares[-1] > 1:
            raise SpecError(
                f"{self.rungs} rungs from a share of {self.first_share:g} end at {self.shares[-1]:g} of the training "
                f"length; expected 1 at most: lower --share (to {2.0 ** (1 - self.rungs):g}) or --rungs"
            )

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of the training length of each rung."""
        return tuple(self.first_share * 2.0**rung for rung in range(self.rungs))

    def candidates(self, own: float) -> tuple[float, ...]:
        """The first rung's rates for a cell with this rate, rising; its own is always among them."""
        steps = range(-EACH_WAY, EACH_WAY + 1)
        rates = self.rates or tuple(rounded(own * RATIO**step) for step in steps if step)
        return tuple(sorted({own, *rates}))


def beyond(grid: Sequence[float], best: float) -> tuple[float, ...]:
    """Further rates beyond the end of a rising grid that is the best, in the grid's own spacing; () if it is no end."""
    if len(grid) < _FEWEST or best not in (grid[0], grid[-1]):
        return ()
    ratio = (grid[-1] / grid[0]) ** (1 / (len(grid) - 1))
    power = 1 if best == grid[-1] else -1
    return tuple(rounded(best * ratio ** (power * step)) for step in range(1, EACH_WAY + 1))


def rounded(rate: float) -> float:
    """A rate to two significant digits, as a person would write it."""
    return float(f"{rate:.1e}")


@dataclass(frozen=True)
class ShortRun:
    """One candidate at one rung.

    Attributes:
        cell: the cell whose rate is searched, as the search's study lists it.
        rate: the learning rate.
        share: of the cell's training length.
        base: whether it is the cell's own rate at the first rung, which the search's study lists as its own cell.
    """

    cell: RunSpec
    rate: float
    share: float
    base: bool

    @property
    def variant(self) -> str | None:
        """Its name as a variant in the search's study; None for the cell that the others are variants of."""
        if self.base:
            return None
        return f"lr{self.rate!r}-share{self.share:.4g}".replace(".", "_").replace("+", "")

    @property
    def settings(self) -> dict[str, Any]:
        """What it changes of its cell: rate, epochs, and two tracking points, the start and the end; no gradients."""
        return {
            "method": {"learning_rate": self.rate},
            "training": {"epochs": self.cell.training.epochs * self.share},
            "tracking": {
                "points": 2,
                "schedule": "linear",
                "steps": None,
                "every": None,
                "epoch_ends": False,
                "gradients": None,
            },
        }

    @property
    def spec(self) -> RunSpec:
        """What is run."""
        changed = {**self.settings, "variant": self.variant}
        return RunSpec.parse(merge(self.cell.model_dump(mode="json"), changed), "a short run")


@dataclass(frozen=True)
class Searched:
    """A condition whose rate is searched.

    Attributes:
        cell: of the study, the first of its seeds.
        listed: the same as the search's study lists it; see `searched_cells`.
    """

    cell: RunSpec
    listed: RunSpec


def searched_cells(study: StudySpec, only: When) -> tuple[Searched, ...]:
    """The study's own conditions (no variants), each with its first seed.

    A filter takes `full` for `full` and `full-slow` alike. So where one label is another one's name, the search's study
    lists it with the tag `plain`.
    """
    own = [cell for cell in expand(study) if cell.variant is None]
    first: dict[str, RunSpec] = {}
    for cell in select(own, only):
        first.setdefault(cell.condition, cell)
    cells = tuple(first.values())
    models: Counter[str] = Counter({cell.model.label: cell.model.name for cell in cells}.values())
    methods: Counter[str] = Counter({cell.method.label: cell.method.name for cell in cells}.values())

    def listed(cell: RunSpec) -> RunSpec:
        changes: dict[str, Any] = {}
        if models[cell.model.label] > 1:
            changes["model"] = cell.model.model_copy(update={"tag": "plain"})
        if methods[cell.method.label] > 1:
            changes["method"] = cell.method.model_copy(update={"tag": "plain"})
        return cell.model_copy(update=changes)

    return tuple(Searched(cell, listed(cell)) for cell in cells)


def every_run(searched: Searched, settings: SearchSettings) -> tuple[ShortRun, ...]:
    """As many runs as a condition's search takes when its grid is not widened; which rates go on is not known yet."""
    own = searched.cell.method.learning_rate
    rates, runs = settings.candidates(own), []
    for share in settings.shares:
        first = share == settings.first_share
        runs += [ShortRun(searched.listed, rate, share, first and rate == own) for rate in rates]
        if len(rates) < _FEWEST:
            break
        rates = rates[: math.ceil(len(rates) / 2)]
    return tuple(runs)


def search_study(study: StudySpec, runs: Sequence[ShortRun]) -> StudySpec:
    """The short runs as a study: `run`, `status` and `--plan` take it as any other.

    Its cells are exactly these runs. The grid lists each model, data set and method once; overrides set what a cell has
    otherwise.
    """
    base = {run.cell.condition: run for run in runs if run.base}
    cells = [run.cell for run in base.values()]
    models = {cell.model.label: _listed_model(cell.model) for cell in cells}
    datasets = {cell.dataset.name: _listed_dataset(cell.dataset, cells) for cell in cells}
    methods = {cell.method.label: cell.method for cell in cells}
    regimes = tuple(dict.fromkeys(cell.regime for cell in cells))
    seeds = tuple(dict.fromkeys(cell.seed for cell in cells))
    present = {(*axes_of(cell).values(), cell.seed) for cell in cells}
    keys = ("model", "dataset", "method", "regime", "seed")
    variants = [
        {"name": run.variant, "when": axes_of(run.cell), "set": run.settings} for run in runs if not run.base
    ]
    return StudySpec.parse(
        {
            "name": f"{study.name}-rates",
            "title": f"Learning rates of {study.title or study.name}",
            "description": "Short runs of `dissensus rates`; each is a whole run over a share of the epochs.",
            "models": [one.model_dump(mode="json") for one in models.values()],
            "datasets": [one.model_dump(mode="json") for one in datasets.values()],
            "methods": [one.model_dump(mode="json") for one in methods.values()],
            "regimes": regimes,
            "seeds": seeds,
            "analysis": {**study.analysis.model_dump(mode="json"), "extensions": ()},
            "overrides": [{"when": axes_of(run.cell), "set": _whole(run)} for run in base.values()],
            "exclude": [
                dict(zip(keys, place, strict=True))
                for place in product(models, datasets, methods, regimes, seeds)
                if place not in present
            ],
            "variants": variants,
            "execution": [rule.model_dump(mode="json") for rule in _rules(study, cells)],
        },
        f"the search of {study.name}",
    )


def axes_of(cell: RunSpec) -> dict[str, str]:
    """Keys of a `When` that picks a cell's condition."""
    return {
        "model": cell.model.label,
        "dataset": cell.dataset.name,
        "method": cell.method.label,
        "regime": cell.regime,
    }


def with_rates(study: StudySpec, chosen: Mapping[str, float]) -> StudySpec:
    """The study with these rates, condition -> rate.

    A method's own `learning_rate` is set where all conditions of the study that it makes have one chosen rate;
    otherwise, and where an override says another one, overrides are added for the conditions one by one.
    """
    own = [cell for cell in expand(study) if cell.variant is None]
    methods = []
    for method in study.methods:
        rates = {chosen.get(cell.condition) for cell in own if cell.method.label == method.label}
        rate = rates.pop() if len(rates) == 1 else None
        methods.append(method if rate is None else method.model_copy(update={"learning_rate": rate}))
    data = {**study.model_dump(mode="json"), "methods": [one.model_dump(mode="json") for one in methods]}
    wanted = {cell.condition: cell.method.learning_rate for cell in own} | dict(chosen)
    # Twice: an override for `full` changes `full-slow` too, which then needs one of its own.
    for _ in range(2):
        changed = StudySpec.parse(data, f"the study {study.name}")
        wrong = {
            cell.condition: cell
            for cell in expand(changed)
            if cell.variant is None and wanted[cell.condition] != cell.method.learning_rate
        }
        if not wrong:
            break
        data["overrides"] = data["overrides"] + [
            {"when": axes_of(cell), "set": {"method": {"learning_rate": wanted[name]}}}
            for name, cell in wrong.items()
        ]
    return StudySpec.parse(data, f"the study {study.name}")


def _whole(run: ShortRun) -> dict[str, Any]:
    """Every setting of a short run that an override may say: what the grid lists of it counts for nothing."""
    cell = run.spec.model_dump(mode="json")
    return {
        key: {name: value for name, value in cell[key].items() if name != _AXES.get(key)}
        for key in ("dataset", "model", "method", "training", "tracking")
    }


def _listed_model(model: ModelSpec) -> ModelSpec:
    """As the grid lists it: valid with every method."""
    return model.model_copy(update={"dtype": "fp32", "quantization": None})


def _listed_dataset(dataset: DatasetSpec, cells: Iterable[RunSpec]) -> DatasetSpec:
    """As the grid lists it: valid in every regime."""
    pool = next((c.dataset for c in cells if c.dataset.name == dataset.name and c.dataset.train), dataset)
    return pool.model_copy(update={"train_groups": None, "keep_shared_texts": False})


def _rules(study: StudySpec, cells: Sequence[RunSpec]) -> list[ExecutionRule]:
    """The execution rules that pick some of these cells."""
    kept = []
    for rule in study.execution:
        try:
            matching(rule.when, cells, "execution")
        except SpecError:
            continue
        kept.append(rule)
    return kept
