"""A tracking point's files: their columns, how they are written, and how rows are read from one part or from several.

A point has a float32 column `log_prob_0`, `log_prob_1`, ... for each label in the manifest's order, one
for each further value, and no ids: its rows are those of `examples.parquet`, from the part's first to its last. What a
file says of itself (data set, step, first row) must be what the manifest says, so that parts cannot be taken for each
other even where checksums are not looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dissensus.errors import StoreError
from dissensus.store.files import RowFile, check_file, write_parquet
from dissensus.store.manifest import ListedPoint, StoreManifest

Floats = NDArray[np.float32]
RESERVED = re.compile(r"id|log_probs|token_losses|cell|step|row|log_prob_\d+")
"""Names that no further value may have: columns of a point, or of the tables made of it."""
TAG = b"dissensus"


@dataclass(frozen=True)
class Tag:
    """What a part says of itself.

    Attributes:
        tracked_fingerprint: of the tracked examples.
        step: of the tracking point.
        begin: place of its first row.
    """

    tracked_fingerprint: str | None
    step: int
    begin: int


def label_column(label: int) -> str:
    """The column of a label's log-probabilities, by its place among the labels."""
    return f"log_prob_{label}"


def write_point(
    path: Path,
    log_probs: Floats,
    values: Mapping[str, Floats],
    token_losses: Sequence[Floats] | None,
    tag: Tag,
) -> str:
    """Write a part of a tracking point; its SHA-256.

    Args:
        path: of the file.
        log_probs: shape (m, K).
        values: name -> shape (m,).
        token_losses: of each of the m examples its tokens' losses, or None.
        tag: what the file says of itself.
    """
    columns = {label_column(k): log_probs[:, k] for k in range(log_probs.shape[1])}
    arrays = {
        name: pa.array(np.ascontiguousarray(column, np.float32))
        for name, column in {**columns, **values}.items()
    }
    floats = list(arrays)
    if token_losses is not None:
        arrays["token_losses"] = pa.array(token_losses, type=pa.list_(pa.float32()))
    table = pa.table(arrays).replace_schema_metadata({TAG: json.dumps(asdict(tag), sort_keys=True)})
    # Floats have no repeats for a dictionary; with signs and exponents apart from the rest, a sixth of the bytes goes.
    return write_parquet(
        path, [table], compression_level=1, use_dictionary=False, use_byte_stream_split=floats, write_statistics=False
    )  # fmt: skip


class Point:
    """One stored tracking point, read by rows. Safe to read from several threads.

    Args:
        folder: the store's.
        manifest: the store's.
        listed: the point's entry in it.
        verify: check each file against its SHA-256.

    Raises `StoreError` when a file is missing, damaged, or not the one that the manifest means.
    """

    def __init__(self, folder: Path, manifest: StoreManifest, listed: ListedPoint, *, verify: bool) -> None:
        self.step = listed.step
        self._k = len(manifest.labels)
        self._parts: list[tuple[int, int, RowFile]] = []
        for part in listed.parts:
            path = folder / part.file
            check_file(path, part.sha256 if verify else None)
            file = RowFile(path)
            if file.rows != part.end - part.begin:
                raise StoreError(
                    f"{path} is damaged: it has {file.rows} rows, the manifest says {part.end - part.begin}; "
                    "delete the folder, run again"
                )
            tag = asdict(Tag(manifest.tracked_fingerprint, self.step, part.begin))
            if TAG in file.tags and json.loads(file.tags[TAG]) != tag:
                raise StoreError(
                    f"{path} is damaged: it says of itself {file.tags[TAG].decode()}, and the manifest means "
                    f"{json.dumps(tag)}; delete the folder, run again"
                )
            self._parts.append((part.begin, part.end, file))

    def read_into(self, begin: int, end: int, log_probs: Floats | None, values: Mapping[str, Floats]) -> None:
        """Read the rows from `begin` to before `end`.

        Args:
            begin: first row.
            end: row behind the last one.
            log_probs: where to write the log-probabilities, shape (K, end - begin); None leaves them out.
            values: where to write further values, each of shape (end - begin,).
        """
        for first, last, file in self._parts:
            low, high = max(begin, first), min(end, last)
            if low >= high and end > begin:
                continue
            names = [] if log_probs is None else [label_column(k) for k in range(self._k)]
            table = file.read([*names, *values], low - first, max(low, high) - first)
            inside = slice(low - begin, high - begin)
            if log_probs is not None:
                for k, name in enumerate(names):
                    log_probs[k, inside] = table[name].to_numpy()
            for name, out in values.items():
                out[inside] = table[name].to_numpy()

    def token_losses(self) -> list[Floats]:
        """Of each example the losses of its tokens."""
        losses: list[Floats] = []
        for _, _, file in self._parts:
            rows = file.read(["token_losses"])["token_losses"].combine_chunks()
            flat, ends = rows.flatten().to_numpy(zero_copy_only=False), rows.offsets.to_numpy()
            ends = ends - ends[0]  # `flatten` begins at the first offset
            losses += [flat[begin:end] for begin, end in pairwise(ends)]
        return losses
