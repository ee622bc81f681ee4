"""The files of a curves store: names, columns, the manifest, and what counts as damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dissensus.errors import StoreError
from dissensus.files import file_sha256, write_atomic

SCHEMA_VERSION = 2
READABLE = (1, 2)
EXAMPLE_COLUMNS = frozenset({"id", "gold", "counts", "entropy", "regime", "text"})
SHARD_COLUMNS = frozenset({"id", "log_probs", "token_losses"})
_MANIFEST_KINDS = {
    "labels": (list, "a list of names"),
    "total_steps": (int, "a whole number"),
    "complete": (bool, "true or false"),
    "shards": (list, "a list of tracking points"),
    "provenance": (dict, "a mapping"),
    "examples_sha256": (str, "a checksum"),
    "values": (list, "a list of names"),
    "token_losses": (bool, "true or false"),
}
_LISTS_OF_NAMES = ("labels", "values")


def read_manifest(folder: Path) -> dict[str, Any]:
    """A store's manifest, checked key by key; one of schema 1 with the keys that it lacks filled in."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise StoreError(f"{folder} is no curves store (a cell's folder): it has no manifest.json")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested or with digits beyond reading
        raise StoreError(f"{path} is damaged: it is not JSON; delete the folder, run again") from None
    if not isinstance(manifest, dict) or "schema" not in manifest:
        raise StoreError(f"{path} is not a dissensus manifest: it names no schema")
    if manifest["schema"] not in READABLE:
        raise StoreError(
            f"{path} has schema {manifest['schema']!r}; this version of dissensus reads schema "
            f"{' and '.join(map(str, READABLE))}. Open it with the version that wrote it."
        )
    if manifest["schema"] == 1:
        manifest = {**manifest, "values": [], "token_losses": False}
    for key, (kind, word) in _MANIFEST_KINDS.items():
        value = manifest.get(key)
        fits = _is_int(value) if kind is int else isinstance(value, kind)
        if key in _LISTS_OF_NAMES and isinstance(value, list):
            fits = all(isinstance(name, str) for name in value)
        if not fits:
            raise StoreError(
                f"{path} is damaged: {key!r} is {value!r:.60}; expected {word}; delete the folder, run again"
            )
    for shard in manifest["shards"]:
        if not _is_shard(shard):
            raise StoreError(
                f"{path} is damaged: it lists a tracking point as {shard!r:.120}; expected a step from 0, its rows, "
                "its sha256 and the file curves/step-<the step in 8 digits>.parquet; delete the folder, run again"
            )
    return manifest


def _is_shard(entry: Any) -> bool:
    """A store may come from anywhere: its manifest must not lead a reader, or `drop_after`, out of its folder."""
    if not isinstance(entry, dict) or not _is_int(step := entry.get("step")) or step < 0:
        return False
    facts = _is_int(entry.get("rows")) and isinstance(entry.get("sha256"), str)
    return facts and entry.get("file") == shard_name(step)


def _is_int(value: object) -> TypeGuard[int]:
    """Whether a JSON value is a whole number; Python counts true and false among its ints."""
    return isinstance(value, int) and not isinstance(value, bool)


def shard_name(step: int) -> str:
    """Where a tracking point lies, from the store's folder."""
    return f"curves/step-{step:08d}.parquet"


def listed_files(manifest: dict[str, Any]) -> dict[str, str]:
    """The files that a manifest stands for, by name from the store's folder, with the SHA-256 of each."""
    shards = {str(shard["file"]): str(shard["sha256"]) for shard in manifest["shards"]}
    return {"examples.parquet": str(manifest["examples_sha256"]), **shards}


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table, whole or not at all."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())


def read_parquet(path: Path, sha256: str | None) -> pa.Table:
    """Read a table, checked against a checksum where one is given; `StoreError` if it is missing or damaged."""
    if not path.is_file():
        raise StoreError(f"{path} is missing though the manifest lists it; delete the folder, run again")
    if sha256 is not None and file_sha256(path) != sha256:
        raise StoreError(f"{path} is damaged: not the manifest's checksum; delete the folder, run again")
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise StoreError(f"{path} is damaged: it is no Parquet file ({error})") from None


def log_probs_of(shard: pa.Table, k: int) -> NDArray[np.float32]:
    """A tracking point's log-probabilities over its k labels, shape (n, k)."""
    flat = shard["log_probs"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(-1, k)
