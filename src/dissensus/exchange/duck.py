"""SQL over a study's stores with DuckDB, which reads the Parquet files by itself, more of them than fit into memory.

Views, over the files that the manifests list and no others:

    cells      a row per cell: cell, examples, points, total_steps, complete, labels (a list of names)
    examples   a row per example of a cell: cell, row (its place, from 0), id, gold (index, -1 none), gold_label,
               counts, entropy (bits, plug-in), regime, text (JSON), then the covariates (null where another cell has
               them)
    curves     a row per example and tracking point: cell, step, row, log_prob_0, log_prob_1, ... (float32, in the order
               of the cell's labels), then the further values
    losses     the same with the example: cell, step, row, id, entropy, regime, loss (nats, on the stored gold label)
    metrics    `analysis/examples.parquet`, where `dissensus analyze` has written it: entropy is the same, and
               entropy_estimate that of the study's estimator
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.errors import MissingDependencyError, StoreError
from dissensus.store.manifest import StoreManifest, read_manifest

if TYPE_CHECKING:
    import duckdb

_GLOB = frozenset("*?[]{}")
_STEP = r"CAST(regexp_extract(p.filename, 'step-([0-9]+)[^/\\]*$', 1) AS BIGINT)"
"""The step in a file's name, which a checked manifest says is the point's: by it DuckDB leaves files unread."""


def connect(
    folder: str | os.PathLike[str],
    *,
    memory: str | None = None,
    spill: str | os.PathLike[str] | None = None,
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection, in memory, with views over the stores of a study (or over one store).

    Nothing of the study is changed or copied. The connection reaches what is below `folder` (and `spill`) only; no
    other file, no network, and its settings are locked. (A `COPY ... TO` of your own can still write there.) Checksums
    are not looked at: `open_curves` does that.

    Args:
        folder: a study's folder, or a cell's.
        memory: DuckDB's memory limit, such as '4GB'; default: its own.
        spill: folder for what does not fit into memory; default: nothing is spilled.

    Raises:
        MissingDependencyError: duckdb is not installed.
        StoreError: there is no store, or a path has one of the characters *?[]{} (DuckDB would take it for a pattern).
    """
    try:
        import duckdb
    except ImportError:
        raise MissingDependencyError("duckdb", "duckdb", "SQL over a study's stores") from None
    cells = stored_cells(folder)
    top = Path(folder).resolve()
    signs = sorted(_GLOB.intersection("".join(str(cell.folder) for cell in cells)))
    if signs:
        raise StoreError(
            f"{top} or a cell's folder has {signs[0]!r} in its name, which DuckDB takes for a pattern; rename it"
        )
    config: dict[str, Any] = {"temp_directory": "" if spill is None else str(Path(spill).resolve())}
    if memory is not None:
        config["memory_limit"] = memory
    connection = duckdb.connect(":memory:", config=config)
    _cells(connection, cells)
    _examples(connection, cells)
    _curves(connection, cells)
    examples_file = top / "analysis" / "examples.parquet"
    if examples_file.is_file():
        connection.read_parquet(str(examples_file)).create_view("metrics")
    allowed = [str(top), *([] if spill is None else [str(Path(spill).resolve())])]
    connection.execute("SET allowed_directories = ?", [allowed])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _cells(connection: Any, cells: tuple[StoredCell, ...]) -> None:
    table = pa.table(
        {
            "cell": pa.array([c.name for c in cells], pa.string()),
            "examples": pa.array(
                [max([p.rows for p in c.manifest.points], default=0) for c in cells], pa.int64()
            ),
            "points": pa.array([len(c.manifest.points) for c in cells], pa.int64()),
            "total_steps": pa.array([c.manifest.total_steps for c in cells], pa.int64()),
            "complete": pa.array([c.manifest.complete for c in cells], pa.bool_()),
            "labels": pa.array([list(c.manifest.labels) for c in cells], pa.list_(pa.string())),
        }
    )
    _table(connection, "cells", table)


def _examples(connection: Any, cells: tuple[StoredCell, ...]) -> None:
    paths = [str(cell.folder / "examples.parquet") for cell in cells]
    files = pa.table({"file": pa.array(paths), "cell": pa.array([cell.name for cell in cells])})
    _table(connection, "example_files", files)
    _parquet(connection, "example_rows", paths)
    connection.execute(
        """
        CREATE VIEW examples AS
        SELECT f.cell, p.file_row_number AS row, p.id, p.gold, c.labels[p.gold + 1] AS gold_label,
            p.* EXCLUDE (id, gold, filename, file_row_number)
        FROM example_rows p JOIN example_files f ON f.file = p.filename JOIN cells c ON c.cell = f.cell
        """
    )


def _curves(connection: Any, cells: tuple[StoredCell, ...]) -> None:
    files = [file for cell in cells for file in cell.files]
    if not files:
        raise StoreError(f"{cells[0].folder} and its like hold no tracking point yet")
    table = pa.table(
        {
            "file": pa.array([str(file.path) for file in files]),
            "cell": pa.array([file.cell for file in files]),
            "begin": pa.array([file.begin for file in files], pa.int64()),
        }
    )
    _table(connection, "curve_files", table)
    labels = max(len(cell.manifest.labels) for cell in cells)
    _parquet(connection, "curve_rows", [str(file.path) for file in files])
    connection.execute(
        f"""
        CREATE VIEW curves AS
        SELECT f.cell, {_STEP} AS step, f.begin + p.file_row_number AS row, p.* EXCLUDE (filename, file_row_number)
        FROM curve_rows p JOIN curve_files f ON f.file = p.filename
        """  # noqa: S608
    )
    columns = ", ".join(f"c.log_prob_{k}" for k in range(labels))
    connection.execute(
        f"""
        CREATE VIEW losses AS
        SELECT c.cell, c.step, c.row, e.id, e.entropy, e.regime, -CAST(([{columns}])[e.gold + 1] AS DOUBLE) AS loss
        FROM curves c JOIN examples e ON e.cell = c.cell AND e.row = c.row
        """  # noqa: S608
    )


def _table(connection: Any, name: str, table: pa.Table) -> None:
    """Copy a small table in. Names of cells and files are values in it, and never part of a statement."""
    connection.register("given", table)
    connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM given')  # noqa: S608 - a name of this module's
    connection.unregister("given")


def _parquet(connection: Any, name: str, paths: list[str]) -> None:
    connection.read_parquet(paths, filename=True, file_row_number=True, union_by_name=True).create_view(name)


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
    manifest: StoreManifest
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
    for point in manifest.points:
        for part in point.parts:
            path = folder / part.file
            try:
                pq.read_schema(path)
            except (OSError, ValueError) as problem:
                raise StoreError(f"{path} is missing or damaged: {problem}") from None
            files.append(StoredFile(folder.name, path, point.step, part.begin))
    return StoredCell(folder.name, folder, manifest, tuple(files))
