"""Training data of a cell: assembled examples, labels with their noise, annotators' shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus.config import RunSpec
from dissensus.data.assembly import CellData, assemble
from dissensus.data.noise import inject_noise, save_noise
from dissensus.errors import DataError
from dissensus.seeds import stream_seed


def assembled_data(spec: RunSpec, data_dir: Path | None) -> CellData:
    """The tracked and the training examples of a cell, drawn by its seed; raises as `assemble` does."""
    return assemble(
        spec.dataset, spec.regime, sample_seed=stream_seed(spec.seed, "sample"), data_dir=data_dir
    )


def annotators_shares(data: CellData) -> NDArray[np.float64]:
    """Annotators' label shares of the tracked examples that are trained on, shape (n, K), NaN in the others' rows.

    Raises:
        DataError: such an example has no annotations.
    """
    counts = data.train.counts
    total = counts.sum(axis=1, keepdims=True)
    learned = np.isin(np.array(data.train.ids, dtype=object), np.array(data.tracked.ids, dtype=object))
    with np.errstate(invalid="ignore"):
        shares = np.asarray(counts / total, dtype=np.float64)
    bare = int((learned & (total[:, 0] == 0)).sum())
    if bare:
        raise DataError(
            f"targets: annotators trains on annotators' label shares, and {bare} tracked example(s) have no annotations"
        )
    shares[~learned] = np.nan
    return shares


def training_labels(spec: RunSpec, data: CellData, folder: Path | None) -> NDArray[np.int64]:
    """Gold labels, or noisy ones, shape (n,); the flip mask is saved in `folder`, beside the curves.

    Raises:
        DataError: fewer labels can be flipped than must be.
    """
    gold = data.train.gold
    if spec.training.noise is None:
        return gold
    noise = spec.training.noise
    rng = np.random.default_rng(stream_seed(spec.seed, "noise"))
    among = None
    if noise.among != "all":
        allowed = np.array(data.tracked.ids, dtype=object)
        if noise.among == "settled":
            assert data.classes is not None  # RunSpec asks for entropy_cuts
            allowed = allowed[data.classes == "settled"]
        among = np.isin(np.array(data.train.ids, dtype=object), allowed)
    noisy = inject_noise(gold, data.train.counts, kind=noise.kind, rate=noise.rate, rng=rng, among=among)
    if folder is not None:
        save_noise(folder / "noise.parquet", data.train.ids, gold, noisy)
    return noisy.labels
