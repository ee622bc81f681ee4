"""Each claim on simulated studies: its numbers against direct computation, its verdict where the truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dissensus.analysis.claims import ClaimVerdict, Question, judge_claims
from dissensus.analysis.claims.c1_positive import positive_everywhere
from dissensus.analysis.claims.c3_comparing import differs_in_rate_alone
from dissensus.analysis.claims.simulated import simulated_study
from dissensus.analysis.claims.statistics import ClaimStatistics
from dissensus.analysis.claims.tables import claims_from_json, claims_json, claims_table
from dissensus.analysis.claims.trial import ClaimRates, try_verdicts
from dissensus.analysis.claims.worlds import WORLDS
from dissensus.analysis.reading import CellReading
from dissensus.analysis.study_reading import StudyReading
from dissensus.data.agreement import annotation_entropy
from dissensus.metrics import aulc
from dissensus.stats import entropy_groups, partial_spearman, spearman


def study(world: str, seed: int = 0, items: int = 240) -> StudyReading:
    return simulated_study(
        replace(WORLDS[world], items=items), np.random.default_rng([9, seed]), resamples=100
    )


def judged(evidence: StudyReading, *, thorough: bool = False) -> dict[str, ClaimVerdict]:
    return {claim.claim: claim for claim in judge_claims(evidence, thorough=thorough)}


def asked(claim: ClaimVerdict, name: str) -> Question:
    return next(question for question in claim.questions if question.name == name)


def kept(
    evidence: StudyReading, *, methods: tuple[str, ...] = ("lora", "full", "ia3"), **fixed: object
) -> StudyReading:
    def fits(cell: CellReading) -> bool:
        spec = cell.spec
        facts = {
            "model": spec.model.name,
            "dataset": spec.dataset.name,
            "seed": spec.seed,
            "variant": spec.variant,
        }
        return spec.method.name in methods and all(facts[k] == v for k, v in fixed.items())

    return replace(evidence, cells=tuple(cell for cell in evidence.cells if fits(cell)))


@pytest.fixture(scope="module")
def planted() -> StudyReading:
    return study("planted", items=480)


@pytest.fixture(scope="module")
def found(planted: StudyReading) -> dict[str, ClaimVerdict]:
    return judged(planted)


def test_every_planted_claim_is_supported(found: dict[str, ClaimVerdict]) -> None:
    assert {name: claim.verdict for name, claim in found.items()} == dict.fromkeys(
        WORLDS["planted"].true, "supported"
    )


def test_nothing_is_supported_where_there_is_nothing() -> None:
    verdicts = {name: claim.verdict for name, claim in judged(study("none")).items()}
    assert "supported" not in verdicts.values()
    assert verdicts["C3, trained on"] == verdicts["C3, held out"] == "contradicted"


def test_one_reversed_condition_is_named() -> None:
    first = positive_everywhere(ClaimStatistics(study("one reversed condition", items=480)))
    assert first.verdict == "contradicted"
    assert "first.encoder.lora-r8.held_out" in first.would_change
    assert "shown to be below 0 in first.encoder.lora-r8.held_out" in first.finding


def test_rho_of_a_condition_is_the_mean_over_its_seeds(
    planted: StudyReading, found: dict[str, ClaimVerdict]
) -> None:
    (question,) = found["C1"].questions
    assert len(question.parts) == 16
    part = question.parts[0]
    cells = [cell for cell in planted.own if cell.spec.condition == part.name]
    expected = [stats.spearmanr(annotation_entropy(c.curves.counts), aulc(c.curves)).statistic for c in cells]
    assert part.value == pytest.approx(np.mean(expected), abs=1e-12)
    assert part.seeds == 3
    assert set(part.cells) == {cell.name for cell in cells}


def test_an_interval_over_one_seed_is_the_bootstraps(planted: StudyReading) -> None:
    alone = kept(planted, seed=0)
    part = judged(alone)["C1"].questions[0].parts[0]
    (cell,) = (c for c in alone.own if c.spec.condition == part.name)
    x, y = annotation_entropy(cell.curves.counts), aulc(cell.curves)
    direct = spearman(x, y, resamples=4000, rng=0, clusters=cell.cluster_names)
    assert part.high - part.low == pytest.approx(direct.high - direct.low, rel=0.15)


def test_partial_correlations_are_those_of_the_statistics(
    planted: StudyReading, found: dict[str, ClaimVerdict]
) -> None:
    part = asked(found["C4"], "all covariates together").parts[0]
    expected = []
    for cell in (c for c in planted.own if c.spec.condition == part.name):
        curves = cell.curves
        held = {**curves.covariates, "gold": curves.gold, "initial_loss": curves.losses[:, 0]}  # flexible
        expected.append(partial_spearman(annotation_entropy(curves.counts), aulc(curves), held).rho)
    assert part.value == pytest.approx(np.mean(expected), abs=1e-9)


def test_decoders_are_paired_with_encoders_of_their_rank_data_regime_and_seed(
    planted: StudyReading, found: dict[str, ClaimVerdict]
) -> None:
    each = asked(found["C2"], "each pair")
    assert len(each.parts) == 4  # two data sets, two regimes
    for part in each.parts:
        decoder, encoder = part.name.split(" minus ")
        assert decoder.replace("decoder", "encoder") == encoder
        assert len(part.cells) == 6
    values = [part.value for part in each.parts]
    assert asked(found["C2"], "matched pairs").parts[0].value == pytest.approx(np.mean(values))
    only = judged(kept(planted, model="encoder"))["C2"]
    assert only.verdict == "not testable here"


def test_models_that_track_other_items_are_compared_on_the_common_ones(planted: StudyReading) -> None:
    row = np.arange(len(planted.cells[0].curves))
    tracked = {"decoder": row < 100, "encoder": row >= 10}  # neither's are all the other's

    def fewer(cell: CellReading) -> CellReading:
        return replace(cell, stored=cell.curves.subset(tracked[cell.spec.model.name]))

    claim = judged(replace(planted, cells=tuple(map(fewer, planted.own))))["C2"]
    assert any("90 or more examples" in limit for limit in claim.limits)
    part = asked(claim, "each pair").parts[0]
    by_name = {cell.name: cell for cell in planted.cells}
    rhos: dict[str, list[float]] = {"decoder": [], "encoder": []}
    for name in part.cells:
        cell = by_name[name]
        curves = cell.curves.subset(tracked["decoder"] & tracked["encoder"])
        rho = stats.spearmanr(annotation_entropy(curves.counts), aulc(curves)).statistic
        rhos[cell.spec.model.name].append(rho)
    assert part.value == pytest.approx(np.mean(rhos["decoder"]) - np.mean(rhos["encoder"]), abs=1e-12)


def test_change_of_contested_loss(planted: StudyReading, found: dict[str, ClaimVerdict]) -> None:
    part = asked(found["C3, held out"], "LoRA, encoders").parts[0]
    assert "last minus first" in part.name
    expected = []
    for cell in planted.own:
        spec = cell.spec
        if (spec.method.name, spec.model.name, spec.regime) == ("lora", "encoder", "held_out"):
            contested = entropy_groups(annotation_entropy(cell.curves.counts)) == "contested"
            losses = cell.curves.losses[contested]
            expected.append((losses[:, -1] - losses[:, 0]).mean())
    assert len(expected) == 6
    assert part.value == pytest.approx(np.mean(expected), abs=1e-12)


def test_without_another_method_the_contrasts_are_not_testable(planted: StudyReading) -> None:
    claim = judged(kept(planted, methods=("lora",)))["C3, trained on"]
    assert asked(claim, "minus the other methods, at the same steps").verdict == "not testable here"
    assert asked(claim, "LoRA, encoders").verdict == "supported"
    assert claim.verdict == "inconclusive"  # that other methods lack the rise was not tested
    assert any("at the same steps: not testable here" in limit for limit in claim.limits)
    assert "at the same settled loss" in claim.would_change


def test_each_method_at_its_best_rate() -> None:
    evidence = study("planted")
    own = [c for c in evidence.own if c.spec.model.name == "encoder"]
    made = []
    for cell in own:
        # A variant at another rate under which the settled examples were learned better, and everything fell by 0.3.
        method = cell.spec.method.model_copy(update={"learning_rate": 1e-2})
        spec = cell.spec.model_copy(update={"method": method, "variant": "rate-high"})
        fall = np.linspace(0, 0.3, len(cell.curves.steps))[None, :, None]
        moved = cell.curves.log_probs + np.where(np.arange(3) == 0, fall, 0).astype(np.float32)
        made.append(replace(cell, spec=spec, base=cell.spec, stored=replace(cell.curves, log_probs=moved)))
    assert all(differs_in_rate_alone(cell) for cell in made)
    assert not any(differs_in_rate_alone(cell) for cell in evidence.variants)  # those are noise
    longer = made[0].spec.training.model_copy(update={"epochs": made[0].spec.training.epochs + 1})
    both = replace(made[0], spec=made[0].spec.model_copy(update={"training": longer}))
    assert not differs_in_rate_alone(both)  # another rate, and longer training
    without = judged(evidence)["C3, held out"]
    assert asked(without, "minus the other methods, each at its best rate").verdict == "not testable here"
    claim = judged(replace(evidence, cells=(*evidence.cells, *made)))["C3, held out"]
    best = asked(claim, "minus the other methods, each at its best rate")
    assert best.decides
    assert "0.01" in best.note
    assert {cell for part in best.parts for cell in part.cells} <= {cell.name for cell in made}
    # Both of a pair fell by the same 0.3, so the difference is that of the base cells.
    expected = asked(without, "minus the other methods, at the same steps").parts
    assert [p.value for p in best.parts] == pytest.approx([p.value for p in expected], abs=1e-5)
    # With one seed there is no telling which rate is best: the number is shown, and decides nothing.
    alone = [cell for cell in made if cell.spec.seed == 0]
    shown = asked(judged(replace(evidence, cells=(*evidence.cells, *alone)))["C3, held out"], best.name)
    assert shown.parts
    assert not shown.decides
    assert "one seed" in shown.note


def test_replication_is_asked_inside_each_model(
    planted: StudyReading, found: dict[str, ClaimVerdict]
) -> None:
    claim = found["C5"]
    for name, count in (("data sets", 2), ("seeds", 3)):
        names = [p.name for p in asked(claim, name).parts]
        noun = name[:-1]
        assert names == [f"{model}: at least 2 of {count} {noun}s" for model in ("encoder", "decoder")]
    each = {p.name: p for p in asked(claim, "each data set").parts}
    assert set(each) == {
        f"{model}: {data}{kind}"
        for model in ("encoder", "decoder")
        for data in ("first", "second")
        for kind in ("", ", partial")
    }
    # Two of two are shown where both are: twice the larger one-sided p is the larger two-sided p.
    both = asked(claim, "data sets").parts[0]
    assert both.p == pytest.approx(max(each["encoder: first"].p, each["encoder: second"].p))
    assert "encoder: shown in 2 of 2 data sets" in claim.finding
    assert "decoder: shown in 3 of 3 seeds" in claim.finding
    assert judged(kept(planted, seed=0, dataset="first"))["C5"].verdict == "not testable here"


def test_two_models_on_one_data_set_each_replicate_nothing(planted: StudyReading) -> None:
    def fits(cell: CellReading) -> bool:
        return cell.spec.dataset.name == ("first" if cell.spec.model.name == "encoder" else "second")

    claim = judged(replace(planted, cells=tuple(filter(fits, planted.own))))["C5"]
    assert asked(claim, "data sets").verdict == "not testable here"
    assert claim.verdict != "supported"


def test_means_of_data_sets_are_over_the_same_conditions(
    planted: StudyReading, found: dict[str, ClaimVerdict]
) -> None:
    # IA3 is missing on the second data set: the first one's mean leaves it out as well.
    cells = tuple(
        c for c in planted.own if not (c.spec.method.name == "ia3" and c.spec.dataset.name == "second")
    )
    claim = judged(replace(planted, cells=cells))["C5"]
    part = next(p for p in asked(claim, "each data set").parts if p.name == "encoder: first")
    assert len(part.cells) == 2 * 2 * 3  # LoRA and full, two regimes, three seeds
    assert not any("ia3" in cell for cell in part.cells)


def test_one_seed_replicates_nothing(planted: StudyReading) -> None:
    claim = judged(kept(planted, seed=0))["C5"]
    assert asked(claim, "seeds").verdict == "not testable here"
    assert asked(claim, "data sets").verdict == "supported"
    assert claim.verdict == "inconclusive"
    assert "no model has conditions with two seeds" in claim.would_change


def test_flipped_labels_are_ranked_by_the_loss_on_what_was_trained_on(
    planted: StudyReading, found: dict[str, ClaimVerdict]
) -> None:
    part = asked(found["C6"], "flipped labels rank high").parts[0]
    areas = []
    for cell in planted.variants:
        if cell.spec.condition != part.name:
            continue
        assert cell.given is not None
        area = np.trapezoid(cell.curves.losses_on(cell.given.labels), cell.curves.progress, axis=1)
        flipped, others = area[cell.given.flipped], area[~cell.given.flipped]
        areas.append(stats.mannwhitneyu(flipped, others).statistic / (len(flipped) * len(others)))
    assert len(areas) == 3
    assert part.value + 0.5 == pytest.approx(np.mean(areas), abs=1e-9)
    assert judged(kept(planted, variant=None))["C6"].verdict == "not testable here"


def test_verdicts_as_a_table_and_as_json(found: dict[str, ClaimVerdict]) -> None:
    claims = list(found.values())
    table = claims_table(claims)
    assert table.num_rows == sum(len(q.parts) + len(q.undefined) for claim in claims for q in claim.questions)
    assert set(table["claim"].to_pylist()) == set(found)
    plain = claims_json(claims)
    assert plain[0]["verdict"] == "supported"
    assert plain[0]["questions"][0]["parts"][0]["cells"]
    assert min(table["clusters"].to_pylist()) >= 20
    back = claims_from_json(plain)
    assert [c.verdict for c in back] == [c.verdict for c in claims]
    assert back[2].questions[2].needed == claims[2].questions[2].needed


def test_the_same_study_gets_the_same_numbers(planted: StudyReading, found: dict[str, ClaimVerdict]) -> None:
    assert claims_json(list(judged(planted).values())) == claims_json(list(found.values()))


def test_pairs_that_were_trained_or_tracked_otherwise_are_not_compared(planted: StudyReading) -> None:
    def changed(decoder: Callable[[CellReading], CellReading]) -> ClaimVerdict:
        cells = [decoder(c) if c.spec.model.name == "decoder" else c for c in planted.own]
        return judged(replace(planted, cells=tuple(cells)))["C2"]

    def fewer_points(cell: CellReading) -> CellReading:
        at = [0, 4, 7]
        curves = replace(cell.curves, steps=cell.curves.steps[at], log_probs=cell.curves.log_probs[:, at])
        return replace(cell, stored=curves)

    def shorter(cell: CellReading) -> CellReading:
        curves = replace(cell.curves, steps=cell.curves.steps // 2, total_steps=210)
        return replace(cell, stored=curves)

    def elsewhere(cell: CellReading) -> CellReading:
        steps = cell.curves.steps.copy()
        steps[1] = 20
        return replace(cell, stored=replace(cell.curves, steps=steps))

    def idle(cell: CellReading) -> CellReading:
        still = np.repeat(cell.curves.log_probs[:, :1], 8, axis=1)
        return replace(cell, stored=replace(cell.curves, log_probs=still))

    for change, why in (
        (fewer_points, "3 and 8 tracking points"),
        (shorter, "6,720 and 13,440 examples in training"),
        (elsewhere, "other shares of training"),
        (idle, "the decoder-only model learned nothing"),
    ):
        claim = changed(change)
        assert claim.verdict == "not testable here", why
        assert why in claim.finding


def test_cells_that_learned_nothing_are_named_and_count_for_nothing(planted: StudyReading) -> None:
    def idle(cell: CellReading) -> CellReading:
        if cell.spec.method.name != "lora" or cell.spec.model.name != "encoder":
            return cell
        # Everyone's loss rises; nobody is answered rightly who was not before.
        p = (
            np.linspace(0, 1, 8)[None, :, None]
            * np.where(np.arange(3) == cell.curves.gold[:, None], -0.8, 0.1)[:, None]
        )
        return replace(
            cell, stored=replace(cell.curves, log_probs=cell.curves.log_probs[:, :1] + p.astype(np.float32))
        )

    found = judged(replace(planted, cells=tuple(map(idle, planted.own))))
    claim = found["C3, trained on"]
    assert asked(claim, "LoRA, encoders").verdict == "not testable here"
    assert "learned nothing" in asked(claim, "LoRA, encoders").note
    assert claim.verdict != "supported"
    assert any(
        "left out, because they learned nothing: first.encoder.lora-r8" in limit for limit in claim.limits
    )
    assert len(found["C1"].questions[0].parts) == 12


def test_a_finding_says_what_is_undefined(planted: StudyReading) -> None:
    cells = tuple(
        replace(c, stored=replace(c.curves, steps=c.curves.steps + 1, total_steps=421))
        for c in kept(planted, seed=0).own
    )
    claim = judged(replace(planted, cells=cells))["C3, trained on"]
    assert claim.verdict == "not testable here"
    assert "no cells" not in claim.finding
    assert "the loss before training was not measured" in claim.finding


def test_error_rates_count_verdicts() -> None:
    rates = try_verdicts(1, seed=5, worlds=("noisy head", "few clusters"))
    assert {(rate.world, rate.claim) for rate in rates} >= {("noisy head", "C1"), ("few clusters", "C6")}
    for rate in rates:
        assert sum(rate.verdicts.values()) == rate.studies == 1
        assert rate.right + rate.false + rate.untested <= 1
        assert rate.within


def test_too_many_false_verdicts_are_told_from_the_level() -> None:
    def rate(wrong: int) -> ClaimRates:
        return ClaimRates("w", "C1", False, 200, 0.0, wrong / 200, 0.0, {"supported": wrong})

    # Of 200 at 2.5% five are expected; 13 and more come up 3 times in a thousand, 15 less than once.
    assert rate(12).within
    assert not rate(15).within


def test_a_lowest_point_of_one_seed_spares_nothing(planted: StudyReading) -> None:
    """Contested loss falls to half of its start and rises to nine tenths: less at the end, and a real late rise.

    Over three seeds the rise is shown and the fall does not count against the claim; with one seed the lowest point is
    found on the same run's ups and downs, and the fall counts.
    """

    def dips(cell: CellReading) -> CellReading:
        curves = cell.curves
        entropy = annotation_entropy(curves.counts)
        contested = entropy >= np.quantile(entropy, 0.6)
        shape = np.interp(curves.progress, [0, 0.5, 1], [1, 0.5, 0.9])
        losses = np.where(contested[:, None], curves.losses[:, :1] * shape, curves.losses)
        log_probs = np.repeat(np.log1p(-np.exp(-losses))[:, :, None], curves.log_probs.shape[2], axis=2)
        log_probs -= np.log(curves.log_probs.shape[2] - 1)
        np.put_along_axis(log_probs, curves.gold[:, None, None], -losses[:, :, None], axis=2)
        return replace(cell, stored=replace(curves, log_probs=log_probs.astype(np.float32)))

    lora = kept(planted, methods=("lora",))
    dipped = replace(lora, cells=tuple(map(dips, lora.cells)))
    for regime in ("trained on", "held out"):
        several, one = (
            asked(judged(evidence)[f"C3, {regime}"], "LoRA, encoders").parts[0]
            for evidence in (dipped, kept(dipped, seed=0))
        )
        assert "last minus first" in several.name
        assert several.value < 0
        assert several.spared.startswith("from its lowest point the loss rises by 0.36")
        assert "last minus first" in one.name
        assert one.value < 0
        assert one.spared == ""
