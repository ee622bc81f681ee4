"""Notes on the data in sentences: ties, single annotations, repeated texts, left-out rows.

Notes stand in a store's manifest (`data_notes`), are printed by `dissensus run` and `dissensus data check`, and are no
part of a data set's fingerprint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dissensus.data.annotations import AnnotatedDataset


AS_MANY = 1 - 1e-9
"""Of the highest count: a count above this share of it is as high. Answers of 1/k each, added in another order, differ
by rounding."""


def is_tie(counts: Sequence[float]) -> bool:
    """Whether two labels or more share the highest count, and somebody was asked."""
    top = max(counts, default=0.0)
    return top > 0 and sum(count >= top * AS_MANY for count in counts) > 1


def tie_note(
    ties: int,
    labels: Sequence[str],
) -> str:
    """The note on gold labels that are the first of several most frequent ones."""
    have = "item has" if ties == 1 else "items have"
    return (
        f"{ties} {have} a tie for the most frequent label; the first in label order was taken "
        f"({_few(labels)})"
    )


def _few(labels: Sequence[str]) -> str:
    return ", ".join(labels[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")


_SHOWN = 12


def tie_notes(counts: Iterable[Sequence[float]], labels: Sequence[str]) -> tuple[str, ...]:
    """`tie_note` where gold is the majority of `counts`; nothing without a tie."""
    ties = sum(map(is_tie, counts))
    return (tie_note(ties, labels),) if ties else ()


def no_label_notes(labels: Sequence[str], n_answers: int, *, named: bool) -> list[str]:
    """A sentence where labels look like scores or like free text; `named`: the study lists the labels."""
    if len(labels) <= MANY_LABELS:
        return []
    if all(map(is_number, labels)) and not all(float(label).is_integer() for label in labels):
        return [
            f"{len(labels)} different numbers, such as {labels[1]!r}, look like scores; each counts as a label"
        ]
    if not named and len(labels) * 2 > n_answers:
        return [
            f"{len(labels)} different labels in {n_answers} answers, such as {labels[0][:60]!r}, look like free text; "
            "each counts as a label"
        ]
    return []


MANY_LABELS = 10
"""Above it, numbers with fractions, or labels that hardly repeat, may be no labels."""


def is_number(label: str) -> bool:
    """Whether a label is a number as Python reads it."""
    try:
        float(label)
    except ValueError:
        return False
    return True


def facts(dataset: AnnotatedDataset) -> tuple[str, ...]:
    """What the counts and texts themselves say that bears on entropy and on the split into groups.

    Ties stand among a loader's notes where it took the majority for gold. Where it did not, they matter if the analysis
    does (`analysis: {gold: majority}`).
    """
    counts = dataset.counts
    totals = counts.sum(axis=1)
    n = len(dataset)
    sentences = []
    unannotated = int((totals == 0).sum())
    if unannotated == n:
        sentences.append("no item has annotations, so that entropy is not defined")
    elif unannotated:
        sentences.append(f"{unannotated} of {n} items have no annotations; their entropy is not defined")
    single = int((totals == 1).sum())
    if single and single == n - unannotated:
        sentences.append("every annotated item has one annotation: entropy is 0 everywhere and ranks nothing")
    elif single:
        sentences.append(f"{single} of {n} items have one annotation; their entropy is 0")
    if bool((counts != np.round(counts)).any()):
        sentences.append(
            "some counts are not whole numbers: shares times a number of annotators, or shared votes"
        )
    ties = sum(map(is_tie, counts.tolist()))
    if ties and not any("a tie for" in note for note in dataset.notes):
        sentences.append(
            f"{ties} of {n} items have a tie for the most frequent label; where the majority is taken for gold, the "
            f"first in label order is ({_few(dataset.labels)})"
        )
    times = Counter(example.joined_text for example in dataset)
    repeated = [count for count in times.values() if count > 1]
    if repeated:
        sentences.append(
            f"{sum(repeated)} of {n} items share their text with another ({len(repeated)} texts)"
        )
    return tuple(sentences)
