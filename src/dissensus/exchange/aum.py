"""Margins as asappresearch/aum records them: the assigned label's logit less the strongest other one's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves, FloatArray
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError
from dissensus.exchange.annotations import answers_for, label_names
from dissensus.exchange.aum_records import AumRecords, read_records, records_file
from dissensus.exchange.imported import Imported
from dissensus.files import file_sha256

TWO_LABELS = ("assigned", "strongest other")
MOST_LABELS = 10_000
"""A label's index beyond is a mistake, which must not become a column for each label below it."""

BOUND = (
    "AUM records the logits of the assigned label and of the strongest other one: the losses are exact for two labels; "
    "for more they are lower bounds, too low by at most log(K - 1) nats. Margins are exact"
)


def read_aum(
    path: str | os.PathLike[str],
    *,
    annotations: AnnotatedDataset | None = None,
    labels: Sequence[str] | None = None,
) -> Imported:
    """Curves from `full_aum_records.csv`, which an `AUMCalculator` with `compressed=False` writes.

    Each row is a sample at one of its updates: `sample_id`, `num_measurements` (from 1), `target_logit` and
    `other_logit` (label indices), `margin` m (difference of their logits). The m-th measurement of a sample is the
    tracking point at step m, and the most measurements that a sample has are the steps of the run.

    log p = log sigmoid(m) for the assigned label and log sigmoid(-m) for the other. That is exact for two labels; with
    K, the loss log(1 + sum over others of exp(other - assigned)) lies between log(1 + exp(-m)), which is what is
    stored, and log(1 + (K - 1) exp(-m)). `values["margin"]` keeps m, float32.

    The strongest other label may change from update to update, so that by default there are two columns, 'assigned'
    and 'strongest other', and 0 is the gold label throughout. With annotations or names of labels there is a column a
    label: labels other than those two have probability 0 (log p = -inf), which is what the bound takes them for, and
    their soft losses are infinite.

    A sample that was measured less often than others has NaN at its last points, whichever of the updates it missed;
    so has a margin that is not finite. Notes count both.

    Args:
        path: the file, or the folder that holds it.
        annotations: what annotators said of the samples, by the same ids; see `read_annotations`.
        labels: K names, in the order of the logits; default with annotations: '0', '1', ...

    Raises:
        DataError: no such file (or only `aum_values.csv`, which has no curves), a column is missing, a cell is no
            number, a measurement is there twice, the assigned label changes, or the labels and
            the annotations do not fit.

    Source: Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020, and the
    package published with it.
    """
    file = records_file(Path(path))
    records = read_records(file)
    n, points = len(records.ids), int(records.point.max()) + 1
    margins = np.full((n, points), np.nan)
    margins[records.row, records.point] = records.margin
    if annotations is None and not labels:
        names: tuple[str, ...] = TWO_LABELS
        gold = np.zeros(n, dtype=np.int64)
        other = np.ones(len(records.row), dtype=np.int64)
    else:
        names, gold, other = _names(records, labels, annotations), records.gold, records.other
    answers = answers_for(annotations, records.ids, names, gold)
    curves = Curves(
        ids=records.ids,
        labels=names,
        steps=np.arange(1, points + 1, dtype=np.int64),
        total_steps=points,
        log_probs=_log_probs(records, margins, gold, other, len(names)),
        gold=gold,
        counts=answers.counts,
        regime=np.full(n, "trained_on"),
        text=answers.text,
        provenance={
            "mode": "free",
            "source": "aum",
            "note": BOUND,
            "data_notes": list(answers.notes),
            "files": {file.name: file_sha256(file)},
        },
        values={"margin": margins.astype(np.float32)},
    )
    return Imported(curves, (BOUND, *_gaps(records, margins), *answers.notes))


def _names(
    records: AumRecords, labels: Sequence[str] | None, annotations: AnnotatedDataset | None
) -> tuple[str, ...]:
    """Names of all labels: those given, else numbers up to the highest that records or annotations have."""
    highest = max(int(records.gold.max()), int(records.other.max()))
    if labels:
        if highest >= len(labels):
            raise DataError(
                f"the records have the label index {highest}, but {len(labels)} labels are named: {', '.join(labels)}"
            )
        return label_names(len(labels), labels, annotations)
    if highest >= MOST_LABELS:
        raise DataError(f"the records have the label index {highest}; expected one below {MOST_LABELS}")
    numbers = [int(label) for label in annotations.labels if label.isdecimal()] if annotations else []
    return label_names(max(highest, *(k for k in numbers if k < MOST_LABELS)) + 1, None, annotations)


def _log_probs(
    records: AumRecords, margins: FloatArray, gold: NDArray[np.int64], other: NDArray[np.int64], k: int
) -> NDArray[np.float32]:
    """Shape (n, T, K): log sigmoid of the margin and of its negative, -inf for other labels, NaN without a margin."""
    log_probs = np.full((*margins.shape, k), -np.inf, dtype=np.float32)
    log_probs[np.isnan(margins)] = np.nan
    known = np.isfinite(records.margin)
    row, point, margin = records.row[known], records.point[known], records.margin[known]
    log_probs[row, point, gold[row]] = -np.logaddexp(0.0, -margin)
    log_probs[row, point, other[known]] = -np.logaddexp(0.0, margin)
    return log_probs


def _gaps(records: AumRecords, margins: FloatArray) -> list[str]:
    """Notes on samples that are not measured at every point."""
    notes = []
    measured = np.bincount(records.row, minlength=len(records.ids))
    short = np.flatnonzero(measured < margins.shape[1])
    if len(short):
        notes.append(
            f"{len(short)} of {len(records.ids)} samples have fewer than {margins.shape[1]} measurements, e.g. "
            f"{records.ids[short[0]]!r} with {measured[short[0]]}; their last points are NaN"
        )
    broken = int(np.isnan(records.margin).sum())
    if broken:
        notes.append(
            f"{broken} of {len(records.row)} measurements have a margin that is not finite; NaN there"
        )
    return notes
