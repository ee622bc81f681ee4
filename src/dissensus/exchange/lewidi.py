"""Submission files of the LeWiDi 2025 tasks: a model's soft predictions, `ID TAB [p, ...]`, a line per item.

There is no file of the perspectivist track: a cell's model gives one distribution per item, and knows nothing of single
annotators. The same label for all of them would be a submission, but no prediction of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dissensus.curves import Curves, FloatArray
from dissensus.data.spelling import spelling_key
from dissensus.errors import DataError
from dissensus.stats.lewidi_measures import average_manhattan, average_wasserstein

DIGITS = 10
"""Decimals of a probability; they add up to 1 exactly, as the task's site asks."""
_SPLIT = re.compile(r"(train|dev|test|trial)-(.+)")


@dataclass(frozen=True)
class Task:
    """A data set of the shared task with one distribution per item.

    Attributes:
        labels: in the order of the file.
        measure: of its soft track.
    """

    labels: tuple[str, ...]
    measure: Literal["Manhattan", "Wasserstein"]


TASKS: Mapping[str, Task] = {
    "MP": Task(("0", "1"), "Manhattan"),
    "CSC": Task(tuple(map(str, range(7))), "Wasserstein"),
    "Paraphrase": Task(tuple(map(str, range(-5, 6))), "Wasserstein"),
}


@dataclass(frozen=True)
class Submission:
    """A file of the soft track.

    Attributes:
        name: as the task wants it.
        text: its content.
        items: its lines.
        measure: name of the task's measure.
        distance: of the annotators' shares, averaged over the items that have annotations; NaN where none has.
        annotated: these items.
    """

    name: str
    text: str
    items: int
    measure: str
    distance: float
    annotated: int


def soft_submission(curves: Curves, task_name: str, *, split: str | None = None) -> Submission:
    """The soft predictions at the one tracking point of `curves`, as the task's file.

    Args:
        curves: of one tracking point. Ids as our LeWiDi source gives them ('dev-17') lose the split.
        task_name: one of `TASKS`.
        split: of which items; None: of all, which must then be of one split.

    Raises:
        DataError: the task is VariErrNLI or unknown, a label is not the task's, ids are of several splits or none is
            of the one asked for, or a probability is not known.
    """
    if task_name not in TASKS:
        if task_name.casefold().startswith(("varierr", "ven")):
            raise DataError(
                "VariErrNLI asks for a distribution over yes and no for each of three labels, which annotators may "
                "give together; a cell's model divides one probability among them, which answers "
                "another question"
            )
        raise DataError(f"the task {task_name!r} is unknown; known: {', '.join(TASKS)}")
    task = TASKS[task_name]
    place = {spelling_key(label): k for k, label in enumerate(task.labels)}
    if other := [label for label in curves.labels if spelling_key(label) not in place]:
        raise DataError(
            f"the label {other[0]!r} is none of {task_name}'s, which are {', '.join(task.labels)}; this cell is of "
            "another data set, or of another form of it"
        )
    column = [place[spelling_key(label)] for label in curves.labels]
    rows, ids, split = _of_split(curves.ids, split)
    predictions, shares = np.zeros((len(rows), len(place))), np.zeros((len(rows), len(place)))
    with np.errstate(over="ignore"):
        predictions[:, column] = np.exp(curves.log_probs[rows, 0].astype(np.float64))
    unknown = np.flatnonzero(~np.isfinite(predictions).all(axis=1))
    if len(unknown):
        raise DataError(
            f"{len(unknown)} items (e.g. {ids[unknown[0]]!r}) have a label whose probability is not known, so that "
            "there is no distribution to hand in"
        )
    predictions = _exact(predictions / predictions.sum(axis=1, keepdims=True))
    counts = curves.counts[rows]
    asked = counts.sum(axis=1) > 0
    shares[:, column] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)
    distance = average_manhattan if task.measure == "Manhattan" else average_wasserstein
    lines = (
        f"{item}\t[{', '.join(f'{p:.{DIGITS}f}' for p in row)}]\n"
        for item, row in zip(ids, predictions.tolist(), strict=True)
    )
    return Submission(
        name=f"{task_name}_{split or 'test'}_soft.tsv",
        text="".join(lines),
        items=len(rows),
        measure=task.measure,
        distance=distance(shares[asked], predictions[asked]),
        annotated=int(asked.sum()),
    )


def _of_split(ids: Sequence[str], split: str | None) -> tuple[list[int], list[str], str | None]:
    """Places and the task's own ids of the items of one split, and which it is."""
    parts = [match.groups() if (match := _SPLIT.fullmatch(item)) else (None, item) for item in ids]
    known = list(dict.fromkeys(part for part, _ in parts))
    if split is None and len(known) > 1:
        raise DataError(
            f"the items are of several splits ({', '.join(part or 'none' for part in known)}), and a file is of one: "
            "give --split"
        )
    if split is not None and split not in known:
        raise DataError(
            f"no item is of the split {split!r}; there are: {', '.join(part or 'none' for part in known)}"
        )
    chosen = split if split is not None else known[0]
    rows = [row for row, (part, _) in enumerate(parts) if part == chosen]
    return rows, [str(parts[row][1]) for row in rows], chosen


def _exact(p: FloatArray) -> FloatArray:
    """Rounded to `DIGITS` decimals, with what rounding took away given to the largest of each row."""
    unit = 10**DIGITS
    whole = np.rint(p * unit).astype(np.int64)
    np.add.at(whole, (np.arange(len(p)), p.argmax(axis=1)), unit - whole.sum(axis=1))
    return np.asarray(whole / unit, dtype=np.float64)
