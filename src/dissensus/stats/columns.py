"""Vectors that belong together: one value per example, in one order, checked at the edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.errors import DataError
from dissensus.stats.bootstrap import FloatArray


def numeric_columns(named: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    """The columns as float64 vectors of one length.

    Raises:
        DataError: a column holds no numbers, is not one-dimensional, or has another length; the message
        names it.
    """
    columns: dict[str, FloatArray] = {}
    for name, values in named.items():
        try:
            column = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(
                f"{name} holds something that is not a number; expected one number per example"
            ) from None
        if column.ndim != 1:
            raise DataError(f"{name} has shape {column.shape}; expected one number per example, shape (n,)")
        columns[name] = column
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise DataError(f"columns have different lengths ({shown}); expected one value per example in each")
    return columns


def complete_rows(columns: Iterable[FloatArray]) -> NDArray[np.bool_]:
    """Rows without a NaN in any column, shape (n,)."""
    return np.asarray(np.logical_and.reduce([~np.isnan(column) for column in columns]), dtype=np.bool_)
