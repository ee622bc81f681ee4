"""Training dynamics as allenai/cartography logs them: the logits of every training example, epoch by epoch."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves, FloatArray
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.reading import Record, read_jsonl, shown
from dissensus.errors import DataError
from dissensus.exchange.annotations import answers_for, label_names
from dissensus.exchange.imported import Imported
from dissensus.files import file_sha256

_EPOCH = re.compile(r"dynamics_epoch_(\d+)\.jsonl")

WHEN = (
    "cartography records an example's logits in the training step that it is in: with dropout, and with weights that "
    "change within the epoch. There is no point before training"
)


def read_cartography(
    path: str | os.PathLike[str],
    *,
    annotations: AnnotatedDataset | None = None,
    labels: Sequence[str] | None = None,
    steps_per_epoch: int = 1,
) -> Imported:
    """Curves from the files `training_dynamics/dynamics_epoch_0.jsonl`, `..._1.jsonl`, ...

    Each line is an example of that epoch: `guid`, `gold` (a label's index) and `logits_epoch_0` (K numbers; the key
    ends in the epoch). log p = log softmax of the logits. The file of epoch e, counted from 0, is the tracking point
    at step (e + 1) x `steps_per_epoch`, and the last one the end of the run; there is no step 0.

    An example that an epoch lacks, or whose logits are null there (not finite), has NaN at that point; a note counts
    them.

    Args:
        path: the folder of these files, or the one in which it is `training_dynamics`.
        annotations: what annotators said of the examples, by the same ids; see `read_annotations`.
        labels: K names, in the order of the logits; default: '0', '1', ...
        steps_per_epoch: optimiser steps of an epoch; 1 counts in epochs.

    Raises:
        DataError: no such file, one between others is missing, a line is malformed, an epoch holds an id twice, the
            number of logits differs, a gold label is not below it or changes between epochs, or the
            labels and the annotations do not fit.

    Source: Swayamdipta et al., "Dataset Cartography", EMNLP 2020, and the code published with it.
    """
    if steps_per_epoch < 1:
        raise DataError(f"steps_per_epoch is {steps_per_epoch}; expected a whole number of at least 1")
    files = _epoch_files(Path(path))
    seen = _ReadSoFar()
    epochs = [_read_epoch(file, epoch, seen) for epoch, file in enumerate(files)]
    n, k = len(seen.row), seen.size
    logits = np.full((n, len(files), k), np.nan)
    for epoch, (rows, values) in enumerate(epochs):
        logits[rows, epoch] = values
    names = label_names(k, labels, annotations)
    gold = np.array(seen.gold, dtype=np.int64)
    ids = tuple(seen.row)
    answers = answers_for(annotations, ids, names, gold)
    curves = Curves(
        ids=ids,
        labels=names,
        steps=np.arange(1, len(files) + 1, dtype=np.int64) * steps_per_epoch,
        total_steps=len(files) * steps_per_epoch,
        log_probs=_log_softmax(logits).astype(np.float32),
        gold=gold,
        counts=answers.counts,
        regime=np.full(n, "trained_on"),
        text=answers.text,
        provenance={
            "mode": "free",
            "source": "cartography",
            "note": WHEN,
            "steps_per_epoch": steps_per_epoch,
            "data_notes": list(answers.notes),
            "files": {file.name: file_sha256(file) for file in files},
        },
    )
    present = np.zeros((n, len(files)), dtype=np.bool_)
    for epoch, (rows, _) in enumerate(epochs):
        present[rows, epoch] = True
    return Imported(curves, (WHEN, *_gaps(logits, present, ids), *answers.notes))


@dataclass
class _ReadSoFar:
    """What the lines so far have said: places and gold labels of the examples, and K (0: not known yet)."""

    row: dict[str, int] = field(default_factory=dict)
    gold: list[int] = field(default_factory=list)
    size: int = 0


def _epoch_files(path: Path) -> list[Path]:
    folder = path / "training_dynamics" if (path / "training_dynamics").is_dir() else path
    if not folder.is_dir():
        raise DataError(
            f"{path} is not a folder; expected the one that holds dynamics_epoch_0.jsonl and its likes"
        )
    by_epoch = {int(m[1]): file for file in sorted(folder.iterdir()) if (m := _EPOCH.fullmatch(file.name))}
    if not by_epoch:
        raise DataError(f"{folder} holds no dynamics_epoch_0.jsonl; expected one such file per epoch")
    missing = [epoch for epoch in range(max(by_epoch) + 1) if epoch not in by_epoch]
    if missing:
        raise DataError(
            f"{folder} has dynamics_epoch_{max(by_epoch)}.jsonl but no dynamics_epoch_{missing[0]}.jsonl; "
            "expected every epoch from 0"
        )
    return [by_epoch[epoch] for epoch in range(len(by_epoch))]


def _read_epoch(file: Path, epoch: int, seen: _ReadSoFar) -> tuple[list[int], FloatArray]:
    """Places of the file's examples, and their logits, shape (lines, K)."""
    rows: list[int] = []
    values: list[list[float]] = []
    in_file: set[str] = set()
    for record in read_jsonl(file):
        example_id = _id(record)
        if example_id in in_file:
            raise record.error(f"the id {example_id!r} is there twice; expected each example once per epoch")
        in_file.add(example_id)
        logits = _logits(record, f"logits_epoch_{epoch}")
        seen.size = seen.size or len(logits)
        if len(logits) != seen.size:
            raise record.error(
                f"{example_id!r} has {len(logits)} logits, those before it have {seen.size}; expected as many for all"
            )
        gold = record.need("gold")
        if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < seen.size:
            raise record.error(
                f"'gold' is {shown(gold)}; expected a label's index, 0 to {seen.size - 1}, of {seen.size} logits"
            )
        row = seen.row.setdefault(example_id, len(seen.row))
        if row == len(seen.gold):
            seen.gold.append(gold)
        elif seen.gold[row] != gold:
            raise record.error(
                f"{example_id!r} has the gold label {gold}, in an earlier epoch {seen.gold[row]}; expected one"
            )
        rows.append(row)
        values.append(logits)
    return rows, np.array(values, dtype=np.float64).reshape(len(rows), -1)


def _id(record: Record) -> str:
    value: Any = record.need("guid")
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise record.error(f"'guid' is {shown(value)}; expected a text or a number")
    return str(value)


def _logits(record: Record, key: str) -> list[float]:
    """Logits of one line; NaN for null, which is how the tool's library writes what is not finite."""
    values = record.need(key)
    numbers = isinstance(values, list) and all(
        g is None or (isinstance(g, int | float) and not isinstance(g, bool)) for g in values
    )
    if not numbers or len(values) < 2:
        raise record.error(
            f"{key!r} is {shown(values)}; expected a list of numbers, one per label, at least two"
        )
    try:
        logits = [math.nan if g is None else float(g) for g in values]
    except OverflowError:  # a whole number of hundreds of digits
        raise record.error(f"{key!r} holds a number beyond reading: {shown(values)}") from None
    return [g if math.isfinite(g) else math.nan for g in logits]


def _log_softmax(logits: FloatArray) -> FloatArray:
    """Log-probabilities, over the last axis; NaN throughout where one logit is."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _gaps(logits: FloatArray, present: NDArray[np.bool_], ids: Sequence[str]) -> list[str]:
    """Notes on examples that are not there at every point."""
    notes = []
    if not present.all():
        row, epoch = (int(place) for place in np.argwhere(~present)[0])
        notes.append(
            f"{int((~present).sum())} of {present.size} (example, epoch) pairs are in no file, e.g. {ids[row]!r} in "
            f"epoch {epoch}; NaN there"
        )
    broken = int((present & np.isnan(logits).any(axis=2)).sum())
    if broken:
        notes.append(f"{broken} of {int(present.sum())} lines have logits that are not finite; NaN there")
    return notes
