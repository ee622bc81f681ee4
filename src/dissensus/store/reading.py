"""Reading a curves store: all of it, one point's token losses, or a block of examples at a time. Needs no torch."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dissensus import threads
from dissensus.curves import Curves, FloatArray
from dissensus.errors import StoreError
from dissensus.store.files import EXAMPLE_COLUMNS, ROW_GROUP, RowFile, check_file
from dissensus.store.manifest import StoreManifest, read_manifest
from dissensus.store.points import Floats, Point

TRANSPOSED = 256
"""Examples that are turned from columns to rows at a time: what is read and written of them stays in a core's cache."""


class StoredCurves:
    """A curves store that was opened and not read. What is asked for is read: a block of examples, or a column of all.

    It takes the place of `Curves` in the metrics (`aulc(stored)`, `example_metrics(stored)`, ...), which then walk
    through the store. A block takes examples x tracking points x labels x 4 bytes, twice while it is put together;
    reading from several threads is safe.

    Attributes:
        folder: the store's.
        labels: label names, length K.
        steps: optimiser steps of the tracking points, shape (T,), rising.
        total_steps: steps of the whole run.
        provenance: what the manifest says of the run.
        values: names of what was measured beside log-probabilities.
        covariates: names of the covariates.
    """

    def __init__(self, folder: Path, manifest: StoreManifest, *, verify: bool) -> None:
        self.folder = folder
        self._examples = _open_examples(folder, manifest, verify=verify)
        self._points: list[Point] = threads.in_order(
            lambda listed: Point(folder, manifest, listed, verify=verify), manifest.points
        )
        self.labels: tuple[str, ...] = manifest.labels
        self.steps: NDArray[np.int64] = np.array([p.step for p in self._points], dtype=np.int64)
        self.total_steps = manifest.total_steps
        self.provenance: Mapping[str, Any] = manifest.provenance
        self.values: tuple[str, ...] = manifest.values
        self.covariates: tuple[str, ...] = tuple(
            name for name in self._examples.columns if name not in EXAMPLE_COLUMNS
        )
        for point in manifest.points:
            if point.rows != len(self):
                raise StoreError(
                    f"{folder} is damaged: point {point.step} has {point.rows} rows, and there are {len(self)} "
                    "examples; delete the folder, run again"
                )

    def __len__(self) -> int:
        return self._examples.rows

    def __repr__(self) -> str:
        points = f"{len(self.steps)} tracking points"
        return f"StoredCurves({self.folder}: {len(self)} examples x {points} x {len(self.labels)} labels)"

    @property
    def progress(self) -> FloatArray:
        """u = step / total steps, in [0, 1], shape (T,)."""
        return self.steps / max(self.total_steps, 1)

    @property
    def nbytes(self) -> int:
        """Bytes that the log-probabilities and further values take in memory, all of them."""
        return 4 * len(self) * len(self.steps) * (len(self.labels) + len(self.values))

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of `examples.parquet` whole, in the order of the examples: 'id', 'gold', 'text', a covariate, ..."""
        return self._examples.read([name])[name]

    def read(self, begin: int, end: int, *, text: bool = False) -> Curves:
        """The curves of the examples from place `begin` to before `end`.

        Args:
            begin: first example.
            end: place behind the last one.
            text: with the text fields, which may be most of the bytes.
        """
        names = [
            name
            for name in self._examples.columns
            if name not in ("entropy", "text") or (text and name == "text")
        ]
        examples = self._examples.read(names, begin, end)
        k, t = len(self.labels), len(self.steps)
        stage = np.empty((t * k, end - begin), dtype=np.float32)
        values: dict[str, Floats] = {
            name: np.empty((t, end - begin), dtype=np.float32) for name in self.values
        }
        for place, point in enumerate(self._points):
            point_values = {name: column[place] for name, column in values.items()}
            point.read_into(begin, end, stage[place * k : (place + 1) * k], point_values)
        counts = examples["counts"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return Curves(
            ids=tuple(examples["id"].to_pylist()),
            labels=self.labels,
            steps=self.steps,
            total_steps=self.total_steps,
            log_probs=_transposed(stage).reshape(end - begin, t, k),
            gold=np.asarray(examples["gold"].to_numpy(), dtype=np.int64),
            counts=np.array(counts, dtype=np.float64).reshape(end - begin, k),
            regime=np.array(examples["regime"].to_pylist(), dtype=np.str_),
            covariates={c: np.array(examples[c].to_numpy(), dtype=np.float64) for c in self.covariates},
            text=tuple(json.loads(one) for one in examples["text"].to_pylist()) if text else (),
            provenance=self.provenance,
            values={name: _transposed(column) for name, column in values.items()},
        )

    def at(self, points: Sequence[int]) -> StoredCurves:
        """The same store with some of its tracking points, by their places from 0, rising; the others are not read."""
        few = copy.copy(self)
        few._points = [self._points[place] for place in points]
        few.steps = self.steps[list(points)]
        return few

    def text(self, begin: int, end: int) -> list[dict[str, str]]:
        """The text fields of the examples from place `begin` to before `end`."""
        texts = self._examples.read(["text"], begin, end)["text"].to_pylist()
        return [json.loads(one) for one in texts]

    @property
    def gold(self) -> NDArray[np.int64]:
        """Label indices of all examples, shape (n,); -1 where there is none."""
        return np.asarray(self.column("gold").to_numpy(), dtype=np.int64)

    @property
    def counts(self) -> FloatArray:
        """Annotators per label of all examples, shape (n, K)."""
        flat = self.column("counts").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat, dtype=np.float64).reshape(len(self), len(self.labels))

    def blocks(self, rows: int = ROW_GROUP, *, text: bool = False) -> Iterator[Curves]:
        """The curves, `rows` consecutive examples at a time; the last block may be smaller.

        Args:
            rows: examples of a block. Whole multiples of 65,536 read nothing twice.
            text: with the text fields.

        Raises `StoreError` when a block of no rows is asked for.
        """
        if rows < 1:
            raise StoreError(f"a block of {rows} examples was asked for; expected at least 1")
        for begin in range(0, len(self), rows):
            yield self.read(begin, min(len(self), begin + rows), text=text)


def open_curves(path: str | os.PathLike[str], *, partial: bool = False, verify: bool = True) -> StoredCurves:
    """Open a curves store without reading it, for sets of millions of examples. Needs no torch.

    Args:
        path: a cell's folder (the one with `manifest.json`), or its URL.
        partial: accept a run that has not ended.
        verify: check every file against its SHA-256 now. This reads the whole store once (docs/size.md says how long
            it takes); without it, what is read later is still checked for the right rows, step and data set, and by
            Parquet itself for what it can tell.

    Raises:
        StoreError: nothing is stored there, the run has not ended, or a file is missing or damaged.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    if not manifest.complete and not partial:
        raise StoreError(
            f"{folder} holds a run that has not ended ({len(manifest.points)} tracking points so far); "
            f"{_how_to_finish(folder)}, or open it as it is with load_curves(path, partial=True)"
        )
    if not manifest.points:
        raise StoreError(f"{folder} holds no tracking point yet")
    return StoredCurves(folder, manifest, verify=verify)


def _how_to_finish(folder: Path) -> str:
    if (folder / "spec.json").exists():  # a cell of a study
        return "finish it with `dissensus run`"
    return (
        "resume your script's training with resume=True (under a trainer: resume_from_checkpoint=True, ckpt_path=), or "
        "call recorder.finish() at the end of your script if its training was over"
    )


def _open_examples(folder: Path, manifest: StoreManifest, *, verify: bool) -> RowFile:
    path = folder / "examples.parquet"
    check_file(path, manifest.examples_sha256 if verify else None)
    return RowFile(path)


def _transposed(columns: Floats) -> Floats:
    """The transpose of (m, n), contiguous; a few columns at a time, for the caches' sake."""
    out = np.empty(columns.shape[::-1], dtype=columns.dtype)
    for begin in range(0, len(out), TRANSPOSED):
        out[begin : begin + TRANSPOSED] = columns[:, begin : begin + TRANSPOSED].T
    return out


def load_curves(path: str | os.PathLike[str], *, partial: bool = False, verify: bool = True) -> Curves:
    """Open a curves store and read all of it. Needs no torch. For what does not fit into memory see `open_curves`.

    Args:
        path: a cell's folder (the one with `manifest.json`); `dissensus.load_curves` takes a URL too.
        partial: accept a run that has not ended.
        verify: check every file against its SHA-256.

    Raises:
        StoreError: nothing is stored there, the run has not ended, or a file is missing or damaged.
    """
    stored = open_curves(path, partial=partial, verify=verify)
    return stored.read(0, len(stored), text=True)


def load_token_losses(
    path: str | os.PathLike[str], step: int, *, verify: bool = True
) -> dict[str, NDArray[np.float32]]:
    """The losses of single tokens at one tracking point, nats: example id -> one number per scored token.

    Needs no torch. One point at a time: there may be many more tokens than memory takes.

    Raises:
        StoreError: the store holds none, or not that point.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    if not manifest.token_losses:
        raise StoreError(f"{folder} holds no losses of single tokens; they are recorded on request")
    listed = manifest.point(step)
    if listed is None:
        raise StoreError(f"{folder} holds no tracking point {step}; its points: {list(manifest.steps)}")
    examples = folder / "examples.parquet"
    check_file(examples, manifest.examples_sha256 if verify else None)
    point = Point(folder, manifest, listed, verify=verify)
    ids = RowFile(examples).read(["id"])["id"]
    return dict(zip(ids.to_pylist(), point.token_losses(), strict=True))
