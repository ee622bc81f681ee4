"""Opening a curves store. Needs no torch."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves
from dissensus.errors import StoreError
from dissensus.store.files import EXAMPLE_COLUMNS, log_probs_of, read_manifest, read_parquet


def load_curves(path: str | os.PathLike[str], *, partial: bool = False, verify: bool = True) -> Curves:
    """Open a curves store. Needs no torch.

    Args:
        path: a cell's folder (the one with `manifest.json`).
        partial: accept a run that has not ended.
        verify: check every file against its SHA-256.

    Raises:
        StoreError: nothing is stored there, the run has not ended, or a file is missing or damaged.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    if not manifest["complete"] and not partial:
        raise StoreError(
            f"{folder} holds a run that has not ended ({len(manifest['shards'])} tracking points so far); "
            "finish it with `dissensus run`, or open it with load_curves(path, partial=True)"
        )
    shards = manifest["shards"]
    if not shards:
        raise StoreError(f"{folder} holds no tracking point yet")
    examples = read_parquet(folder / "examples.parquet", manifest["examples_sha256"] if verify else None)
    ids = examples["id"].to_pylist()
    k = len(manifest["labels"])
    log_probs = np.empty((len(ids), len(shards), k), dtype=np.float32)
    values = {name: np.empty((len(ids), len(shards)), dtype=np.float32) for name in manifest["values"]}
    for t, shard in enumerate(shards):
        table = read_parquet(folder / shard["file"], shard["sha256"] if verify else None)
        if table["id"].to_pylist() != ids:
            raise StoreError(f"{folder / shard['file']} is damaged: its ids are not the tracked ones")
        log_probs[:, t, :] = log_probs_of(table, k)
        for name, column in values.items():
            column[:, t] = table[name].to_numpy()
    counts = np.array(examples["counts"].to_pylist(), dtype=np.float64).reshape(len(ids), k)
    return Curves(
        ids=tuple(ids),
        labels=tuple(manifest["labels"]),
        steps=np.array([s["step"] for s in shards], dtype=np.int64),
        total_steps=int(manifest["total_steps"]),
        log_probs=log_probs,
        gold=np.asarray(examples["gold"].to_numpy(), dtype=np.int64),
        counts=counts,
        regime=np.array(examples["regime"].to_pylist(), dtype=np.str_),
        covariates={
            c: np.asarray(examples[c].to_numpy(), dtype=np.float64)
            for c in examples.column_names
            if c not in EXAMPLE_COLUMNS
        },
        text=tuple(json.loads(t) for t in examples["text"].to_pylist()),
        provenance=manifest["provenance"],
        values=values,
    )


def load_token_losses(
    path: str | os.PathLike[str], step: int, *, verify: bool = True
) -> dict[str, NDArray[np.float32]]:
    """The losses of single tokens at one tracking point, nats: example id -> one number a scored token.

    Needs no torch. One point at a time: there may be many more tokens than memory takes.

    Raises:
        StoreError: the store holds none, or not that point.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    if not manifest["token_losses"]:
        raise StoreError(f"{folder} holds no losses of single tokens; they are recorded on request")
    found = [shard for shard in manifest["shards"] if shard["step"] == step]
    if not found:
        raise StoreError(
            f"{folder} holds no tracking point {step}; its points: {[s['step'] for s in manifest['shards']]}"
        )
    table = read_parquet(folder / found[0]["file"], found[0]["sha256"] if verify else None)
    rows = table["token_losses"].combine_chunks()
    flat, ends = rows.flatten().to_numpy(zero_copy_only=False), rows.offsets.to_numpy()
    return {
        example_id: flat[begin:end]
        for example_id, begin, end in zip(table["id"].to_pylist(), ends[:-1], ends[1:], strict=True)
    }
