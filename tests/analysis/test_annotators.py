"""Fewer labels per item: closed forms, planted rankings, and what the table leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from dissensus.analysis.annotators import SCHEMA, SIZES, annotator_table, labels_needed
from dissensus.analysis.reading import CellReading
from dissensus.analysis.study_reading import StudyReading
from dissensus.analysis.subsamples import standard_ranks, stepped_up
from dissensus.curves import Curves
from dissensus.data.agreement import annotation_entropy, subsample_annotators
from dissensus.errors import DataError, SpecError
from dissensus.study.grid import expand
from synthetic_study import LABELS, study_spec

Array = np.ndarray[Any, Any]


def evidence(counts: Array, *areas: Array, only: int | None = None, **changes: Any) -> StudyReading:
    """A study's cells in which every loss is constant: AULC is `areas`, one per seed. Gold: 0, or none for NaN."""
    study = study_spec(**changes)
    specs = expand(study)
    n, cells = len(counts), []
    for spec in specs:
        area = np.asarray(areas[study.seeds.index(spec.seed)], dtype=np.float32)
        log_probs = np.full((n, 2, len(LABELS)), -3, dtype=np.float32)
        log_probs[:, :, 0] = -area[:, None]
        curves = Curves(
            ids=tuple(f"item-{j}" for j in range(n)),
            labels=LABELS,
            steps=np.array([0, 100]),
            total_steps=100,
            log_probs=log_probs,
            gold=np.where(np.isnan(area), -1, 0).astype(np.int64),
            counts=np.asarray(counts, dtype=np.float64),
            regime=np.full(n, spec.regime),
        )
        cells.append(CellReading(spec, curves, study.analysis))
    return StudyReading(study, tuple(cells if only is None else cells[only : only + 1]), len(specs))


def planted(n: int, annotators: int, seed: int, *, noise: float = 0.3) -> tuple[Array, Array, Array]:
    """Counts, an AULC that follows the true entropy of each item's shares, and that entropy."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet((1.0, 0.6, 0.3), size=n)
    truth = annotation_entropy(shares)
    area = 1 + truth + noise * rng.standard_normal(n)
    return rng.multinomial(annotators, shares), area, truth


def by_labels(table: pa.Table) -> dict[int, dict[str, Any]]:
    rows = table.to_pylist()
    return {row["labels"]: row for row in rows if row["condition"] == rows[0]["condition"]}


def test_two_kinds_of_items_have_values_worked_out_by_hand() -> None:
    """Half the items are unanimous, half split 50 to 50; the latter have the higher AULC. With all labels rho is 1.

    Three labels of a split item agree with the chance q = 2 C(50, 3) / C(100, 3) = 2 x 19,600 / 161,700 = 0.2424, and
    its entropy is then 0 like that of the others. So entropy takes two values, the higher one with the chance
    p = (1 - q) / 2 = 0.3788 over all items, and rho is the correlation of two indicators,
    (p - p / 2) / sqrt(p (1 - p) / 4) = sqrt(p / (1 - p)) = 0.7809. Two triples both disagree with the chance
    (1 - q)^2 / 2 = 2 p^2, so that they correlate by (2 p^2 - p^2) / (p (1 - p)) = p / (1 - p) = 0.6098. Corrected: 1.
    """
    counts = np.repeat([[100, 0, 0], [50, 50, 0]], 300, axis=0)
    row = by_labels(annotator_table(evidence(counts, np.repeat([1.0, 2.0], 300))))[3]
    assert row["rho_full"] == pytest.approx(1)
    # A draw's rho has a standard deviation near 0.02, the mean of 50 one of 0.003.
    assert row["rho"] == pytest.approx(0.7809, abs=0.01)
    assert row["reliability"] == pytest.approx(0.6098, abs=0.02)
    assert row["rho_corrected"] == pytest.approx(1, abs=0.02)
    assert row["share"] == pytest.approx(row["rho"], abs=1e-12)
    assert np.isnan(row["reliability_split"])  # halves of three labels are single labels


def test_the_correction_finds_the_correlation_with_the_truth() -> None:
    """Errors are independent of AULC here: what few labels take off, the correction gives back."""
    counts, area, truth = planted(3000, 100, 0)
    wanted = stats.spearmanr(truth, area).statistic
    rows = by_labels(annotator_table(evidence(counts, area)))
    assert list(rows) == list(SIZES)
    assert rows[5]["rho"] < 0.75 * wanted
    plain = [rows[n]["rho"] for n in SIZES]
    assert plain == sorted(plain)
    for n in (10, 20, 50):
        assert rows[n]["rho_corrected"] == pytest.approx(wanted, rel=0.03)
        assert rows[n]["rho_corrected_split"] == pytest.approx(wanted, rel=0.06)
        assert rows[n]["reliability_split"] == pytest.approx(rows[n]["reliability"], rel=0.1)
    assert rows[50]["rho_full_corrected"] == pytest.approx(wanted, rel=0.01)
    # Halves of 100 are two sets of 50: their agreement, stepped up, is the reliability of all.
    assert rows[50]["reliability_full"] == pytest.approx(stepped_up(rows[50]["reliability"], 2), abs=0.01)


def test_rho_with_all_labels_is_the_studys_own() -> None:
    counts, area, _ = planted(200, 30, 1)
    for estimator in ("plugin", "miller_madow"):
        found = annotator_table(evidence(counts, area, analysis={"entropy": estimator}))
        entropy = annotation_entropy(counts, estimator=estimator)
        wanted = stats.spearmanr(entropy, area.astype(np.float32)).statistic
        assert found["rho_full"][0].as_py() == pytest.approx(wanted, abs=1e-12)
        assert found["labels"].to_pylist()[:4] == [3, 5, 10, 20]


def test_the_spread_is_over_sub_samplings() -> None:
    counts, area, _ = planted(300, 100, 2)
    row = by_labels(annotator_table(evidence(counts, area), sizes=(5,), draws=400))[5]
    rng = np.random.default_rng(7)
    drawn = (annotation_entropy(subsample_annotators(counts, 5, rng)) for _ in range(400))
    rhos = np.array([stats.spearmanr(entropy, area).statistic for entropy in drawn])
    # Standard errors: of a mean of 400, sd / 20; of an sd, sd / 28. Four of each.
    assert row["rho"] == pytest.approx(rhos.mean(), abs=4 * np.sqrt(2) * rhos.std() / 20)
    assert row["rho_sd"] == pytest.approx(rhos.std(), rel=4 * np.sqrt(2) / 28)
    assert row["rho_low"] < row["rho"] - 1.5 * row["rho_sd"]
    assert row["rho_high"] > row["rho"] + 1.5 * row["rho_sd"]
    assert row["draws"] == 400


def test_seeds_are_averaged() -> None:
    counts, area, truth = planted(150, 40, 3)
    other = truth + 1
    both = annotator_table(evidence(counts, area, other, seeds=[0, 1]))
    apart = [annotator_table(evidence(counts, only)) for only in (area, other)]
    assert both["seeds"].to_pylist() == [2] * both.num_rows
    for column in ("rho", "rho_full"):
        mean = np.mean([table[column].to_numpy() for table in apart], axis=0)
        np.testing.assert_allclose(both[column].to_numpy(), mean, atol=1e-12)


def test_a_condition_does_not_depend_on_which_others_are_complete() -> None:
    counts, area, _ = planted(80, 20, 4)
    every = annotator_table(evidence(counts, area))
    second = annotator_table(evidence(counts, area, only=1))
    assert second.num_rows == every.num_rows // 2
    # As text: a NaN is not equal to itself.
    assert str(every.to_pylist()[second.num_rows :]) == str(second.to_pylist())
    assert str(annotator_table(evidence(counts, area)).to_pylist()) == str(every.to_pylist())
    seeded = annotator_table(evidence(counts, area, analysis={"seed": 1}))
    assert seeded["rho"].to_pylist() != every["rho"].to_pylist()[: seeded.num_rows]


def test_only_sizes_that_every_item_has_are_tried() -> None:
    counts, area, _ = planted(60, 5, 5)

    def sizes(counts: Array, area: Array = area) -> list[int]:
        return list(by_labels(annotator_table(evidence(counts, area))))

    assert sizes(counts) == [3]  # to keep 5 of 5 leaves nothing out
    more = counts.copy()
    more[0] += (10, 0, 0)
    assert sizes(more) == [3, 5]
    fewer = counts.copy()
    fewer[0] = (1, 1, 0)
    assert sizes(fewer) == []
    # Items that no annotator saw, or without a gold label, are left out and counted.
    unseen, unknown = counts.copy(), area.copy()
    unseen[0], unknown[1] = 0, np.nan
    row = by_labels(annotator_table(evidence(unseen, unknown)))[3]
    assert (row["items"], row["items_dropped"], row["annotations_min"], row["annotations_max"]) == (
        58,
        2,
        5,
        5,
    )
    # Twice 3 labels are more than 5, and halves of 3 are single labels: nothing to correct with.
    assert np.isnan([row["reliability"], row["reliability_split"], row["rho_corrected"]]).all()


def test_with_too_few_labels_for_two_sets_halves_give_the_correction() -> None:
    counts, area, _ = planted(400, 15, 6)
    row = by_labels(annotator_table(evidence(counts, area)))[10]
    assert np.isnan(row["reliability"])
    assert row["rho_corrected"] == row["rho_corrected_split"] > row["rho"]


def test_counts_that_are_not_whole_give_no_row() -> None:
    counts, area, _ = planted(40, 20, 7)
    table = annotator_table(evidence(counts + 0.5, area))
    assert table.num_rows == 0
    assert table.schema == SCHEMA
    assert labels_needed(table) == ()


def test_an_aulc_that_does_not_vary_is_nan() -> None:
    counts, area, _ = planted(40, 20, 8)
    row = by_labels(annotator_table(evidence(counts, np.ones(40))))[5]
    assert np.isnan([row["rho"], row["rho_full"], row["share"], row["rho_corrected"]]).all()
    assert (row["seeds"], row["draws"]) == (0, 0)
    # One seed of two: the other one's numbers.
    one = by_labels(annotator_table(evidence(counts, np.ones(40), area, seeds=[0, 1])))[5]
    assert one["seeds"] == 1
    assert one["rho"] == by_labels(annotator_table(evidence(counts, area)))[5]["rho"]


def test_the_table_says_where_the_gold_label_comes_from() -> None:
    counts, area, _ = planted(40, 20, 9)
    assert set(annotator_table(evidence(counts, area))["gold_source"].to_pylist()) == {"original"}
    majority = annotator_table(evidence(counts, area, analysis={"gold": "majority"}))
    assert set(majority["gold_source"].to_pylist()) == {"majority"}


def hand_made(condition: str, full: float, rhos: dict[int, float], items: int = 1000) -> list[dict[str, Any]]:
    return [
        {"condition": condition, "labels": n, "rho": r, "rho_full": full, "share": r / full, "items": items}
        for n, r in rhos.items()
    ]


def test_labels_needed_is_the_smallest_number_that_reaches_the_share() -> None:
    rows = [
        *hand_made("reached", 0.4, {50: 0.39, 10: 0.37, 5: 0.2}),
        *hand_made("never", 0.4, {5: 0.1, 10: 0.2}),
        *hand_made("negative", -0.2, {5: 0.19, 10: -0.19}),
        *hand_made("nothing to see", 0.05, {5: 0.05}),  # 1.96 / sqrt(999) = 0.062
    ]
    found = {row.condition: row for row in labels_needed(pa.Table.from_pylist(rows, schema=SCHEMA))}
    assert {name: row.labels for name, row in found.items()} == {
        "reached": 10, "never": None, "negative": 10, "nothing to see": None
    }  # fmt: skip
    assert found["never"].reached == pytest.approx(0.5)
    assert np.isnan(found["nothing to see"].reached)
    half = labels_needed(pa.Table.from_pylist(rows, schema=SCHEMA), share=0.5)
    assert [row.labels for row in half] == [5, 10, 10, None]


def test_wrong_options_are_refused() -> None:
    counts, area, _ = planted(20, 10, 10)
    with pytest.raises(SpecError, match="expected whole numbers of at least 1"):
        annotator_table(evidence(counts, area), sizes=(0, 3))
    with pytest.raises(SpecError, match="draws is 0"):
        annotator_table(evidence(counts, area), draws=0)
    with pytest.raises(SpecError, match="share is 90"):
        labels_needed(annotator_table(evidence(counts, area)), share=90)


def test_stepping_up() -> None:
    # Twice the labels: 2 x 0.5 / 1.5. Five labels from halves of two: 2.5 x 0.4 / (1 + 1.5 x 0.4) = 1 / 1.6.
    assert stepped_up(0.5, 2) == pytest.approx(2 / 3)
    assert stepped_up(0.4, 2.5) == pytest.approx(0.625)
    assert np.isnan(stepped_up(0.0, 2))


def test_products_of_standard_ranks_are_spearmans() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, size=(3, 50)).astype(np.float64)
    ranks = standard_ranks(values)
    assert ranks[0] @ ranks[2] == pytest.approx(stats.spearmanr(values[0], values[2]).statistic)
    assert np.isnan(standard_ranks(np.ones((1, 4)))).all()


def test_sub_samples_of_other_sizes_for_each_item() -> None:
    rng = np.random.default_rng(0)
    counts = np.tile([[6, 3, 1], [20, 0, 20]], (4000, 1))
    drawn = subsample_annotators(counts, np.tile([4, 10], 4000), rng)
    np.testing.assert_array_equal(drawn.sum(axis=1), np.tile([4, 10], 4000))
    # Means n p; variances n p (1 - p) (N - n) / (N - 1): 4 x 0.6 x 0.4 x 6 / 9 = 0.64, and 10 / 4 x 30 / 39 = 1.923.
    np.testing.assert_allclose(drawn[::2].mean(axis=0), [2.4, 1.2, 0.4], atol=0.05)
    np.testing.assert_allclose([drawn[::2, 0].var(), drawn[1::2, 2].var()], [0.64, 1.923], rtol=0.1)
    with pytest.raises(DataError, match=r"n has shape \(3,\)"):
        subsample_annotators(counts, [1, 2, 3], rng)
