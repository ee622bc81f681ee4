"""Entropy classes of a tracked set: held back, trained on in part, and the paper's own counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.config import DatasetSpec, RunSpec
from dissensus.data.agreement import annotation_entropy, entropy_classes
from dissensus.data.assembly import CellData, assemble
from dissensus.errors import DataError, SpecError
from dissensus.stats.groups import entropy_groups

CUTS = {"low": 0.5, "high": 0.9}
COUNTS = {"settled": [10, 0], "middle": [8, 2], "contested": [5, 5]}


def dataset(tmp_path: Path, *, pool: int = 0, size: int = 60, **more: Any) -> DatasetSpec:
    groups = list(COUNTS) * (size // 3)

    def table(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        keys = {"id": "id", "text": ["text"], "labels": ["a", "b"], "gold": "gold", "counts": "counts"}
        return {"source": "table", "path": str(path), **keys}

    def row(number: int, text: str, counts: list[int]) -> dict[str, Any]:
        return {"id": f"{text}{number}", "text": f"{text} {number}", "gold": "a", "counts": counts}

    tracked = [row(i, "tracked", COUNTS[group]) for i, group in enumerate(groups)]
    train = [row(i, "pool", [0, 0]) for i in range(pool)]
    train += tracked[:3] if pool else []
    drawn = {"train": table("pool", train)} if pool else {}
    return DatasetSpec.parse(
        {"name": "d", "tracked": table("tracked", tracked), "entropy_cuts": CUTS, **drawn, **more}, "test"
    )


def classes_of(data: CellData, ids: tuple[str, ...]) -> list[int]:
    assert data.classes is not None
    of = dict(zip(data.tracked.ids, data.classes, strict=True))
    return [sum(of[i] == group for i in ids if i in of) for group in COUNTS]


def test_classes_are_the_groups_that_an_analysis_makes_of_the_same_cuts() -> None:
    counts = np.random.default_rng(0).multinomial(20, [0.6, 0.3, 0.1], size=300).astype(float)
    cuts = (float(np.sort(annotation_entropy(counts))[90]), 1.4)  # one cut on an item's own entropy
    assert (entropy_classes(counts, cuts) == entropy_groups(annotation_entropy(counts), cuts=cuts)).all()
    assert entropy_classes(np.zeros((1, 3)), cuts).tolist() == [""]


def test_what_is_held_back_is_stratified_the_same_for_all_seeds_and_trained_on_by_none(
    tmp_path: Path,
) -> None:
    spec = dataset(tmp_path, pool=20, holdout={"share": 0.2, "seed": 42})
    first, second = (assemble(spec, "trained_on", sample_seed=seed) for seed in (0, 1))
    assert first.validation is not None
    assert second.validation is not None
    assert first.tracked.ids == second.tracked.ids
    assert first.validation.ids == second.validation.ids
    assert (len(first.tracked), len(first.validation)) == (48, 12)
    assert classes_of(first, first.tracked.ids) == [16, 16, 16]
    assert not set(first.validation.ids) & {*first.tracked.ids, *first.train.ids}
    other = dataset(tmp_path, holdout={"share": 0.2, "seed": 43})
    assert assemble(other, "trained_on", sample_seed=0).tracked.ids != first.tracked.ids


def test_validation_texts_in_the_pool_are_named(tmp_path: Path) -> None:
    spec = dataset(tmp_path, pool=20, holdout={"share": 0.5, "seed": 0}, keep_shared_texts=True)
    data = assemble(spec, "trained_on", sample_seed=0)
    assert data.validation is not None
    shared = {e.joined_text for e in data.train} & {e.joined_text for e in data.validation}
    assert shared
    note = f"validation set: {len(shared)} of 30 examples share their text with a training example"
    assert note in data.notes


def test_premises_of_validation_that_are_trained_on_are_named_without_a_pool_too() -> None:
    source = {"source": "simulated", "size": 120, "annotators": 20}
    spec = DatasetSpec.parse(
        {
            "name": "d",
            "tracked": source,
            "entropy_cuts": {"low": 0.6, "high": 1.1},
            "holdout": {"share": 0.5},
        },
        "test",
    )
    data = assemble(spec, "trained_on", sample_seed=0)
    assert data.validation is not None
    premises = {example.text["premise"] for example in data.tracked}
    shared = sum(example.text["premise"] in premises for example in data.validation)
    assert shared
    note = f"validation set: {shared} of 60 examples share their premise with a training example"
    assert note in data.notes


def test_a_fixed_draw_is_numpys_own(tmp_path: Path) -> None:
    spec = dataset(tmp_path, pool=50, train_size=20, train_seed=42)
    drawn = [assemble(spec, "trained_on", sample_seed=seed).train.ids[60:] for seed in (0, 1)]
    assert drawn[0] == drawn[1]
    expected = sorted(np.random.RandomState(42).choice(50, size=20, replace=False))
    assert drawn[0] == tuple(f"pool{i}" for i in expected)
    free = dataset(tmp_path, pool=50, train_size=20)
    draws = {assemble(free, "trained_on", sample_seed=seed).train.ids[60:] for seed in (0, 1)}
    assert len(draws) == 2


def test_shared_texts_stay_in_the_pool_on_request(tmp_path: Path) -> None:
    assert len(assemble(dataset(tmp_path, pool=20), "trained_on", sample_seed=0).train) == 80
    kept = assemble(dataset(tmp_path, pool=20, keep_shared_texts=True), "trained_on", sample_seed=0)
    assert len(kept.train) == 83


def test_a_part_of_the_tracked_set_is_trained_on_and_all_is_tracked(tmp_path: Path) -> None:
    spec = dataset(tmp_path, pool=20, train_groups={"contested": "all", "settled": 5})
    data = assemble(spec, "trained_on", sample_seed=0)
    assert len(data.tracked) == 60
    assert classes_of(data, data.train.ids) == [5, 0, 20]
    assert len(data.train) == 45
    assert "training set: 25 of the 60 tracked examples are trained on" in data.notes
    other = assemble(spec, "trained_on", sample_seed=1)
    assert data.train.ids != other.train.ids
    with pytest.raises(DataError, match="asks for 21 settled examples, but 20 of"):
        assemble(dataset(tmp_path, train_groups={"settled": 21}), "trained_on", sample_seed=0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"entropy_cuts": None, "holdout": {}}, "holdout goes by entropy class; give entropy_cuts"),
        ({"entropy_cuts": None, "train_groups": {"settled": "all"}}, "train_groups goes by entropy class"),
        ({"train_groups": {}}, "names no class"),
        ({"entropy_cuts": {"low": 1.0, "high": 0.4}}, "low is 1 and high 0.4"),
        ({"train_seed": 3}, "train_seed is about the training pool"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=words):
        dataset(tmp_path, **settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": {"train_groups": {"settled": "all"}}}, "train_groups is about tracked examples"),
        ({"training": {"targets": "annotators"}}, "targets: annotators is about tracked examples"),
        ({"training": {"noise": {"rate": 0.3, "among": "tracked"}}}, "noise among tracked examples"),
        ({"tracking": {"every": 5, "steps": [3]}}, "every and steps both place"),
        ({"method": {"name": "lora", "rank": 2, "feedforward": ["x"]}}, "feedforward belongs to ia3"),
        ({"method": {"name": "full", "also_train": ["x"]}}, "also_train belongs to lora and ia3"),
        ({"method": {"name": "ia3", "targets": ["a"], "feedforward": ["b"]}}, "none of the targets"),
    ],
)
def test_settings_of_trained_on_are_refused_for_items_held_out(changes: dict[str, Any], words: str) -> None:
    source = {"source": "simulated", "size": 30}
    cell: dict[str, Any] = {
        "dataset": {"name": "d", "tracked": source, "train": source, "entropy_cuts": CUTS},
        "model": {"name": "minilm-l6"},
        "method": {"name": "full"},
        "regime": "held_out",
    }
    for key, value in changes.items():
        cell[key] = {**cell.get(key, {}), **value}
    cell["method"]["learning_rate"] = 1e-3
    with pytest.raises(SpecError, match=words):
        RunSpec.parse(cell, "test")


@pytest.mark.parametrize(
    ("part", "tracked", "validation"),
    [("snli", [302, 613, 296], [76, 153, 74]), ("mnli", [63, 417, 799], [16, 104, 200])],
)
def test_the_papers_split_of_chaosnli(
    part: str, tracked: list[int], validation: list[int], data_dir: Path
) -> None:
    spec = DatasetSpec.parse(
        {
            "name": part,
            "tracked": {"source": "chaosnli", "part": part, "gold": "majority"},
            "entropy_cuts": {"low": 0.4, "high": 0.7, "unit": "nats"},
            "holdout": {"share": 0.2, "seed": 42},
        },
        "test",
    )
    data = assemble(spec, "trained_on", sample_seed=0, data_dir=data_dir)
    assert data.validation is not None
    assert spec.entropy_cuts is not None
    assert classes_of(data, data.tracked.ids) == tracked
    held = entropy_classes(data.validation.counts, spec.entropy_cuts.bits)
    assert [int((held == group).sum()) for group in COUNTS] == validation
    if (
        part == "snli"
    ):  # gold by the majority: entailment, neutral, contradiction; most of those held back are neutral
        assert np.bincount(data.tracked.gold).tolist() == [348, 648, 215]
        assert int((data.validation.gold == 1).sum()) == 163
