"""Queue of a study: candidates become annotation tasks, the first N of them or a budget of labels spread over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dissensus.analysis.queue.criteria import CRITERIA, Candidate
from dissensus.analysis.queue.items import StudyItems, items_of
from dissensus.analysis.study_reading import KEPT, StudyReader
from dissensus.config import nearest
from dissensus.data.annotation_tasks import AnnotationTask
from dissensus.errors import SpecError
from dissensus.stats.label_budget import spread_labels


@dataclass(frozen=True)
class Queue:
    """The tasks of one data set of a study.

    Attributes:
        dataset: its name in the study.
        tasks: the most deserving first; with a budget, those with most labels first.
        candidates: items that the criterion ranks, of which the tasks are some.
        items: of the data set.
        notes: what to know of it, a sentence each.
    """

    dataset: str
    tasks: tuple[AnnotationTask, ...]
    candidates: int
    items: int
    notes: tuple[str, ...]


def queue_of(
    study: Path | StudyReader,
    by: str = "entropy",
    *,
    dataset: str | None = None,
    top: int | None = None,
    budget: int | None = None,
) -> Queue:
    """The items of a study that most deserve another look.

    Args:
        study: its folder, or what reads its cells.
        by: one of `CRITERIA`.
        dataset: name of a data set of the study; may be left out where there is one.
        top: so many items at most; None: all candidates.
        budget: labels to spread over those items by expected gain; items that get none are left out.

    Raises:
        SpecError: the criterion or the data set is unknown, or several data sets and none named.
        StoreError: no cell is complete.
        DataError: the criterion has no candidate.
    """
    if by not in CRITERIA:
        raise SpecError(f"the criterion {by!r} is unknown; {nearest(by, CRITERIA)}")
    items = items_of(StudyReader.at(study, keep=KEPT), dataset)
    ranking = CRITERIA[by](items)
    chosen = ranking.candidates[:top]
    tasks, notes = tasks_of(items, chosen, budget)
    return Queue(items.dataset, tasks, len(ranking.candidates), len(items), (*ranking.notes, *notes))


def tasks_of(
    items: StudyItems, candidates: Sequence[Candidate], budget: int | None = None
) -> tuple[tuple[AnnotationTask, ...], tuple[str, ...]]:
    """Tasks of candidates, in their order, or with a budget in the order of the labels they get; and what to know.

    Args:
        items: the data set.
        candidates: items of it, the most deserving first.
        budget: labels to spread over them; None: none are asked for in number.
    """
    tasks = [_task(items, candidate) for candidate in candidates]
    if budget is None or not tasks:
        return tuple(tasks), ()
    plan = spread_labels([task.votes for task in tasks], budget)
    wanted = [
        replace(
            task,
            labels_wanted=labels,
            why=f"{task.why}; share of {_top(task)!r} known to ±{before:.0%}, with {labels} more to ±{after:.0%}",
        )
        for task, labels, before, after in zip(
            tasks, plan.labels.tolist(), plan.before.tolist(), plan.after.tolist(), strict=True
        )
        if labels
    ]
    wanted.sort(key=lambda task: -(task.labels_wanted or 0))
    asked = plan.labels > 0
    mean = (plan.before[asked].mean(), plan.after[asked].mean()) if asked.any() else (0.0, 0.0)
    note = (
        f"{budget} labels over {len(wanted)} of {len(tasks)} candidates: there, the share of the most frequent label "
        f"is known to ±{mean[0]:.1%} now and to ±{mean[1]:.1%} then, on average"
    )
    return tuple(wanted), (note,)


def _top(task: AnnotationTask) -> str:
    """The most frequent label of an item; of equals the first."""
    return task.labels[task.votes.index(max(task.votes))]


def _task(items: StudyItems, candidate: Candidate) -> AnnotationTask:
    place = items.position[candidate.id]
    return AnnotationTask(
        id=candidate.id,
        text=items.text[place],
        labels=items.labels,
        votes=tuple(items.counts[place].tolist()),
        gold=items.gold_name(place),
        entropy=float(items.entropy[place]),
        score=candidate.score,
        why=candidate.why,
    )
