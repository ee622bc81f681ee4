"""Annotators of a data set: agreement with the rest, entropy without the flagged, the verdict, competence."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dissensus.data.annotations import AnnotatedDataset, Example, majority
from dissensus.data.annotators.competence import competence
from dissensus.data.annotators.panel import Panel
from dissensus.data.annotators.rest import agreement_with_rest
from dissensus.data.annotators.summary import annotator_notes, summarise
from dissensus.data.assembly import assemble
from dissensus.errors import MissingDependencyError


def dataset(answers: list[dict[str, int]], labels: int = 3, **options: object) -> AnnotatedDataset:
    """Examples from the answers to each: annotator to label."""
    examples = []
    for number, given in enumerate(answers):
        counts = tuple(float(sum(v == k for v in given.values())) for k in range(labels))
        examples.append(
            Example(str(number), {"text": f"text {number}"}, majority(counts), counts, tuple(given.items()))
        )
    return AnnotatedDataset("panel", tuple("abcde"[:labels]), tuple(examples), **options)  # type: ignore[arg-type]


def simulated(
    *, guessers: int, people: int = 6, items: int = 300, contested: float = 0.4
) -> AnnotatedDataset:
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(items):
        p = (
            rng.dirichlet(np.ones(3))
            if rng.random() < contested
            else np.eye(3)[rng.integers(3)] * 0.94 + 0.02
        )
        chosen = [int(rng.integers(3)) if k < guessers else int(rng.choice(3, p=p)) for k in range(people)]
        answers.append({f"w{k}": label for k, label in enumerate(chosen)})
    return dataset(answers)


def test_agreement_with_the_rest_by_hand() -> None:
    # x against the others: item 0: 1 of 2 equal; item 1: 2 of 2; item 2: nobody else.
    panel = Panel.of(dataset([{"x": 0, "y": 0, "z": 1}, {"x": 1, "y": 1, "z": 1}, {"x": 2}]))
    rest = agreement_with_rest(panel)
    assert rest.items.tolist() == [3, 2, 2]
    assert rest.shared.tolist() == [2, 2, 2]
    assert rest.agreement == pytest.approx([3 / 4, 3 / 4, 1 / 2])
    # By chance: x says 0 and 1 half the time each; the others 1/4 and 3/4: (1/2)(1/4) + (1/2)(3/4) = 1/2.
    assert rest.kappa[0] == pytest.approx((3 / 4 - 1 / 2) / (1 / 2))
    assert rest.label_shares[0] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert np.all((rest.low < rest.agreement) & (rest.agreement < rest.high))


def test_several_labels_of_one_annotator_count_as_shares() -> None:
    example = Example("1", {"text": "t"}, 0, (1.5, 0.5, 0.0), (("x", 0), ("x", 1), ("y", 0)))
    panel = Panel.of(AnnotatedDataset("d", ("a", "b", "c"), (example,)))
    assert panel.counts.tolist() == [[1.5, 0.5, 0.0]]
    assert agreement_with_rest(panel).agreement == pytest.approx([0.5, 0.5])


def test_a_guesser_is_flagged_and_entropy_falls_by_more_than_one_annotation_fewer_would() -> None:
    summary = summarise(simulated(guessers=1))
    assert [(row.name, row.why) for row in summary.flagged] == [("w0", "answers look random")]
    assert summary.rows[0].name == "w0"
    assert summary.entropy is not None
    assert summary.entropy.without < summary.entropy.at_random < summary.entropy.with_all
    assert 0.5 < summary.entropy.rank_correlation < 1
    assert "without the 1 flagged annotator mean entropy is" in summary.verdict
    assert "is people" in summary.verdict


def test_without_a_guesser_the_verdict_is_about_the_items() -> None:
    summary = summarise(simulated(guessers=0))
    assert summary.entropy is None
    assert summary.verdict.startswith("Disagreement here is about the items")
    assert summary.verdict.endswith("no annotator is flagged")


def test_noise_spread_over_everybody_is_no_matter_of_the_items() -> None:
    summary = summarise(simulated(guessers=6, people=6, items=1000))
    assert summary.verdict.startswith("Disagreement here looks like noise")
    assert not summary.flagged


def test_few_items_tell_nothing() -> None:
    summary = summarise(simulated(guessers=1, items=10))
    assert summary.verdict.startswith("Whether disagreement here is about the items cannot be told")
    assert "no annotator can be judged" in summary.verdict
    assert {row.outcome for row in summary.rows} == {"not told"}


def test_counts_alone_have_an_alpha_and_no_annotators() -> None:
    named = simulated(guessers=0)
    examples = tuple(Example(e.id, e.text, e.gold, e.counts) for e in named)
    summary = summarise(AnnotatedDataset("counts", named.labels, examples))
    assert summary.rows == ()
    assert summary.alphas == summarise(named).alphas
    assert "not known by name" in summary.verdict


def test_an_ordered_scale_has_three_alphas_and_a_dispersion() -> None:
    ordinal = dataset([{"x": 0, "y": 2}, {"x": 1, "y": 1}], scale="ordinal")
    summary = summarise(ordinal)
    assert [alpha.level for alpha in summary.alphas] == ["nominal", "ordinal", "interval"]
    assert summary.dispersion == pytest.approx(0.5)  # 1 and 0
    assert np.isnan(summarise(dataset([{"x": 0, "y": 2}])).dispersion)


def test_the_notes_of_a_cell_hold_the_verdict_and_the_flags() -> None:
    from dissensus.config import DatasetSpec

    spec = DatasetSpec.parse(
        {
            "name": "panel",
            "tracked": {"source": "simulated"},
            "train": {"source": "simulated"},
            "tracked_size": 50,
        },
        "spec",
    )
    panel = simulated(guessers=1)
    notes = assemble(spec, "trained_on", sample_seed=0, load=lambda _: panel).notes
    verdict, flag = annotator_notes(panel)
    assert f"tracked set: {verdict} (of all 300, of which 50 are tracked)" in notes
    assert flag == "annotator w0 (300 items): answers look random"
    assert any(flag in note for note in notes)


def test_too_little_for_an_interval_is_no_note() -> None:
    assert annotator_notes(dataset([{"x": 0}, {"y": 1}] * 30)) == ()
    assert annotator_notes(dataset([{"x": 0, "y": 1}, {"x": 1, "y": 1}])) == ()
    assert annotator_notes(dataset([{"x": 0, "y": 1}, {"x": 1, "y": 1}] * 30)) != ()


def test_competence_is_low_for_the_guesser_and_the_posterior_is_the_true_label() -> None:
    pytest.importorskip("crowdkit")
    panel = Panel.of(simulated(guessers=1, items=100, contested=0.0))
    models = competence(panel)
    assert models.dawid_skene[0] < 0.5 < models.dawid_skene[1:].min()
    assert models.mace[0] < models.mace[1:].min()
    assert (models.posterior.argmax(axis=1) == models.posterior_mace.argmax(axis=1)).mean() > 0.97
    again = competence(panel)
    assert np.array_equal(again.mace, models.mace)


def test_competence_without_crowd_kit_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crowdkit.aggregation", None)
    with pytest.raises(MissingDependencyError, match=r"dissensus\[crowd\]"):
        competence(Panel.of(simulated(guessers=0, items=3)))
