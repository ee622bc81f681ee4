"""Files of a curves store: their names, the manifest, rows of a Parquet file by their place, and damage."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.errors import StoreError
from dissensus.files import atomic_file, file_sha256, write_atomic

SCHEMA_VERSION = 3
LAST_FOR_OLDER = "9fbc425"
"""The last commit of dissensus that reads schemas 1 and 2, which were written before the first release."""
ROW_GROUP = 65_536
"""Examples of a row group. Every file has the same ones, so that a block of examples is read from all points without
the rest; a part of a point begins where a row group does."""
EXAMPLE_COLUMNS = frozenset({"id", "gold", "counts", "entropy", "regime", "text"})
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
    """A store's manifest, checked key by key.

    Each tracking point in `shards` has its `step`, its `rows` and its `parts`; a part has its `file`, its rows from
    `begin` to before `end`, and their `sha256`.
    """
    path = folder / "manifest.json"
    if re.match(r"[a-z0-9+]+:/", str(folder)):
        raise StoreError(f"{folder} is a URL, and this reads folders: `dissensus.load_curves` opens either")
    if not path.is_file():
        raise StoreError(f"{folder} is no curves store (a cell's folder): it has no manifest.json")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested or with digits beyond reading
        raise StoreError(f"{path} is damaged: it is not JSON; delete the folder, run again") from None
    if not isinstance(manifest, dict) or "schema" not in manifest:
        raise StoreError(f"{path} is not a dissensus manifest: it names no schema")
    if manifest["schema"] != SCHEMA_VERSION:
        older = manifest["schema"] in (1, 2)
        version = (
            f"dissensus at commit {LAST_FOR_OLDER}" if older else "the version of dissensus that wrote it"
        )
        raise StoreError(
            f"{path} has schema {manifest['schema']!r}; this version of dissensus reads schema {SCHEMA_VERSION}. "
            f"Open it with {version}, or run it again"
        )
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
                "and of each of its parts the rows, the sha256 and the file curves/step-<the step in 8 digits>.parquet "
                "or .part-<number>-of-<parts>.parquet; delete the folder, run again"
            )
    return manifest


def _is_shard(entry: Any) -> bool:
    """A store may come from anywhere: its manifest must not lead a reader, or `drop_after`, out of its folder."""
    if not isinstance(entry, dict) or not _is_int(step := entry.get("step")) or step < 0:
        return False
    rows, parts = entry.get("rows"), entry.get("parts")
    if not _is_int(rows) or not isinstance(parts, list) or not parts:
        return False
    reached = 0
    for number, part in enumerate(parts):
        if not isinstance(part, dict) or part.get("file") != part_name(step, number, len(parts)):
            return False
        begin, end = part.get("begin"), part.get("end")
        if not _is_int(begin) or not _is_int(end) or begin != reached or end < begin:
            return False
        if not isinstance(part.get("sha256"), str):
            return False
        reached = end
    return reached == rows


def _is_int(value: object) -> TypeGuard[int]:
    """Whether a JSON value is a whole number; Python counts true and false among its ints."""
    return isinstance(value, int) and not isinstance(value, bool)


def part_name(step: int, number: int = 0, parts: int = 1) -> str:
    """Where a tracking point's part lies, from the store's folder; a point of one part has no number in its name."""
    part = f".part-{number:02d}-of-{parts:02d}" if parts > 1 else ""
    return f"curves/step-{step:08d}{part}.parquet"


def files_of(shard: dict[str, Any]) -> dict[str, str]:
    """The files of a tracking point, by name, with the SHA-256 of each."""
    return {str(part["file"]): str(part["sha256"]) for part in shard["parts"]}


def listed_files(manifest: dict[str, Any]) -> dict[str, str]:
    """The files that a manifest stands for, by name from the store's folder, with the SHA-256 of each."""
    files = {"examples.parquet": str(manifest["examples_sha256"])}
    for shard in manifest["shards"]:
        files.update(files_of(shard))
    return files


def without_files(manifest: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The manifest without the tracking points that need one of these files; without any, it is no complete run's.

    Args:
        manifest: from `read_manifest`; left as it is.
        names: files from the store's folder; every point needs `examples.parquet`.
    """
    removed = set(names)
    remaining = [
        shard
        for shard in manifest["shards"]
        if "examples.parquet" not in removed and not removed.intersection(files_of(shard))
    ]
    all_kept = len(remaining) == len(manifest["shards"])
    return {**manifest, "shards": remaining, "complete": manifest["complete"] and all_kept}


class _Sink:
    """A file that is written once and hashed on the way; pyarrow writes to it."""

    def __init__(self, path: Path) -> None:
        self._handle = path.open("wb")
        self.digest = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        self._handle.write(data)
        self.digest.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self._handle.flush()

    def tell(self) -> int:
        return self.size

    def close(self) -> None:
        self._handle.close()
        self.closed = True


def write_parquet(path: Path, tables: Iterable[pa.Table], **options: Any) -> str:
    """Write tables one after the other into a file that appears whole or not at all; its SHA-256.

    Args:
        path: of the file.
        tables: at least one, all of one schema; may be lazy, so that only one is in memory.
        options: of `pyarrow.parquet.ParquetWriter`, beside the compression.
    """
    with atomic_file(path) as beside, contextlib.closing(_Sink(beside)) as sink:
        source = iter(tables)
        first = next(source)
        with pq.ParquetWriter(sink, first.schema, compression="zstd", **options) as writer:
            writer.write_table(first, row_group_size=ROW_GROUP)
            for table in source:
                writer.write_table(table, row_group_size=ROW_GROUP)
    return sink.digest.hexdigest()


def check_file(path: Path, sha256: str | None) -> None:
    """Raise `StoreError` if a file is missing or, where a checksum is given, not the one that was written."""
    if not path.is_file():
        raise StoreError(f"{path} is missing though the manifest lists it; delete the folder, run again")
    if sha256 is not None and file_sha256(path) != sha256:
        raise StoreError(f"{path} is damaged: not the manifest's checksum; delete the folder, run again")


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write `manifest.json`, which makes what it lists exist."""
    write_atomic(folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")


class RowFile:
    """A Parquet file whose rows are read by place. Its footer is read once; safe to read from several threads.

    Args:
        path: of the file, which must exist.

    Raises `StoreError` when it is no Parquet file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._footer: Any = pq.read_metadata(path)
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{path} is damaged: it is no Parquet file ({error})") from None
        sizes = [self._footer.row_group(group).num_rows for group in range(self._footer.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])
        self.columns: tuple[str, ...] = tuple(self._footer.schema.to_arrow_schema().names)

    @property
    def rows(self) -> int:
        """Rows in all."""
        return int(self._footer.num_rows)

    @property
    def tags(self) -> dict[bytes, bytes]:
        """What the file says of itself beside its columns."""
        return dict(self._footer.metadata or {})

    def read(self, columns: Sequence[str], begin: int = 0, end: int | None = None) -> pa.Table:
        """The rows from `begin` to before `end` (default: all), with these columns.

        Only the row groups that hold them are read. Raises `StoreError` when the file is damaged or lacks a column.
        """
        end = self.rows if end is None else end
        lacking = [name for name in columns if name not in self.columns]
        if lacking:
            raise StoreError(
                f"{self.path} is damaged: it has no column {lacking[0]!r}; delete the folder, run again"
            )
        first = max(0, int(np.searchsorted(self._starts, begin, side="right")) - 1)
        last = int(np.searchsorted(self._starts, max(end, begin), side="left"))
        try:
            with pq.ParquetFile(self.path, metadata=self._footer) as file:
                groups = list(range(first, min(last, self._footer.num_row_groups)))
                table = file.read_row_groups(groups, columns=list(columns), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{self.path} is damaged: it cannot be read ({error})") from None
        return table.slice(begin - int(self._starts[first]), end - begin)
