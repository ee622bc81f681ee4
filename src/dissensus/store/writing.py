"""Writing a curves store, one tracking point at a time."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import StoreError
from dissensus.files import file_sha256, write_atomic
from dissensus.measures import annotation_entropy
from dissensus.store.files import (
    EXAMPLE_COLUMNS,
    SCHEMA_VERSION,
    SHARD_COLUMNS,
    log_probs_of,
    read_manifest,
    read_parquet,
    shard_name,
    write_parquet,
)


class CurvesWriter:
    """Writes one store, shard by shard. Opening an existing folder continues it (`steps` says how far it is).

    Args:
        path: the store's folder.
        dataset: the tracked examples.
        total_steps: optimiser steps of the whole run.
        regime: 'held_out' or 'trained_on', one for all or one an example.
        covariates: name -> array of shape (n,).
        provenance: JSON values that go into the manifest.
        values: names of what each point holds beside the log-probabilities.
        token_losses: whether each point holds the losses of single tokens.

    Raises `StoreError` when the folder holds other examples, labels, values or another number of steps.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dataset: AnnotatedDataset,
        *,
        total_steps: int,
        regime: str | Sequence[str] = "held_out",
        covariates: Mapping[str, FloatArray] | None = None,
        provenance: Mapping[str, Any] | None = None,
        values: Sequence[str] = (),
        token_losses: bool = False,
    ) -> None:
        self.path = Path(path)
        taken = sorted(SHARD_COLUMNS.intersection(values))
        if taken:
            raise StoreError(f"a value is named {taken[0]!r}, a column that every tracking point has")
        self._ids = dataset.ids
        self._id_column = pa.array(dataset.ids)
        self._labels = dataset.labels
        self._total_steps = int(total_steps)
        identity = {
            "labels": list(dataset.labels),
            "total_steps": self._total_steps,
            "tracked_fingerprint": dataset.fingerprint,
            "values": sorted(values),
            "token_losses": token_losses,
        }
        regimes = [regime] * len(dataset) if isinstance(regime, str) else list(regime)
        if (self.path / "manifest.json").exists():
            self._manifest = read_manifest(self.path)
            if self._manifest["provenance"].get("planned_steps") == self._total_steps:
                self._go_on()  # it stopped early, and now goes on as planned
            for key, value in identity.items():
                if self._manifest.get(key) != value:
                    raise StoreError(
                        f"{self.path} holds another run: its {key} is {self._manifest.get(key)!r}, this run's is "
                        f"{value!r}. Choose another folder, or delete that one."
                    )
            _same_regimes(self.path, regimes)
        else:
            self._manifest = {
                "schema": SCHEMA_VERSION,
                **identity,
                "complete": False,
                "shards": [],
                "provenance": dict(provenance or {}),
            }
            table = _examples_table(dataset, regimes, covariates or {})
            try:
                (self.path / "curves").mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot make the folder {self.path / 'curves'}: {error.strerror}") from None
            write_parquet(self.path / "examples.parquet", table)
            self._manifest["examples_sha256"] = file_sha256(self.path / "examples.parquet")
            self._write_manifest()

    def _go_on(self) -> None:
        """Take back `end_at`; on the disk with the next point."""
        self._manifest["total_steps"] = self._total_steps
        self._manifest["complete"] = False
        self._manifest["provenance"] = {
            name: fact for name, fact in self._manifest["provenance"].items() if name != "planned_steps"
        }

    @property
    def ids(self) -> tuple[str, ...]:
        """The tracked ids, in the order of `examples.parquet`."""
        return self._ids

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps that are stored, rising."""
        return tuple(shard["step"] for shard in self._manifest["shards"])

    @property
    def complete(self) -> bool:
        """Whether `finish` was called."""
        return bool(self._manifest["complete"])

    @property
    def provenance(self) -> dict[str, Any]:
        """What the manifest says of the run."""
        return dict(self._manifest["provenance"])

    def write(
        self,
        step: int,
        ids: Sequence[str],
        log_probs: NDArray[np.float32],
        *,
        values: Mapping[str, NDArray[np.float32]] | None = None,
        token_losses: Sequence[NDArray[np.float32]] | None = None,
    ) -> None:
        """Store one tracking point, rows named by `ids` in any order.

        Args:
            step: optimiser steps taken.
            ids: the tracked ids, each once.
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
        expected = (len(ids), len(self._labels))
        if log_probs.shape != expected:
            raise StoreError(f"log_probs has shape {log_probs.shape}; expected {expected}")
        columns = dict(values or {})
        if sorted(columns) != self._manifest["values"]:
            raise StoreError(
                f"point {step} has the values {sorted(columns)}; this store's are {self._manifest['values']}"
            )
        if (token_losses is not None) != self._manifest["token_losses"]:
            raise StoreError(f"point {step} comes {'with' if token_losses else 'without'} losses of single "
                             "tokens; one store has them at every point or at none")  # fmt: skip
        wrong = [name for name, value in columns.items() if value.shape != (len(ids),)]
        if wrong:
            raise StoreError(f"{wrong[0]} has shape {columns[wrong[0]].shape}; expected ({len(ids)},)")
        if token_losses is not None and len(token_losses) != len(ids):
            raise StoreError(f"{len(token_losses)} rows of token losses for {len(ids)} examples")
        if ids is not self._ids:  # the recorder's are the same object, and need no look at each
            position = {example_id: row for row, example_id in enumerate(ids)}
            if len(position) != len(ids) or position.keys() != set(self._ids):
                raise StoreError(
                    f"point {step} must hold every tracked id once; {_difference(ids, self._ids)}"
                )
            order = [position[i] for i in self._ids]
            log_probs = log_probs[order]
            columns = {name: value[order] for name, value in columns.items()}
            token_losses = None if token_losses is None else [token_losses[row] for row in order]
        ordered = np.ascontiguousarray(log_probs, dtype=np.float32)
        table = {
            "id": self._id_column,
            "log_probs": pa.FixedSizeListArray.from_arrays(pa.array(ordered.ravel()), len(self._labels)),
            **{name: pa.array(columns[name].astype(np.float32)) for name in self._manifest["values"]},
        }
        if token_losses is not None:
            table["token_losses"] = pa.array(token_losses, type=pa.list_(pa.float32()))
        name = shard_name(step)
        write_parquet(self.path / name, pa.table(table))
        shard = {"step": step, "file": name, "rows": len(ids), "sha256": file_sha256(self.path / name)}
        self._manifest["shards"] = sorted([*self._manifest["shards"], shard], key=lambda s: s["step"])
        self._write_manifest()

    def read(self, step: int, name: str) -> NDArray[np.float32]:
        """One of the further values of a stored tracking point, shape (n,), in the order of `ids`.

        Raises `StoreError` if the point or the value is not stored.
        """
        if name not in self._manifest["values"]:
            raise StoreError(f"{self.path} holds no {name!r} of tracking point {step}")
        return np.asarray(self._shard(step)[name].to_numpy(), dtype=np.float32)

    def log_probs(self, step: int) -> NDArray[np.float32]:
        """The log-probabilities of a stored tracking point, shape (n, K), in the order of `ids`."""
        return log_probs_of(self._shard(step), len(self._labels))

    def _shard(self, step: int) -> pa.Table:
        found = [shard for shard in self._manifest["shards"] if shard["step"] == step]
        if not found:
            raise StoreError(f"{self.path} holds no tracking point {step}")
        return read_parquet(self.path / found[0]["file"], found[0]["sha256"])

    def end_at(self, step: int) -> None:
        """Say that the run ended at `step`, before the number of steps that it was opened with."""
        beyond = [stored for stored in self.steps if stored > step]
        if beyond or not 0 < step <= self._total_steps:
            raise StoreError(
                f"the run cannot have ended at step {step}: it was to have {self._total_steps} steps, and its "
                f"tracking points are {list(self.steps)}"
            )
        if step < self._total_steps:
            self.note(planned_steps=self._total_steps)
            self._total_steps = self._manifest["total_steps"] = step
            self._write_manifest()

    def drop_after(self, step: int) -> None:
        """Forget tracking points later than `step` (a resumed run measures them again); -1 forgets all."""
        gone = [s for s in self._manifest["shards"] if s["step"] > step]
        self._manifest["shards"] = [s for s in self._manifest["shards"] if s["step"] <= step]
        self._manifest["complete"] = False
        self._write_manifest()
        for shard in gone:
            (self.path / shard["file"]).unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete what this store holds: it was begun for a run that did not come to be."""
        (self.path / "manifest.json").unlink(missing_ok=True)  # without it nothing else counts
        for shard in self._manifest["shards"]:
            (self.path / shard["file"]).unlink(missing_ok=True)
        (self.path / "examples.parquet").unlink(missing_ok=True)

    def note(self, **facts: Any) -> None:
        """Add facts (JSON values) to the manifest's provenance."""
        self._manifest["provenance"] = {**self._manifest["provenance"], **facts}
        self._write_manifest()

    def finish(self, timing: Mapping[str, float] | None = None) -> None:
        """Mark the store complete.

        Args:
            timing: name -> seconds, for the manifest; no part of the provenance, for no two runs take the same.
        """
        self._manifest["complete"] = True
        if timing is not None:
            self._manifest["timing"] = dict(timing)
        self._write_manifest()

    def _write_manifest(self) -> None:
        write_atomic(self.path / "manifest.json", json.dumps(self._manifest, indent=1, sort_keys=True) + "\n")


def _examples_table(
    dataset: AnnotatedDataset, regime: Sequence[str], covariates: Mapping[str, FloatArray]
) -> pa.Table:
    if len(regime) != len(dataset):
        raise StoreError(f"{len(regime)} regimes for {len(dataset)} examples; expected one each, or one")
    unknown = sorted(set(regime) - {"held_out", "trained_on"})
    if unknown:
        raise StoreError(f"regime is {unknown[0]!r}; expected 'held_out' or 'trained_on'")
    for name, values in covariates.items():
        if name in EXAMPLE_COLUMNS:
            raise StoreError(
                f"a covariate is named {name!r}, a column that every store has; choose another name "
                f"(taken: {', '.join(sorted(EXAMPLE_COLUMNS))})"
            )
        if np.shape(values) != (len(dataset),):
            raise StoreError(f"covariate {name!r} has shape {np.shape(values)}; expected ({len(dataset)},)")
    return pa.table(
        {
            "id": pa.array(dataset.ids),
            "gold": pa.array(dataset.gold),
            "counts": pa.array([list(e.counts) for e in dataset], type=pa.list_(pa.float64())),
            "entropy": pa.array(annotation_entropy(dataset.counts)),
            "regime": pa.array(list(regime)),
            "text": pa.array([json.dumps(dict(e.text), ensure_ascii=False) for e in dataset]),
            **{name: pa.array(np.asarray(values, dtype=np.float64)) for name, values in covariates.items()},
        }
    )


def _same_regimes(folder: Path, regimes: Sequence[str]) -> None:
    stored = read_parquet(folder / "examples.parquet", None)["regime"].to_pylist()
    if stored != list(regimes):
        raise StoreError(
            f"{folder} holds another run: its regimes are {sorted(set(stored))}, this run's are "
            f"{sorted(set(regimes))}, or not of the same examples. Choose another folder, or delete that one."
        )


def _difference(given: Sequence[str], wanted: Sequence[str]) -> str:
    """Words for what is wrong with a list of ids."""
    seen, expected = set(given), set(wanted)
    faults = {
        "missing": [i for i in wanted if i not in seen],
        "unknown": [i for i in given if i not in expected],
        "repeated": [i for i, n in Counter(given).items() if n > 1],
    }
    return "; ".join(f"{fault}: {len(ids)}, e.g. {ids[0]!r}" for fault, ids in faults.items() if ids)
