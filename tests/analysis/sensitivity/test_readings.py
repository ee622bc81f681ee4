"""Readings of one cell against the functions that they stand for, and their measures in resamples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dissensus.analysis.reading import majority_gold
from dissensus.analysis.sensitivity.paired import Seen, measure
from dissensus.analysis.sensitivity.readings import Reading, other_readings, read
from dissensus.config import AnalysisSpec
from dissensus.data.agreement import annotation_entropy
from dissensus.metrics import aulc, unlearning
from dissensus.stats import entropy_groups, mean_difference, spearman
from synthetic_curves import curves_of, reading_of, shuffled

SETTINGS = AnalysisSpec()


def test_each_reading_is_what_the_functions_of_the_package_give() -> None:
    curves = curves_of(points=13)
    cell = reading_of(curves)
    reference = read(cell)
    found = {(c.name, c.value): c for c in other_readings(cell)}
    assert set(found) == {
        *(("tracking points", str(k)) for k in (12, 9, 7, 5)),
        ("x axis", "log(1 + step)"),
        ("AULC", "relative"),
        ("AULC", "soft loss"),
        ("entropy estimator", "miller_madow"),
        ("entropy estimator", "chao_shen"),
        ("cut points", "outer 0.25"),
        ("cut points", "outer 0.5"),
        ("cut points", "0.5 and 1 bits"),
        ("gold label", "majority"),
        ("noise floor", "0.05 nats"),
        ("noise floor", "0.2 nats"),
    }

    def same(choice: tuple[str, str], **columns: Any) -> None:
        reading = found[choice].reading
        for name in Reading.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(reading, name), columns.get(name, getattr(reference, name)))

    same(("x axis", "log(1 + step)"), aulc=aulc(curves, x="log"))
    same(("AULC", "relative"), aulc=aulc(curves, relative=True))
    np.testing.assert_allclose(found["AULC", "soft loss"].reading.aulc, aulc(curves, loss="soft"), rtol=1e-12)
    entropy = annotation_entropy(curves.counts, estimator="chao_shen")
    same(("entropy estimator", "chao_shen"), entropy=entropy, group=entropy_groups(entropy))
    same(("cut points", "outer 0.25"), group=entropy_groups(reference.entropy, share=0.25))
    same(("cut points", "0.5 and 1 bits"), group=entropy_groups(reference.entropy, cuts=(0.5, 1.0)))
    agreed = curves.on(majority_gold(curves.counts))
    assert not np.array_equal(agreed.gold, curves.gold)
    back = unlearning(agreed)
    same(
        ("gold label", "majority"),
        aulc=aulc(agreed), delta=back.delta, unlearned=back.flag, defined=back.defined,
    )  # fmt: skip
    same(("noise floor", "0.2 nats"), unlearned=unlearning(curves, noise_floor=0.2).flag)
    # Five of 13 points: 0, 3, 6, 9, 12.
    few = replace(curves, steps=curves.steps[::3], log_probs=curves.log_probs[:, ::3])
    back = unlearning(few)
    same(("tracking points", "5"), aulc=aulc(few), unlearned=back.flag, defined=back.defined)
    assert found["tracking points", "5"].reference == "13"


def test_what_the_study_chose_is_no_other_reading() -> None:
    curves = curves_of(points=5)
    settings = AnalysisSpec(entropy="chao_shen", gold="majority", cuts=(0.5, 1.0), noise_floor=0.2)
    found = {(c.name, c.value): c.reference for c in other_readings(reading_of(curves, settings))}
    assert not {("entropy estimator", "chao_shen"), ("cut points", "0.5 and 1 bits")} & set(found)
    assert not {name for name, _ in found} & {"gold label", "tracking points"}
    assert found["cut points", "outer 0.333"] == "0.5 and 1 bits"
    assert {v for n, v in found if n == "noise floor"} == {"0.05 nats", "0.1 nats"}


def test_an_estimator_that_needs_whole_counts_is_left_out_without_them() -> None:
    curves = curves_of()
    curves = replace(curves, counts=curves.counts * 0.755)
    values = {c.value for c in other_readings(reading_of(curves))}
    assert "miller_madow" in values
    assert "chao_shen" not in values


def expected_measures(reading: Reading, drawn: np.ndarray) -> list[float]:
    """The measures of examples drawn one by one, from the package's other functions."""
    contested = drawn[reading.group[drawn] == "contested"]
    defined = contested[reading.defined[contested]]
    gap = mean_difference(reading.delta[drawn], reading.group[drawn])
    return [
        spearman(reading.entropy[drawn], reading.aulc[drawn]).rho,
        float(np.nanmean(reading.delta[contested])),
        float(reading.unlearned[defined].mean()),
        gap.difference,
    ]


def test_measures_in_resamples_are_those_of_the_drawn_clusters() -> None:
    curves = curves_of(180)
    # Examples without annotators, and with a run that diverged at its end.
    log_probs = curves.log_probs.copy()
    log_probs[179, -1] = np.nan
    counts = curves.counts.copy()
    counts[5] = 0
    curves = replace(curves, log_probs=log_probs, counts=counts)
    clusters = np.arange(180) // 2
    cell = reading_of(curves)
    reference = read(cell)
    readings = (reference, *(c.reading for c in other_readings(cell)))
    found = measure([Seen(clusters, readings)], resamples=40, confidence=0.8, rng=np.random.default_rng(3))
    everything = np.arange(180)
    assert found.value == pytest.approx(np.array([expected_measures(r, everything) for r in readings]))
    names = np.unique(clusters)
    picks = np.random.default_rng(3).integers(0, len(names), (40, len(names)))
    drawn = np.array(
        [
            [
                expected_measures(r, np.concatenate([np.flatnonzero(clusters == names[c]) for c in pick]))
                for r in readings
            ]
            for pick in picks
        ]
    )
    # Value +- t standard errors over the resamples; of rho on Fisher's scale, and over all 90 clusters. A change of the
    # contested examples rests on theirs, a difference of groups on those of the smaller one. Every third item
    # is split two ways, the others three: the 60 contested ones are spread over the last 90 items, 45 pairs.
    groups = [reading.group for reading in readings]
    behind = np.array(
        [
            [90, contested, contested, min(contested, settled)]
            for contested, settled in (
                [len(np.unique(clusters[own == name])) for name in ("contested", "settled")] for own in groups
            )
        ]
    )
    assert behind[0].tolist() == [90, 45, 45, 35]
    np.testing.assert_array_equal(found.clusters, behind)
    factor = stats.t(behind - 1).ppf(0.9) * np.sqrt(behind / (behind - 1))
    reach = factor * drawn.std(axis=0, ddof=1)
    low, high = found.value - reach, found.value + reach
    reach = factor[:, 0] * np.arctanh(drawn[:, :, 0]).std(axis=0, ddof=1)
    low[:, 0], high[:, 0] = (np.tanh(np.arctanh(found.value[:, 0]) + side * reach) for side in (-1, 1))
    known = np.isfinite(found.low)
    assert known.mean() > 0.9
    assert found.low[known] == pytest.approx(low[known])
    assert found.high[known] == pytest.approx(high[known])
    change = drawn - drawn[:, :1]
    both = np.minimum(behind, behind[0])
    factor = stats.t(both - 1).ppf(0.9) * np.sqrt(both / (both - 1))
    reach = factor * change.std(axis=0, ddof=1)
    known = np.isfinite(found.change_low)
    assert found.change_low[known] == pytest.approx((found.change - reach)[known], abs=1e-9)
    assert found.change_high[known] == pytest.approx((found.change + reach)[known], abs=1e-9)
    assert set(found.withheld[0].tolist()) == {""}
    # A quarter as outer groups: 16 clusters of settled ones.
    few = np.array(["; an interval needs 20 at least" in why for why in found.withheld.flat])
    np.testing.assert_array_equal(few, behind.reshape(-1) < 20)
    assert found.n[0] == 179


def test_seeds_are_averaged_and_share_their_draws_by_cluster() -> None:
    first = curves_of(180, seed=1)
    # The second seed's curves are the first's, in another order: its resamples must be the same ones.
    seeds = []
    for curves in (first, shuffled(first)):
        reference = read(reading_of(curves))
        clusters = np.array([f"pair {int(i.rsplit('-', 1)[1]) // 2:03d}" for i in curves.ids])
        seeds.append(Seen(clusters, (reference, replace(reference, aulc=-reference.aulc))))
    options: dict[str, Any] = {"resamples": 50, "confidence": 0.9}
    one = measure(seeds[:1], rng=np.random.default_rng(0), **options)
    two = measure(seeds, rng=np.random.default_rng(0), **options)
    for name in ("value", "low", "high", "change", "change_low", "change_high", "n"):
        assert getattr(two, name) == pytest.approx(getattr(one, name), abs=1e-12), name
    # Turning the AULC round turns rho round and leaves un-learning alone.
    assert one.value[1] == pytest.approx(one.value[0] * [-1, 1, 1, 1])
    assert one.change[1] == pytest.approx([-2 * one.value[0, 0], 0, 0, 0])
    assert (one.change_low[1, 1:] == 0).all()
    assert (one.change_high[1, 1:] == 0).all()


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    curves = curves_of(90)
    seen = [Seen(np.array(curves.ids), (read(reading_of(curves)),))]
    whole = measure(seen, resamples=30, confidence=0.9, rng=np.random.default_rng(0))
    monkeypatch.setattr("dissensus.analysis.sensitivity.paired.CELLS", 90 * 4)
    parts = measure(seen, resamples=30, confidence=0.9, rng=np.random.default_rng(0))
    assert parts.low == pytest.approx(whole.low, abs=1e-12)
    assert parts.high == pytest.approx(whole.high, abs=1e-12)


def test_the_smallest_group_decides_whether_there_is_an_interval() -> None:
    # 120 items in 60 clusters of two. With the cuts below, 24 items are contested (12 clusters) and 60 settled (30).
    curves = curves_of(120)
    reference = read(reading_of(curves))
    names = np.array(["middle"] * 120, dtype="<U9")
    names[:60], names[96:] = "settled", "contested"
    few = replace(reference, group=names)
    many = replace(reference, group=np.where(np.arange(120) < 60, "settled", "contested"))
    clusters = np.arange(120) // 2
    found = measure(
        [Seen(clusters, (many, few))], resamples=40, confidence=0.95, rng=np.random.default_rng(0)
    )
    assert found.clusters.tolist() == [[60, 30, 30, 30], [60, 12, 12, 12]]
    assert found.withheld[0].tolist() == [""] * 4
    why = "12 clusters; an interval needs 20 at least"
    assert found.withheld[1].tolist() == found.change_withheld[1].tolist() == ["", why, why, why]
    assert np.isfinite(found.value).all()
    for ends in (found.low, found.high, found.change_low, found.change_high):
        assert np.isfinite(ends[1]).tolist() == [True, False, False, False]
    # The difference of two groups rests on the smaller, whichever it is.
    turned = replace(
        reference, group=np.select([names == "settled", names == "contested"], ["contested", "settled"], "")
    )
    one = measure([Seen(clusters, (turned,))], resamples=40, confidence=0.95, rng=np.random.default_rng(0))
    assert one.clusters.tolist() == [[60, 30, 30, 12]]
    assert one.withheld[0].tolist() == ["", "", "", why]
    # The fewest of any seed.
    two = [Seen(clusters, (many,)), Seen(clusters, (few,))]
    both = measure(two, resamples=40, confidence=0.95, rng=np.random.default_rng(0))
    assert both.clusters.tolist() == [[60, 12, 12, 12]]


def test_rho_has_no_more_degrees_of_freedom_than_its_examples_leave() -> None:
    # 30 items, each its own cluster: min(G - 1, n - 2) = 28, as in the table of cells.
    curves = curves_of(30)
    seen = [Seen(np.array(curves.ids), (read(reading_of(curves)),))]
    found = measure(seen, resamples=200, confidence=0.95, rng=np.random.default_rng(0))
    own = spearman(seen[0].readings[0].entropy, seen[0].readings[0].aulc, resamples=200, rng=0,
                   clusters=seen[0].clusters)  # fmt: skip
    assert own.df == 28
    assert (found.low[0, 0], found.high[0, 0]) == pytest.approx((own.low, own.high))
