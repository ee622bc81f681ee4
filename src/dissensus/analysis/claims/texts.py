"""Sentences of the claims: their words and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dissensus.analysis.reading import CellReading
from dissensus.wording import number

OTHERS = {"full": "full fine-tuning", "ia3": "IA3"}
"""Methods that LoRA is compared with, as sentences call them."""


def names_of(cells: Sequence[CellReading]) -> tuple[str, ...]:
    """Ids of cells, each once."""
    return tuple(dict.fromkeys(cell.name for cell in cells))


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
