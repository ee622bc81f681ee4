"""Rows of a Parquet file by their place, without the rest of the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.errors import StoreError


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
