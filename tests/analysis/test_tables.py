"""The tables: known values, what is listed, what does not depend on what."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.csv
import pytest
from scipy import stats

from dissensus.analysis.cell_tables import gold_source
from dissensus.analysis.clusters import clusters_of
from dissensus.analysis.tables import Analysis, analyze, load_analysis, summary_rows
from dissensus.config import RunSpec
from dissensus.data.agreement import annotation_entropy
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.data.sources.table import TableSource
from dissensus.errors import SpecError, StoreError
from dissensus.stats import holm
from dissensus.store import load_curves
from dissensus.store.run_facts import RunFacts
from dissensus.study.grid import expand
from synthetic_study import LABELS, dataset, made_losses, study_spec, write_study

FULL = {"methods": [{"name": "full", "learning_rate": 1e-4}]}


def six() -> AnnotatedDataset:
    """Six items of ten annotators; entropies 0, 0, .469, .722, .971, 1 bits: thirds are pairs of items."""
    votes = [(10, 0), (10, 0), (9, 1), (8, 2), (6, 4), (5, 5)]
    return AnnotatedDataset(
        "six",
        LABELS,
        tuple(
            Example(f"i{k}", {"premise": f"p{k}", "hypothesis": "h"}, 0, (float(a), float(b), 0.0))
            for k, (a, b) in enumerate(votes)
        ),
    )


def six_losses(*_: int) -> np.ndarray[Any, Any]:
    """Three points at u = 0, 1/2, 1."""
    return np.array(
        [
            [1.0, 0.5, 0.2],
            [1.0, 0.6, 0.4],
            [1.0, 0.8, 0.6],
            [1.0, 0.9, 0.8],
            [1.0, 0.7, 1.2],
            [1.0, 0.9, 1.6],
        ]
    )


@pytest.fixture
def known(tmp_path: Path) -> Analysis:
    write_study(tmp_path, study_spec(**FULL), data=six(), losses=six_losses)
    return analyze(tmp_path)


def test_group_numbers_are_the_ones_worked_out_by_hand(known: Analysis) -> None:
    cell = known.cells.to_pylist()[0]
    expected = {
        # Contested: the last two items, mean curve (1.0, 0.8, 1.4); settled: the first two, (1.0, 0.55, 0.3).
        "loss_contested_start": 1.0,
        "loss_contested_lowest": 0.8,
        "loss_contested_end": 1.4,
        "loss_settled_lowest": 0.3,
        "loss_settled_end": 0.3,
        "delta_contested": 0.4,
        "delta_settled": -0.7,
        "delta_difference": 1.1,
        # Item 4: delta .2, slope .2, rise .5; item 5: .6, .6, .7: both above the floor of 0.1.
        "unlearned_contested": 1.0,
        "unlearned_settled": 0.0,
        # p(gold) = exp(-loss) against 60% of the rest: gold wins when p > .6 (1 - p), p > .375, loss < .981.
        "accuracy_start": 0.0,
        "accuracy_end": 4 / 6,
        # (5, 5): the gold label is as frequent as any.
        "gold_is_majority": 1.0,
        "n": 6,
        "clusters": 6,
        "total_steps": 100,
    }
    assert {key: cell[key] for key in expected} == pytest.approx(expected, abs=1e-6)
    # AULC by the trapezoid rule: (l0 + 2 l1 + l2) / 4.
    aulc = dict(zip(known.examples["id"].to_pylist(), known.examples["aulc"].to_pylist(), strict=True))
    assert aulc == pytest.approx(
        {"i0": 0.55, "i1": 0.65, "i2": 0.8, "i3": 0.9, "i4": 0.9, "i5": 1.1}, abs=1e-6
    )


def test_rho_is_scipys(tmp_path: Path) -> None:
    names = write_study(tmp_path, study_spec(**FULL), n=100)
    cell = analyze(tmp_path).cells.to_pylist()[0]
    curves = load_curves(tmp_path / "cells" / names[0])
    area = np.trapezoid(curves.losses, curves.progress, axis=1)
    expected = stats.spearmanr(annotation_entropy(curves.counts), area)
    assert cell["rho"] == pytest.approx(expected.statistic, abs=1e-10)
    assert cell["rho_low"] < cell["rho"] < cell["rho_high"]
    assert (cell["rho_p"] < 0.05) == (cell["rho_low"] > 0)
    assert cell["covariates"] == "token_count, lexical_overlap, initial_loss"
    assert cell["covariates_left_out"] == "gold: the same in every example"
    assert (cell["partial_form"], cell["partial_n"]) == ("flexible", 100)
    # Four items to a premise: 25 clusters, and so 24 degrees of freedom.
    assert (cell["clusters"], cell["cluster_field"], cell["rho_df"]) == (25, "premise", 24)
    assert cell["cluster_reason"] == "the first text field, shared by some"
    assert cell["rho_withheld"] == ""


def test_few_clusters_withhold_intervals_and_say_so(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec(**FULL), n=60)
    analysis = analyze(tmp_path)
    for row in (*analysis.cells.to_pylist(), *analysis.conditions.to_pylist()):
        assert row["clusters"] == 15
        for name in ("rho", "partial", "delta_difference"):
            assert math.isnan(row[f"{name}_low"])
            assert math.isnan(row[f"{name}_p"])
        for name in ("rho", "partial"):
            assert row[f"{name}_withheld"] == "15 clusters; an interval needs 20 at least"
        # Of the smaller of the two groups.
        assert row["delta_difference_withheld"].endswith(" group; an interval needs 20 at least")
        assert math.isfinite(row["rho"])
        assert math.isnan(row["delta_contested_low"])
        assert "clusters; an interval needs 20" in row["delta_contested_withheld"]
    assert {row["withheld"][-34:] for row in analysis.groups.to_pylist()} == {
        "clusters; an interval needs 20 at least"[-34:]
    }


def test_a_study_names_what_clusters(tmp_path: Path) -> None:
    for field, clusters, named in (
        ("none", 60, "none"),
        ("hypothesis", 60, "none"),
        ("premise", 15, "premise"),
    ):
        settings = {"resamples": 100, "clusters": field}
        write_study(tmp_path / field, study_spec(**FULL, analysis=settings), n=60)
        cell = analyze(tmp_path / field).cells.to_pylist()[0]
        assert (cell["clusters"], cell["cluster_field"]) == (clusters, named)
    write_study(tmp_path / "wrong", study_spec(**FULL, analysis={"clusters": "premiss"}), n=60)
    with pytest.raises(StoreError, match=r"analysis\.clusters is 'premiss', .*did you mean 'premise'"):
        analyze(tmp_path / "wrong")


def test_a_line_in_the_rank_is_the_named_option(tmp_path: Path) -> None:
    found = {}
    for form in ("flexible", "linear"):
        settings = {"resamples": 100, "partial": form}
        write_study(tmp_path / form, study_spec(**FULL, analysis=settings), n=100)
        found[form] = analyze(tmp_path / form).cells.to_pylist()[0]
        assert found[form]["partial_form"] == form
    assert found["flexible"]["partial"] != found["linear"]["partial"]
    assert found["flexible"]["rho"] == found["linear"]["rho"]


def test_group_curves_are_tidy_and_within_their_bands(known: Analysis, tmp_path: Path) -> None:
    rows = [r for r in known.groups.to_pylist() if r["group"] == "contested"]
    assert [r["step"] for r in rows] == [0, 50, 100]
    assert [r["progress"] for r in rows] == [0.0, 0.5, 1.0]
    assert [r["mean"] for r in rows] == pytest.approx([1.0, 0.8, 1.4], abs=1e-6)
    assert {r["n"] for r in rows} == {2}
    assert {r["withheld"] for r in rows} == {"2 examples; an interval needs 20 at least"}
    write_study(tmp_path / "more", study_spec(**FULL), n=300)
    for row in analyze(tmp_path / "more").groups.to_pylist():
        assert row["low"] <= row["mean"] <= row["high"]
        assert row["withheld"] == ""


def test_a_cells_numbers_do_not_depend_on_the_other_cells(tmp_path: Path) -> None:
    study = study_spec(seeds=[0, 1])
    write_study(tmp_path / "all", study)
    write_study(tmp_path / "some", study, failed=[0, 2])
    everything = {row["cell"]: row for row in analyze(tmp_path / "all").cells.to_pylist()}
    some = analyze(tmp_path / "some").cells.to_pylist()
    assert len(some) == 2
    for row in some:
        np.testing.assert_equal(row, everything[row["cell"]])  # NaN equals NaN here


def test_same_study_gives_the_same_bytes(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write_study(tmp_path / place, study_spec())
        analyze(tmp_path / place)
    here, there = (sorted((tmp_path / place / "analysis").iterdir()) for place in ("here", "there"))
    assert [p.name for p in here] == [p.name for p in there]
    assert "conditions.parquet" in {p.name for p in here}
    for a, b in zip(here, there, strict=True):
        if a.name != "inputs.json":  # holds the stores' checksums, those of the manifests among them
            assert a.read_bytes() == b.read_bytes(), a.name


def test_cells_without_a_result_are_listed_with_the_last_line_of_the_error(tmp_path: Path) -> None:
    names = write_study(tmp_path, study_spec(seeds=[0, 1]), failed=[1])
    shutil.rmtree(tmp_path / "cells" / names[3])
    missing = {row["cell"]: row for row in analyze(tmp_path).missing.to_pylist()}
    assert set(missing) == {names[1], names[3]}
    assert missing[names[1]]["state"] == "failed"
    assert missing[names[1]]["error"] == "ModelError: no weights for this model"
    assert missing[names[3]]["state"] == "pending"


def test_a_cell_of_an_earlier_form_of_the_study_is_listed_and_not_mixed_in(tmp_path: Path) -> None:
    old = study_spec(methods=[{"name": "full", "learning_rate": 1e-3}])
    stale = write_study(tmp_path, old)[0]
    current = write_study(tmp_path, study_spec(**FULL))[0]  # the same condition and seed, another rate
    analysis = analyze(tmp_path)
    assert analysis.cells["cell"].to_pylist() == [current]
    assert [(r["cell"], r["state"]) for r in analysis.missing.to_pylist()] == [(stale, "not in the study")]


def test_a_damaged_store_is_an_error_that_names_the_cell(tmp_path: Path) -> None:
    names = write_study(tmp_path, study_spec())
    shard = sorted((tmp_path / "cells" / names[1] / "curves").iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(StoreError, match=f"cell {names[1]}: .*damaged"):
        analyze(tmp_path)


def test_a_manifest_of_the_wrong_shape_is_damage_and_says_what_to_delete(tmp_path: Path) -> None:
    name = write_study(tmp_path, study_spec(**FULL))[0]
    path = tmp_path / "cells" / name / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shards": [{}]}))
    with pytest.raises(StoreError, match=f"cell {name}: .*manifest.json is damaged.*delete the folder"):
        analyze(tmp_path)


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, OSError])
def test_an_error_in_computing_is_never_called_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    write_study(tmp_path, study_spec(**FULL))

    def broken(*_: object) -> None:
        raise error("a fault in the program")

    monkeypatch.setattr("dissensus.analysis.tables.analyze_cell", broken)
    with pytest.raises(error, match="a fault in the program"):
        analyze(tmp_path)


def test_another_specification_in_a_cells_folder_is_an_error(tmp_path: Path) -> None:
    name = write_study(tmp_path, study_spec(**FULL))[0]
    path = tmp_path / "cells" / name / "spec.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "seed": 5}))
    with pytest.raises(StoreError, match=f"cell {name}: spec.json is not"):
        analyze(tmp_path)


def test_no_completed_cell_and_no_study_say_what_to_do(tmp_path: Path) -> None:
    write_study(tmp_path / "study", study_spec(**FULL), failed=[0])
    with pytest.raises(StoreError, match=r"no completed cell .*no weights for this model.*dissensus run"):
        analyze(tmp_path / "study")
    with pytest.raises(SpecError, match=r"study\.yaml"):
        analyze(tmp_path)


def test_conditions_are_means_over_seeds_with_spread_and_adjusted_p(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec(seeds=[0, 1, 2]), n=96)
    analysis = analyze(tmp_path)
    cells, conditions = analysis.cells.to_pylist(), analysis.conditions.to_pylist()
    assert [row["method"] for row in conditions] == ["lora-r8", "full"]
    worst = []
    for row in conditions:
        own = [c for c in cells if c["condition"] == row["condition"]]
        rhos = [c["rho"] for c in own]
        assert row["seeds"] == 3
        assert row["rho"] == pytest.approx(np.mean(rhos))
        assert row["rho_sd"] == pytest.approx(np.std(rhos, ddof=1))
        assert (row["rho_min"], row["rho_max"]) == (min(rhos), max(rhos))
        assert row["rho_low"] == pytest.approx(np.mean([c["rho_low"] for c in own]))
        worst.append(max(c["rho_p"] for c in own))
    assert [row["rho_p_holm"] for row in conditions] == pytest.approx(holm(worst).tolist())


def test_one_seed_has_no_spread(known: Analysis) -> None:
    assert math.isnan(known.conditions["rho_sd"][0].as_py())


def test_stored_tables_are_taken_until_something_changes(tmp_path: Path) -> None:
    study = study_spec()
    names = write_study(tmp_path, study, failed=[1])
    assert load_analysis(tmp_path) is None
    made = analyze(tmp_path)
    stored = load_analysis(tmp_path)
    assert stored is not None
    assert stored.cells.to_pandas().equals(made.cells.to_pandas())  # where NaN equals NaN
    assert stored.missing.equals(made.missing)

    settings = study.model_copy(update={"analysis": study.analysis.model_copy(update={"noise_floor": 0.5})})
    (tmp_path / "study.yaml").write_text(settings.to_yaml())
    assert load_analysis(tmp_path) is None
    (tmp_path / "study.yaml").write_text(study.to_yaml())
    assert load_analysis(tmp_path) is not None

    (tmp_path / "cells" / names[1] / "status.json").write_text(json.dumps({"state": "running"}))
    assert load_analysis(tmp_path) is None
    analyze(tmp_path)
    (tmp_path / "analysis" / "cells.parquet").write_bytes(b"PAR1")
    assert load_analysis(tmp_path) is None


def test_undefined_values_are_nan_and_counted(tmp_path: Path) -> None:
    data = dataset(20)
    examples = [replace(e, counts=(0.0, 0.0, 0.0)) if k < 3 else e for k, e in enumerate(data.examples)]
    examples[10] = replace(examples[10], gold=None)
    write_study(tmp_path, study_spec(**FULL), data=AnnotatedDataset("some", LABELS, tuple(examples)))
    analysis = analyze(tmp_path)
    cell = analysis.cells.to_pylist()[0]
    assert cell["n"] == 20
    assert cell["rho_n"] == 16
    assert (cell["undefined_entropy"], cell["undefined_aulc"], cell["undefined_gold_share"]) == (3, 1, 4)
    rows = {row["id"]: row for row in analysis.examples.to_pylist()}
    assert math.isnan(rows["item-00000"]["entropy"])
    assert rows["item-00000"]["group"] == ""
    assert rows["item-00010"]["gold"] is None
    assert rows["item-00010"]["unlearned"] is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_diverged_cell_has_no_numbers_and_no_crash(tmp_path: Path, value: float) -> None:
    write_study(tmp_path, study_spec(**FULL), n=20, losses=lambda n, t, _: np.full((n, t), value))
    cell = analyze(tmp_path).cells.to_pylist()[0]
    assert cell["undefined_aulc"] == 20
    for key in ("rho", "rho_low", "partial", "delta_difference", "unlearned_contested", "loss_settled_end"):
        assert math.isnan(cell[key]), key


def test_one_tracking_point_has_losses_and_nothing_that_needs_two(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec(**FULL), n=20, points=1)
    cell = analyze(tmp_path).cells.to_pylist()[0]
    assert math.isnan(cell["rho"])
    assert math.isnan(cell["unlearned_contested"])
    assert cell["loss_contested_start"] == cell["loss_contested_end"] > 0


def test_a_covariate_that_nothing_has_is_left_out_by_name(tmp_path: Path) -> None:
    n = 40
    given = {"token_count": np.arange(n) % 5 + 3.0, "lexical_overlap": np.full(n, np.nan)}
    write_study(tmp_path, study_spec(**FULL), n=n, covariates=given)
    cell = analyze(tmp_path).cells.to_pylist()[0]
    assert cell["covariates"] == "token_count, initial_loss"
    assert (
        cell["covariates_left_out"] == "lexical_overlap: no example has it; gold: the same in every example"
    )
    assert cell["partial_n"] == n


def test_cut_points_and_estimator_of_the_study_are_used(tmp_path: Path) -> None:
    settings = {"resamples": 100, "cuts": [0.1, 0.98], "entropy": "miller_madow"}
    write_study(tmp_path, study_spec(**FULL, analysis=settings), data=six(), losses=six_losses)
    rows = {row["id"]: row for row in analyze(tmp_path).examples.to_pylist()}
    # Miller-Madow adds (2 - 1) / (2 x 10 x ln 2) = 0.0721 bits to the five-five split's 1 bit.
    # `entropy` is the plug-in one in every table; the study's estimator has a name of its own.
    assert rows["i5"]["entropy_estimate"] == pytest.approx(1 + 1 / (20 * math.log(2)))
    assert rows["i5"]["entropy"] == 1
    assert [rows[f"i{k}"]["group"] for k in range(6)] == [
        *["settled"] * 2,
        *["middle"] * 2,
        *["contested"] * 2,
    ]


def test_premises_that_repeat_are_clusters(tmp_path: Path) -> None:
    names = write_study(tmp_path, study_spec(**FULL), n=8)
    curves = load_curves(tmp_path / "cells" / names[0])
    clusters = clusters_of(curves).names
    assert clusters is not None
    assert [len(set(clusters[:4])), len(set(clusters))] == [1, 2]
    assert clusters_of(replace(curves, text=tuple({"text": "same"} for _ in curves.ids))).labels is None
    assert clusters_of(replace(curves, text=())).labels is None


def test_gold_sources() -> None:
    cell = expand(study_spec(**FULL))[0]

    def tracked(source: object) -> RunSpec:
        return cell.model_copy(update={"dataset": cell.dataset.model_copy(update={"tracked": source})})

    assert gold_source(cell, RunFacts()) == "original"
    assert (
        gold_source(tracked(cell.dataset.tracked.model_copy(update={"gold": "majority"})), RunFacts())
        == "majority"
    )
    votes = TableSource(path="a.csv", text=("t",), counts="votes", source="table")
    assert gold_source(tracked(votes), RunFacts()) == "majority"
    assert gold_source(tracked(votes.model_copy(update={"gold": "label"})), RunFacts()) == "published"


def test_summary_and_csv_hold_a_row_a_condition(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec(seeds=[0, 1]))
    analysis = analyze(tmp_path)
    rows = summary_rows(analysis)
    assert [row.condition for row in rows] == analysis.conditions["condition"].to_pylist()
    assert rows[0].n == 60
    csv = pyarrow.csv.read_csv(tmp_path / "analysis" / "conditions.csv")
    assert csv["condition"].to_pylist() == [row.condition for row in rows]
    assert csv["rho"].to_pylist() == pytest.approx([row.rho for row in rows])
    assert pyarrow.csv.read_csv(tmp_path / "analysis" / "cells.csv").num_rows == 4


def test_a_wider_floor_un_learns_fewer(tmp_path: Path) -> None:
    shares = []
    for floor in (0.0, 0.3):
        folder = tmp_path / str(floor)
        write_study(folder, study_spec(**FULL, analysis={"resamples": 100, "noise_floor": floor}))
        flags = analyze(folder).examples["unlearned"]
        shares.append(pc.sum(flags).as_py())
    assert shares[0] > shares[1] > 0


def test_the_made_curves_rise_where_they_say() -> None:
    losses = made_losses(60, 6, 0)
    assert losses[-20:, -1].mean() > 1.3 > 0.9 > losses[:20, -1].mean()


def test_the_loss_can_be_read_on_the_majority_without_new_training(tmp_path: Path) -> None:
    # Gold is label 0 everywhere; the annotators' majority is label 1 for the last two items.
    votes = [(10, 0), (10, 0), (9, 1), (8, 2), (4, 6), (3, 7)]
    data = AnnotatedDataset(
        "six",
        LABELS,
        tuple(
            Example(f"i{k}", {"premise": f"p{k}", "hypothesis": "h"}, 0, (float(a), float(b), 0.0))
            for k, (a, b) in enumerate(votes)
        ),
    )
    tables = {}
    for gold in ("as_stored", "majority"):
        study = study_spec(**FULL, analysis={"resamples": 100, "gold": gold})
        write_study(tmp_path / gold, study, data=data, losses=six_losses, points=3)
        tables[gold] = analyze(tmp_path / gold)
    before, after = (tables[g].examples.to_pylist() for g in ("as_stored", "majority"))
    assert [row["gold"] for row in before] == [LABELS[0]] * 6
    assert [row["gold"] for row in after] == [LABELS[0]] * 4 + [LABELS[1]] * 2
    assert [b["aulc"] == a["aulc"] for b, a in zip(before, after, strict=True)] == [True] * 4 + [False] * 2
    assert {row["gold_source"] for row in tables["majority"].cells.to_pylist()} == {"majority"}
