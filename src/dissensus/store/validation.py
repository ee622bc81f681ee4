"""Scores of a cell's validation set: `validation.parquet`, examples held back, scored at the end of each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dissensus.display import ShortRepr
from dissensus.errors import StoreError
from dissensus.files import write_atomic
from dissensus.wording import first_line

VALIDATION = "validation.parquet"
"""Name of the file in a cell's folder."""


@dataclass(frozen=True, repr=False)
class ValidationScores(ShortRepr):
    """What a model said of examples that were held back.

    Attributes:
        ids: of the n examples.
        gold: label indices, shape (n,); -1 where there is none.
        steps: optimiser steps taken when they were scored, rising, T of them.
        log_probs: log-probabilities over the K labels, nats, shape (n, T, K).
    """

    ids: tuple[str, ...]
    gold: NDArray[np.int64]
    steps: tuple[int, ...]
    log_probs: NDArray[np.float32]

    def points(self) -> dict[int, NDArray[np.float32]]:
        """Step -> log-probabilities, shape (n, K)."""
        return {step: self.log_probs[:, place] for place, step in enumerate(self.steps)}

    def accuracy(self) -> NDArray[np.float64]:
        """Share of examples whose most probable label is gold, at each step, shape (T,)."""
        known = self.gold >= 0
        right = self.log_probs[known].argmax(axis=2) == self.gold[known, None]
        return np.asarray(right.mean(axis=0), dtype=np.float64)

    def loss(self, class_weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Mean loss on gold at each step, nats, shape (T,); `class_weights`, shape (K,), weigh examples by label."""
        known = np.flatnonzero(self.gold >= 0)
        gold = self.gold[known]
        losses = -np.take_along_axis(self.log_probs[known], gold[:, None, None], axis=2)[:, :, 0]
        weights = np.ones(len(gold)) if class_weights is None else class_weights[gold]
        return np.asarray(np.average(losses.astype(np.float64), axis=0, weights=weights), dtype=np.float64)


def save_validation(path: Path, scores: ValidationScores) -> None:
    """Write scores whole or not at all: one row per step and example (step, id, gold, log_prob_0, ...)."""
    n, steps, labels = scores.log_probs.shape
    columns = {
        "step": pa.array(np.repeat(np.array(scores.steps, dtype=np.int64), n)),
        "id": pa.array(list(scores.ids) * steps, type=pa.string()),
        "gold": pa.array(np.tile(scores.gold, steps)),
        **{f"log_prob_{k}": pa.array(scores.log_probs[:, :, k].T.reshape(-1)) for k in range(labels)},
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())


def load_validation(path: Path) -> ValidationScores:
    """Read what `save_validation` wrote.

    Raises:
        StoreError: the file cannot be read, or its rows are not every step's examples.
    """
    try:
        table = pq.read_table(path)
        steps = table["step"].to_numpy()
        ids = table["id"].to_pylist()
        gold = table["gold"].to_numpy()
        labels = sum(name.startswith("log_prob_") for name in table.column_names)
        values = np.stack([table[f"log_prob_{k}"].to_numpy() for k in range(labels)], axis=1)
    except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
        raise StoreError(f"cannot read the validation scores {path}: {first_line(error)}") from None
    points = sorted(set(steps.tolist()))
    n = len(ids) // max(len(points), 1)
    if n == 0 or ids != ids[:n] * len(points) or not np.array_equal(steps, np.repeat(points, n)):
        raise StoreError(f"{path} does not hold the same examples at each step; it is damaged")
    log_probs = values.reshape(len(points), n, labels).transpose(1, 0, 2)
    return ValidationScores(
        tuple(ids[:n]), gold[:n].astype(np.int64), tuple(points), log_probs.astype(np.float32)
    )
