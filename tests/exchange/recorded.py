"""Files of other tools. cartography is on no package index: its files are spelled out, as its logger writes them.

An epoch's file is JSON Lines, written by pandas: one object a line with the keys guid, logits_epoch_N and gold in that
order, no space after a comma or a colon, ten decimals at most, null for a number that is not finite; examples in the
order in which that epoch's batches had them.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

# The epochs of three examples over three labels. Example 20 is missing in the second epoch.
EPOCHS: tuple[tuple[tuple[int, list[float | None], int], ...], ...] = (
    ((10, [0.0, 0.0, 0.0], 0), (20, [2.0, 0.0, 0.0], 1), (30, [1.0, 1.0, 0.0], 2)),
    ((30, [0.0, 0.0, 3.0], 2), (10, [1.0, 0.0, -1.0], 0)),
    ((20, [0.5, 1.5, -0.5], 1), (10, [0.0, 2.0, 0.0], 0), (30, [None, 0.0, 3.0], 2)),
)


def write_epochs(
    folder: Path, epochs: Sequence[Sequence[tuple[object, object, object]]] = EPOCHS, *, first: int = 0
) -> Path:
    """A run's folder, with `training_dynamics` in it."""
    place = folder / "training_dynamics"
    place.mkdir(parents=True, exist_ok=True)
    for number, lines in enumerate(epochs, first):
        rows = [
            {"guid": guid, f"logits_epoch_{number}": logits, "gold": gold} for guid, logits, gold in lines
        ]
        text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
        (place / f"dynamics_epoch_{number}.jsonl").write_text(text)
    return folder


def write_aum(
    folder: Path, updates: Sequence[Mapping[str, tuple[Sequence[float], int]]], *, compressed: bool = False
) -> Path:
    """What `aum` itself writes for these updates: sample id -> (logits, assigned label)."""
    aum = pytest.importorskip("aum")
    import torch

    calculator = aum.AUMCalculator(os.fspath(folder), compressed=compressed)
    for update in updates:
        logits = torch.tensor([row for row, _ in update.values()])
        calculator.update(logits, torch.tensor([label for _, label in update.values()]), list(update))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # how it calls pandas is its own to settle
        calculator.finalize()
    return folder


def log_softmax(logits: Sequence[float]) -> np.ndarray:
    """By the definition."""
    values = np.asarray(logits, dtype=np.float64)
    return np.asarray(values - np.log(np.exp(values).sum()))
