"""The tracked examples of a store, column by column: what `examples.parquet` is made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.data.agreement import annotation_entropy
from dissensus.data.annotations import AnnotatedDataset
from dissensus.display import ShortRepr
from dissensus.errors import StoreError
from dissensus.store.files import EXAMPLE_COLUMNS, ROW_GROUP, write_parquet


@dataclass(frozen=True, repr=False)
class ExampleColumns(ShortRepr):
    """n tracked examples as columns, for sets of millions: a data set has an object per example, this has none.

    Attributes:
        labels: label names, length K.
        ids: Arrow strings, unique, length n.
        gold: label indices, shape (n,); -1 where there is none.
        counts: annotators per label, shape (n, K).
        text: Arrow strings, length n: a JSON object of each example's text fields.
        fingerprint: says whether two sets are the same.

    Raises `StoreError` when the columns do not fit together or an id repeats.
    """

    labels: tuple[str, ...]
    ids: pa.ChunkedArray
    gold: NDArray[np.int64]
    counts: FloatArray
    text: pa.ChunkedArray
    fingerprint: str

    def __post_init__(self) -> None:
        n, k = len(self.ids), len(self.labels)
        if self.gold.shape != (n,) or self.counts.shape != (n, k) or len(self.text) != n:
            raise StoreError(
                f"{n} ids of {k} labels come with gold {self.gold.shape}, counts {self.counts.shape} and "
                f"{len(self.text)} texts; expected ({n},), ({n}, {k}) and {n}"
            )
        if n and not -1 <= self.gold.min() <= self.gold.max() < k:
            raise StoreError(
                f"gold labels run from {self.gold.min()} to {self.gold.max()}; expected -1 to {k - 1}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, dataset: AnnotatedDataset) -> ExampleColumns:
        """The columns of a data set; its fingerprint is the data set's."""
        text = (json.dumps(dict(e.text), ensure_ascii=False) for e in dataset)
        return cls(
            labels=dataset.labels,
            ids=_strings(dataset.ids),
            gold=dataset.gold,
            counts=dataset.counts,
            text=_strings(list(text)),
            fingerprint=dataset.fingerprint,
        )

    @classmethod
    def from_arrays(
        cls,
        ids: pa.Array | pa.ChunkedArray | Sequence[str],
        *,
        labels: Sequence[str],
        gold: NDArray[np.int64],
        counts: FloatArray,
        text: pa.Array | pa.ChunkedArray | None = None,
    ) -> ExampleColumns:
        """From columns that are in memory already.

        Args:
            ids: strings, unique.
            labels: label names.
            gold: label indices, shape (n,); -1 where there is none.
            counts: annotators per label, shape (n, K).
            text: a JSON object of text fields each; default: of one empty field `text`.

        Raises `StoreError` when an id repeats. The fingerprint is of the columns, another one than a data set of the
        same examples has: a store that was begun from columns is gone on with from columns.
        """
        names = _strings(ids)
        if len(pc.unique(names)) < len(names):
            raise StoreError(
                "an example id comes twice; ids must be unique, for everything is joined by them"
            )
        if text is None:
            text = pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(len(names), np.int32)), ['{"text": ""}']
            ).cast(pa.string())
        texts = _strings(text)
        gold, counts = np.asarray(gold, np.int64), np.asarray(counts, np.float64)
        digest = hashlib.sha256(json.dumps(["columns", *labels]).encode())
        digest.update(gold.tobytes())
        digest.update(counts.tobytes())
        for begin in range(0, len(names), ROW_GROUP):
            for column in (names, texts):
                for item in column.slice(begin, ROW_GROUP).to_pylist():
                    digest.update(b"%d:" % len(item.encode()) + item.encode())
        return cls(tuple(labels), names, gold, counts, texts, digest.hexdigest())


def write_examples(
    path: Path, examples: ExampleColumns, regime: Sequence[str], covariates: Mapping[str, FloatArray]
) -> str:
    """Write `examples.parquet`, a row group at a time; its SHA-256. The arguments have been checked."""

    def tables() -> Iterator[pa.Table]:
        for begin in range(0, max(len(examples), 1), ROW_GROUP):
            rows = slice(begin, begin + ROW_GROUP)
            counts = examples.counts[rows]
            ends = np.arange(len(counts) + 1, dtype=np.int32) * counts.shape[1]
            yield pa.table(
                {
                    "id": examples.ids.slice(begin, ROW_GROUP),
                    "gold": pa.array(examples.gold[rows]),
                    "counts": pa.ListArray.from_arrays(ends, pa.array(counts.ravel())),
                    "entropy": pa.array(annotation_entropy(counts)),
                    "regime": pa.array(regime[rows]),
                    "text": examples.text.slice(begin, ROW_GROUP),
                    **{
                        name: pa.array(np.asarray(column[rows], np.float64))
                        for name, column in covariates.items()
                    },
                }
            )

    return write_parquet(path, tables())


def check_columns(n: int, regime: Sequence[str], covariates: Mapping[str, FloatArray]) -> None:
    """Raise `StoreError` unless there is one valid regime an example and the covariates fit."""
    if len(regime) != n:
        raise StoreError(f"{len(regime)} regimes for {n} examples; expected one each, or one")
    unknown = sorted(set(regime) - {"held_out", "trained_on"})
    if unknown:
        raise StoreError(f"regime is {unknown[0]!r}; expected 'held_out' or 'trained_on'")
    for name, values in covariates.items():
        if name in EXAMPLE_COLUMNS:
            raise StoreError(
                f"a covariate is named {name!r}, a column that every store has; choose another name "
                f"(taken: {', '.join(sorted(EXAMPLE_COLUMNS))})"
            )
        if np.shape(values) != (n,):
            raise StoreError(f"covariate {name!r} has shape {np.shape(values)}; expected ({n},)")


def _strings(values: pa.Array | pa.ChunkedArray | Sequence[str]) -> pa.ChunkedArray:
    """As one chunked array of strings; more than 2 GiB of them take several chunks."""
    if isinstance(values, pa.ChunkedArray):
        return values.cast(pa.string())
    array = values if isinstance(values, pa.Array) else pa.array(values, type=pa.string())
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array.cast(pa.string())])
