"""Grid of a study: its cells, models x datasets x methods x regimes x seeds, with overrides and exclusions.

Imports no torch: listing the cells of a study is instant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dissensus.config import (
    NO_VARIANT,
    DatasetSpec,
    MethodSpec,
    ModelSpec,
    Regime,
    RunSpec,
    StudySpec,
    When,
    nearest,
)
from dissensus.errors import SpecError

_AXIS_KEYS = {"regime": None, "seed": None, "dataset": "name", "model": "name", "method": "name"}
"""What places a cell on the grid's axes, and so cannot be overridden: key of a cell -> key inside it."""


def expand(study: StudySpec) -> tuple[RunSpec, ...]:
    """The cells of a study, all of them for the first seed before any of the next, variants last within a seed.

    `overrides` are merged deeply, later ones over earlier ones; `exclude` takes cells out; `variants` add cells.
    All pick cells by the grid's axes as the study lists them, before any override.

    Raises:
        SpecError: a cell is not valid (a held-out one without a training source, say, or a setting of an
            override), an override, an exclusion or a variant matches no cell, or two cells are the same run.
    """
    return tuple(planned.cell for planned in planned_cells(study))


@dataclass(frozen=True)
class Planned:
    """A cell of a study.

    Attributes:
        cell: what is run.
        base: of a variant, the cell that it is a variant of; None for the study's own cells.
    """

    cell: RunSpec
    base: RunSpec | None = None


def planned_cells(study: StudySpec, *, stored: bool = False) -> tuple[Planned, ...]:
    """The cells of a study with what each variant is a variant of; see `expand`.

    Args:
        study: what to expand.
        stored: it is only looked at, so no package's source is loaded; see `Spec.parse`.
    """
    places = tuple(_places(study))
    remaining = list(places)
    for index, when in enumerate(study.exclude):
        hit = _matched(when, places, f"study {study.name!r}: exclude.{index}")
        remaining = [place for place in remaining if place not in hit]
    if not remaining:
        raise SpecError(f"study {study.name!r} has no cell left: 'exclude' takes out all {len(places)}")
    changes = [
        _Change.of(override.when, override.set, remaining, study, f"overrides.{index}", stored)
        for index, override in enumerate(study.overrides)
    ]
    base_cells: list[tuple[_Place, RunSpec]] = []
    for place in remaining:
        where = f"study {study.name!r}: the cell {place.words}"
        cell = RunSpec.parse(place.settings(study), where, stored=stored)
        for change in changes:
            if place in change.places:
                cell = change.applied(cell, place)
        base_cells.append((place, cell))
    planned = [Planned(cell) for _, cell in base_cells]
    for index, variant in enumerate(study.variants):
        settings = {**variant.set, "variant": variant.name}
        change = _Change.of(variant.when, settings, remaining, study, f"variants.{index}", stored)
        planned += [
            Planned(change.applied(cell, place), cell) for place, cell in base_cells if place in change.places
        ]
    seeds = list(dict.fromkeys(study.seeds))
    planned.sort(key=lambda p: (seeds.index(p.cell.seed), p.base is not None))
    _refuse_repeats(study, [p.cell for p in planned])
    return tuple(planned)


@dataclass(frozen=True)
class _Change:
    """Settings that are merged into some cells.

    Attributes:
        settings: keys of a cell.
        places: where on the grid.
        study: name of the study.
        where: the entry of the study's file, for messages.
        stored: see `planned_cells`.
    """

    settings: Mapping[str, Any]
    places: frozenset[_Place]
    study: str
    where: str
    stored: bool

    @classmethod
    def of(
        cls,
        when: When,
        settings: Mapping[str, Any],
        remaining: Sequence[_Place],
        study: StudySpec,
        where: str,
        stored: bool,
    ) -> _Change:
        """Find the places, and refuse settings that would move a cell along an axis."""
        hit = _matched(when, remaining, f"study {study.name!r}: {where}.when")
        _refuse_axes(settings, f"study {study.name!r}: {where}.set")
        return cls(settings, hit, study.name, where, stored)

    def applied(self, cell: RunSpec, place: _Place) -> RunSpec:
        """The cell with the settings merged in."""
        kind, _, number = self.where.partition(".")
        return RunSpec.parse(
            merge(cell.model_dump(mode="json"), self.settings),
            f"study {self.study!r}, in the cell {place.words}: {kind.removesuffix('s')} {number}",
            prefix=f"{self.where}.set",
            stored=self.stored,
        )


def parse_only(items: Sequence[str]) -> When:
    """The filter of `--only KEY=VALUE[,VALUE]`, given any number of times; the same key adds values.

    Raises `SpecError` for anything that is not KEY=VALUE with a known key and values of its kind.
    """
    values_by_key: dict[str, list[str]] = {}
    for item in items:
        key, equals, values = item.partition("=")
        key, chosen = key.strip(), [value.strip() for value in values.split(",") if value.strip()]
        if not equals or not chosen:
            raise SpecError(
                f"--only {item!r} is not KEY=VALUE or KEY=VALUE,VALUE; keys: {', '.join(When.model_fields)}"
            )
        if key not in When.model_fields:
            raise SpecError(f"--only {item!r}: unknown key {key!r}; {nearest(key, When.model_fields)}")
        values_by_key.setdefault(key, []).extend(chosen)
    return When.parse({key: tuple(values) for key, values in values_by_key.items()}, "--only")


def select(cells: Sequence[RunSpec], only: When) -> tuple[RunSpec, ...]:
    """The cells that match the filter of `--only`; see `matching`."""
    return matching(only, cells, "--only")


def matching(when: When, cells: Sequence[RunSpec], where: str) -> tuple[RunSpec, ...]:
    """The cells that match, as they are after overrides; `SpecError`, opened by `where`, if none does."""
    places = [_Place(c.model, c.dataset, c.method, c.regime, c.seed, c.variant or NO_VARIANT) for c in cells]
    hit = _matched(when, places, where)
    return tuple(cell for cell, place in zip(cells, places, strict=True) if place in hit)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` merged deeply: mappings key by key, anything else replaced.

    A mapping that names another `source` replaces the old one whole: the keys of one kind of source mean
    nothing to another.
    """
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            replaces = "source" in value and value["source"] != old.get("source")
            merged[key] = dict(value) if replaces else merge(old, value)
        else:
            merged[key] = value
    return merged


@dataclass(frozen=True)
class _Place:
    """A point of the grid: one value of each axis, as the study lists it."""

    model: ModelSpec
    dataset: DatasetSpec
    method: MethodSpec
    regime: Regime
    seed: int
    variant: str = NO_VARIANT

    @property
    def words(self) -> str:
        """The place in words, for messages."""
        head = "" if self.model.head == "classifier" else f" ({self.model.head})"
        return f"{self.model.name}{head} x {self.dataset.name} x {self.method.label} x {self.regime} x seed {self.seed}"

    def values(self, key: str) -> tuple[str | int, ...]:
        """What a `When` key may say to match this place."""
        values: dict[str, tuple[str | int, ...]] = {
            "model": (self.model.name, self.model.label),
            "head": (self.model.head,),
            "dataset": (self.dataset.name,),
            "method": (self.method.name, self.method.label),
            "regime": (self.regime,),
            "seed": (self.seed,),
            "variant": (self.variant,),
        }
        return values[key]

    def settings(self, study: StudySpec) -> dict[str, Any]:
        """The cell before overrides, as plain data."""
        return {
            "dataset": self.dataset.model_dump(mode="json"),
            "model": self.model.model_dump(mode="json"),
            "method": self.method.model_dump(mode="json"),
            "regime": self.regime,
            "seed": self.seed,
            "training": study.training.model_dump(mode="json"),
            "tracking": study.tracking.model_dump(mode="json"),
        }


def _places(study: StudySpec) -> Iterator[_Place]:
    for seed in study.seeds:
        for model in study.models:
            for dataset in study.datasets:
                for method in study.methods:
                    for regime in study.regimes:
                        yield _Place(model, dataset, method, regime, seed)


def _values_by_key(when: When) -> dict[str, tuple[str | int, ...]]:
    """The keys that a `When` gives, each with its values as a tuple."""
    values: dict[str, Any] = {key: getattr(when, key) for key in When.model_fields}
    return {k: v if isinstance(v, tuple) else (v,) for k, v in values.items() if v is not None}


def _matched(when: When, places: Sequence[_Place], where: str) -> frozenset[_Place]:
    """Places that match every key; a value, or a whole, that matches none is most likely a typo."""
    wanted_by_key = _values_by_key(when)
    for key, wanted in wanted_by_key.items():
        present = {value for place in places for value in place.values(key)}
        for value in wanted:
            if value not in present:
                if isinstance(value, str):
                    hint = nearest(value, {str(v) for v in present})
                else:
                    hint = f"known: {_listed(sorted(present, key=str))}"
                raise SpecError(f"{where}: no cell has {key} {value!r}; {hint}")
    hit = frozenset(
        place
        for place in places
        if all(any(value in wanted for value in place.values(key)) for key, wanted in wanted_by_key.items())
    )
    if not hit:
        words = ", ".join(f"{k}={_listed(v)}" for k, v in wanted_by_key.items())
        raise SpecError(f"{where}: no cell matches {words} together; remove or correct it")
    return hit


def _listed(values: Iterable[str | int]) -> str:
    return ",".join(str(v) for v in values)


def _refuse_axes(settings: Mapping[str, Any], where: str) -> None:
    for key, inner in _AXIS_KEYS.items():
        value = settings.get(key)
        if key in settings and inner is None:
            raise SpecError(
                f"{where}.{key}: an override cannot move a cell along an axis; list it under '{key}s'"
            )
        if isinstance(value, Mapping) and inner in value:
            raise SpecError(
                f"{where}.{key}.{inner}: an override changes a cell's settings, not what it is; "
                f"list another {key} under '{key}s' instead"
            )


def _refuse_repeats(study: StudySpec, cells: Sequence[RunSpec]) -> None:
    by_digest: dict[str, list[RunSpec]] = defaultdict(list)
    for cell in cells:
        by_digest[cell.digest()].append(cell)
    repeated = [same[0].cell_id + f" ({len(same)} times)" for same in by_digest.values() if len(same) > 1]
    if repeated:
        raise SpecError(
            f"study {study.name!r} lists the same run more than once: {', '.join(repeated)}; "
            "a model, dataset, method, regime or seed is repeated"
        )
    by_name: dict[tuple[str, int], int] = defaultdict(int)
    for cell in cells:
        by_name[cell.condition, cell.seed] += 1
    for (condition, seed), times in by_name.items():
        if times > 1:  # tables would take them for seeds of one condition
            raise SpecError(
                f"study {study.name!r} has {times} cells named {condition} with seed {seed} that differ in other "
                "settings alone; give those models or methods a 'tag' each, e.g. tag: lr1e4"
            )
