"""The examples table of a study, cell by cell: in memory while it is small, on the disk when it is not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.store.files import write_parquet

LIMIT = 2**30
"""Bytes of the tables of all cells above which they wait on the disk instead of in memory."""


class ExampleRows:
    """Collects the cells' tables; a context manager, which removes what waits on the disk.

    Args:
        folder: where the table will be written, and where cells wait if they must.
        limit: bytes of the tables that are held in memory, at most.
    """

    def __init__(self, folder: Path, *, limit: int | None = None) -> None:
        self._folder, self._limit = folder, LIMIT if limit is None else limit
        self._tables: list[pa.Table] = []
        self._held = 0
        self._waiting: list[Path] = []
        self._place: Path | None = None

    def __enter__(self) -> ExampleRows:
        return self

    def __exit__(self, *_: object) -> None:
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)

    def add(self, table: pa.Table) -> None:
        """Take the table of one more cell."""
        self._tables.append(table)
        self._held += table.nbytes
        if self._place is None and self._held > self._limit:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._place = Path(tempfile.mkdtemp(prefix=".examples-", dir=self._folder))
        if self._place is not None:
            for cell_table in self._tables:
                self._waiting.append(self._place / f"{len(self._waiting)}.parquet")
                write_parquet(self._waiting[-1], [cell_table])
            self._tables = []

    def table(self) -> pa.Table | None:
        """All rows, or None where they are too many for memory: then there is only `write`."""
        if self._place is not None:
            return None
        return pa.concat_tables(self._tables, promote_options="default").unify_dictionaries()

    def write(self, path: Path) -> None:
        """Write what `table` is None for, a row group at a time."""
        schema = pa.unify_schemas(
            [pq.read_schema(waiting) for waiting in self._waiting], promote_options="default"
        )

        def groups() -> Iterator[pa.Table]:
            for waiting in self._waiting:
                with pq.ParquetFile(waiting) as file:
                    for group in range(file.num_row_groups):
                        rows = file.read_row_group(group)
                        # A covariate that only other cells have is null here, as in a table in memory.
                        yield pa.concat_tables([schema.empty_table(), rows], promote_options="default")

        write_parquet(path, groups())
