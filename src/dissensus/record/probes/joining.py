"""A trainer's rows in the order of the tracked examples, joined by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError


def joined(dataset: AnnotatedDataset, rows: Iterable[Mapping[str, Any]], id: str) -> list[Mapping[str, Any]]:
    """The row of each example, in the data set's order; rows of others are left aside.

    Args:
        dataset: the tracked examples.
        rows: with an id each.
        id: the id's column.

    Raises:
        DataError: a row has no id, an id comes twice, or a tracked example is not among the rows.
    """
    rows_by_id: dict[str, Mapping[str, Any]] = {}
    for number, row in enumerate(rows):
        if row.get(id) is None:
            raise DataError(
                f"row {number} has no {id!r}; it has: {', '.join(map(str, row))}. Rows are joined by id, never by "
                "position: a trainer may drop, shuffle or pack them. Keep the id's column"
            )
        key = str(row[id])
        if key in dataset:
            if key in rows_by_id:
                raise DataError(f"the id {key!r} comes twice among the rows; ids must be unique")
            rows_by_id[key] = row
    missing = [i for i in dataset.ids if i not in rows_by_id]
    if missing:
        raise DataError(
            f"{len(missing)} tracked example(s) are not among the rows, e.g. {missing[0]!r}: were they dropped by "
            "truncation? Track the others with dataset.subset(ids), or tokenise them with from_texts"
        )
    return [rows_by_id[i] for i in dataset.ids]
