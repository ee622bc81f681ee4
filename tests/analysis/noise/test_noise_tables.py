"""Noise tables: groups and means worked out by hand, likeness from its definition, scores beside cleanlab."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.analysis.noise.groups import distances, noisy_cell, noisy_cells
from dissensus.analysis.noise.scores import confident_learning_scores
from dissensus.analysis.noise.tables import (
    CURVES_SCHEMA,
    LIKENESS_SCHEMA,
    RANKING_SCHEMA,
    noise_curves,
    noise_likeness,
    noise_ranking,
)
from dissensus.analysis.reading import CellReading
from dissensus.analysis.study_reading import StudyReader, StudyReading
from dissensus.config import RunSpec, StudySpec
from dissensus.curves import Curves
from dissensus.data.noise import NoisyLabels, save_noise
from dissensus.errors import DataError
from dissensus.metrics import example_metrics
from dissensus.study.grid import planned_cells
from synthetic_study import dataset, study_spec, write_study

NOISE = {
    "name": "noisy",
    "when": {"regime": "trained_on"},
    "set": {"training": {"noise": {"kind": "uniform", "rate": 0.2}}},
}


def noisy_study(**changes: Any) -> StudySpec:
    return study_spec(
        regimes=["trained_on"],
        methods=[{"name": "full", "learning_rate": 1e-4}],
        variants=[NOISE],
        **changes,
    )


def curves_of(probabilities: np.ndarray, counts: np.ndarray, **changes: Any) -> Curves:
    """Curves of given probabilities, (n, T, 3), at T even points of 100 steps; gold is label 0, all trained on."""
    n, points, _ = probabilities.shape
    options: dict[str, Any] = {
        "ids": tuple(f"i{k}" for k in range(n)),
        "labels": ("a", "b", "c"),
        "steps": np.linspace(0, 100, points).astype(np.int64),
        "total_steps": 100,
        "log_probs": np.log(probabilities).astype(np.float32),
        "gold": np.zeros(n, dtype=np.int64),
        "counts": counts.astype(float),
        "regime": np.full(n, "trained_on"),
    }
    return Curves(**{**options, **changes})


def evidence_of(curves: Curves, given: NoisyLabels, study: StudySpec | None = None) -> StudyReading:
    study = study or noisy_study()
    own, variant = planned_cells(study)
    clean = CellReading(own.cell, curves, study.analysis)
    return StudyReading(
        study, (clean, CellReading(variant.cell, curves, study.analysis, variant.base, given)), 2
    )


def with_gold(p: list[list[float]]) -> np.ndarray:
    """Probabilities from those of label 0, (n, T): label 1 gets three quarters of the rest, label 2 a quarter."""
    first = np.array(p)
    return np.stack([first, 0.75 * (1 - first), 0.25 * (1 - first)], axis=2)


@pytest.fixture
def six() -> StudyReading:
    """Entropies 0, 0, .469, .469, 1, 1 bits; items 1 (settled) and 5 (contested) were flipped to label 1."""
    curves = curves_of(
        with_gold([[0.4, 0.8], [0.4, 0.6], [0.4, 0.9], [0.4, 0.5], [0.4, 0.4], [0.4, 0.2]]),
        np.array([[10, 0, 0], [10, 0, 0], [9, 1, 0], [9, 1, 0], [5, 5, 0], [5, 5, 0]]),
    )
    flipped = np.array([0, 1, 0, 0, 0, 1], dtype=bool)
    return evidence_of(curves, NoisyLabels(np.where(flipped, 1, 0), flipped))


def rows(table: Any, **where: Any) -> list[dict[str, Any]]:
    return [r for r in table.to_pylist() if all(r[k] == v for k, v in where.items())]


def test_group_curves_by_hand(six: StudyReading) -> None:
    table = noise_curves(six)
    assert table.schema == CURVES_SCHEMA

    def means(group: str, label: str) -> list[float]:
        found = rows(table, group=group, label=label)
        assert [r["step"] for r in found] == [0, 100]
        assert [r["progress"] for r in found] == [0.0, 1.0]
        return [float(np.exp(-r["mean"])) for r in found]

    # exp(-mean loss) is the geometric mean of p(label). Plain: item 0 alone; contested: item 4 alone.
    assert means("plain", "given") == pytest.approx([0.4, 0.8])
    assert means("plain", "true") == pytest.approx([0.4, 0.8])
    assert means("contested", "given") == pytest.approx([0.4, 0.4])
    # Flipped: items 1 and 5; p(given) = 0.75 x 0.6 = 0.45, then 0.75 x 0.4 = 0.3 and 0.75 x 0.8 = 0.6.
    assert means("flipped", "given") == pytest.approx([0.45, (0.3 * 0.6) ** 0.5])
    assert means("flipped", "true") == pytest.approx([0.4, (0.6 * 0.2) ** 0.5])
    # Settled and flipped: item 1 alone.
    assert means("flipped_settled", "given") == pytest.approx([0.45, 0.3])
    counts = {r["group"]: r["n"] for r in rows(table, step=100, label="given")}
    assert counts == {"flipped": 2, "contested": 1, "plain": 1, "flipped_settled": 1}
    first = table.to_pylist()[0]
    assert (first["noise"], first["rate"], first["variant"], first["seed"]) == ("uniform", 0.2, "noisy", 0)
    assert set(table["condition"].to_pylist()) == {"snli.minilm-l6.full.trained_on.noisy"}


def test_only_trained_on_examples_count_but_groups_are_those_of_all(six: StudyReading) -> None:
    clean, noisy = six.cells
    # Items 0 and 4 were left out of training: without them there is neither a plain nor an unflipped contested item.
    regime = np.where(np.isin(np.arange(6), [0, 4]), "held_out", "trained_on")
    left = noisy_cell(replace(noisy, stored=replace(noisy.curves, regime=regime)))
    assert left.curves.ids == ("i1", "i2", "i3", "i5")
    assert left.entropy_group.tolist() == ["settled", "middle", "middle", "contested"]
    assert left.groups.tolist() == ["flipped", "", "", "flipped"]
    assert left.clean_groups.tolist() == ["flipped", "", "", ""]
    with pytest.raises(DataError, match=r"snli\.minilm-l6\.full\.trained_on.* without label noise"):
        noisy_cell(clean)


def test_scores_are_those_of_the_given_label(six: StudyReading) -> None:
    table = noise_ranking(six)
    (noisy,) = noisy_cells(six)
    metrics = example_metrics(replace(noisy.curves, gold=noisy.given))
    found = {r["score"]: r for r in table.to_pylist()}
    assert all((r["n"], r["positives"]) == (6, 2) for r in found.values())
    assert found["aulc"]["base_rate"] == pytest.approx(1 / 3)
    # Final p(given): .8 .3* .9 .5 .4 .6*. Item 1 is above all four others, item 5 above items 3 and 4 only in p: its
    # loss is lower than theirs and higher than those of 0 and 2. So 4 + 2 of 8 pairs are won.
    assert found["final_loss"]["auroc"] == pytest.approx(6 / 8)
    # Falling losses: 1* .3, 4 .4, 3 .5, 5* .6: precision 1 and 2/4.
    assert found["final_loss"]["ap"] == pytest.approx((1 + 2 / 4) / 2)
    # Share that did not choose the given label: 0, 1*, .1, .1, .5, .5*: item 1 wins 4 pairs, item 5 wins 3, ties one.
    assert found["dissent"]["auroc"] == pytest.approx((4 + 3.5) / 8)
    # Entropy does not know the given label: 0, 0*, .469, .469, 1, 1*: 0.5 + 3.5 of 8.
    assert found["entropy"]["auroc"] == pytest.approx(4 / 8)
    # AULC of two points is the mean of both losses.
    assert metrics.aulc[1] == pytest.approx(-(np.log(0.45) + np.log(0.3)) / 2, rel=1e-6)
    # Items 1 (p = .3 against .6), 4 (.4 against .45) are never right; ranks: both first, and item 1 is one of them.
    assert found["forgetting"]["auroc"] == pytest.approx(((3 + 0.5) + 3 * 0.5) / 8)
    assert "never right" in found["forgetting"]["note"]


def test_a_score_is_high_where_a_label_is_suspect() -> None:
    # The model learns the true label of every item, whichever of the three it is, and never believes a flipped one.
    rng = np.random.default_rng(0)
    n, points = 300, 5
    gold = np.arange(n) % 3
    p = 0.34 + 0.6 * np.linspace(0, 1, points) * rng.uniform(0.8, 1, (n, 1))
    probabilities = np.stack(
        [np.roll(own, g, axis=1) for own, g in zip(with_gold(p.tolist()), gold, strict=True)]
    )
    dissent = np.arange(n) % 5
    counts = np.stack([np.roll([10 - d, d, 0], g) for d, g in zip(dissent, gold, strict=True)])
    flipped = np.arange(n) % 7 == 0
    given = np.where(flipped, (gold + 2) % 3, gold)
    table = noise_ranking(
        evidence_of(curves_of(probabilities, counts, gold=gold), NoisyLabels(given, flipped))
    )
    # All labels were given, so those of cleanlab's scores that adjust for them are there: two of four.
    assert len(rows(table, source="cleanlab")) == 2 * len(
        [s for s in table["score"].to_pylist() if "adjusted" in s]
    )
    for row in table.to_pylist():
        if row["score"] not in ("entropy", "variability"):
            assert row["auroc"] == 1.0, row["score"]
            # Perfect, of 43 flipped labels: no reason for a lower end of 1, and (.025)^(1 / 43) = .918.
            assert 0.9 < row["auroc_low"] < 1.0
            assert row["undefined_resamples"] == 0
    assert rows(table, score="entropy")[0]["auroc"] == pytest.approx(0.5, abs=0.1)


def test_confident_learning_stands_beside_the_curves(six: StudyReading) -> None:
    table = noise_ranking(six)
    own = {r["score"]: r for r in rows(table, source="cleanlab")}
    # No item was given label 2, so that no threshold of it is known and nothing can be adjusted by it.
    assert set(own) == {"self_confidence", "normalized_margin"}
    assert all("has not seen" in r["note"] for r in own.values())
    # The probability of the given label at the end ranks as minus its logarithm does.
    (loss,) = rows(table, score="final_loss")
    for key in ("auroc", "ap", "auroc_low", "ap_high"):
        assert own["self_confidence"][key] == pytest.approx(loss[key], nan_ok=True)


@pytest.mark.parametrize("method", ["self_confidence", "normalized_margin"])
@pytest.mark.parametrize("adjusted", [False, True])
def test_label_quality_is_that_of_cleanlab(method: str, adjusted: bool) -> None:
    rank = pytest.importorskip("cleanlab.rank")
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    curves = curves_of(rng.dirichlet((1.0, 1.0, 1.0), size=(60, 1)), np.ones((60, 3)), gold=labels)
    shares = np.exp(curves.log_probs[:, -1].astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    if adjusted:
        expected = rank.get_label_quality_scores(labels, shares, method=method, adjust_pred_probs=True)
        assert not np.allclose(expected, rank.get_label_quality_scores(labels, shares, method=method))
    else:
        expected = rank.get_label_quality_scores(labels, shares, method=method)
    scores = {own.name: own.values for own in confident_learning_scores(curves, labels)}
    np.testing.assert_allclose(-scores[method + "_adjusted" * adjusted], expected, rtol=1e-12)


def test_confident_learning_does_not_import_cleanlab(
    six: StudyReading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    monkeypatch.setitem(sys.modules, "cleanlab.rank", None)
    assert rows(noise_ranking(six), source="cleanlab")


def by_definition(losses: np.ndarray, groups: np.ndarray) -> float:
    """Likeness of examples as they are, from its formula."""
    means = {
        g: (losses[groups == g] - losses[groups == g][:, :1]).mean(axis=0)[1:] for g in np.unique(groups)
    }

    def rms(x: np.ndarray) -> float:
        return float(np.sqrt(np.mean(x**2)))

    return rms(means["flipped"] - means["plain"]) - rms(means["flipped"] - means["contested"])


def likeness(losses: np.ndarray, groups: Any, weights: np.ndarray) -> np.ndarray:
    return distances(losses, groups, weights).likeness


def test_likeness_by_hand() -> None:
    # Changes from the start: flipped (0, 0.6), contested (0.3, 0.2), plain (-0.4, -0.2).
    losses = np.array([[1.0, 1.0, 1.6], [2.0, 2.3, 2.2], [0.5, 0.1, 0.3], [9.0, 1.0, 5.0]])
    groups = np.array(["flipped", "contested", "plain", ""])
    # sqrt((0.16 + 0.64) / 2) - sqrt((0.09 + 0.16) / 2)
    expected = np.sqrt(0.4) - np.sqrt(0.125)
    assert likeness(losses, groups, np.ones((1, 4))) == pytest.approx([expected])
    # Contested from plain: (0.7, 0.4), so sqrt((0.49 + 0.16) / 2) - sqrt(0.125).
    found = distances(losses, groups, np.ones((1, 4)))
    assert found.equivalence == pytest.approx([np.sqrt(0.325) - np.sqrt(0.125)])
    turned = np.array(["flipped", "plain", "contested", ""])
    assert likeness(losses, turned, np.ones((1, 4))) == pytest.approx([-expected])
    # The third resample draws no plain example.
    weights = np.array([[1, 1, 1, 0], [2, 5, 1, 3], [1, 1, 0, 1]])
    assert likeness(losses, groups, weights) == pytest.approx([expected, expected, np.nan], nan_ok=True)
    assert np.isnan(likeness(losses[:, :1], groups, weights)).all()


def test_likeness_of_weights_is_that_of_examples_drawn_that_often() -> None:
    rng = np.random.default_rng(2)
    losses = rng.gamma(2, size=(40, 6))
    groups = np.array(["flipped", "contested", "plain", "other"])[np.arange(40) % 4]
    weights = rng.integers(0, 4, (20, 40))
    drawn = [np.repeat(np.arange(40), w) for w in weights]
    expected = [by_definition(losses[d], groups[d]) for d in drawn]
    assert likeness(losses, groups, weights) == pytest.approx(expected)
    # An example with a gap counts for nothing, at any point.
    gap = losses.copy()
    gap[3, 2], gap[0, 0] = np.nan, np.inf
    without = weights * ~np.isin(np.arange(40), [0, 3])
    assert likeness(gap, groups, weights) == pytest.approx(likeness(losses, groups, without))


def test_shapes_that_do_not_fit_are_explained() -> None:
    with pytest.raises(DataError, match=r"losses have shape \(2, 3\), groups \(2,\) and weights \(1, 3\)"):
        likeness(np.ones((2, 3)), ["flipped", "plain"], np.ones((1, 3)))


def moving(n: int, flipped_like: str) -> StudyReading:
    """A third each settled, middle, contested; contested losses rise, settled ones fall, flipped ones as is said."""
    rng = np.random.default_rng(5)
    votes = np.repeat([0, 2, 5], n // 3)
    counts = np.stack([10 - votes, votes, 0 * votes], axis=1)
    flipped = np.arange(n) % 5 == 0
    rate = np.where(votes == 0, -0.8, np.where(votes == 5, 0.5, 0.0))
    rate[flipped] = 0.5 if flipped_like == "contested" else -0.8
    u = np.linspace(0, 1, 5)
    losses = 1.1 + rate[:, None] * u + 0.1 * rng.standard_normal((n, 1)) * u
    given = np.where(flipped, 1, 0)
    p = np.full((n, 5, 3), np.nan)
    rest = 1 - np.exp(-losses)
    for k in range(3):
        p[:, :, k] = np.where((given == k)[:, None], np.exp(-losses), rest / 2)
    return evidence_of(curves_of(p, counts), NoisyLabels(given, flipped))


@pytest.mark.parametrize(("like", "sign"), [("contested", 1), ("plain", -1)])
def test_the_sign_of_likeness_says_what_flipped_examples_move_like(like: str, sign: int) -> None:
    table = noise_likeness(moving(300, like))
    assert table.schema == LIKENESS_SCHEMA
    for name in ("flipped", "flipped_settled"):
        (row,) = rows(table, label="given", flipped_group=name)
        assert sign * row["likeness"] > 0.5
        assert min(sign * row["low"], sign * row["high"]) > 0.4
        assert row["low"] < row["likeness"] < row["high"]
        assert row["likeness"] == pytest.approx(row["from_plain"] - row["from_contested"])
    (whole,) = rows(table, label="true", flipped_group="flipped")
    (clean,) = rows(table, label="true", flipped_group="flipped_settled")
    # 300 items, every fifth flipped: 60, of which 20 settled; 80 unflipped ones are left in each outer group.
    assert [whole["n_flipped"], clean["n_flipped"], whole["n_plain"], whole["n_contested"]] == [
        60,
        20,
        80,
        80,
    ]
    # Each item is its own cluster: the smallest group decides.
    assert (whole["clusters"], clean["clusters"], whole["withheld"], clean["withheld"]) == (60, 20, "", "")


def test_few_flipped_examples_have_no_interval_however_many_others_there_are() -> None:
    # 150 items, each its own cluster: 30 flipped, of which 10 settled.
    table = noise_likeness(moving(150, "contested"))
    for label in ("given", "true"):
        (whole,) = rows(table, label=label, flipped_group="flipped")
        (clean,) = rows(table, label=label, flipped_group="flipped_settled")
        assert (whole["clusters"], whole["withheld"], whole["equivalence_withheld"]) == (30, "", "")
        assert np.isfinite([whole["low"], whole["equivalence_high"]]).all()
        assert clean["clusters"] == 10
        assert (
            clean["withheld"] == clean["equivalence_withheld"] == "10 clusters; an interval needs 20 at least"
        )
        assert np.isnan([clean[f"{p}{end}"] for p in ("", "equivalence_") for end in ("low", "high")]).all()
        assert np.isfinite([clean["likeness"], clean["equivalence"]]).all()
    curves = rows(noise_curves(moving(150, "contested")), step=100, label="given")
    why = {row["group"]: (row["clusters"], row["withheld"]) for row in curves}
    assert why["flipped"] == (30, "")
    assert why["flipped_settled"] == (10, "10 clusters; an interval needs 20 at least")


def test_examples_that_a_distance_leaves_out_are_no_clusters_of_it() -> None:
    evidence = moving(150, "contested")
    clean, noisy = evidence.cells
    # 15 of the 30 flipped ones have a gap in their curves: 15 are left.
    log_probs = noisy.curves.log_probs.copy()
    log_probs[np.flatnonzero(np.arange(150) % 5 == 0)[:15], 2] = np.nan
    gaps = replace(noisy, stored=replace(noisy.curves, log_probs=log_probs))
    (row,) = rows(
        noise_likeness(replace(evidence, cells=(clean, gaps))), label="given", flipped_group="flipped"
    )
    assert (row["clusters"], row["withheld"]) == (15, "15 clusters; an interval needs 20 at least")


def test_flipped_examples_move_otherwise_on_their_true_label() -> None:
    (whole,) = rows(noise_likeness(moving(300, "contested")), label="true", flipped_group="flipped")
    # A flipped item does the opposite there: where its given loss rises, its true one falls.
    assert whole["likeness"] < 0


def test_flipped_examples_far_beyond_the_contested_ones_are_not_like_them() -> None:
    # Changes: flipped 2.0, contested 0.77, plain 0.60. Nearer to contested (1.23) than to plain ones (1.40), and seven
    # times as far from them as they are from plain ones (0.17).
    losses = np.array([[1.0, 3.0], [1.0, 1.77], [1.0, 1.6]])
    found = distances(losses, ["flipped", "contested", "plain"], np.ones((1, 3)))
    assert found.likeness == pytest.approx([1.40 - 1.23])
    assert found.equivalence == pytest.approx([0.17 - 1.23])


def test_plain_examples_are_settled_on_their_true_label(six: StudyReading) -> None:
    _, noisy = six.cells
    counts = noisy.curves.counts.copy()
    counts[0] = [0, 10, 0]  # settled, and nobody chose the true label
    noisy = replace(noisy, stored=replace(noisy.curves, counts=counts))
    assert noisy_cell(noisy).groups.tolist() == [
        "",
        "flipped",
        "",
        "",
        "contested",
        "flipped",
    ]


def test_likeness_needs_the_start_of_training() -> None:
    evidence = moving(60, "plain")
    clean, noisy = evidence.cells
    late = replace(noisy, stored=replace(noisy.curves, steps=noisy.curves.steps + 1, total_steps=200))
    row = rows(noise_likeness(replace(evidence, cells=(clean, late))))[0]
    assert np.isnan([row["likeness"], row["low"], row["from_plain"]]).all()
    assert row["undefined_resamples"] == 100


def test_a_study_without_noise_has_empty_tables_with_their_columns(six: StudyReading) -> None:
    clean = replace(six, cells=six.cells[:1])
    for table, schema in (
        (noise_curves(clean), CURVES_SCHEMA),
        (noise_ranking(clean), RANKING_SCHEMA),
        (noise_likeness(clean), LIKENESS_SCHEMA),
    ):
        assert table.num_rows == 0
        assert table.schema.names == schema.names


def test_tables_of_a_study_on_disk(tmp_path: Path) -> None:
    study = noisy_study()
    data = dataset(60)
    names = write_study(tmp_path, study, data=data)
    flipped = np.arange(60) % 5 == 2
    gold = np.zeros(60, dtype=np.int64)
    save_noise(
        tmp_path / "cells" / names[1] / "noise.parquet",
        [*data.ids, "another"],
        np.append(gold, 0),
        NoisyLabels(np.append(np.where(flipped, 1, gold), 0), np.append(flipped, False)),
    )
    evidence = StudyReader.at(tmp_path).all()
    ranking = noise_ranking(evidence)
    assert set(ranking["cell"].to_pylist()) == {names[1]}
    assert set(ranking["positives"].to_pylist()) == {12}
    again = noise_ranking(StudyReader.at(tmp_path).all())
    assert repr(ranking.to_pylist()) == repr(again.to_pylist())  # NaN is not equal to itself
    # Four pairs to a premise: 15 clusters, too few for an interval.
    assert len(set(next(noisy_cells(evidence)).clusters)) == 15
    assert np.isnan(ranking["auroc_low"].to_numpy()).all()
    assert noise_likeness(evidence).num_rows == 4
    assert isinstance(evidence.cells[1].spec, RunSpec)
