"""Writing a curves store, one tracking point at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import StoreError
from dissensus.store.examples import ExampleColumns, check_columns, write_examples
from dissensus.store.files import RowFile, check_file
from dissensus.store.manifest import (
    ListedPart,
    ListedPoint,
    StoreManifest,
    part_name,
    read_manifest,
    write_manifest,
)
from dissensus.store.parts import gather, shares, sweep
from dissensus.store.points import RESERVED, Point, Tag, write_point


class CurvesWriter:
    """Writes one store, point by point. Opening an existing folder continues it (`steps` says how far it is).

    Args:
        path: the store's folder.
        dataset: the tracked examples; as columns where there are millions.
        total_steps: optimiser steps of the whole run.
        regime: 'held_out' or 'trained_on', one for all or one per example.
        covariates: name -> array of shape (n,).
        provenance: JSON values that go into the manifest.
        values: names of what each point holds beside the log-probabilities.
        token_losses: whether each point holds the losses of single tokens.
        resize: whether an unfinished or finished run there may continue with another number of steps.

    Attributes:
        steps_before: the number of steps that the store was left with, where this run has another; else None.

    Raises `StoreError` when the folder holds other examples, labels, values or another number of steps.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dataset: AnnotatedDataset | ExampleColumns,
        *,
        total_steps: int,
        regime: str | Sequence[str] = "held_out",
        covariates: Mapping[str, FloatArray] | None = None,
        provenance: Mapping[str, Any] | None = None,
        values: Sequence[str] = (),
        token_losses: bool = False,
        resize: bool = False,
    ) -> None:
        self.path = Path(path)
        self.steps_before: int | None = None
        reserved = sorted(name for name in values if RESERVED.fullmatch(name))
        if reserved:
            raise StoreError(f"a value is named {reserved[0]!r}, a column that every tracking point has")
        self._dataset = dataset
        self._known_ids: tuple[str, ...] | None = None
        self._labels = dataset.labels
        self._total_steps = int(total_steps)
        self._session = 0
        self._rows: Sequence[tuple[int, int]] = [(0, len(dataset))]
        begun = StoreManifest(
            labels=tuple(dataset.labels),
            total_steps=self._total_steps,
            tracked_fingerprint=dataset.fingerprint,
            values=tuple(sorted(values)),
            token_losses=token_losses,
            complete=False,
            examples_sha256="",
            points=(),
            provenance=dict(provenance or {}),
        )
        regimes = [regime] * len(dataset) if isinstance(regime, str) else list(regime)
        if (self.path / "manifest.json").exists():
            self._manifest = read_manifest(self.path)
            before = self._manifest.total_steps
            if self._manifest.provenance.get("planned_steps") == self._total_steps:
                self.resize(self._total_steps)  # it stopped early, and now continues as planned
            elif resize and before != self._total_steps:
                self.resize(self._total_steps)
                self.steps_before = before
            _refuse_another(self.path, self._manifest, begun)
            _same_regimes(self.path, regimes)
            sweep(self.path, self._manifest.files)
        else:
            check_columns(len(dataset), regimes, covariates or {})
            columns = dataset if isinstance(dataset, ExampleColumns) else ExampleColumns.of(dataset)
            try:
                (self.path / "curves").mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot make the folder {self.path / 'curves'}: {error.strerror}") from None
            sha256 = write_examples(self.path / "examples.parquet", columns, regimes, covariates or {})
            self._manifest = replace(begun, examples_sha256=sha256)
            self._write_manifest()

    def resize(self, total_steps: int) -> None:
        """Let the run have another number of steps, such as one that continues; on the disk with the next point.

        Raises `StoreError` when a point beyond them is stored.
        """
        if max(self.steps, default=0) > total_steps:
            raise StoreError(
                f"{self.path} holds tracking points up to step {max(self.steps)}, and this run has {total_steps} "
                "steps. Give the steps of the whole run, all epochs, or choose another folder"
            )
        self._total_steps = total_steps
        kept = {name: fact for name, fact in self._manifest.provenance.items() if name != "planned_steps"}
        self._manifest = replace(self._manifest, total_steps=total_steps, complete=False, provenance=kept)

    @property
    def ids(self) -> tuple[str, ...]:
        """The tracked ids, in the order of `examples.parquet`."""
        if self._known_ids is None:
            ids = self._dataset.ids
            self._known_ids = ids if isinstance(ids, tuple) else tuple(ids.to_pylist())
        return self._known_ids

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps that are stored, rising."""
        return self._manifest.steps

    @property
    def complete(self) -> bool:
        """Whether `finish` was called."""
        return self._manifest.complete

    @property
    def provenance(self) -> dict[str, Any]:
        """What the manifest says of the run."""
        return dict(self._manifest.provenance)

    def share_with(self, processes: int, session: int) -> list[tuple[int, int]]:
        """Let as many processes write each point together with this one; the rows of each (see `parts.shares`).

        Args:
            processes: how many, this one included. A point that is too small to share is written by this one alone.
            session: a number that no earlier session of this run has.
        """
        self._session = session
        self._rows = shares(len(self._dataset), len(self._labels), processes)
        return list(self._rows)

    def write(
        self,
        step: int,
        ids: Sequence[str] | None,
        log_probs: NDArray[np.float32],
        *,
        values: Mapping[str, NDArray[np.float32]] | None = None,
        token_losses: Sequence[NDArray[np.float32]] | None = None,
    ) -> None:
        """Store one tracking point, rows named by `ids` in any order.

        Where other processes write with this one (`share_with`), every one is given the whole point, and this one waits
        for the others' parts before it lists it.

        Args:
            step: optimiser steps taken.
            ids: the tracked ids, each once; None: the rows are in the order of `examples.parquet`.
            log_probs: shape (n, K).
            values: the further values that the store was opened for, each of shape (n,).
            token_losses: of each example its tokens' losses, where the store was opened for them.

        Raises `StoreError` if the ids are not exactly the tracked ones, the step is already stored or not one of the
        run's, or the values are not the store's.
        """
        if not 0 <= step <= self._total_steps:
            raise StoreError(f"tracking point {step} is outside this run's 0 to {self._total_steps}")
        if step in self.steps:
            raise StoreError(f"{self.path} already holds tracking point {step}; a shard is written once")
        rows = len(self._dataset) if ids is None else len(ids)
        expected = (rows, len(self._labels))
        if log_probs.shape != expected:
            raise StoreError(f"log_probs has shape {log_probs.shape}; expected {expected}")
        columns = dict(values or {})
        if sorted(columns) != list(self._manifest.values):
            raise StoreError(
                f"point {step} has the values {sorted(columns)}; this store's are {list(self._manifest.values)}"
            )
        if (token_losses is not None) != self._manifest.token_losses:
            raise StoreError(f"point {step} comes {'with' if token_losses else 'without'} losses of single "
                             "tokens; one store has them at every point or at none")  # fmt: skip
        wrong = [name for name, value in columns.items() if value.shape != (rows,)]
        if wrong:
            raise StoreError(f"{wrong[0]} has shape {columns[wrong[0]].shape}; expected ({rows},)")
        if token_losses is not None and len(token_losses) != rows:
            raise StoreError(f"{len(token_losses)} rows of token losses for {rows} examples")
        if ids is not None and ids is not self._known_ids:  # the recorder's are the same object
            position = {example_id: row for row, example_id in enumerate(ids)}
            if len(position) != len(ids) or position.keys() != set(self.ids):
                raise StoreError(
                    f"point {step} must hold every tracked id once; {_difference(ids, self.ids)}"
                )
            order = [position[i] for i in self.ids]
            log_probs = log_probs[order]
            columns = {name: value[order] for name, value in columns.items()}
            token_losses = None if token_losses is None else [token_losses[row] for row in order]
        begin, end = self._rows[0]
        name = part_name(step, 0, len(self._rows))
        sha256 = write_point(
            self.path / name,
            log_probs[begin:end],
            {key: columns[key][begin:end] for key in self._manifest.values},
            None if token_losses is None else token_losses[begin:end],
            Tag(self._manifest.tracked_fingerprint, step, begin),
        )
        others = gather(self.path, step, self._rows, self._session)
        point = ListedPoint(step, rows, (ListedPart(name, begin, end, sha256), *others))
        before = self._manifest
        points = sorted([*before.points, point], key=lambda p: p.step)
        self._manifest = replace(before, points=tuple(points))
        try:
            self._write_manifest()
        except BaseException:  # what is not listed on the disk does not exist
            self._manifest = before
            raise

    def read(self, step: int, name: str) -> NDArray[np.float32]:
        """One of the further values of a stored tracking point, shape (n,), in the order of `ids`.

        Raises `StoreError` if the point or the value is not stored.
        """
        if name not in self._manifest.values:
            raise StoreError(f"{self.path} holds no {name!r} of tracking point {step}")
        values = np.empty(len(self._dataset), np.float32)
        self._point(step).read_into(0, len(values), None, {name: values})
        return values

    def log_probs(self, step: int) -> NDArray[np.float32]:
        """The log-probabilities of a stored tracking point, shape (n, K), in the order of `ids`."""
        log_probs = np.empty((len(self._labels), len(self._dataset)), np.float32)
        self._point(step).read_into(0, len(self._dataset), log_probs, {})
        return np.ascontiguousarray(log_probs.T)

    def _point(self, step: int) -> Point:
        listed = self._manifest.point(step)
        if listed is None:
            raise StoreError(f"{self.path} holds no tracking point {step}")
        return Point(self.path, self._manifest, listed, verify=True)

    def end_at(self, step: int, *, planned: int | None = None) -> None:
        """Say that the run ended at `step`, before the number of steps that it was opened with.

        Args:
            step: optimiser steps taken.
            planned: the number of steps that the run was said to have, for the provenance; default: that one.
        """
        beyond = [stored for stored in self.steps if stored > step]
        if beyond or not 0 < step <= self._total_steps:
            raise StoreError(
                f"the run cannot have ended at step {step}: it was to have {self._total_steps} steps, and its "
                f"tracking points are {list(self.steps)}"
            )
        planned = self._total_steps if planned is None else planned
        if step < self._total_steps or step != planned:
            self._total_steps = step
            self._manifest = replace(self._manifest, total_steps=step)
            self.note(planned_steps=planned)

    def drop_after(self, step: int) -> None:
        """Forget tracking points later than `step` (a resumed run measures them again); -1 forgets all."""
        dropped = [point for point in self._manifest.points if point.step > step]
        self._manifest = replace(self._manifest.until(step), complete=False)
        self._write_manifest()
        for point in dropped:
            for name in point.files:
                (self.path / name).unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete what this store holds: it was begun for a run that did not come to be."""
        (self.path / "manifest.json").unlink(missing_ok=True)  # without it nothing else counts
        for name in self._manifest.files:
            (self.path / name).unlink(missing_ok=True)

    def note(self, **facts: Any) -> None:
        """Add facts (JSON values) to the manifest's provenance."""
        self._manifest = replace(self._manifest, provenance={**self._manifest.provenance, **facts})
        self._write_manifest()

    def finish(self, timing: Mapping[str, float] | None = None) -> None:
        """Mark the store complete.

        Args:
            timing: name -> seconds, for the manifest; no part of the provenance, for no two runs take the same.
        """
        self._manifest = replace(
            self._manifest, complete=True, timing=self._manifest.timing if timing is None else dict(timing)
        )
        self._write_manifest()

    def _write_manifest(self) -> None:
        write_manifest(self.path, self._manifest)


def _refuse_another(folder: Path, stored: StoreManifest, begun: StoreManifest) -> None:
    for key in ("labels", "total_steps", "tracked_fingerprint", "values", "token_losses"):
        before, now = (
            list(value) if isinstance(value, tuple) else value
            for value in (getattr(stored, key), getattr(begun, key))
        )
        if before != now:
            raise StoreError(
                f"{folder} holds another run: its {key} is {before!r}, this run's is {now!r}. Choose another folder, "
                "or delete that one."
            )


def _same_regimes(folder: Path, regimes: Sequence[str]) -> None:
    path = folder / "examples.parquet"
    check_file(path, None)
    stored = RowFile(path).read(["regime"])["regime"]
    if not stored.equals(pa.chunked_array([pa.array(regimes, type=pa.string())])):
        raise StoreError(
            f"{folder} holds another run: its regimes are {sorted(set(stored.to_pylist()))}, this run's are "
            f"{sorted(set(regimes))}, or not of the same examples. Choose another folder, or delete that one."
        )


def _difference(given_ids: Sequence[str], wanted: Sequence[str]) -> str:
    """Words for what is wrong with a list of ids."""
    seen, expected = set(given_ids), set(wanted)
    faults = {
        "missing": [i for i in wanted if i not in seen],
        "unknown": [i for i in given_ids if i not in expected],
        "repeated": [i for i, n in Counter(given_ids).items() if n > 1],
    }
    return "; ".join(f"{fault}: {len(ids)}, e.g. {ids[0]!r}" for fault, ids in faults.items() if ids)
