"""Example ids of a training batch's rows, on their way through a trainer's collator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError

ROW = "dissensus_row"
"""Key of the row numbers in a batch; -1 for an example that is not recorded."""


class IdCollator:
    """A collator around another: takes the ids off its rows and adds row numbers, int64 of shape (b,), to the batch.

    Raises, when called, `DataError` for rows without an id, and for an id that is not in the data set.

    Args:
        inner: the trainer's collator.
        dataset: the examples that are recorded.
        id: the id's column.
        others: whether rows of other examples are left aside.
    """

    def __init__(
        self, inner: Callable[[list[Any]], Any], dataset: AnnotatedDataset, id: str, *, others: bool
    ) -> None:
        self.inner, self.id, self.others, self.name = inner, id, others, dataset.name
        self.rows = {example_id: row for row, example_id in enumerate(dataset.ids)}

    def __call__(self, features: Sequence[Any]) -> Any:
        """Collate a batch."""
        rows = [self._row(feature) for feature in features]
        batch = self.inner([{k: v for k, v in feature.items() if k != self.id} for feature in features])
        if not hasattr(batch, "keys"):
            raise DataError(f"the collator returned a {type(batch).__name__}; expected a mapping of tensors")
        batch[ROW] = torch.tensor(rows, dtype=torch.long)
        return batch

    def _row(self, feature: Any) -> int:
        if not isinstance(feature, Mapping) or feature.get(self.id) is None:
            has = (
                f"it has: {', '.join(map(str, feature))}"
                if isinstance(feature, Mapping)
                else "it has no columns"
            )
            raise DataError(
                f"a training row has no {self.id!r}; {has}. Rows are joined by id, never by position: keep the column "
                "through your own map() and remove_columns, or name another with id=..."
            )
        example_id = feature[self.id]
        key = str(example_id.item() if hasattr(example_id, "item") else example_id)
        row = self.rows.get(key)
        if row is None and not self.others:
            raise DataError(
                f"the training row with {self.id} {key!r} is not in the data set {self.name!r} to record. Add it, or "
                "pass others=True to record only those that are"
            )
        return -1 if row is None else row
