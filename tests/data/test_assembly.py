"""What a cell tracks and what it trains on: sampling, exclusions, and no leak of held-out text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.config import DatasetSpec
from dissensus.config.sources import SourceSpec
from dissensus.data.agreement import annotation_entropy
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.assembly import assemble, stratified_sample
from dissensus.data.sources import load_source
from dissensus.errors import DataError, SpecError


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def row(number: int, premise: str, label: str | None = "a", *, prefix: str = "t") -> dict[str, Any]:
    return {
        "id": f"{prefix}{number}",
        "premise": premise,
        "hypothesis": f"h {number}",
        "gold": label,
        "counts": [3, 1],
    }


def spec(
    tmp_path: Path, tracked: list[dict[str, Any]], pool: list[dict[str, Any]] | None, **more: Any
) -> DatasetSpec:
    def table(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "source": "table",
            "path": write(tmp_path / f"{name}.jsonl", rows),
            "id": "id",
            "text": ["premise", "hypothesis"],
            "labels": ["a", "b"],
            "gold": "gold",
            "counts": "counts",
        }

    train = {} if pool is None else {"train": table("pool", pool)}
    return DatasetSpec.parse({"name": "d", "tracked": table("tracked", tracked), **train, **more}, "test")


TRACKED = [row(i, f"premise {i}") for i in range(4)]
POOL = [row(i + 10, f"other {i}", prefix="p") for i in range(20)]


def test_held_out_trains_on_the_pool_alone(tmp_path: Path) -> None:
    data = assemble(spec(tmp_path, TRACKED, POOL), "held_out", sample_seed=0)
    assert data.tracked.ids == ("t0", "t1", "t2", "t3")
    assert len(data.train) == 20
    assert not set(data.train.ids) & set(data.tracked.ids)


def test_trained_on_adds_the_tracked_examples(tmp_path: Path) -> None:
    data = assemble(spec(tmp_path, TRACKED, POOL, train_size=5), "trained_on", sample_seed=0)
    assert len(data.train) == 9
    assert set(data.tracked.ids) <= set(data.train.ids)
    alone = assemble(spec(tmp_path, TRACKED, None), "trained_on", sample_seed=0)
    assert alone.train.ids == alone.tracked.ids


def test_the_draw_depends_on_the_seed_and_on_nothing_else(tmp_path: Path) -> None:
    size = spec(tmp_path, TRACKED, POOL, train_size=6)
    first, again, other = (assemble(size, "held_out", sample_seed=s).train.ids for s in (1, 1, 2))
    assert first == again != other


def test_a_held_out_text_in_the_training_set_is_an_error(tmp_path: Path) -> None:
    # Same text as tracked t1 but for case and spacing: still the same text.
    leak = {**row(1, "PREMISE  1", prefix="leak")}
    with pytest.raises(DataError, match=r"'t1'.*exclude_shared"):
        assemble(spec(tmp_path, TRACKED, [*POOL, leak]), "held_out", sample_seed=0)
    mended = spec(tmp_path, TRACKED, [*POOL, leak], exclude_shared=["premise"])
    data = assemble(mended, "held_out", sample_seed=0)
    assert "leak1" not in data.train.ids
    assert data.dropped_shared == 1


def test_trained_on_never_trains_on_a_text_twice(tmp_path: Path) -> None:
    data = assemble(
        spec(tmp_path, TRACKED, [*POOL, row(1, "premise 1", prefix="copy")]), "trained_on", sample_seed=0
    )
    texts = [e.joined_text for e in data.train]
    assert len(texts) == len(set(texts))
    assert "t1" in data.train.ids


def test_shared_ids_of_different_examples_are_kept_apart(tmp_path: Path) -> None:
    pool = [row(0, "another premise", prefix="t"), *POOL]
    data = assemble(spec(tmp_path, TRACKED, pool), "trained_on", sample_seed=0)
    assert data.train["t0"].text["premise"] == "premise 0"
    assert data.train["train:t0"].text["premise"] == "another premise"


def test_a_pool_example_never_bears_a_held_out_examples_id(tmp_path: Path) -> None:
    pool = [row(0, "another premise", prefix="t"), *POOL]
    data = assemble(spec(tmp_path, TRACKED, pool), "held_out", sample_seed=0)
    assert "train:t0" in data.train.ids
    assert not set(data.train.ids) & set(data.tracked.ids)


def test_a_renamed_example_keeps_its_conversation(tmp_path: Path) -> None:
    given = spec(tmp_path, TRACKED, POOL)
    said = [{"role": "user", "content": "Is it so?"}]
    records = [
        {"id": "t0", "premise": said, "hypothesis": "yes", "counts": [3.0, 1.0], "tools": [{"name": "look"}]},
        {"id": "p1", "premise": "other", "hypothesis": "no", "counts": [1.0, 3.0]},
    ]
    pool = AnnotatedDataset.from_records(
        records, text=["premise", "hypothesis"], gold=None, labels=["a", "b"]
    )
    own = pool["t0"]
    assert own.messages
    assert own.chat

    def load(source: SourceSpec) -> AnnotatedDataset:
        return pool if source == given.train else load_source(source)

    renamed = assemble(given, "held_out", sample_seed=0, load=load).train["train:t0"]
    # All but the id: the messages and what the row says to the chat template were left behind.
    assert replace(renamed, id="t0") == own


def test_settings_of_a_pool_need_a_pool(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="train_size is about the training pool"):
        spec(tmp_path, TRACKED, None, train_size=3)


def test_unlabelled_pool_examples_are_left_out_and_counted(tmp_path: Path) -> None:
    data = assemble(spec(tmp_path, TRACKED, [*POOL, row(99, "no label", None)]), "held_out", sample_seed=0)
    assert data.dropped_unlabelled == 1
    assert len(data.train) == 20


@pytest.mark.parametrize(
    ("tracked", "more", "message"),
    [
        (TRACKED, {"train_size": 21}, "train_size is 21, but the pool has 20"),
        (TRACKED, {"tracked_size": 5}, "tracked_size is 5"),
        (TRACKED, {"exclude_shared": ["premiss"]}, "premiss"),
        ([*TRACKED, row(9, "x", None)], {}, "'t9'"),
    ],
)
def test_what_cannot_be_assembled_is_named(
    tracked: list[dict[str, Any]], more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        assemble(spec(tmp_path, tracked, POOL, **more), "held_out", sample_seed=0)


def test_a_stratified_sample_spreads_over_entropy_whatever_the_order(tiny_dataset: AnnotatedDataset) -> None:
    sample = stratified_sample(tiny_dataset, 8)
    backwards = stratified_sample(tiny_dataset.subset(reversed(tiny_dataset.ids)), 8)
    assert set(sample.ids) == set(backwards.ids)
    whole, part = np.sort(annotation_entropy(tiny_dataset.counts)), np.sort(annotation_entropy(sample.counts))
    # Three copies of eight count vectors: an even spread takes each once.
    np.testing.assert_allclose(part, whole[1::3])
