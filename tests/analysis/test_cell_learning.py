"""What the tables say of a cell that learned nothing, and of groups split by who backs the gold label."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dissensus.analysis.cell_tables import CellTables, analyze_cell
from dissensus.analysis.condition_tables import (
    ConditionLearned,
    SeedLearned,
    conditions_table,
    learned_over_seeds,
)
from dissensus.analysis.reading import CellReading
from dissensus.config import AnalysisSpec
from dissensus.curves import Curves
from dissensus.data.agreement import annotation_entropy
from dissensus.exchange.imported import write_store
from dissensus.store import open_curves
from dissensus.study.grid import expand
from learning_worlds import world
from synthetic_study import study_spec

SPEC = expand(study_spec())[0]
SETTINGS = AnalysisSpec(resamples=100)


def with_votes(curves: Curves, seed: int = 0) -> Curves:
    """A hundred annotators, of whom 100 to 20 choose the gold label: thirds settled, middle, contested."""
    rng = np.random.default_rng(seed)
    n, k = len(curves), len(curves.labels)
    behind = np.linspace(100, 20, n).round()
    counts = np.zeros((n, k))
    counts[np.arange(n), curves.gold] = behind
    counts[np.arange(n), (curves.gold + rng.integers(1, k, n)) % k] += 100 - behind
    return replace(curves, counts=counts)


def tables(curves: Curves, seed: int = 0) -> CellTables:
    spec = SPEC.model_copy(update={"seed": seed})
    return analyze_cell(CellReading(spec, curves, SETTINGS))


def test_nothing_is_unlearned_where_nothing_was_learned() -> None:
    collapsed = with_votes(world("collapsed", 0, n=300))
    # By the three conditions alone, most examples of the labels that are never answered are un-learned.
    assert (collapsed.losses[:, -1] > collapsed.losses[:, 0] + 1).mean() > 0.6
    found = tables(collapsed)
    assert found.cell["learned"] == "no"
    assert found.cell["learned_why"].startswith(
        "it answers 'neutral' for 100% of the examples; settled loss ends at"
    )
    assert all(math.isnan(found.cell[f"unlearned_{g}"]) for g in ("contested", "middle", "settled"))
    assert found.examples["unlearned"].null_count == 300
    assert found.cell["withheld_unlearned"] == 300
    # What was measured stays.
    assert np.isfinite(found.examples["delta"].to_numpy()).all()
    assert found.cell["undefined_delta"] == 0


def test_flags_stand_where_something_was_learned() -> None:
    found = tables(with_votes(world("learned", 0, n=300)))
    assert (found.cell["learned"], found.cell["learned_why"]) == ("yes", "")
    assert found.examples["unlearned"].null_count == 0
    assert found.cell["withheld_unlearned"] == 0
    assert found.cell["judged_on"] == "settled"
    assert found.cell["constant_loss"] == pytest.approx(np.log(3), abs=0.02)
    assert found.cell["judged_loss_end"] == pytest.approx(found.cell["loss_settled_backed_end"])
    assert found.cell["judged_loss_lowest"] == pytest.approx(found.cell["loss_settled_backed_lowest"])
    # So they do where it cannot be told.
    few = tables(with_votes(world("learned", 0, n=18)))
    assert few.cell["learned"] == "not told"
    assert few.examples["unlearned"].null_count == 0


def test_groups_are_split_by_whether_most_annotators_back_the_gold_label() -> None:
    curves = world("learned", 0, n=6, points=3)
    # Two labels in use, ten annotators. Entropy depends on the larger share: 1 (settled), .8 (middle), .6 (contested).
    # The gold label has the larger share in rows 0, 2, 4 and the smaller one in rows 1, 3, 5.
    behind = np.array([10, 0, 8, 2, 6, 4])
    counts = np.zeros((6, 3))
    counts[np.arange(6), curves.gold] = behind
    counts[np.arange(6), (curves.gold + 1) % 3] = 10 - behind
    curves = replace(curves, counts=counts)
    found = tables(curves)
    assert found.examples["group"].to_pylist() == ["settled"] * 2 + ["middle"] * 2 + ["contested"] * 2
    for row, (group, side) in enumerate(
        (g, s) for g in ("settled", "middle", "contested") for s in ("backed", "rejected")
    ):
        own, key = curves.losses[row], f"{group}_{side}"
        assert found.cell[f"n_{key}"] == 1
        for end, value in (("start", own[0]), ("lowest", own.min()), ("end", own[-1])):
            assert found.cell[f"loss_{key}_{end}"] == pytest.approx(value)
        assert found.cell[f"delta_{key}"] == pytest.approx(own[-1] - own[0])
        # One example says nothing of how far others would spread.
        assert np.isnan([found.cell[f"delta_{key}_low"], found.cell[f"delta_{key}_high"]]).all()
        table = found.groups.filter(pc.equal(found.groups["group"], group))
        assert table[f"mean_{side}"].to_pylist() == pytest.approx(own.tolist())
        assert table[f"n_{side}"].to_pylist() == [1, 1, 1]
    # A reader of the older table finds what it did: one row per group and point, of all its examples.
    assert found.groups.num_rows == 9
    assert found.groups["mean"].to_pylist()[:3] == pytest.approx(curves.losses[4:].mean(axis=0).tolist())


def test_a_side_without_examples_is_nan_and_an_example_without_a_gold_label_is_on_neither() -> None:
    curves = with_votes(world("learned", 0, n=90))
    counts = curves.counts.copy()
    counts[np.arange(90), curves.gold] = 200  # all backed
    found = tables(replace(curves, counts=counts, gold=np.where(np.arange(90) < 5, -1, curves.gold)))
    for group in ("contested", "middle", "settled"):
        assert found.cell[f"n_{group}_rejected"] == 0
        assert math.isnan(found.cell[f"loss_{group}_rejected_end"])
        assert math.isnan(found.cell[f"delta_{group}_rejected"])
    assert sum(found.cell[f"n_{g}_backed"] for g in ("contested", "middle", "settled")) == 85
    assert set(found.groups["n_rejected"].to_pylist()) == {0}
    assert np.isnan(found.groups["mean_rejected"].to_numpy()).all()


@pytest.mark.parametrize("name", ["learned", "collapsed", "diverged", "out of domain"])
def test_a_streamed_cell_is_told_as_one_in_memory(tmp_path: Path, name: str) -> None:
    curves = with_votes(world(name, 3, n=300))
    memory = tables(curves).cell
    stored = open_curves(write_store(curves, tmp_path / "store"))
    streamed = analyze_cell(CellReading(SPEC, stored, SETTINGS)).cell
    for key, value in memory.items():
        if "_low" in key or "_high" in key or key == "cluster_reason":
            continue  # bands of another kind; these curves in memory have no texts at all
        expected = pytest.approx(value, rel=1e-12, nan_ok=True) if isinstance(value, float) else value
        assert streamed[key] == expected, key


def test_no_annotations_and_no_gold() -> None:
    curves = world("learned", 0, n=60)
    bare = tables(replace(curves, counts=np.zeros((60, 3))))
    assert np.isnan(annotation_entropy(np.zeros((60, 3)))).all()
    assert (bare.cell["learned"], bare.cell["judged_on"]) == ("yes", "labelled")
    assert bare.cell["n_settled_backed"] == 0
    without = tables(replace(curves, gold=np.full(60, -1)))
    assert (without.cell["learned"], without.cell["learned_why"]) == (
        "not told",
        "no example has a gold label",
    )


def test_a_condition_learned_when_every_seed_did() -> None:
    cells = [
        tables(with_votes(world(name, seed, n=300)), seed).cell
        for seed, name in enumerate(("learned", "collapsed", "learned", "nothing"))
    ]
    assert [cell["learned"] for cell in cells] == ["yes", "no", "yes", "no"]
    (row,) = conditions_table(pa.Table.from_pylist(cells), [SPEC.condition]).to_pylist()
    assert (row["learned"], row["seeds"], row["seeds_not_learned"]) == ("no", 4, 2)
    assert row["learned_why"].startswith("2 of 4 seeds did not learn; seed 1: it answers 'neutral' for 100%")
    # The shares are of the seeds that learned.
    learned = [cell["unlearned_contested"] for cell in cells if cell["learned"] == "yes"]
    assert row["unlearned_contested"] == pytest.approx(np.mean(learned))
    assert row["withheld_unlearned"] == 150  # 600 of 4 x 300 examples: the mean over cells
    one = learned_over_seeds([SeedLearned(1, "no", "it answers alike")])
    assert one.learned_why == "it answers alike"
    told = learned_over_seeds([SeedLearned(0, "yes", ""), SeedLearned(1, "not told", "too few")])
    assert told == ConditionLearned("not told", "1 of 2 seeds cannot be told; seed 1: too few", 0)
