"""Gradients of a cell: `gradients.parquet`, mean gradients of groups; `gradient_norms.parquet`, norms per example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dissensus.display import ShortRepr
from dissensus.errors import StoreError
from dissensus.files import write_atomic
from dissensus.wording import first_line

GRADIENTS = "gradients.parquet"
GRADIENT_NORMS = "gradient_norms.parquet"
"""Names of the files in a cell's folder."""


@dataclass(frozen=True, repr=False)
class GroupGradients(ShortRepr):
    """Mean gradients of G groups at T points, as their inner products.

    Attributes:
        groups: entropy classes, length G.
        sizes: examples of each, length G.
        steps: optimiser steps taken, rising, length T.
        products: inner products of the groups' mean gradients, squared nats per weight, shape (T, G, G).
    """

    groups: tuple[str, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    products: NDArray[np.float64]

    def points(self) -> dict[int, NDArray[np.float64]]:
        """Step -> inner products, shape (G, G)."""
        return {step: self.products[place] for place, step in enumerate(self.steps)}

    def norms(self) -> NDArray[np.float64]:
        """Euclidean norm of each group's mean gradient, shape (T, G)."""
        return np.asarray(np.sqrt(np.diagonal(self.products, axis1=1, axis2=2)), dtype=np.float64)

    def cosine(self, first: str, second: str) -> NDArray[np.float64]:
        """Cosine of the angle between two groups' mean gradients, in [-1, 1], shape (T,); NaN where one is 0.

        Raises:
            StoreError: one of the groups was not measured.
        """
        for group in (first, second):
            if group not in self.groups:
                raise StoreError(
                    f"the gradients of {group!r} examples were not measured; the groups are: "
                    f"{', '.join(self.groups)}"
                )
        a, b = self.groups.index(first), self.groups.index(second)
        norms = self.norms()
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = self.products[:, a, b] / (norms[:, a] * norms[:, b])
        return np.asarray(np.clip(cosine, -1.0, 1.0), dtype=np.float64)


@dataclass(frozen=True, repr=False)
class ExampleGradientNorms(ShortRepr):
    """Norms of single examples' gradients.

    Attributes:
        ids: of the n tracked examples.
        groups: the entropy class of each, shape (n,); '' without annotations.
        steps: optimiser steps taken, rising, length T.
        norms: Euclidean norm over all trainable weights, shape (T, n).
    """

    ids: tuple[str, ...]
    groups: NDArray[np.str_]
    steps: tuple[int, ...]
    norms: NDArray[np.float64]

    def points(self) -> dict[int, NDArray[np.float64]]:
        """Step -> norms, shape (n,)."""
        return {step: self.norms[place] for place, step in enumerate(self.steps)}


def save_group_gradients(path: Path, gradients: GroupGradients) -> None:
    """Write whole or not at all: a row per step and ordered pair of groups (step, group, n, other, product)."""
    count, steps = len(gradients.groups), len(gradients.steps)
    columns = {
        "step": pa.array(np.repeat(np.array(gradients.steps, dtype=np.int64), count * count)),
        "group": pa.array(list(np.repeat(gradients.groups, count)) * steps, type=pa.string()),
        "n": pa.array(np.tile(np.repeat(np.array(gradients.sizes, dtype=np.int64), count), steps)),
        "other": pa.array(list(gradients.groups) * count * steps, type=pa.string()),
        "product": pa.array(gradients.products.reshape(-1)),
    }
    _write(path, columns)


def load_group_gradients(path: Path) -> GroupGradients:
    """Read what `save_group_gradients` wrote.

    Raises:
        StoreError: the file cannot be read, or its rows are not every step's pairs of groups.
    """
    table = _read(path, ("step", "group", "n", "other", "product"))
    others, every = table["other"].to_pylist(), table["group"].to_pylist()
    groups = tuple(dict.fromkeys(every))
    count = len(groups)
    steps = table["step"].to_numpy()
    points = sorted(set(steps.tolist()))
    whole = (
        count > 0
        and len(table) == len(points) * count * count
        and every == list(np.repeat(groups, count)) * len(points)
        and others == list(groups) * count * len(points)
        and np.array_equal(steps, np.repeat(points, count * count))
    )
    if not whole:
        raise StoreError(f"{path} does not hold each pair of groups at each step; it is damaged")
    sizes = tuple(int(n) for n in table["n"].to_numpy()[: count * count : count])
    products = table["product"].to_numpy().reshape(len(points), count, count).astype(np.float64)
    return GroupGradients(groups, sizes, tuple(points), products)


def save_gradient_norms(path: Path, norms: ExampleGradientNorms) -> None:
    """Write whole or not at all: a row per step and example (step, id, group, norm)."""
    steps, n = norms.norms.shape
    columns = {
        "step": pa.array(np.repeat(np.array(norms.steps, dtype=np.int64), n)),
        "id": pa.array(list(norms.ids) * steps, type=pa.string()),
        "group": pa.array(norms.groups.tolist() * steps, type=pa.string()),
        "norm": pa.array(norms.norms.reshape(-1)),
    }
    _write(path, columns)


def load_gradient_norms(path: Path) -> ExampleGradientNorms:
    """Read what `save_gradient_norms` wrote.

    Raises:
        StoreError: the file cannot be read, or its rows are not every step's examples.
    """
    table = _read(path, ("step", "id", "group", "norm"))
    steps, ids = table["step"].to_numpy(), table["id"].to_pylist()
    points = sorted(set(steps.tolist()))
    n = len(ids) // max(len(points), 1)
    if n == 0 or ids != ids[:n] * len(points) or not np.array_equal(steps, np.repeat(points, n)):
        raise StoreError(f"{path} does not hold the same examples at each step; it is damaged")
    norms = table["norm"].to_numpy().reshape(len(points), n).astype(np.float64)
    return ExampleGradientNorms(
        tuple(ids[:n]), np.array(table["group"].to_pylist()[:n]), tuple(points), norms
    )


def _write(path: Path, columns: Mapping[str, Any]) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(dict(columns)), sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())


def _read(path: Path, columns: tuple[str, ...]) -> Any:
    try:
        return pq.read_table(path, columns=list(columns)).select(list(columns))
    except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
        raise StoreError(f"cannot read the gradients {path}: {first_line(error)}") from None
