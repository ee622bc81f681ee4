"""Variants: each beside the cell that it is a variant of, both read on the same examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.clusters import NO_CLUSTERS
from dissensus.analysis.reading import CellReading
from dissensus.analysis.sensitivity.readings import Choice, Reading, read
from dissensus.config import RunSpec

_WORDS = {
    "method.learning_rate": "learning rate",
    "model.dropout": "dropout",
    "model.head": "head",
    "dataset.tracked.gold": "training gold",
    "tracking.points": "tracking points",
}
"""What a variant may set -> what tables call it. Of several, the first is named: a head brings its prompt along."""


@dataclass(frozen=True)
class SettingChange:
    """One setting of a variant that its base cell has otherwise.

    Attributes:
        path: keys with dots, such as 'method.learning_rate'.
        value: of the variant; 'default' where it is left to the model.
        reference: of the base cell.
    """

    path: str
    value: str
    reference: str


def setting_changes(variant: RunSpec, base: RunSpec) -> tuple[SettingChange, ...]:
    """What sets a variant apart from its base cell, by path; its name is not among it."""
    ours, theirs = (_flat(spec.model_dump(mode="json", exclude={"variant"})) for spec in (base, variant))
    return tuple(
        SettingChange(path, _shown(theirs.get(path)), _shown(ours.get(path)))
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path)
    )


def tracked_otherwise(variant: RunSpec, base: RunSpec) -> bool:
    """Whether the variant is the same training, measured at other steps."""
    return all(change.path.startswith("tracking.") for change in setting_changes(variant, base))


def same_examples(
    variant: CellReading, base: CellReading
) -> tuple[CellReading, CellReading, NDArray[np.str_]]:
    """The examples that both cells track, joined by id, in the base cell's order.

    Returns:
        The variant and the base with these examples alone, and the base's clusters of them.
    """
    if variant.curves.ids == base.curves.ids:
        return variant, base, base.cluster_names
    at = {example: row for row, example in enumerate(variant.curves.ids)}
    common = [(row, at[example]) for row, example in enumerate(base.curves.ids) if example in at]
    ours, theirs = np.array(common, dtype=np.intp).reshape(-1, 2).T
    return _rows(variant, theirs), _rows(base, ours), base.cluster_names[ours]


def variant_choices(
    variant: CellReading, base: CellReading
) -> tuple[Reading, tuple[Choice, ...], NDArray[np.str_]]:
    """The base cell's reading, the variant as a choice beside it, and the clusters of the examples of both.

    Each is read on its own gold label. Where the two differ, in training and in reading at once, there is a second
    choice that reads the variant's loss on the base's label: what training alone has changed.
    """
    theirs, ours, clusters = same_examples(variant, base)
    changes = setting_changes(variant.spec, base.spec)
    named = next((c for path in _WORDS for c in changes if c.path == path), None)
    if named is not None:
        name, value, reference = _WORDS[named.path], named.value, named.reference
    else:
        name = variant.spec.variant or ""
        value = ", ".join(f"{c.path} {c.value}" for c in changes)
        reference = ", ".join(f"{c.path} {c.reference}" for c in changes)
    choices = [Choice(name, value, reference, read(theirs))]
    if not np.array_equal(theirs.gold, ours.gold):
        as_stored = theirs.settings.model_copy(update={"gold": "as_stored"})
        stored = replace(theirs, settings=as_stored, stored=theirs.curves.on(ours.gold))
        same_label = read(stored)
        choices.append(Choice(f"{name}, loss on the base's label", value, reference, same_label))
    return read(ours), tuple(choices), clusters


def _rows(cell: CellReading, index: NDArray[np.intp]) -> CellReading:
    """The cell with the examples at `index`, in that order, without their text."""
    curves = cell.curves
    return CellReading(
        cell.spec,
        replace(
            curves,
            ids=tuple(curves.ids[i] for i in index),
            log_probs=curves.log_probs[index],
            gold=curves.gold[index],
            counts=curves.counts[index],
            regime=curves.regime[index],
            covariates={name: values[index] for name, values in curves.covariates.items()},
            text=(),
            values={},
        ),
        cell.settings.model_copy(update={"clusters": NO_CLUSTERS}),
        cell.base,
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(value: Any) -> str:
    if value is None:
        return "default"
    return f"{value:g}" if isinstance(value, float) else str(value)
