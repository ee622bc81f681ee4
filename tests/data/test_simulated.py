"""The simulated panel: what a seed promises, and that the labels follow from the stated model."""

from __future__ import annotations

import hashlib
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources import load_source, simulated
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.data.sources.simulated import panel as model
from dissensus.data.sources.simulated.grammar import DRAWS, TRAITS
from dissensus.data.sources.simulated.recipes import write_pair
from dissensus.errors import DataError


def load(**spec: object) -> AnnotatedDataset:
    return load_source(SimulatedSource.model_validate(spec))


def texts(data: AnnotatedDataset) -> list[str]:
    return [example.joined_text for example in data]


# -- what a seed promises ---------------------------------------------------------------------------------


def test_the_first_examples_do_not_depend_on_the_size() -> None:
    small, large = load(size=700, seed=3, mislabelled=0.1), load(size=1900, seed=3, mislabelled=0.1)
    assert small.examples == large.examples[:700]


def test_the_same_specification_gives_the_same_data_and_another_seed_does_not() -> None:
    assert load(size=300, seed=1).fingerprint == load(size=300, seed=1).fingerprint
    assert load(size=300, seed=1).fingerprint != load(size=300, seed=2).fingerprint


def test_no_text_repeats_and_no_premise_is_in_both_splits_whatever_the_seeds() -> None:
    tracked = [load(size=4000, split="tracked", seed=seed) for seed in (0, 1)]
    train = [load(size=4000, split="train", seed=seed) for seed in (0, 1)]
    for data in tracked + train:
        assert len(set(texts(data))) == len(data)
    measured = {e.text["premise"].casefold() for data in tracked for e in data}
    trained = {e.text["premise"].casefold() for data in train for e in data}
    assert not measured & trained


def test_texts_stay_when_the_panel_changes_and_annotators_keep_their_answers() -> None:
    few, many = load(size=300, annotators=5), load(size=300, annotators=20)
    assert texts(few) == texts(many) == texts(load(size=300, annotators=100))
    assert [e.annotations for e in few] == [e.annotations[:5] for e in many]


# -- what an example holds --------------------------------------------------------------------------------


def test_counts_are_the_answers_of_the_panel() -> None:
    for example in load(size=200, annotators=20):
        said = Counter(label for _, label in example.annotations)
        assert example.counts == tuple(float(said[k]) for k in range(3))
        assert len({name for name, _ in example.annotations}) == 20


def test_a_large_panel_keeps_counts_alone() -> None:
    data = load(size=200, annotators=21)
    assert all(example.annotations == () and sum(example.counts) == 21 for example in data)


def test_gold_is_the_majority_unless_mislabelled_on_purpose() -> None:
    plain, flipped = load(size=3000), load(size=3000, mislabelled=0.2)
    for example in plain:
        assert example.extra["mislabelled"] is False
        assert example.counts[example.gold] == max(example.counts)
    for before, after in zip(plain, flipped, strict=True):
        assert before.counts == after.counts
        assert (after.gold != before.gold) == after.extra["mislabelled"]
        assert after.extra["correct"] == plain.labels[before.gold]
    # binomial: standard deviation sqrt(0.2 * 0.8 / 3000) = 0.0073; five of them
    assert np.mean([e.extra["mislabelled"] for e in flipped]) == pytest.approx(0.2, abs=0.037)


def test_a_larger_share_of_mislabelled_items_contains_the_smaller_one() -> None:
    def wrong(share: float) -> set[str]:
        return {e.id for e in load(size=1000, mislabelled=share) if e.extra["mislabelled"]}

    assert wrong(0.05) < wrong(0.2)
    assert len(wrong(1.0)) == 1000
    assert f"{len(wrong(0.05))} of 1000 gold labels" in load(size=1000, mislabelled=0.05).notes[1]


def test_ambiguity_is_the_entropy_of_the_stored_population_shares() -> None:
    for example in load(size=300):
        p = [float(example.extra[f"p_{label}"]) for label in ("entailment", "neutral", "contradiction")]
        assert sum(p) == pytest.approx(1, abs=1e-12)
        assert example.extra["ambiguity"] == pytest.approx(-sum(x * np.log2(x) for x in p), abs=1e-12)


# -- the model of the annotators --------------------------------------------------------------------------


def judgements(evidence: float, band: float, denied: bool = False) -> model.Judgements:
    return model.Judgements(np.array([0]), np.array([evidence]), np.array([band]), np.array([denied]))


def test_population_at_the_cut_without_a_neutral_zone() -> None:
    # z = 0, band = 0: half of the people find that it holds, half that it fails; nobody is neutral but by a slip.
    # Mean slip rate 1.5 / 50 = 0.03, a third of it on each label: 0.97 / 2 + 0.01, 0.01, 0.97 / 2 + 0.01.
    assert model.population(judgements(0.0, 0.0)) == pytest.approx(
        np.array([[0.495, 0.01, 0.495]]), abs=1e-12
    )


def test_population_agrees_with_a_brute_force_integral() -> None:
    # P(holds) = integral of Phi(z - b exp(0.35 g)) over a standard normal g, on a fine grid
    g = np.linspace(-9, 9, 200_001)
    weight = norm.pdf(g) / norm.pdf(g).sum()
    z, band = 0.8, 1.6
    zone = band * np.exp(model.CAUTION_SD * g)
    holds, fails = weight @ norm.cdf(z - zone), weight @ norm.cdf(-z - zone)
    expected = 0.97 * np.array([holds, 1 - holds - fails, fails]) + 0.01
    assert model.population(judgements(z, band))[0] == pytest.approx(expected, abs=1e-9)


def test_denial_swaps_entailment_and_contradiction() -> None:
    plain, denied = (
        model.population(judgements(1.2, 0.5)),
        model.population(judgements(1.2, 0.5, denied=True)),
    )
    assert denied == pytest.approx(plain[:, ::-1], abs=1e-15)


@settings(max_examples=15, deadline=None)
@given(st.floats(-3, 3), st.floats(0.0, 2.0), st.booleans())
def test_many_annotators_answer_as_the_population_says(evidence: float, band: float, denied: bool) -> None:
    items = judgements(evidence, band, denied)
    panel = model.draw_panel(0, 3000, 1)
    given_ = model.answers(panel, items, np.random.default_rng(0))[:, 0]
    shares = np.bincount(given_, minlength=3) / 3000
    # standard deviation of a share is at most sqrt(0.25 / 3000) = 0.0091; five of them
    assert np.abs(shares - model.population(items)[0]).max() < 0.046


def test_strictness_makes_thresholds_of_one_annotator_alike() -> None:
    thresholds = model.draw_panel(5, 2000, 6).thresholds
    between = np.corrcoef(thresholds.T)[np.triu_indices(6, 1)]
    # two words share LOADING^2 = 0.36 of their variance; standard error about (1 - 0.13) / sqrt(2000) = 0.02
    assert np.abs(between - model.LOADING**2).max() < 0.1
    assert thresholds.std() == pytest.approx(1, abs=0.05)


# -- the pairs --------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=DRAWS, max_size=DRAWS))
def test_any_numbers_make_a_readable_pair(numbers: list[float]) -> None:
    pair = write_pair(numbers)
    for text in (pair.premise, pair.hypothesis):
        assert text.endswith(".")
        assert not text[0].islower()
        assert not set("{}_") & set(text)
        assert "  " not in text
        assert "e+" not in text
    assert 0 <= pair.trait < TRAITS
    assert np.isfinite(pair.evidence)
    assert pair.band > 0


def test_labels_are_balanced_and_both_settled_and_contested_items_are_common() -> None:
    data = load(size=3000)
    shares = np.bincount(data.gold, minlength=3) / len(data)
    assert shares.min() > 0.22
    assert shares.max() < 0.45
    ambiguity = np.array([float(e.extra["ambiguity"]) for e in data])
    assert (ambiguity < 0.3).mean() > 0.3
    assert (ambiguity > 1.0).mean() > 0.27
    contested = data.counts[ambiguity > 1.0] / 100
    # contested by the truth means contested in the counts: a second label with real mass, not one stray answer
    assert np.median(np.sort(contested, axis=1)[:, 1]) > 0.25


def test_more_than_the_grammar_can_write_is_refused() -> None:
    with pytest.raises(DataError, match=f"at most {simulated.CAPACITY}"):
        load(size=simulated.CAPACITY + 1)


def test_it_is_fast_enough_to_be_made_anew_each_time() -> None:
    start = time.process_time()
    load(size=10_000)
    assert time.process_time() - start < 10_000 / 5_000


def test_a_seed_keeps_its_meaning_between_versions() -> None:
    """Runs are identified by their specification: whoever changes the grammar must see that the data change."""
    data = load(size=50, mislabelled=0.1)
    digest = hashlib.sha256("\n".join(texts(data)).encode()).hexdigest()
    assert digest[:16] == "b6d8e5f8c0c14bcf"
    assert data.counts[:3].tolist() == [[98, 2, 0], [14, 79, 7], [98, 1, 1]]
