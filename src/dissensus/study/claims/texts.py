"""Words and numbers of the claims' sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dissensus.study.evidence import Cell

COVARIATES = {
    "token_count": "token count",
    "lexical_overlap": "lexical overlap",
    "gold": "gold class",
    "initial_loss": "initial loss",
}
"""Covariates as sentences call them."""


def names_of(cells: Sequence[Cell]) -> tuple[str, ...]:
    """Ids of cells, each once."""
    return tuple(dict.fromkeys(cell.name for cell in cells))


def number(value: float, decimals: int = 2) -> str:
    """A number with a true minus sign; 'undefined' for NaN."""
    if not np.isfinite(value):
        return "undefined"
    text = f"{value:.{decimals}f}"
    return (text.removeprefix("-") if float(text) == 0 else text).replace("-", "−")


def spread(values: Iterable[float]) -> str:
    """'0.06 to 0.43'; one value as it is."""
    known = [v for v in values if np.isfinite(v)]
    if not known:
        return "undefined"
    low, high = number(min(known)), number(max(known))
    return low if low == high else f"{low} to {high}"


def counted(n: int, noun: str) -> str:
    """'1 condition', '25 conditions'."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
