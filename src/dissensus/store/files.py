"""Files of a curves store: Parquet written and hashed on the way, rows read by their place, damage found."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.errors import StoreError
from dissensus.files import atomic_file, file_sha256

ROW_GROUP = 65_536
"""Examples of a row group. Every file has the same ones, so that a block of examples is read from all points without
the rest; a part of a point begins where a row group does."""
EXAMPLE_COLUMNS = frozenset({"id", "gold", "counts", "entropy", "regime", "text"})


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
