"""Queue of a study: who is ranked, in which order, and why."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.analysis.queue.tasks import queue_of
from dissensus.curves import Curves
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, SpecError, StoreError
from dissensus.exchange.imported import write_store
from synthetic_study import LABELS, dataset, made_losses, study_spec, write_study


def with_counts(
    counts: dict[int, tuple[float, float, float]], n: int = 60, **changes: Any
) -> AnnotatedDataset:
    """The made data set with other votes for some items."""
    data = dataset(n)
    examples = [
        replace(example, counts=counts.get(i, example.counts), **changes) for i, example in enumerate(data)
    ]
    return AnnotatedDataset("made", LABELS, tuple(examples))


def test_by_entropy_the_most_contested_come_first_and_of_equals_the_least_asked(tmp_path: Path) -> None:
    counts = {
        7: (50.0, 50.0, 0.0),
        8: (34.0, 33.0, 33.0),
        9: (1.0, 1.0, 1.0),
        10: (10.0, 10.0, 10.0),
        11: (0.0,) * 3,
    }
    write_study(tmp_path, study_spec(), data=with_counts(counts))
    queue = queue_of(tmp_path, "entropy")
    ids = [task.id for task in queue.tasks]
    assert ids[:3] == ["item-00009", "item-00010", "item-00008"]
    assert (len(ids), queue.items, queue.candidates) == (60, 60, 60)
    assert ids[-1] == "item-00011"
    assert queue.tasks[-1].why == "no annotator has answered yet"
    assert "1 of 60 items have no annotations" in queue.notes[0]
    first = queue.tasks[0]
    assert first.score == pytest.approx(np.log2(3))
    assert first.why == "annotators disagree: entropy 1.58 of at most 1.58 bits, 3 annotations"
    assert first.votes_in_words == "entailment 1, neutral 1, contradiction 1"
    assert first.text["premise"] == "A scene, the 2th."
    assert [task.id for task in queue_of(tmp_path, top=2).tasks] == ids[:2]


def test_by_rejected_the_surest_rejection_comes_first(tmp_path: Path) -> None:
    agreed = dict.fromkeys(range(60), (5.0, 0.0, 0.0))
    counts = {**agreed, 3: (0.0, 1.0, 0.0), 4: (2.0, 90.0, 8.0), 5: (2.0, 2.0, 0.0)}
    write_study(tmp_path, study_spec(), data=with_counts(counts))
    queue = queue_of(tmp_path, "rejected")
    assert [task.id for task in queue.tasks] == ["item-00004", "item-00003"]  # half and half is not rejected
    assert queue.tasks[0].score == pytest.approx(1 - 2.5 / 101.5)
    assert queue.tasks[0].why == "2 of 100 annotators chose the gold label 'entailment'; 'neutral' has 90"


def test_by_unlearning_the_largest_mean_rise_comes_first(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec())
    queue = queue_of(tmp_path, "unlearning")
    rises = []
    for number in range(2):
        losses = made_losses(60, 6, number)
        rises.append(losses[:, -1] - losses[:, 0])
    mean = np.mean(rises, axis=0)
    order = [f"item-{i:05d}" for i in np.argsort(-mean) if mean[i] > 0]
    assert [task.id for task in queue.tasks] == order
    assert queue.tasks[0].score == pytest.approx(mean.max(), abs=1e-6)
    assert queue.tasks[0].why == (
        f"loss on the gold label 'entailment' rose by {mean.max():.2f} nats in training (mean of 2 conditions; "
        "un-learned in 2)"
    )


def tweets(learns: bool) -> Curves:
    """240 settled tweets, a fifth of label 1. What learns nothing drifts to the label shares: label 1's loss rises.

    What learns gets surer of the gold label, but for the last tweet.
    """
    n, u = 240, np.linspace(0, 1, 7)
    gold = (np.arange(n) % 5 == 4).astype(np.int64)
    p0 = np.broadcast_to(0.5 + 0.2 * u, (n, 7))
    if learns:
        p0 = np.where(gold[:, None] == 0, 0.5 + 0.45 * u, 0.5 - 0.45 * u)
        p0[-1] = 0.5 + 0.45 * u
    return Curves(
        ids=tuple(f"tweet-{i}" for i in range(n)),
        labels=("0", "1"),
        steps=np.arange(7) * 4,
        total_steps=24,
        log_probs=np.log(np.stack([p0, 1 - p0], axis=2)).astype(np.float32),
        gold=gold,
        counts=np.stack([3.0 * (gold == 0), 3.0 * (gold == 1)], axis=1),
        regime=np.full(n, "held_out"),
        text=tuple({"text": f"The words of number {i}."} for i in range(n)),
    )


def write_tweets(root: Path, learns: Sequence[bool]) -> None:
    """The made study with these curves in its two cells."""
    for name, learned in zip(write_study(root, study_spec()), learns, strict=True):
        folder = root / "cells" / name
        write_store(tweets(learned), root / name)
        for part in ("curves", "examples.parquet", "manifest.json"):
            shutil.rmtree(folder / part) if (folder / part).is_dir() else (folder / part).unlink()
            (root / name / part).rename(folder / part)


def test_what_learned_nothing_is_left_out_of_unlearning_or_refused(tmp_path: Path) -> None:
    write_tweets(tmp_path / "one", (True, False))
    queue = queue_of(tmp_path / "one", "unlearning")
    assert queue.notes == ("1 of 2 conditions learned nothing and are left out",)
    assert [task.id for task in queue.tasks] == [
        "tweet-239"
    ]  # not the 48 whose loss rose where nothing was learned
    assert "(one condition; un-learned in 1)" in queue.tasks[0].why
    write_tweets(tmp_path / "none", (False, False))
    with pytest.raises(DataError, match=r"no cell of snli learned \(.*--by entropy"):
        queue_of(tmp_path / "none", "unlearning")


def test_a_budget_is_spent_and_said_item_by_item(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec(), data=with_counts({5: (1.0, 1.0, 0.0), 6: (0.0, 0.0, 0.0)}))
    queue = queue_of(tmp_path, budget=10)
    assert sum(task.labels_wanted or 0 for task in queue.tasks) == 10
    assert {task.id for task in queue.tasks} >= {"item-00005", "item-00006"}
    labels = [task.labels_wanted or 0 for task in queue.tasks]
    assert labels == sorted(labels, reverse=True)
    assert all(labels)
    assert "; share of 'entailment' known to ±30%, with " in queue.tasks[0].why
    assert queue.notes[-1].startswith(f"10 labels over {len(labels)} of 60 candidates")
    assert len(queue_of(tmp_path, top=1, budget=10).tasks) == 1


def test_what_is_refused(tmp_path: Path) -> None:
    study = study_spec()
    two = study_spec(
        datasets=[study.datasets[0].model_dump(), {**study.datasets[0].model_dump(), "name": "other"}]
    )
    write_study(tmp_path / "two", two, data=with_counts(dict.fromkeys(range(60), (5.0, 0.0, 0.0))))
    with pytest.raises(SpecError, match="--dataset, one of snli, other"):
        queue_of(tmp_path / "two")
    with pytest.raises(SpecError, match="no data set 'mnli'; it has: snli, other"):
        queue_of(tmp_path / "two", dataset="mnli")
    assert queue_of(tmp_path / "two", dataset="other").dataset == "other"
    with pytest.raises(SpecError, match="did you mean 'entropy'"):
        queue_of(tmp_path / "two", "entrpy", dataset="snli")
    with pytest.raises(DataError, match="no gold label of snli is rejected"):
        queue_of(tmp_path / "two", "rejected", dataset="snli")
    write_study(tmp_path / "failed", study, failed=(0, 1))
    with pytest.raises(StoreError, match="no completed cell"):
        queue_of(tmp_path / "failed")
