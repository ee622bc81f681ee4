"""Criteria of a queue: entropy, un-learning, a rejected gold label, triage. Each ranks items and says why for each."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.queue.items import StudyItems
from dissensus.analysis.triage import Triaged, triage_study
from dissensus.analysis.triage.kinds import MISLABELLED, NOT_TOLD
from dissensus.curves import FloatArray
from dissensus.errors import DataError
from dissensus.stats.label_budget import PRIOR
from dissensus.wording import number

DIVIDED = 0.25
"""Probability of a wrong label from which on an item with divided evidence is worth another look."""


@dataclass(frozen=True)
class Candidate:
    """An item that deserves another look.

    Attributes:
        id: of the item.
        score: what it is ranked by; its meaning is the criterion's.
        why: the reason, in words.
    """

    id: str
    score: float
    why: str


@dataclass(frozen=True)
class Ranking:
    """The candidates of a criterion.

    Attributes:
        candidates: the most deserving first.
        notes: what to know of the ranking, a sentence each.
    """

    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...] = ()


def by_entropy(items: StudyItems) -> Ranking:
    """Most disagreement first: by annotation entropy, of equals those with fewest annotations.

    The score is the entropy in bits. Items that nobody has annotated have none; they stand last.
    """
    most = math.log2(len(items.labels))
    unknown = np.isnan(items.entropy)
    order = np.lexsort((items.annotations, -np.where(unknown, -np.inf, items.entropy)))
    candidates = []
    for place in order.tolist():
        entropy, asked = float(items.entropy[place]), items.annotations[place]
        if math.isnan(entropy):
            why = "no annotator has answered yet"
        elif entropy == 0:
            why = f"all {asked:g} annotations agree" if asked > 1 else "one annotation only"
        else:
            why = f"annotators disagree: entropy {entropy:.2f} of at most {most:.2f} bits, {asked:g} annotations"
        candidates.append(Candidate(items.ids[place], entropy, why))
    silent = int(unknown.sum())
    notes = (f"{silent} of {len(items)} items have no annotations; they stand last",) if silent else ()
    return Ranking(tuple(candidates), notes)


def by_rejected(items: StudyItems) -> Ranking:
    """Items whose gold label fewer than half of the annotators chose, the surest rejection first.

    The score is 1 - (c + 1/2) / (n + K / 2), the expected share of annotators who would choose another label, when c of
    n chose the gold one of K labels (posterior mean under Jeffreys' prior): 0 of 50 ranks above 0 of 1.

    Raises:
        DataError: no item has a gold label and annotations, or no gold label is rejected.
    """
    share = items.gold_share
    if not np.isfinite(share).any():
        raise DataError(
            f"no item of {items.dataset} has a gold label and annotations, so that none can be rejected; "
            "rank by entropy instead: --by entropy"
        )
    chosen = share * items.annotations
    score = 1 - (chosen + PRIOR) / (items.annotations + PRIOR * len(items.labels))
    rejected = np.flatnonzero(share < 0.5)  # NaN is not below a half
    if not len(rejected):
        raise DataError(
            f"no gold label of {items.dataset} is rejected by most of its annotators; rank by entropy instead: "
            "--by entropy"
        )
    order = rejected[np.argsort(-score[rejected], kind="stable")]
    candidates = []
    for place in order.tolist():
        first = int(items.counts[place].argmax())
        instead = (
            f"; {items.labels[first]!r} has {items.counts[place, first]:g}"
            if first != items.gold[place]
            else ""
        )
        why = (
            f"{chosen[place]:g} of {items.annotations[place]:g} annotators chose the gold label "
            f"{items.gold_name(place)!r}{instead}"
        )
        candidates.append(Candidate(items.ids[place], float(score[place]), why))
    return Ranking(tuple(candidates))


def by_unlearning(items: StudyItems) -> Ranking:
    """Items whose loss on the gold label rose during training, the largest rise first.

    The score is the change of the loss from the first tracking point to the last, in nats: the mean over the seeds of
    each condition, then over conditions. Cells that learned nothing are left out (docs/design/learned.md), and said.

    Raises:
        DataError: no cell learned, or no loss rose.
    """
    changes: dict[str, list[FloatArray]] = defaultdict(list)
    flags: dict[str, list[FloatArray]] = defaultdict(list)
    conditions: dict[str, None] = {}
    reasons: list[str] = []
    for cell in items.readings():
        conditions[cell.spec.condition] = None
        if cell.learned_nothing:
            reasons += cell.learning.reasons
            continue
        shown, unlearning = cell.flag_shown, cell.metrics.unlearning
        places = np.array([items.position[item] for item in cell.ids.to_pylist()], dtype=np.int64)
        for column, values in ((changes, unlearning.delta), (flags, unlearning.flag.astype(np.float64))):
            row = np.full(len(items), np.nan)
            row[places] = np.where(shown, values, np.nan)
            column[cell.spec.condition].append(row)
    if not changes:
        raise DataError(
            f"nothing is un-learned where nothing was learned, and no cell of {items.dataset} learned"
            f"{f' ({reasons[0]})' if reasons else ''}. Train longer or at another rate, or rank by entropy: "
            "--by entropy"
        )
    change, measured = _mean_over_conditions(changes)
    flagged = np.sum([np.nan_to_num(_mean(rows)) >= 0.5 for rows in flags.values()], axis=0)
    rose = np.flatnonzero(change > 0)
    if not len(rose):
        raise DataError(
            f"no item's loss on the gold label rose in {items.dataset}; rank by entropy: --by entropy"
        )
    candidates = []
    for place in rose[np.argsort(-change[rose], kind="stable")].tolist():
        over = f"mean of {measured[place]} conditions" if measured[place] > 1 else "one condition"
        why = (
            f"loss on the gold label {items.gold_name(place)!r} rose by {number(float(change[place]))} nats in "
            f"training ({over}; un-learned in {flagged[place]})"
        )
        candidates.append(Candidate(items.ids[place], float(change[place]), why))
    silent = len(conditions) - len(changes)
    notes = (f"{silent} of {len(conditions)} conditions learned nothing and are left out",) if silent else ()
    return Ranking(tuple(candidates), notes)


def by_triage(items: StudyItems) -> Ranking:
    """Items whose label is probably wrong, the surest first; after them those on which the evidence is divided.

    The score is the probability that the label is mislabelled (`analysis.triage`), of an item with both regimes the
    larger one.

    Raises:
        DataError: no label is suspect.
    """
    best: dict[str, Triaged] = {}
    for row in triage_study(items.reader.all()):
        if row.dataset == items.dataset and (row.id not in best or row.suspicion > best[row.id].suspicion):
            best[row.id] = row
    divided = [row for row in best.values() if row.kind == NOT_TOLD and row.suspicion >= DIVIDED]
    suspects = [row for row in best.values() if row.kind == MISLABELLED]
    if not suspects and not divided:
        raise DataError(
            f"triage finds no label of {items.dataset} that is probably wrong; rank by entropy instead: --by entropy"
        )
    ranked = [
        *sorted(suspects, key=lambda row: -row.suspicion),
        *sorted(divided, key=lambda row: -row.suspicion),
    ]
    notes = (
        f"{len(suspects)} labels are probably wrong; on {len(divided)} more the evidence is divided, and they follow",
    )
    return Ranking(tuple(Candidate(row.id, row.suspicion, _with_label(row)) for row in ranked), notes)


def _with_label(row: Triaged) -> str:
    return row.why if row.label is None else f"Perhaps {row.label!r}. {row.why}"


CRITERIA: Mapping[str, Callable[[StudyItems], Ranking]] = {
    "entropy": by_entropy,
    "unlearning": by_unlearning,
    "rejected": by_rejected,
    "triage": by_triage,
}


def _mean_over_conditions(
    changes: Mapping[str, Sequence[FloatArray]],
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Mean over conditions of the means over seeds, shape (n,), and of how many conditions it is."""
    means = [_mean(rows) for rows in changes.values()]
    return _mean(means), np.asarray(np.isfinite(means).sum(axis=0), dtype=np.int64)


def _mean(rows: Sequence[FloatArray]) -> FloatArray:
    """Mean over the finite values of each column, NaN where there is none."""
    values = np.stack(rows)
    known = np.isfinite(values)
    mean = np.full(values.shape[1], np.nan)
    np.divide(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0), out=mean, where=known.any(axis=0))
    return mean
