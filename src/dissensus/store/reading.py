"""Opening a curves store. Needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves
from dissensus.errors import StoreError
from dissensus.store.files import check_file, read_manifest
from dissensus.store.points import Point
from dissensus.store.streaming import open_curves
from dissensus.store.table import RowFile


def load_curves(path: str | os.PathLike[str], *, partial: bool = False, verify: bool = True) -> Curves:
    """Open a curves store and read all of it. Needs no torch. For what does not fit into memory see `open_curves`.

    Args:
        path: a cell's folder (the one with `manifest.json`); `dissensus.load_curves` takes a URL too.
        partial: accept a run that has not ended.
        verify: check every file against its SHA-256.

    Raises:
        StoreError: nothing is stored there, the run has not ended, or a file is missing or damaged.
    """
    stored = open_curves(path, partial=partial, verify=verify)
    return stored.read(0, len(stored), text=True)


def load_token_losses(
    path: str | os.PathLike[str], step: int, *, verify: bool = True
) -> dict[str, NDArray[np.float32]]:
    """The losses of single tokens at one tracking point, nats: example id -> one number per scored token.

    Needs no torch. One point at a time: there may be many more tokens than memory takes.

    Raises:
        StoreError: the store holds none, or not that point.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    if not manifest["token_losses"]:
        raise StoreError(f"{folder} holds no losses of single tokens; they are recorded on request")
    shards = [shard for shard in manifest["shards"] if shard["step"] == step]
    if not shards:
        raise StoreError(
            f"{folder} holds no tracking point {step}; its points: {[s['step'] for s in manifest['shards']]}"
        )
    examples = folder / "examples.parquet"
    check_file(examples, manifest["examples_sha256"] if verify else None)
    point = Point(folder, manifest, shards[0], verify=verify)
    ids = RowFile(examples).read(["id"])["id"]
    return dict(zip(ids.to_pylist(), point.token_losses(), strict=True))
