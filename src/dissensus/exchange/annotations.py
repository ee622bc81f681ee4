"""Annotations for curves whose tool knew gold labels alone: a table of who answered, joined by example id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dissensus.curves import FloatArray
from dissensus.data.annotations import NO_GOLD, AnnotatedDataset
from dissensus.data.sniff import sniff
from dissensus.data.sources.columns import conventional_columns
from dissensus.data.sources.reading import Record
from dissensus.data.sources.table import TableSource, build
from dissensus.data.sources.tabular import Table, read_table
from dissensus.data.spelling import match_ids
from dissensus.display import ShortRepr
from dissensus.errors import DataError
from dissensus.exchange.imported import NO_TEXT

_FEWEST_COMPARED = 6
"""Gold labels that are compared at least before an order of labels is called wrong."""


@dataclass(frozen=True, repr=False)
class Answers(ShortRepr):
    """The annotators' answers to n examples.

    Attributes:
        counts: annotators per label, shape (n, K); zero where nobody was asked.
        text: text fields of each example.
        notes: what to know about them.
    """

    counts: FloatArray
    text: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...]


def read_annotations(path: Path) -> AnnotatedDataset:
    """A file of annotations: any that `dissensus data check` reads, or a table with no text at all.

    Such a table has a column of ids (id, uid, guid, ...) and label_count, annotations, annotator1 ..., or
    label_dist and annotators. JSONL, CSV, TSV and Parquet are read.

    Raises:
        DataError: the file is missing or malformed, or its columns have other names.
    """
    try:
        return sniff(path)
    except DataError:
        without_text = _without_text(path)
        if without_text is None:
            raise
    table, spec = without_text
    return build(table, spec)


def _without_text(path: Path) -> tuple[Table, TableSource] | None:
    """A table with an empty text in each row, and its columns; None unless a text is all that it lacks."""
    try:
        table = read_table(path)
        if any(str(column).casefold() == "text" for column in table.columns):
            return None
        rows = (Record(r.path, r.place, {**r.values, **NO_TEXT}) for r in table.records)
        table = replace(table, records=tuple(rows))
        keys = conventional_columns(table)
    except DataError:
        return None
    if "annotation" in keys and "item" not in keys:
        return None  # one row per annotation: without texts, an id alone says of which item
    row = "annotations" if "annotation" in keys else "items"
    return table, TableSource.parse({"source": "table", "path": str(path), "rows": row, **keys}, str(path))


def label_names(
    size: int, labels: Sequence[str] | None, annotations: AnnotatedDataset | None
) -> tuple[str, ...]:
    """Names of the K = `size` labels that the tool knows by number: those given, else '0', '1', ...

    Raises:
        DataError: not K names, one of them twice, or the annotations know a label that is not among them.
    """
    names = tuple(labels) if labels else tuple(map(str, range(size)))
    if len(names) != size or len(set(names)) < size:
        raise DataError(
            f"the labels are given as {', '.join(names)}; expected {size} different names, in the order of the "
            "model's outputs"
        )
    unknown = [label for label in annotations.labels if label not in names] if annotations else []
    if unknown:
        raise DataError(
            f"the annotations of {annotations.name if annotations else ''!r} have the label {unknown[0]!r}, the curves "
            f"have {', '.join(names)}; give the names of the model's {size} outputs in their order (--labels)"
        )
    return names


def answers_for(
    annotations: AnnotatedDataset | None, ids: Sequence[str], labels: Sequence[str], gold: NDArray[np.int64]
) -> Answers:
    """The annotators' answers to the examples of these ids, shape (n, K) in the order of `labels`.

    Args:
        annotations: None if there are none: all counts are zero then, and a note says so.
        ids: of the n examples.
        labels: their K labels, those of the annotations among them.
        gold: label indices, shape (n,), with which the annotations' own gold labels are compared.

    Raises:
        DataError: no annotation belongs to any of the examples, an id could be joined with two, or most gold labels
            differ and would agree in another order of the labels.
    """
    n = len(ids)
    counts = np.zeros((n, len(labels)))
    if annotations is None:
        note = "no annotations were given, so the annotation entropy of every example is NaN"
        return Answers(counts, (NO_TEXT,) * n, (note,))
    column = np.array([list(labels).index(label) for label in annotations.labels])
    match = match_ids(ids, annotations.ids, f"the curves and the annotations of {annotations.name!r}")
    text: list[Mapping[str, str]] = [dict.fromkeys(annotations.fields, "")] * n
    annotated_gold = np.full(n, NO_GOLD)
    for row, example_id in enumerate(ids):
        if example_id in match.known:
            example = annotations[match.known[example_id]]
            counts[row, column] = example.counts
            text[row] = example.text
            annotated_gold[row] = NO_GOLD if example.gold is None else column[example.gold]
    both = (annotated_gold != NO_GOLD) & (gold != NO_GOLD)
    _refuse_permuted(gold[both], annotated_gold[both], labels, annotations.name)
    other_gold = int((annotated_gold[both] != gold[both]).sum())
    silent = np.flatnonzero(counts.sum(axis=1) == 0)
    if len(silent) == n:
        raise DataError(
            f"none of the {n} examples (e.g. {ids[0]!r}) has annotations in {annotations.name!r} (e.g. "
            f"{annotations.ids[0]!r}); expected a column 'id' with the same ids, and a column of label counts or of "
            "annotators' labels"
        )
    notes = [f"annotations: {note}" for note in (*annotations.notes, *match.notes("in the annotations"))]
    if len(silent):
        notes.append(
            f"{len(silent)} of {n} examples have no annotations, e.g. {ids[silent[0]]!r}; their entropy is NaN"
        )
    if other_gold:
        notes.append(
            f"{other_gold} of {n} examples have another gold label in the annotations; the one that the model was "
            "trained on is kept"
        )
    return Answers(counts, tuple(text), tuple(notes))


def _refuse_permuted(
    gold: NDArray[np.int64], annotated: NDArray[np.int64], labels: Sequence[str], name: str
) -> None:
    """Raise where most gold labels differ, and two thirds would agree if the labels stood in another order.

    `gold` is of the curves, `annotated` of the annotations: label indices, shape (n,). With few examples, any two
    columns agree in some order.
    """
    n, same = len(gold), int((gold == annotated).sum())
    if n < _FEWEST_COMPARED or same * 2 >= n:
        return
    pairs = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(pairs, (annotated, gold), 1)
    _, outputs = linear_sum_assignment(pairs, maximize=True)
    agreeing = int(pairs[np.arange(len(labels)), outputs].sum())
    if agreeing * 3 < n * 2:
        return
    order = [labels[k] for k in np.argsort(outputs)]
    raise DataError(
        f"{n - same} of {n} gold labels of the curves are others than those of the annotations in {name!r}. The labels "
        f"of the model's outputs were taken as {', '.join(labels)}; in the order {', '.join(order)}, {agreeing} of {n} "
        f"would agree. Give that order with `--labels {','.join(order)}` (in Python, `labels={order}`), or mend the "
        "annotations"
    )
