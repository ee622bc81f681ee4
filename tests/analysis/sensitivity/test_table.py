"""The sensitivity table and its summary: pairing by id, what is compared with what, what is counted."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dissensus.analysis.reading import majority_gold
from dissensus.analysis.sensitivity.paired import MEASURES
from dissensus.analysis.sensitivity.readings import read
from dissensus.analysis.sensitivity.table import (
    HANGS_ON_SCHEMA,
    SENSITIVITY_SCHEMA,
    hangs_on,
    sensitivity_table,
)
from dissensus.analysis.sensitivity.variants import same_examples, setting_changes, tracked_otherwise
from dissensus.analysis.study_reading import StudyReader
from dissensus.analysis.tables import analyze
from dissensus.config import AnalysisSpec, StudySpec
from dissensus.data.noise import NoisyLabels
from dissensus.errors import SpecError
from dissensus.stats import spearman
from dissensus.study.grid import planned_cells
from synthetic_curves import balanced, curves_of, evidence_of, reading_of, shuffled
from synthetic_study import study_spec, write_study

SETTINGS = AnalysisSpec()
RATE = {"name": "rate-high", "when": {"method": "full"}, "set": {"method": {"learning_rate": 2e-3}}}
POINTS = {"name": "thirty", "when": {"method": "full"}, "set": {"tracking": {"points": 30}}}
NOISE = {
    "name": "noisy",
    "when": {"method": "full"},
    "set": {"training": {"noise": {"kind": "uniform", "rate": 0.2}}},
}


def rows(table: pa.Table, **where: Any) -> list[dict[str, Any]]:
    return [row for row in table.to_pylist() if all(row[k] == v for k, v in where.items())]


FULL = {"methods": [{"name": "full", "learning_rate": 1e-4}]}


def test_the_reference_is_what_the_studys_tables_say(tmp_path: Path) -> None:
    study = study_spec(seeds=[0, 1])
    write_study(tmp_path, study, n=300)
    table = sensitivity_table(StudyReader.at(tmp_path).all(), resamples=20)
    assert table.schema == SENSITIVITY_SCHEMA
    conditions = analyze(tmp_path).conditions.to_pylist()
    assert len(conditions) == 2
    for condition in conditions:
        (own,) = rows(table, condition=condition["condition"], choice="reference")
        for name in MEASURES:
            assert own[name] == pytest.approx(condition[name], abs=1e-12)
            assert own[f"{name}_reference"] == own[name]
            assert own[f"{name}_change"] == own[f"{name}_change_low"] == 0
        assert (own["seeds"], own["n"], own["source"]) == (2, 300, "stored curves")
        # Four pairs to a premise: 75 clusters. The contested ones are two of three among items 152 to 299, which lie in
        # 37; the settled ones among items 0 to 120, in 31.
        assert [own[f"{name}_clusters"] for name in MEASURES] == [75, 37, 37, 31]
        assert {own[f"{name}{of}_withheld"] for name in MEASURES for of in ("", "_change")} == {""}
        assert (own["dataset"], own["model"], own["regime"]) == ("snli", "minilm-l6", "held_out")
        for row in rows(table, condition=condition["condition"]):
            for name in MEASURES:
                change = row[name] - row[f"{name}_reference"]
                assert row[f"{name}_change"] == pytest.approx(change, nan_ok=True, abs=1e-12)
                assert row[f"{name}_reference"] == pytest.approx(own[name])
    again = sensitivity_table(StudyReader.at(tmp_path).all(), resamples=20)
    assert str(table.to_pylist()) == str(again.to_pylist())  # where NaN equals NaN


def test_few_clusters_have_no_intervals_and_say_so() -> None:
    table = sensitivity_table(evidence_of(study_spec(**FULL), curves_of(60)), resamples=20)
    for row in table.to_pylist():
        assert (
            row["rho_withheld"]
            == row["rho_reference_withheld"]
            == "15 clusters; an interval needs 20 at least"
        )
        assert np.isnan([row["rho_low"], row["rho_high"]]).all()
        assert np.isfinite(row["rho"])


def test_a_group_of_few_clusters_has_no_interval_beside_a_rho_of_many() -> None:
    # 120 items in 30 premises: rho rests on all of them, the contested ones (from item 61 on) on 15, the settled ones
    # (up to item 48) on 13.
    table = sensitivity_table(evidence_of(study_spec(**FULL), curves_of(120)), resamples=20)
    (own,) = rows(table, choice="reference")
    assert (own["rho_clusters"], own["rho_withheld"]) == (30, "")
    assert np.isfinite([own["rho_low"], own["rho_high"]]).all()
    for name, count in (("delta_contested", 15), ("unlearned_contested", 15), ("delta_difference", 13)):
        assert own[f"{name}_clusters"] == count
        assert own[f"{name}_withheld"] == f"{count} clusters; an interval needs 20 at least"
        assert np.isnan([own[f"{name}_low"], own[f"{name}_change_high"]]).all()
        assert np.isfinite(own[name])
    summary = hangs_on(table).to_pylist()
    assert {row["rho_withheld"] for row in summary} == {0}
    assert {row["delta_contested_withheld"] for row in summary} == {1}
    assert {row["delta_contested_changed"] for row in summary} == {0}


def test_a_variant_is_joined_to_its_base_by_id() -> None:
    study = study_spec(variants=[RATE], **FULL)
    base = curves_of(270)
    same = sensitivity_table(evidence_of(study, base, shuffled(base)), resamples=20)
    (row,) = rows(same, source="variant rate-high")
    assert (row["choice"], row["value"], row["reference_value"]) == ("learning rate", "0.002", "0.0001")
    assert row["condition"] == "snli.minilm-l6.full.held_out"
    for name in MEASURES:
        assert row[f"{name}_change"] == row[f"{name}_change_low"] == row[f"{name}_change_high"] == 0
    # Half of the items, with groups made among those.
    half = shuffled(base).subset(np.arange(270) % 2 == 0)
    (row,) = rows(sensitivity_table(evidence_of(study, base, half), resamples=20), choice="learning rate")
    assert row["n"] == 135
    kept = read(reading_of(half))
    assert row["rho"] == pytest.approx(spearman(kept.entropy, kept.aulc).rho)
    assert row["rho_reference"] == pytest.approx(row["rho"])
    theirs, ours, clusters = same_examples(*reversed(evidence_of(study, base, half).cells))
    assert theirs.curves.ids == ours.curves.ids == tuple(i for i in base.ids if i in half.ids)
    assert len(clusters) == 135
    # No example in common: nothing to compare.
    other = curves_of(270, ids=[f"other-{i}" for i in range(270)])
    assert (
        rows(sensitivity_table(evidence_of(study, base, other), resamples=20), choice="learning rate") == []
    )


def test_a_variant_with_another_gold_label_is_read_on_both() -> None:
    gold = {"name": "agreed", "set": {"dataset": {"tracked": {"source": "chaosnli", "gold": "majority"}}}}
    study = study_spec(variants=[gold], **FULL)
    base = balanced(curves_of())
    agreed = base.on(majority_gold(base.counts))
    table = sensitivity_table(evidence_of(study, base, agreed), resamples=20)
    own, same = rows(table, source="variant agreed")
    assert (own["choice"], own["value"]) == ("training gold", "majority")
    assert same["choice"] == "training gold, loss on the base's label"
    # The model is the same, so the first is the reading of the stored curves on the majority, the second no change.
    (stored,) = rows(table, choice="gold label")
    for name in MEASURES:
        assert own[f"{name}_change"] == pytest.approx(stored[f"{name}_change"])
        assert same[f"{name}_change"] == pytest.approx(0, abs=1e-12)
    assert len(rows(hangs_on(table), source="variant agreed")) == 2


def test_variants_with_noise_or_without_a_complete_base_are_no_rows() -> None:
    study = study_spec(variants=[RATE, NOISE], **FULL)
    given = NoisyLabels(np.zeros(90, dtype=np.int64), np.zeros(90, dtype=bool))
    evidence = evidence_of(study, curves_of(), curves_of(), curves_of(), given=given)
    assert set(sensitivity_table(evidence, resamples=20)["source"].to_pylist()) == {
        "stored curves", "variant rate-high",
    }  # fmt: skip
    alone = replace(evidence, cells=evidence.cells[1:])
    assert sensitivity_table(alone, resamples=20).num_rows == 0


def test_a_variant_that_is_tracked_otherwise_has_rows_of_its_own_points() -> None:
    study = study_spec(variants=[POINTS], **FULL)
    table = sensitivity_table(evidence_of(study, curves_of(points=9), curves_of(points=30)), resamples=20)
    (row,) = rows(table, source="variant thirty")
    # 20 is the default number of points, whatever the made curves have.
    assert (row["choice"], row["value"], row["reference_value"]) == ("tracking points", "30", "20")
    own = rows(table, condition="snli.minilm-l6.full.held_out.thirty")
    assert [r["value"] for r in own] == ["", "25", "12", "9", "7", "5"]
    assert {r["reference_value"] for r in own[1:]} == {"30"}
    summary = rows(hangs_on(table), choice="tracking points", value="5")
    assert summary[0]["conditions"] == 2
    assert summary[0]["reference_value"] == "9; 30"


def test_what_variants_of_the_papers_study_are_called() -> None:
    text = resources.files("dissensus.study").joinpath("builtin/paper-mini.yaml").read_text(encoding="utf-8")
    planned = planned_cells(StudySpec.from_text(text, "paper-mini"))
    found = {p.cell.variant: setting_changes(p.cell, p.base) for p in planned if p.base is not None}
    assert {name: [c.path for c in changes] for name, changes in found.items()} == {
        "rate-low": ["method.learning_rate"],
        "rate-high": ["method.learning_rate"],
        "noise-uniform": ["training.noise.among", "training.noise.kind", "training.noise.rate"],
        "noise-nearest": ["training.noise.among", "training.noise.kind", "training.noise.rate"],
        "noise-annotators": ["training.noise.among", "training.noise.kind", "training.noise.rate"],
        "majority-gold": ["dataset.tracked.gold"],
        "no-dropout": ["model.dropout"],
        "fifty-points": ["tracking.points"],
        "label-words": ["model.head", "model.label_words", "model.max_length", "model.prompt"],
    }
    assert (found["no-dropout"][0].value, found["no-dropout"][0].reference) == ("0", "default")
    pairs = {p.cell.variant: p for p in planned if p.base is not None}
    otherwise = [n for n, p in pairs.items() if p.base is not None and tracked_otherwise(p.cell, p.base)]
    assert otherwise == ["fifty-points"]


def table_of(*changes: dict[str, Any]) -> pa.Table:
    """A table of sensitivity: rho 0.2 [0.1, 0.3] under both choices and nothing else, save for what is given."""
    plain: dict[str, Any] = {
        f.name: 0.0 if pa.types.is_floating(f.type) else 30 if pa.types.is_integer(f.type) else ""
        for f in SENSITIVITY_SCHEMA
    }
    plain |= {
        "n": 10,
        "seeds": 1,
        "source": "stored curves",
        "choice": "x axis",
        "value": "log",
        "reference_value": "u",
    }
    for of in ("", "_reference"):
        plain |= {f"rho{of}": 0.2, f"rho{of}_low": 0.1, f"rho{of}_high": 0.3}
    return pa.Table.from_pylist([{**plain, **change} for change in changes], schema=SENSITIVITY_SCHEMA)


def test_the_summary_by_hand() -> None:
    table = table_of(
        {"condition": "a", "rho_change": 0.1, "rho_change_low": 0.05, "rho_change_high": 0.2},
        {"condition": "b", "rho_change": -0.4, "rho_change_low": -0.5, "rho_change_high": 0.1}
        # another sign, and clearly so
        | {"rho": -0.2, "rho_low": -0.3, "rho_high": -0.1},
        {"condition": "c", "rho_change": -0.3, "rho_change_low": -0.5, "rho_change_high": -0.1}
        # another sign, but 0 is within reach
        | {"rho": -0.1, "rho_low": -0.3, "rho_high": 0.1},
        {"condition": "d", "rho_change": np.nan, "rho": np.nan},
        {"condition": "a", "choice": "reference", "value": "", "rho_change": 9.0},
        {"condition": "a", "value": "other", "delta_contested": 0.1, "delta_contested_reference": -0.1},
        {
            "condition": "a",
            "source": "variant v",
            "choice": "learning rate",
            "value": "1",
            "reference_value": "2",
        },
        {
            "condition": "b",
            "source": "variant v",
            "choice": "learning rate",
            "value": "3",
            "reference_value": "4",
        },
    )
    summary = hangs_on(table)
    assert summary.schema == HANGS_ON_SCHEMA
    log, other, rate = summary.to_pylist()
    assert (log["choice"], log["value"], log["conditions"]) == ("x axis", "log", 4)
    # Absolute changes 0.1, 0.4, 0.3.
    assert (log["rho_median_change"], log["rho_largest_change"]) == pytest.approx((0.3, 0.4))
    assert (log["rho_changed"], log["rho_sign_turns"], log["rho_sign_turns_clearly"]) == (2, 2, 1)
    assert (other["delta_contested_sign_turns"], other["delta_contested_sign_turns_clearly"]) == (1, 0)
    assert (rate["value"], rate["reference_value"], rate["conditions"]) == ("1; 3", "2; 4", 2)


def test_a_claim_that_hangs_on_the_gold_label_is_seen() -> None:
    # The contested items' given label becomes improbable, the label that most of their annotators chose probable: on
    # the first their loss rises, on the second it falls.
    n, u, item = 270, np.linspace(0, 1, 9), np.arange(270)
    split = item >= 135
    # 38 to 45 of 100 annotators agree with the given label of a contested item, 92 to 100 with that of another.
    agree = np.where(split, 38 + (item - 135) // 18, 100 - item // 15).astype(float)
    counts = np.stack([agree, 100 - agree, 0 * agree], axis=1)
    p = np.where(split[:, None], 0.4 - 0.3 * u, 0.4 + 0.5 * u)
    curves = replace(
        curves_of(n),
        log_probs=np.log(np.stack([p, 0.9 * (1 - p), 0.1 * (1 - p)], axis=2)).astype(np.float32),
        counts=counts,
    )
    study = study_spec(**FULL)
    summary = hangs_on(sensitivity_table(evidence_of(study, curves), resamples=50))
    (row,) = rows(summary, choice="gold label")
    assert row["delta_contested_sign_turns_clearly"] == row["rho_sign_turns_clearly"] == 1
    assert [r["rho_largest_change"] for r in rows(summary, choice="noise floor")] == [0, 0]


def test_bad_arguments_are_explained() -> None:
    with pytest.raises(SpecError, match="resamples is 0; expected at least 1"):
        sensitivity_table(evidence_of(study_spec(**FULL), curves_of()), resamples=0)
