"""Triage in worlds of which it is known what is wrong with each label, hostile ones among them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dissensus.analysis.triage import KINDS, STEPS, TITLES, Triaged, triage_curves, triage_study
from dissensus.analysis.triage.combining import combine
from dissensus.analysis.triage.curve_model import CLASSES, curve_model, evidence_factors
from dissensus.analysis.triage.evidence import FEATURES, curve_evidence
from dissensus.curves import Curves, FloatArray
from dissensus.stats.label_posterior import label_posterior
from learning_worlds import curves_from, world
from synthetic_curves import evidence_of
from synthetic_study import study_spec


def learned_world(
    seed: int = 0, n: int = 600, k: int = 3, flips: float = 0.1, shares: FloatArray | None = None
) -> tuple[Curves, np.ndarray]:
    """A held-out run that learns every true label, and which given labels were flipped. Nobody voted."""
    rng = np.random.default_rng(seed)
    true = rng.choice(k, n, p=shares)
    u = np.linspace(0, 1, 9)
    signal = 4.0 * rng.gamma(4.0, 0.25, n)[:, None] * u
    logits = signal[:, :, None] * np.eye(k)[true][:, None] + 0.3 * rng.normal(size=(n, 9, k))
    flipped = rng.random(n) < flips
    given = np.where(flipped, (true + 1) % k, true)
    curves = curves_from(logits, given.astype(np.int64))
    return replace(curves, counts=np.zeros_like(curves.counts)), flipped


def voted(curves: Curves, true: np.ndarray, votes: int, agree: FloatArray, seed: int = 1) -> Curves:
    """The same with votes: each person chooses the true label with the item's own probability, else the next one."""
    rng = np.random.default_rng(seed)
    k = len(curves.labels)
    right = rng.binomial(votes, agree)
    counts = right[:, None] * np.eye(k)[true] + (votes - right)[:, None] * np.eye(k)[(true + 1) % k]
    return replace(curves, counts=counts)


def kinds(rows: tuple[Triaged, ...]) -> Counter[str]:
    return Counter(row.kind for row in rows)


def test_every_kind_has_a_title_and_a_step() -> None:
    assert set(KINDS) == set(TITLES) == set(STEPS)
    assert (curve_model().features, len(curve_model().held_out.shares)) == (FEATURES, len(CLASSES))


@pytest.mark.parametrize("k", [2, 3])
def test_flipped_labels_stand_out_from_curves_alone(k: int) -> None:
    curves, flipped = learned_world(k=k)
    rows = triage_curves(curves)
    suspicion = np.array([row.suspicion for row in rows])
    assert suspicion[flipped].mean() > 5 * suspicion[~flipped].mean()
    called = np.array([row.kind == "mislabelled" for row in rows])
    if called.any():
        assert flipped[called].mean() > 0.9
    suspects = [row for row in rows if row.kind == "mislabelled"]
    assert all(
        row.label not in (None, curves.labels[g])
        for row, g in zip(rows, curves.gold, strict=True)
        if row in suspects
    )
    assert [row.id for row in rows] == list(curves.ids)
    assert [row.why for row in curves.triage()] == [row.why for row in rows]
    assert all("votes" not in row.why for row in rows)


def test_where_nothing_was_learned_curves_say_nothing() -> None:
    for name in ("nothing", "nothing but the shares", "collapsed", "diverged"):
        curves = world(name, seed=0)
        rows = triage_curves(replace(curves, counts=np.zeros_like(curves.counts)))
        assert set(kinds(rows)) == {"not told"}, name
        assert all(np.isnan(row.score) and np.isnan(row.suspicion) for row in rows)
        assert "learned nothing" in rows[0].why


def test_where_nothing_was_learned_votes_still_tell() -> None:
    curves = world("nothing", seed=0)
    wrong = np.arange(len(curves)) < 20
    rows = triage_curves(curves.on(np.where(wrong, (curves.gold + 1) % 3, curves.gold)))
    assert all(row.kind == "mislabelled" for row in rows[:20])
    assert rows[0].label == curves.labels[curves.gold[0]]
    assert set(kinds(rows[20:])) == {"not told"}  # agreed, but nobody knows whether it was learned
    assert "People agree" in rows[30].why


def test_too_few_points_or_examples_say_nothing() -> None:
    curves, _ = learned_world()
    two = replace(curves, steps=curves.steps[:3], log_probs=curves.log_probs[:, :3])
    assert "2 tracking points after the start are too few" in triage_curves(two)[0].why
    few = curves.subset(np.arange(len(curves)) < 49)
    assert "too few" in triage_curves(few)[0].why
    assert set(kinds(triage_curves(few))) == {"not told"}


def test_a_recording_without_its_start_is_read_by_its_end() -> None:
    # Imported data maps and AUM records have no point before training.
    curves, _ = learned_world()
    later = replace(curves, steps=curves.steps[1:], log_probs=curves.log_probs[:, 1:])
    assert kinds(triage_curves(later))["settled"] > 300


def test_all_labels_right_and_agreed_leaves_nothing_to_look_at() -> None:
    curves, _ = learned_world(flips=0.0)
    true = curves.gold
    assert kinds(triage_curves(curves))["mislabelled"] == 0
    with_votes = kinds(triage_curves(voted(curves, true, 5, np.full(len(curves), 0.98))))
    assert with_votes["mislabelled"] + with_votes["contested"] < 0.02 * len(curves)


def test_an_imbalanced_task_is_no_list_of_its_rarer_label() -> None:
    curves, flipped = learned_world(k=2, shares=np.array([0.95, 0.05]), flips=0.02, n=1500)
    called = np.array([row.kind == "mislabelled" for row in triage_curves(curves)])
    rare = (curves.gold == 1) & ~flipped
    assert called[rare].mean() < 0.05


def test_contested_items_are_contested_also_where_they_were_flipped() -> None:
    curves, flipped = learned_world(k=2, flips=0.2)
    true = np.where(flipped, (curves.gold + 1) % 2, curves.gold)
    split = np.arange(len(curves)) % 2 == 0
    rows = triage_curves(voted(curves, true, 40, np.where(split, 0.52, 0.97)))
    found = np.array([row.kind for row in rows])
    assert (found[split] == "contested").mean() > 0.9
    assert (found[~split & flipped] == "mislabelled").mean() > 0.95
    assert (found[~split & ~flipped] == "mislabelled").mean() < 0.02


@pytest.mark.parametrize("informed", [True, False])
def test_a_majority_of_the_votes_is_no_evidence_beside_them(informed: bool) -> None:
    """Gold is the majority of five votes, as of an annotation tool: three to two is contested, four to one is not."""
    curves, _ = learned_world(k=2, flips=0.0, n=900)
    true = curves.gold
    rng = np.random.default_rng(5)
    agree = rng.beta(2.0, 0.7, len(curves))
    asked = voted(curves, true, 5, agree)
    if not informed:
        asked = replace(asked, log_probs=rng.permutation(asked.log_probs))
    rows = triage_curves(asked.on(asked.counts.argmax(axis=1)))
    found = np.array([row.kind for row in rows])
    votes = asked.counts.max(axis=1)
    if not informed:
        assert (found[votes == 3] == "contested").mean() > 0.6
    assert (found[votes >= 4] == "contested").mean() < 0.05
    assert not (found == "mislabelled").any()
    divided = np.maximum(agree, 1 - agree) < 2 / 3
    claimed = np.array([row.score for row in rows])[found == "contested"]
    assert divided[found == "contested"].mean() == pytest.approx(claimed.mean(), abs=0.2)


def test_votes_say_how_much_the_curves_may_say() -> None:
    curves, flipped = learned_world()
    true = np.where(flipped, (curves.gold - 1) % 3, curves.gold)
    asked = voted(curves, true, 3, np.full(len(curves), 0.85))
    model = curve_model().held_out
    people = label_posterior(asked.counts, asked.gold)
    nobody = label_posterior(np.zeros_like(asked.counts), asked.gold, weight=people.weight)
    enough = np.ones(len(curves), dtype=bool)
    factors = evidence_factors(curve_evidence(asked).features, model)
    shares = np.array(model.shares)
    good = combine(people, nobody, enough, factors, shares)
    shuffled = combine(people, nobody, enough, np.random.default_rng(0).permutation(factors), shares)
    assert good.weight > 0.3 > 0.15 > shuffled.weight
    alone = combine(people, nobody, enough, None, shares)
    assert np.isnan(alone.weight)
    truth = good.probabilities[flipped, 0].mean() - good.probabilities[~flipped, 0].mean()
    assert truth > alone.probabilities[flipped, 0].mean() - alone.probabilities[~flipped, 0].mean()


def test_hard_and_forgotten_are_agreed_examples() -> None:
    curves, _ = learned_world(flips=0.0)
    log_probs = curves.log_probs.copy()
    wrong = np.log(np.array([0.1, 0.8, 0.1]))[None]
    order = np.stack([(np.arange(3) - g) % 3 for g in curves.gold[:2]])
    log_probs[0, 1:] = np.take_along_axis(wrong, order[:1], axis=1)  # never answered
    log_probs[1, 5:] = np.take_along_axis(wrong, order[1:], axis=1)  # answered, and lost
    log_probs[1, 1:5] = np.log(np.where(np.arange(3) == curves.gold[1], 0.9, 0.05))
    rows = triage_curves(
        voted(replace(curves, log_probs=log_probs), curves.gold, 30, np.full(len(curves), 0.97))
    )
    assert [row.kind for row in rows[:2]] == ["hard", "forgotten"]
    assert rows[0].label is None
    assert "no longer at the end" in rows[1].why


def test_a_study_is_triaged_once_per_regime_with_all_cells_that_learned() -> None:
    curves, flipped = learned_world()
    noisier, _ = learned_world(seed=0)
    rows = triage_study(evidence_of(study_spec(), curves, noisier))
    assert len(rows) == len(curves)
    assert {row.dataset for row in rows} == {"snli"}
    assert "2 runs give" in rows[0].why
    suspicion = np.array([row.suspicion for row in rows])
    assert suspicion[flipped].mean() > suspicion[~flipped].mean()
    nothing = replace(world("nothing", 0, n=600), counts=np.zeros((600, 3)))
    mixed = triage_study(evidence_of(study_spec(), curves, nothing.on(curves.gold)))
    assert "The model gives" in mixed[0].why  # the cell that learned nothing is left out


def test_no_label_and_no_probability_are_not_told() -> None:
    curves, _ = learned_world()
    gold, log_probs = curves.gold.copy(), curves.log_probs.copy()
    gold[0], log_probs[1, 3, 0] = -1, np.nan
    rows = triage_curves(replace(curves, gold=gold, log_probs=log_probs))
    assert [row.kind for row in rows[:2]] == ["not told", "not told"]
    assert rows[0].why == "It has no label to judge."
    assert rows[1].why == "Nobody voted, and the curves lack probabilities here."


def test_one_label_or_one_scored_label_is_not_told() -> None:
    # Completions record the gold one alone, and losses from a trainer's own pass have no other label at all.
    curves, _ = learned_world(n=60)
    single = replace(
        curves,
        labels=("gold",),
        log_probs=curves.log_probs[:, :, :1],
        counts=curves.counts[:, :1],
        gold=np.zeros(60, dtype=np.int64),
    )
    gold_only = replace(
        curves,
        log_probs=np.where(np.arange(3) == curves.gold[:, None, None], curves.log_probs, np.nan).astype(
            np.float32
        ),
    )
    for recorded in (single, gold_only):
        assert set(kinds(triage_curves(recorded))) == {"not told"}
    assert "Only one label was recorded" in triage_curves(single)[0].why
    assert triage_curves(curves.subset(np.zeros(60, dtype=bool))) == ()
