"""Curves as an xarray Dataset with the dimensions example, step and label, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from dissensus.curves import Curves
from dissensus.data.annotations import NO_GOLD
from dissensus.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    import xarray

_OWN = ("log_prob", "gold", "count", "regime", "text")
_COORDINATES = ("example", "step", "label", "progress")


def to_xarray(curves: Curves) -> xarray.Dataset:
    """Curves as a labelled array.

    Coordinates: example (ids), step (optimiser steps), label (names), progress (step / total steps, along step).
    Variables: log_prob (example, step, label; nats, float32), gold (example; a label's name, '' for none), count
    (example, label), regime (example), text (example; a JSON object of the fields; only if there is any), each
    covariate (example) and each further value (example, step) under its own name. Attributes: total_steps,
    and provenance as JSON, so that the whole can go to netCDF or Zarr.

    Args:
        curves: n examples at T tracking points over K labels.

    Raises:
        MissingDependencyError: xarray is not installed.
        DataError: a covariate or a value has the name of another variable.
    """
    try:
        import xarray
    except ImportError:
        raise MissingDependencyError("xarray", "exchange", "an xarray Dataset") from None
    names = [*_OWN, *_COORDINATES, *curves.covariates, *curves.values]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"two variables would be named {twice[0]!r}; rename the covariate or the value")
    variables: dict[str, Any] = {
        "log_prob": (("example", "step", "label"), curves.log_probs, {"units": "nats"}),
        "gold": ("example", _names(["" if g == NO_GOLD else curves.labels[g] for g in curves.gold])),
        "count": (("example", "label"), curves.counts),
        "regime": ("example", _names(curves.regime.tolist())),
        **{name: ("example", column, {"role": "covariate"}) for name, column in curves.covariates.items()},
        **{name: (("example", "step"), column, {"role": "value"}) for name, column in curves.values.items()},
    }
    if curves.text:
        texts = [json.dumps(dict(text), ensure_ascii=False) for text in curves.text]
        variables["text"] = ("example", _names(texts))
    return xarray.Dataset(
        variables,
        coords={
            "example": _names(curves.ids),
            "step": curves.steps,
            "label": _names(curves.labels),
            "progress": ("step", curves.progress),
        },
        attrs={
            "total_steps": curves.total_steps,
            "provenance": json.dumps(dict(curves.provenance), sort_keys=True),
        },
    )


def from_xarray(dataset: xarray.Dataset) -> Curves:
    """Curves from a Dataset as `to_xarray` makes it; a selection of its examples or steps is one as well.

    Raises:
        DataError: a variable, a coordinate or an attribute is missing, or a gold label is none of the labels.
        StoreError: the arrays do not fit each other.
    """
    missing = [name for name in (*_OWN[:-1], *_COORDINATES[:-1]) if name not in dataset.variables]
    missing += [name for name in ("total_steps", "provenance") if name not in dataset.attrs]
    if missing:
        raise DataError(f"the Dataset has no {missing[0]!r}; expected one as `to_xarray` makes it")
    labels = tuple(map(str, dataset["label"].values.tolist()))
    index = {"": NO_GOLD} | {label: k for k, label in enumerate(labels)}
    gold = [str(name) for name in dataset["gold"].values.tolist()]
    unknown = sorted(set(gold) - index.keys())
    if unknown:
        raise DataError(
            f"the gold label {unknown[0]!r} is none of the labels, {', '.join(labels)}; expected all of them"
        )
    log_prob = dataset["log_prob"].transpose("example", "step", "label")
    texts = dataset["text"].values.tolist() if "text" in dataset.variables else []
    return Curves(
        ids=tuple(map(str, dataset["example"].values.tolist())),
        labels=labels,
        steps=np.asarray(dataset["step"].values, dtype=np.int64),
        total_steps=int(dataset.attrs["total_steps"]),
        log_probs=np.asarray(log_prob.values, dtype=np.float32),
        gold=np.array([index[name] for name in gold], dtype=np.int64),
        counts=np.asarray(dataset["count"].transpose("example", "label").values, dtype=np.float64),
        regime=np.array(dataset["regime"].values.tolist(), dtype=np.str_),
        covariates={
            str(name): np.asarray(column.values, dtype=np.float64)
            for name, column in dataset.data_vars.items()
            if column.attrs.get("role") == "covariate"
        },
        text=tuple(json.loads(text) for text in texts),
        provenance=json.loads(dataset.attrs["provenance"]),
        values={
            str(name): np.asarray(column.transpose("example", "step").values, dtype=np.float32)
            for name, column in dataset.data_vars.items()
            if column.attrs.get("role") == "value"
        },
    )


def _names(values: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """Texts as an array of objects: of fixed width, each would take the longest one's room."""
    out = np.empty(len(values), dtype=object)
    out[:] = list(values)
    return out
