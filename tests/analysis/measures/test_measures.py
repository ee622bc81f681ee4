"""Settings of an analysis and the tables they add: off by default, read alike everywhere, numbers against SciPy."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import stats

from dissensus.analysis import study_reading
from dissensus.analysis.cell_tables import analyze_cell
from dissensus.analysis.claims.c6_label_noise import _above_chance
from dissensus.analysis.claims.statistics import ClaimStatistics
from dissensus.analysis.covariates import further_columns
from dissensus.analysis.measures.tables import EVERY_TABLE
from dissensus.analysis.noise.scores import suspicion_scores
from dissensus.analysis.sensitivity.readings import other_readings, read
from dissensus.analysis.tables import Analysis, analyze, load_analysis
from dissensus.config import AnalysisSpec, Measure, StudySpec
from dissensus.data.noise import NoisyLabels
from dissensus.errors import SpecError, StoreError
from dissensus.report.words import study_words
from dissensus.stats.over_seeds import concordance
from dissensus.store import load_curves
from dissensus.store.validation import VALIDATION, ValidationScores, save_validation
from dissensus.study.builtin import load_study
from dissensus.study.grid import expand
from synthetic_curves import balanced, curves_of, evidence_of, reading_of
from synthetic_study import dataset, study_spec, write_study

FULL = {"methods": [{"name": "full", "learning_rate": 1e-4}]}
PAPER: dict[str, Any] = {
    "resamples": 100,
    "aulc": "mean",
    "cuts": [0.4, 0.7],
    "cuts_unit": "nats",
    "clusters": "none",
    "partial": "linear",
    "covariates": ["words_premise", "words_hypothesis", "words", "majority_share", "count_skewness"],
    "learned_loss": 0.95,
    "cartography": {"include_start": True, "threshold": 0.5},
    "measures": list(get_args(Measure)),
}


def one(analysis: Analysis, name: str, **columns: Any) -> dict[str, Any]:
    """The one row of a table with these values."""
    rows = [row for row in analysis.measures[name].to_pylist() if columns.items() <= row.items()]
    assert len(rows) == 1
    return dict(rows[0])


def words_of(i: int) -> str:
    return " ".join(["word"] * (1 + i * 7 % 5))


@pytest.fixture
def paper(tmp_path: Path) -> Analysis:
    study = study_spec(
        methods=[{"name": "lora", "rank": r, "learning_rate": 1e-3} for r in (4, 8, 16)],
        seeds=[0, 1],
        analysis=PAPER,
    )
    write_study(tmp_path, study, data=dataset(90, text=words_of))
    return analyze(tmp_path)


def test_nothing_is_added_unless_asked_for(tmp_path: Path) -> None:
    names = write_study(tmp_path, study_spec(**FULL))
    assert "aulc" not in study_spec(**FULL).to_yaml()
    analysis = analyze(tmp_path)
    assert analysis.measures == {}
    assert not {"learning_point", "map_class"} & set(analysis.examples.column_names)
    made = {path.stem for path in (tmp_path / "analysis").iterdir()}
    assert made == {"examples", "cells", "conditions", "groups", "missing", "inputs"}
    area = np.trapezoid(
        *(lambda c: (c.losses, c.progress))(load_curves(tmp_path / "cells" / names[0])), axis=1
    )
    assert analysis.examples["aulc"].to_numpy() == pytest.approx(area)


def test_settings_of_the_paper_reach_the_tables(paper: Analysis) -> None:
    name = paper.cells["cell"][0].as_py()
    curves = load_curves(paper.folder / "cells" / name)
    rows = [row for row in paper.examples.to_pylist() if row["cell"] == name]
    entropy = np.array([row["entropy"] for row in rows])
    mean = curves.losses.mean(axis=1)
    assert [row["aulc"] for row in rows] == pytest.approx(mean.tolist())
    cell = paper.cells.to_pylist()[0]
    assert cell["rho"] == pytest.approx(stats.spearmanr(entropy, mean).statistic)
    nats = entropy * math.log(2)
    expected = np.where(nats <= 0.4, "settled", np.where(nats >= 0.7, "contested", "middle")).tolist()
    assert [row["group"] for row in rows] == expected
    assert cell["covariates"] == "words_hypothesis, words, majority_share, count_skewness"
    assert cell["covariates_left_out"] == "words_premise: the same in every example"
    assert [row["words"] - row["words_premise"] for row in rows] == [row["words_hypothesis"] for row in rows]
    assert [row["words_hypothesis"] for row in rows] == [1.0 + i * 7 % 5 for i in range(90)]
    assert rows[-1]["count_skewness"] == pytest.approx(stats.skew(curves.counts[-1]))
    assert rows[-1]["majority_share"] == pytest.approx(curves.counts[-1].max() / 100)
    below = curves.losses < 0.95
    point = np.where(below.any(axis=1), below.argmax(axis=1), np.inf)
    assert [row["learning_point"] for row in rows] == point.tolist()
    p = np.exp(-curves.losses)
    assert [row["correctness"] for row in rows] == pytest.approx((p > 0.5).mean(axis=1).tolist())
    assert {row["map_class"] for row in rows} == {"easy", "hard", "ambiguous"}


def test_measures_of_a_cell(paper: Analysis) -> None:
    name = paper.cells["cell"][0].as_py()
    curves = load_curves(paper.folder / "cells" / name)
    rows = [row for row in paper.examples.to_pylist() if row["cell"] == name]
    entropy, area, point, group = (
        np.array([row[c] for row in rows]) for c in ("entropy", "aulc", "learning_point", "group")
    )
    tau = one(paper, "kendall", cell=name, quantity="aulc")
    assert tau["tau"] == pytest.approx(stats.kendalltau(entropy, area).statistic)
    final = one(paper, "kendall", cell=name, quantity="final_loss")
    assert final["rho"] == pytest.approx(stats.spearmanr(entropy, curves.losses[:, -1]).statistic)

    # First-order formula of one covariate's partial correlation; p by t with n - 3.
    share = curves.counts.max(axis=1) / curves.counts.sum(axis=1)
    r = stats.spearmanr(np.stack([entropy, point, share], axis=1)).statistic
    partial = (r[0, 1] - r[0, 2] * r[1, 2]) / math.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    row = one(paper, "partials", cell=name, quantity="learning_point", held_fixed="majority_share")
    assert row["rho"] == pytest.approx(partial)
    assert row["p_independent"] == pytest.approx(
        2 * stats.t.sf(abs(partial) * math.sqrt(87 / (1 - partial**2)), 87)
    )
    assert row["low"] < row["rho"] < row["high"]
    together = one(paper, "partials", cell=name, quantity="aulc", held_fixed="all")
    assert together["rho"] == pytest.approx(paper.cells.to_pylist()[0]["partial"])

    gold = one(paper, "by_gold", cell=name)  # the synthetic items' gold is always the first label
    assert (gold["gold"], gold["n"], gold["rho"]) == ("entailment", 90, pytest.approx(tau["rho"]))
    fixed = [
        row for row in paper.measures["bins"].to_pylist() if row["cell"] == name and row["cut"] == "fixed"
    ]
    assert [row["n"] for row in fixed] == [(group == g).sum() for g in ("settled", "middle", "contested")]
    assert fixed[2]["aulc_sd"] == pytest.approx(area[group == "contested"].std(ddof=1))

    contested = one(paper, "calibration", cell=name, group="contested")
    last = np.exp(curves.log_probs[group == "contested", -1].astype(np.float64))
    assert contested["top_mean"] == pytest.approx(last.max(axis=1).mean())
    assert (contested["n"], contested["bins"]) == (len(last), 15)

    time = one(paper, "learning_time", cell=name)
    late, early = (point[(group == g) & np.isfinite(point)] for g in ("contested", "settled"))
    welch = stats.ttest_ind(late, early, equal_var=False, alternative="greater")
    assert (time["gap"], time["gap_p_independent"]) == pytest.approx(
        (late.mean() - early.mean(), welch.pvalue)
    )
    assert time["never_all"] == np.isinf(point).sum() > 0
    assert time["rho"] == pytest.approx(stats.spearmanr(entropy, np.minimum(point, 99)).statistic)

    r2 = one(paper, "incremental_r2", cell=name, quantity="learning_point")
    assert r2["n"] == np.isfinite(point).sum()
    assert (r2["df1"], r2["dropped"]) == (1, np.isinf(point).sum())
    data_map = one(paper, "cartography", cell=name)
    assert (data_map["df1"], data_map["df2"]) == (1, 90 - 4)
    kinds = [
        data_map[f"{g}_{k}"]
        for g in ("contested", "middle", "settled")
        for k in ("easy", "hard", "ambiguous")
    ]
    assert sum(kinds) == 90


def test_measures_across_cells(paper: Analysis) -> None:
    condition = paper.conditions["condition"][0].as_py()
    rows = [row for row in paper.examples.to_pylist() if row["condition"] == condition]
    times = np.array([row["learning_point"] for row in rows]).reshape(2, 90).T
    row = one(paper, "concordance", condition=condition)
    assert (row["w"], row["p_independent"]) == pytest.approx(
        (concordance(times).w, concordance(times).p_value)
    )
    assert row["pair_rho_mean"] == pytest.approx(stats.spearmanr(np.minimum(times, 99)).statistic)
    trend = one(paper, "rank_trend", seed=None)
    rhos = [row["rho"] for row in paper.conditions.to_pylist()]
    assert (trend["ranks"], trend["trend_rho"]) == (
        "4, 8, 16",
        pytest.approx(stats.spearmanr([4, 8, 16], rhos).statistic),
    )
    assert len(paper.measures["rank_trend"]) == 3
    assert paper.measures["paired_noise"].num_rows == 0


def test_noisy_cells_are_paired_with_their_base_by_id(tmp_path: Path) -> None:
    noise = {"noise": {"kind": "uniform", "rate": 0.3}}
    study = study_spec(
        **FULL,
        regimes=["trained_on"],
        variants=[
            {"name": "noise-30", "set": {"training": noise}},
            {"name": "slow", "set": {"training": {"epochs": 2}}},
        ],
        analysis={"resamples": 100, "measures": ["paired_noise"]},
    )
    names = write_study(tmp_path, study)
    analysis = analyze(tmp_path)
    base, noisy = (
        np.array(analysis.examples.filter(np.array(analysis.examples["cell"]) == name)["aulc"])
        for name in names[:2]
    )
    row = one(analysis, "paired_noise", group="all")
    assert (row["cell"], row["base_cell"], row["rate"]) == (names[1], names[0], 0.3)
    expected = stats.wilcoxon(noisy - base, alternative="greater")
    assert row["p_wilcoxon_independent"] == pytest.approx(expected.pvalue)
    assert row["difference"] == pytest.approx((noisy - base).mean())
    assert one(analysis, "paired_noise", group="settled")["n"] == 20


def test_tables_are_loaded_kept_true_and_removed(tmp_path: Path) -> None:
    study = study_spec(**FULL, analysis={"resamples": 100, "measures": ["bins", "kendall"]})
    names = write_study(tmp_path, study)
    made = analyze(tmp_path)
    loaded = load_analysis(tmp_path)
    assert loaded is not None
    assert list(loaded.measures) == ["bins", "kendall"]
    assert loaded.measures["bins"].equals(made.measures["bins"])
    (tmp_path / "analysis" / "bins.parquet").write_bytes(b"")
    assert load_analysis(tmp_path) is None
    (tmp_path / "study.yaml").write_text(study_spec(**FULL).to_yaml(), encoding="utf-8")
    analyze(tmp_path)
    assert not {path.stem for path in (tmp_path / "analysis").iterdir()} & set(EVERY_TABLE)
    # Validation scores come whenever there are some, and old tables are not shown in their place.
    log_probs = np.log(np.array([[[0.5, 0.3, 0.2], [0.8, 0.1, 0.1]], [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]]))
    scores = ValidationScores(("a", "b"), np.array([0, 1]), (0, 100), log_probs.astype(np.float32))
    save_validation(tmp_path / "cells" / names[0] / VALIDATION, scores)
    assert load_analysis(tmp_path) is None
    rows = analyze(tmp_path).measures["validation"].to_pylist()
    assert [(row["step"], row["epoch"], row["accuracy"], row["last"]) for row in rows] == [
        (0, 0.0, 0.5, False),
        (100, 1.0, 1.0, True),
    ]
    assert rows[1]["loss"] == pytest.approx(-math.log(0.8 * 0.6) / 2, rel=1e-6)
    assert pq.read_table(tmp_path / "analysis" / "validation.parquet").num_rows == 2


def test_claims_and_sensitivity_read_the_same_settings() -> None:
    settings = AnalysisSpec(
        resamples=100, aulc="mean", cuts=(0.4, 0.7), cuts_unit="nats", covariates=("gold_share", "words")
    )
    curves = balanced(curves_of())
    cell = reading_of(curves, settings)
    study = study_spec(**FULL, analysis=settings.model_dump(exclude_defaults=True))
    measured = ClaimStatistics(evidence_of(study, curves))
    own = measured.reading.cells[0]
    mean = curves.losses.mean(axis=1)
    assert measured.columns(own)["aulc"] == pytest.approx(mean)
    assert measured.covariates(own) == ("gold_share", "words")
    choices = {(choice.name, choice.value): choice for choice in other_readings(cell)}
    assert choices["x axis", "progress"].reference == "points"
    area = np.trapezoid(curves.losses, curves.progress, axis=1)
    assert choices["x axis", "progress"].reading.aulc == pytest.approx(area)
    assert choices["cut points", "outer 0.333"].reference == "0.577078 and 1.00989 bits"
    assert choices["gold label", "majority"].reading.aulc == pytest.approx(
        curves.losses_on(cell.counts.argmax(axis=1)).mean(axis=1)
    )
    assert read(cell).aulc == pytest.approx(mean)


def test_scores_of_label_noise_read_the_same_settings() -> None:
    curves = balanced(curves_of())
    given = (curves.gold + 1) % 3
    scores = {one.name: one.values for one in suspicion_scores(curves, given, AnalysisSpec(aulc="mean"))}
    assert scores["aulc"] == pytest.approx(curves.losses_on(given).mean(axis=1))


def test_claim_6_reads_the_same_settings() -> None:
    noise = {"noise": {"kind": "uniform", "rate": 0.3}}
    curves = replace(balanced(curves_of()), regime=np.full(90, "trained_on"))
    curves = replace(curves, steps=np.array([0, 1, 2, 3, 4, 5, 6, 7, 400]))
    flipped = np.arange(90) % 3 == 0
    given = NoisyLabels(np.where(flipped, (curves.gold + 1) % 3, curves.gold), flipped)
    study = study_spec(
        **FULL, regimes=["trained_on"], training=noise, analysis={"resamples": 100, "aulc": "mean"}
    )
    measured = ClaimStatistics(evidence_of(study, curves, given=given))
    value = _above_chance(measured, measured.reading.cells[0]).value
    areas = {
        "mean": curves.losses_on(given.labels).mean(axis=1),
        "trapezoid": np.trapezoid(curves.losses_on(given.labels), curves.progress, axis=1),
    }
    auroc = {
        name: stats.mannwhitneyu(area[flipped], area[~flipped]).statistic / (flipped.sum() * (~flipped).sum())
        for name, area in areas.items()
    }
    assert value == pytest.approx(auroc["mean"] - 0.5)
    assert auroc["mean"] != pytest.approx(auroc["trapezoid"])


def test_curves_that_stay_in_their_store_give_the_same_measures(
    paper: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_reading, "LIMIT", 0)
    streamed = analyze(paper.folder)
    assert list(streamed.measures) == list(paper.measures)
    for name, table in paper.measures.items():
        assert streamed.measures[name].equals(table), name


def test_the_report_says_the_settings() -> None:
    plain, paper = (
        dict(study_words(study := study_spec(**FULL, analysis=analysis), (), expand(study), ""))
        for analysis in ({"resamples": 100}, PAPER)
    )
    assert "Measures" not in plain
    assert "contested at or above 0.7 nats, settled at or below 0.4" in paper["Entropy groups"]
    assert paper["Measures"] == (
        "AULC is the mean of the recorded losses, each tracking point once; an example is learned at the first point "
        "with a loss below 0.95 nats; data maps take step 0 in; in data maps correct means a probability of the gold "
        "label above 0.5"
    )


def test_the_settings_in_the_docs_are_valid_and_name_every_measure() -> None:
    text = (Path(__file__).parents[3] / "docs" / "measures.md").read_text("utf-8")
    settings = yaml.safe_load(text.partition("```yaml")[2].partition("```")[0])["analysis"]
    assert set(AnalysisSpec.parse(settings, "docs").measures) == set(get_args(Measure))
    assert [name for name in get_args(Measure) if f"\n| `{name}` |" not in text] == []


def test_covariates_that_only_other_data_have_are_left_out_and_said_to_be() -> None:
    study = study_spec(**FULL, analysis={"resamples": 100, "covariates": ["words_obs1", "words"]})
    cell = evidence_of(study, balanced(curves_of())).cells[0]
    assert list(cell.held_fixed) == ["words"]
    row = analyze_cell(cell).cell
    assert (row["covariates"], row["covariates_left_out"]) == (
        "",
        "words_obs1: no example has it; words: the same in every example",
    )
    for wrong in ("words_premis", "gold_shares", "wordiness"):
        with pytest.raises(SpecError, match=f"analysis.covariates names '{wrong}'"):
            further_columns([wrong], {}, cell.counts, lambda a, b: cell.stored.text[a:b])  # type: ignore[union-attr]


def test_cut_points_may_be_each_data_sets_own(tmp_path: Path) -> None:
    """Two labels have at most ln 2 = 0.693 nats, so that no cut at 0.7 has a contested example of theirs."""
    own = {"low": 0.3, "high": 0.5, "unit": "nats"}
    plain = study_spec(**FULL).model_dump(mode="json")["datasets"][0]
    study = study_spec(
        **FULL,
        datasets=[{**plain, "entropy_cuts": own}],
        analysis={**PAPER, "cuts": "entropy_cuts", "cuts_unit": "bits"},
    )
    assert StudySpec.from_text(study.to_yaml(), "study") == study
    cell = evidence_of(study, balanced(curves_of())).cells[0]
    nats = cell.entropy * math.log(2)
    assert (
        cell.group.tolist()
        == np.where(nats <= 0.3, "settled", np.where(nats >= 0.5, "contested", "middle")).tolist()
    )
    assert len(set(cell.group.tolist())) > 1
    words = dict(study_words(study, [], [cell.spec], ""))["Entropy groups"]
    assert words.endswith("contested at or above 0.5 nats, settled at or below 0.3")
    with pytest.raises(SpecError, match="takes each data set's entropy_cuts, and 'panel' has none"):
        study_spec(**FULL, datasets=[{**plain, "name": "panel"}], analysis={"cuts": "entropy_cuts"})


def test_contested_alphanli_items_are_there() -> None:
    study = load_study("paper-appendix")
    (two,) = [dataset for dataset in study.datasets if dataset.name == "alphanli"]
    assert study.analysis.for_dataset(two).cuts_in_bits == pytest.approx(
        (0.252 / math.log(2), 0.442 / math.log(2))
    )


def test_mistakes_are_named(tmp_path: Path) -> None:
    def refused(**analysis: Any) -> str:
        with pytest.raises(SpecError) as error:
            StudySpec.parse({**study_spec().model_dump(mode="json"), "analysis": analysis}, "study")
        return str(error.value)

    assert "cuts_unit is the unit of cuts; give cuts" in refused(cuts_unit="nats")
    assert "measures lists 'bins' twice" in refused(measures=["bins", "bins"])
    assert "goes by learning time; give learned_loss" in refused(measures=["concordance"])
    write_study(tmp_path, study_spec(**FULL, analysis={"resamples": 100, "covariates": ["words_premis"]}))
    with pytest.raises(StoreError, match=r"'words_premis'.*did you mean 'words_premise'"):
        analyze(tmp_path)
