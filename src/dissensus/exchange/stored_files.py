"""The Parquet files of a study's stores, for engines that read them by themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dissensus.errors import StoreError
from dissensus.store.files import read_manifest


@dataclass(frozen=True)
class StoredFile:
    """A part of a tracking point.

    Attributes:
        cell: name of the cell's folder.
        path: of the file, absolute.
        step: of the tracking point.
        begin: place of its first example.
    """

    cell: str
    path: Path
    step: int
    begin: int


@dataclass(frozen=True)
class StoredCell:
    """One store.

    Attributes:
        name: of its folder.
        folder: absolute.
        manifest: what it says.
        files: the parts of its points, by step and row.
    """

    name: str
    folder: Path
    manifest: dict[str, Any]
    files: tuple[StoredFile, ...]


def stored_cells(folder: str | os.PathLike[str]) -> tuple[StoredCell, ...]:
    """The stores of a study's folder, or the one that the folder is; by name. Only what manifests list is among them.

    Raises `StoreError` when there is none, or a manifest or file is damaged.
    """
    top = Path(folder).resolve()
    single = (top / "manifest.json").is_file()
    folders = [top] if single else sorted(path.parent for path in top.glob("cells/*/manifest.json"))
    if not folders:
        raise StoreError(f"{top} holds no curves store: neither it nor a folder cells/* has a manifest.json")
    return tuple(_cell(cell_folder) for cell_folder in folders)


def _cell(folder: Path) -> StoredCell:
    manifest = read_manifest(folder)
    files = []
    for shard in manifest["shards"]:
        for part in shard["parts"]:
            path = folder / part["file"]
            try:
                pq.read_schema(path)
            except (OSError, ValueError) as problem:
                raise StoreError(f"{path} is missing or damaged: {problem}") from None
            files.append(StoredFile(folder.name, path, int(shard["step"]), int(part["begin"])))
    return StoredCell(folder.name, folder, manifest, tuple(files))
