"""Check of a data set before anything is trained on it: `dissensus data check FILE`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from dissensus.data.agreement import annotation_entropy, gold_share
from dissensus.data.annotations import NO_GOLD, AnnotatedDataset
from dissensus.data.annotators.summary import summarise
from dissensus.data.notes import is_tie
from dissensus.data.sniff import sniff

__all__ = ["DataReport", "LabelReport", "check_dataset", "sniff"]

BINS = 10
_SHOWN = 5


@dataclass(frozen=True)
class LabelReport:
    """One label.

    Attributes:
        label: its name.
        gold: examples whose gold label it is.
        gold_share: of the examples that have a gold label; NaN if none has.
        annotations: annotations that chose it (a sum of counts, so perhaps fractional).
        annotation_share: of all annotations; NaN if there are none.
    """

    label: str
    gold: int
    gold_share: float
    annotations: float
    annotation_share: float


@dataclass(frozen=True)
class DataReport:
    """What `check_dataset` found.

    Attributes:
        name: of the data set.
        notes: what its loader had to say.
        rows: examples.
        fields: names of the text fields.
        labels: one entry per label, in label order.
        annotators: fewest, median and most annotations per item, over items that have any; None if none has.
        named_annotators: different annotators known by name.
        disagreement: whether it is people or noise, in a sentence (`annotators.summary`); "" without two annotations of
            an item.
        flagged: the flagged annotators, a sentence each.
        dispersion: mean ordinal dispersion in [0, 1]; NaN unless the labels are an ordered scale.
        without_annotations: items that nobody annotated.
        single_annotations: items with one annotation.
        without_gold: items without a gold label.
        tied: items of which two labels or more share the highest count.
        entropy_edges: edges of the histogram's bins, in bits: ten equal ones from 0 to log2 of the label count.
        entropy_histogram: items in each bin; the last bin holds its upper edge.
        entropy_mean: mean annotation entropy in bits over items with annotations; NaN if there are none.
        repeated_texts: texts that more than one item has (case and spacing ignored).
        repeated_items: items that share their text with another.
        conflicting_texts: of the repeated texts, those whose items differ in the gold label.
        repeated_ids: a few ids of such items.
        empty_texts: items of which a text field is blank.
        empty_ids: a few of their ids.
        rejected_gold: items whose gold label fewer than half of the annotators chose.
        rejected_ids: those of them whose gold label has the smallest share, a few.
    """

    name: str
    notes: tuple[str, ...]
    rows: int
    fields: tuple[str, ...]
    labels: tuple[LabelReport, ...]
    annotators: tuple[float, float, float] | None
    named_annotators: int
    disagreement: str
    flagged: tuple[str, ...]
    dispersion: float
    without_annotations: int
    single_annotations: int
    without_gold: int
    tied: int
    entropy_edges: tuple[float, ...]
    entropy_histogram: tuple[int, ...]
    entropy_mean: float
    repeated_texts: int
    repeated_items: int
    conflicting_texts: int
    repeated_ids: tuple[str, ...]
    empty_texts: int
    empty_ids: tuple[str, ...]
    rejected_gold: int
    rejected_ids: tuple[str, ...]


def check_dataset(dataset: AnnotatedDataset) -> DataReport:
    """Count what is in a data set and what may be wrong with it. Pure; nothing is changed."""
    counts, gold = dataset.counts, dataset.gold
    totals = counts.sum(axis=1)
    annotated = totals[totals > 0]
    entropy = annotation_entropy(counts)
    known = entropy[~np.isnan(entropy)]
    edges = np.linspace(0.0, np.log2(len(dataset.labels)), BINS + 1)
    histogram, _ = np.histogram(np.minimum(known, edges[-1]), edges)
    shares = gold_share(counts, gold)
    rejected = np.flatnonzero(shares < 0.5)  # NaN is not below a half
    worst = rejected[np.argsort(shares[rejected], kind="stable")]
    empty = [e.id for e in dataset if not all(text.strip() for text in e.text.values())]
    same: dict[str, list[int]] = defaultdict(list)
    for row, example in enumerate(dataset):
        same[example.joined_text].append(row)
    repeated = [rows for rows in same.values() if len(rows) > 1]
    ids = dataset.ids
    people = summarise(dataset)
    return DataReport(
        name=dataset.name,
        notes=dataset.notes,
        rows=len(dataset),
        fields=dataset.fields,
        labels=_label_reports(dataset),
        annotators=(float(annotated.min()), float(np.median(annotated)), float(annotated.max()))
        if len(annotated)
        else None,
        named_annotators=len(people.rows),
        disagreement=people.verdict,
        flagged=tuple(row.sentence for row in people.flagged),
        dispersion=people.dispersion,
        without_annotations=int((totals == 0).sum()),
        single_annotations=int((totals == 1).sum()),
        without_gold=int((gold == NO_GOLD).sum()),
        tied=sum(map(is_tie, counts.tolist())),
        entropy_edges=tuple(float(edge) for edge in edges),
        entropy_histogram=tuple(int(n) for n in histogram),
        entropy_mean=float(known.mean()) if len(known) else float("nan"),
        repeated_texts=len(repeated),
        repeated_items=sum(map(len, repeated)),
        conflicting_texts=sum(len({int(gold[row]) for row in rows}) > 1 for rows in repeated),
        repeated_ids=tuple(ids[row] for rows in repeated for row in rows)[:_SHOWN],
        empty_texts=len(empty),
        empty_ids=tuple(empty[:_SHOWN]),
        rejected_gold=len(rejected),
        rejected_ids=tuple(ids[row] for row in worst[:_SHOWN]),
    )


def _label_reports(dataset: AnnotatedDataset) -> tuple[LabelReport, ...]:
    chosen = dataset.counts.sum(axis=0)
    golds = np.bincount(dataset.gold[dataset.gold != NO_GOLD], minlength=len(dataset.labels))
    with np.errstate(invalid="ignore"):
        chosen_share, gold_shares = chosen / chosen.sum(), golds / golds.sum()
    return tuple(
        LabelReport(label, int(golds[k]), float(gold_shares[k]), float(chosen[k]), float(chosen_share[k]))
        for k, label in enumerate(dataset.labels)
    )
