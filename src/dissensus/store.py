"""The curves store: the only bridge between training and analysis. Imports no torch.

Layout (schema 1), written by `CurvesWriter`, read by `load_curves`:

    examples.parquet               one row a tracked example, in tracking order:
                                   id, gold (index, -1 none), counts (list), entropy (bits), regime,
                                   text (JSON object of the fields), then covariates, one column each
    curves/step-00000123.parquet   one immutable shard a tracking point: id, log_probs (K float32 a row)
    manifest.json                  schema, labels, total_steps, complete, shards (step, file, rows, sha256),
                                   provenance (fingerprints, versions, free facts of the run)

Every file appears whole or not at all (written beside, flushed, renamed). The manifest is the authority: a
shard that it does not list does not exist. Losses, margins and soft losses are derived, never stored.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dissensus.curves import Curves, FloatArray
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import StoreError
from dissensus.files import file_sha256, write_atomic
from dissensus.measures import annotation_entropy

SCHEMA_VERSION = 1
_FIXED_COLUMNS = frozenset({"id", "gold", "counts", "entropy", "regime", "text"})
_MANIFEST_KINDS = {
    "labels": (list, "a list of names"),
    "total_steps": (int, "a whole number"),
    "complete": (bool, "true or false"),
    "shards": (list, "a list of tracking points"),
    "provenance": (dict, "a mapping"),
    "examples_sha256": (str, "a checksum"),
}


class CurvesWriter:
    """Writes one store, shard by shard. Opening an existing folder continues it (`steps` says how far it is).

    Raises `StoreError` when the folder holds other examples, labels or another number of steps.
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
    ) -> None:
        self.path = Path(path)
        self._ids = dataset.ids
        self._id_column = pa.array(dataset.ids)
        self._labels = dataset.labels
        self._total_steps = int(total_steps)
        identity = {
            "schema": SCHEMA_VERSION,
            "labels": list(dataset.labels),
            "total_steps": self._total_steps,
            "tracked_fingerprint": dataset.fingerprint,
        }
        regimes = [regime] * len(dataset) if isinstance(regime, str) else list(regime)
        if (self.path / "manifest.json").exists():
            self._manifest = _read_manifest(self.path)
            for key, value in identity.items():
                if self._manifest.get(key) != value:
                    raise StoreError(
                        f"{self.path} holds another run: its {key} is {self._manifest.get(key)!r}, this run's is "
                        f"{value!r}. Choose another folder, or delete that one."
                    )
            _same_regimes(self.path, regimes)
        else:
            self._manifest = {
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
            _write_parquet(self.path / "examples.parquet", table)
            self._manifest["examples_sha256"] = file_sha256(self.path / "examples.parquet")
            self._write_manifest()

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

    def write(self, step: int, ids: Sequence[str], log_probs: NDArray[np.float32]) -> None:
        """Store one tracking point: log_probs of shape (n, K), rows named by `ids` in any order.

        Raises `StoreError` if the ids are not exactly the tracked ones, or the step is already stored or not one
        of the run's.
        """
        if not 0 <= step <= self._total_steps:
            raise StoreError(f"tracking point {step} is outside this run's 0 to {self._total_steps}")
        if step in self.steps:
            raise StoreError(f"{self.path} already holds tracking point {step}; a shard is written once")
        expected = (len(ids), len(self._labels))
        if log_probs.shape != expected:
            raise StoreError(f"log_probs has shape {log_probs.shape}; expected {expected}")
        if ids is not self._ids:  # the recorder's are the same object, and need no look at each
            position = {example_id: row for row, example_id in enumerate(ids)}
            if len(position) != len(ids) or position.keys() != set(self._ids):
                raise StoreError(
                    f"point {step} must hold every tracked id once; {_difference(ids, self._ids)}"
                )
            log_probs = log_probs[[position[i] for i in self._ids]]
        ordered = np.ascontiguousarray(log_probs, dtype=np.float32)
        values = pa.FixedSizeListArray.from_arrays(pa.array(ordered.ravel()), len(self._labels))
        name = _shard_name(step)
        _write_parquet(self.path / name, pa.table({"id": self._id_column, "log_probs": values}))
        shard = {"step": step, "file": name, "rows": len(ids), "sha256": file_sha256(self.path / name)}
        self._manifest["shards"] = sorted([*self._manifest["shards"], shard], key=lambda s: s["step"])
        self._write_manifest()

    def drop_after(self, step: int) -> None:
        """Forget tracking points later than `step` (a resumed run measures them again); -1 forgets all."""
        gone = [s for s in self._manifest["shards"] if s["step"] > step]
        self._manifest["shards"] = [s for s in self._manifest["shards"] if s["step"] <= step]
        self._manifest["complete"] = False
        self._write_manifest()
        for shard in gone:
            (self.path / shard["file"]).unlink(missing_ok=True)

    def note(self, **facts: Any) -> None:
        """Add facts (JSON values) to the manifest's provenance."""
        self._manifest["provenance"] = {**self._manifest["provenance"], **facts}
        self._write_manifest()

    def finish(self) -> None:
        """Mark the store complete."""
        self._manifest["complete"] = True
        self._write_manifest()

    def _write_manifest(self) -> None:
        write_atomic(self.path / "manifest.json", json.dumps(self._manifest, indent=1, sort_keys=True) + "\n")


def load_curves(path: str | os.PathLike[str], *, partial: bool = False, verify: bool = True) -> Curves:
    """Open a curves store. Needs no torch.

    Args:
        path: a cell's folder (the one with `manifest.json`).
        partial: accept a run that has not ended.
        verify: check every file against its SHA-256.

    Raises:
        StoreError: nothing is stored there, the run has not ended, or a file is missing or damaged.
    """
    folder = Path(path)
    manifest = _read_manifest(folder)
    if not manifest["complete"] and not partial:
        raise StoreError(
            f"{folder} holds a run that has not ended ({len(manifest['shards'])} tracking points so far); "
            "finish it with `dissensus run`, or open it with load_curves(path, partial=True)"
        )
    shards = manifest["shards"]
    if not shards:
        raise StoreError(f"{folder} holds no tracking point yet")
    examples = _read_parquet(folder / "examples.parquet", manifest["examples_sha256"] if verify else None)
    ids = examples["id"].to_pylist()
    k = len(manifest["labels"])
    log_probs = np.empty((len(ids), len(shards), k), dtype=np.float32)
    for t, shard in enumerate(shards):
        table = _read_parquet(folder / shard["file"], shard["sha256"] if verify else None)
        if table["id"].to_pylist() != ids:
            raise StoreError(f"{folder / shard['file']} is damaged: its ids are not the tracked ones")
        log_probs[:, t, :] = (
            table["log_probs"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, k)
        )
    counts = np.array(examples["counts"].to_pylist(), dtype=np.float64).reshape(len(ids), k)
    return Curves(
        ids=tuple(ids),
        labels=tuple(manifest["labels"]),
        steps=np.array([s["step"] for s in shards], dtype=np.int64),
        total_steps=int(manifest["total_steps"]),
        log_probs=log_probs,
        gold=np.asarray(examples["gold"].to_numpy(), dtype=np.int64),
        counts=counts,
        regime=np.array(examples["regime"].to_pylist(), dtype=np.str_),
        covariates={
            c: np.asarray(examples[c].to_numpy(), dtype=np.float64)
            for c in examples.column_names
            if c not in _FIXED_COLUMNS
        },
        text=tuple(json.loads(t) for t in examples["text"].to_pylist()),
        provenance=manifest["provenance"],
    )


def _examples_table(
    dataset: AnnotatedDataset, regime: Sequence[str], covariates: Mapping[str, FloatArray]
) -> pa.Table:
    if len(regime) != len(dataset):
        raise StoreError(f"{len(regime)} regimes for {len(dataset)} examples; expected one each, or one")
    unknown = sorted(set(regime) - {"held_out", "trained_on"})
    if unknown:
        raise StoreError(f"regime is {unknown[0]!r}; expected 'held_out' or 'trained_on'")
    for name, values in covariates.items():
        if name in _FIXED_COLUMNS:
            raise StoreError(
                f"a covariate is named {name!r}, a column that every store has; choose another name "
                f"(taken: {', '.join(sorted(_FIXED_COLUMNS))})"
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


def _write_parquet(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())


def _read_parquet(path: Path, sha256: str | None) -> pa.Table:
    if not path.is_file():
        raise StoreError(f"{path} is missing though the manifest lists it; delete the folder, run again")
    if sha256 is not None and file_sha256(path) != sha256:
        raise StoreError(f"{path} is damaged: not the manifest's checksum; delete the folder, run again")
    try:
        return pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise StoreError(f"{path} is damaged: it is no Parquet file ({error})") from None


def _same_regimes(folder: Path, regimes: Sequence[str]) -> None:
    stored = _read_parquet(folder / "examples.parquet", None)["regime"].to_pylist()
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


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise StoreError(f"{folder} is no curves store (a cell's folder): it has no manifest.json")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested or with digits beyond reading
        raise StoreError(f"{path} is damaged: it is not JSON; delete the folder, run again") from None
    if not isinstance(manifest, dict) or "schema" not in manifest:
        raise StoreError(f"{path} is not a dissensus manifest: it names no schema")
    if manifest["schema"] != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema {manifest['schema']!r}; this version of dissensus reads schema {SCHEMA_VERSION}. "
            "Open it with the version that wrote it."
        )
    for key, (kind, word) in _MANIFEST_KINDS.items():
        value = manifest.get(key)
        fits = _is_int(value) if kind is int else isinstance(value, kind)
        if key == "labels" and isinstance(value, list):
            fits = all(isinstance(label, str) for label in value)
        if not fits:
            raise StoreError(
                f"{path} is damaged: {key!r} is {value!r:.60}; expected {word}; delete the folder, run again"
            )
    for shard in manifest["shards"]:
        if not _is_shard(shard):
            raise StoreError(
                f"{path} is damaged: it lists a tracking point as {shard!r:.120}; expected a step from 0, its rows, "
                "its sha256 and the file curves/step-<the step in 8 digits>.parquet; delete the folder, run again"
            )
    return manifest


def _is_shard(entry: Any) -> bool:
    """A store may come from anywhere: its manifest must not lead a reader, or `drop_after`, out of its folder."""
    if not isinstance(entry, dict) or not _is_int(step := entry.get("step")) or step < 0:
        return False
    facts = _is_int(entry.get("rows")) and isinstance(entry.get("sha256"), str)
    return facts and entry.get("file") == _shard_name(step)


def _is_int(value: object) -> TypeGuard[int]:
    """Whether a JSON value is a whole number; Python counts true and false among its ints."""
    return isinstance(value, int) and not isinstance(value, bool)


def _shard_name(step: int) -> str:
    return f"curves/step-{step:08d}.parquet"
