"""What the page claims: counted from intervals, never more than they carry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from dissensus.cli.output import interval
from dissensus.config import StudySpec
from dissensus.data.sources.lewidi import LeWiDiSource
from dissensus.data.sources.table import TableSource
from dissensus.report.findings import findings, limits_of_reading, not_learned
from dissensus.report.tables import ConditionRow, Estimate, GroupCell, method_words, percent
from dissensus.report.views import label_words
from dissensus.report.words import (
    RecordedCell,
    cluster_words,
    covariate_words,
    data_notes,
    model_notes,
    recorded_notes,
    study_words,
)
from dissensus.store.run_facts import RunFacts
from dissensus.study.grid import expand
from dissensus.wording import file_tail, interval_end, number
from synthetic_study import study_spec


def recorded(dataset: str, provenance: dict[str, object]) -> RecordedCell:
    return RecordedCell(dataset, RunFacts.of(provenance))


UP = Estimate(0.3, 0.25, 0.35, 0.001)
FLAT = Estimate(0.02, -0.03, 0.07, 0.8)
DOWN = Estimate(-0.3, -0.35, -0.25, 0.001)
NONE = Estimate(math.nan)


def group(name: str, delta: Estimate) -> GroupCell:
    return GroupCell(name, start=1.1, lowest=1.0, end=1.3, unlearned=0.4, delta=delta, n=500)


def row(**changes: object) -> ConditionRow:
    base = ConditionRow(
        condition="c",
        anchor="c-c",
        dataset="snli",
        model="m",
        head="classifier",
        method="full",
        regime="held_out",
        gold="original",
        seeds=1,
        n=1500,
        steps=100,
        points=20,
        rho=UP,
        slope=UP,
        partial=UP,
        hard=FLAT,
        groups={
            "contested": group("contested", UP),
            "middle": group("middle", FLAT),
            "settled": group("settled", DOWN),
        },
        difference=UP,
        accuracy=0.6,
        majority_agrees=0.9,
        covariates="token_count, gold class",
        undefined={},
    )
    return replace(base, **changes)


def test_clear_results_are_counted_and_their_range_given() -> None:
    said = findings([row(), row(rho=Estimate(0.4, 0.3, 0.5, 0.001)), row(rho=FLAT)], 0.05)
    assert said[0].startswith("In 2 of the 3 conditions, examples on which annotators disagree more")
    assert "ρ from 0.02 to 0.40" in said[0]


def test_an_interval_that_holds_zero_is_no_finding() -> None:
    said = findings([row(rho=FLAT, partial=FLAT, groups={g: group(g, FLAT) for g in row().groups})] * 2, 0.05)
    assert said[0].startswith("None of the 2 conditions show a clear link, in either direction,")
    assert "in none of the 2 conditions; with the share" in said[1]
    assert "in none of the 2 conditions; the settled group ended higher in none" in said[2]


def test_a_positive_interval_whose_adjusted_p_is_too_large_does_not_count() -> None:
    said = findings([row(rho=Estimate(0.1, 0.01, 0.2, 0.2))] * 2, 0.05)
    assert said[0].startswith("None of the 2 conditions")


def test_a_correlation_of_the_other_sign_is_said() -> None:
    said = findings([row(), row(rho=DOWN)], 0.05)[0]
    assert "In 1 the link clearly runs the other way: snli · m · held out · full fine-tuning −0.30" in said


def test_a_reversed_effect_is_named_wherever_support_is() -> None:
    # The issue's: rho -.19 [-.25, -.12], of which the page said that nothing was shown.
    against = Estimate(-0.19, -0.25, -0.12, 0.001)
    down = {**row().groups, "contested": group("contested", DOWN)}
    said = findings([row(rho=against, partial=against, hard=against, groups=down)] * 2, 0.05)
    assert said[0].startswith(
        "In all 2 conditions the link clearly runs the other way: examples on which annot"
    )
    assert "full fine-tuning −0.19 [−0.25, −0.12]" in said[0]
    assert "It is clearly positive in none" in said[0]
    assert "above 0 in none of the 2 conditions and below 0 in 2 (snli · m" in said[1]
    assert said[1].count("and below 0 in 2") == 2  # with the covariates, and with gold share too
    assert "with a clearly lower one in 2" in said[2]
    assert said[2].endswith("lower in 2.")  # the settled group


def test_without_an_interval_nothing_is_decided_and_the_reason_is_said() -> None:
    few = Estimate(-0.3, why="only 12 clusters: below 20 their spread is hardly known")
    rows = [row(rho=few, partial=few, hard=NONE, clusters=12, cluster_field="prompt")]
    said = findings(rows, 0.05)
    assert said[0].startswith("None (of one condition) shows a clear link")
    assert said[0].endswith("No interval could be given in 1.")
    limits = " ".join(limits_of_reading(rows, 0, expand(study_spec())))
    assert "nothing is decided there: only 12 clusters: below 20 their spread is hardly known." in limits


def test_why_rho_is_undefined_is_said() -> None:
    said = findings([row(rho=Estimate(math.nan, why="entropy is the same for all examples"))], 0.05)[0]
    assert said.endswith("undefined in every condition (entropy is the same for all examples).")


def test_intervals_alone_decide_where_no_condition_has_an_adjusted_p() -> None:
    # Variants are not adjusted with the study's own conditions: p is not defined.
    said = findings([row(rho=Estimate(-0.19, -0.25, -0.12))], 0.05)[0]
    assert said.startswith("In the one condition the link clearly runs the other way")
    assert "Holm" not in said


def test_conditions_that_did_not_learn_are_named_and_counted_nowhere() -> None:
    dull = row(learned="no", learned_why="all 240 answers are one label", method="lora-r8")
    assert [(one.title, one.why) for one in not_learned([row(), dull])] == [
        ("snli · m · held out · LoRA, rank 8", "all 240 answers are one label")
    ]
    said = findings([row(), dull], 0.05)
    assert said[0].startswith("In the one condition,")
    assert said[-1] == "The condition that did not learn is counted in none of these sentences."
    assert findings([dull], 0.05) == (
        "No condition learned, so nothing is said here of what training did to the examples.",
    )
    assert dull.withheld == "the model did not learn: all 240 answers are one label"
    assert row(learned="not told", learned_why="x").withheld == ""


def test_settled_examples_that_annotators_reject_are_told_apart() -> None:
    sides = {
        "settled": {
            "backed": replace(group("settled", DOWN), n=419),
            "rejected": replace(group("settled", UP), n=115),
        }
    }
    said = findings([row(sides=sides)], 0.05)[-1]
    assert "115 of them have a gold label that at most half of the annotators chose (rejected)" in said
    assert "the rejected ones ended with a clearly higher loss in the one condition;" in said
    assert said.endswith(
        "the backed ones ended with a clearly higher loss in none (of one condition) and a clearly lower one in 1."
    )


def test_clusters_are_named_by_their_field_and_counted() -> None:
    prompts = row(n=1500, clusters=378, cluster_field="prompt", cluster_reason="as the study says")
    assert cluster_words([prompts]) == (
        "examples that share their prompt are drawn together (378 clusters among 1500 examples; as the study says)"
    )
    one_field = {"cluster_field": "none", "cluster_reason": "the examples have one text field"}
    tweets = row(dataset="tweets", n=500, clusters=500, **one_field)
    assert cluster_words([tweets]) == "each example is drawn by itself (the examples have one text field)"
    assert cluster_words([prompts, tweets]).endswith(
        "; tweets: each example is drawn by itself (the examples have one text field)"
    )
    assert cluster_words([row(clusters=378)]).startswith("examples that share a text are drawn together")


def test_covariates_that_a_data_set_lacks_are_named() -> None:
    pairs, tweets = row(), row(dataset="tweets", covariates_left_out="lexical_overlap: no example has it")
    assert covariate_words([pairs, pairs]) == "token count, gold class"
    assert covariate_words([pairs, tweets]) == (
        "snli: token count, gold class; tweets: token count, gold class (not held constant: lexical overlap: no "
        "example has it)"
    )


def test_notes_of_the_loaders_are_said_once_with_their_data() -> None:
    ties = {"data_notes": ["4 ties: first label in order"]}
    assert data_notes([recorded("a", ties), recorded("a", ties), recorded("b", {})]) == (
        "4 ties: first label in order",
    )
    assert data_notes([recorded("a", ties), recorded("b", {"data_notes": ("2 rows repeat",)})]) == (
        "a: 4 ties: first label in order",
        "b: 2 rows repeat",
    )
    assert data_notes([recorded("a", {})]) == ()


def test_notes_on_reading_a_model_are_said_with_those_on_its_origin() -> None:
    stored = {
        "model_note": "made of tweets",
        "model_loading": ["prefix _orig_mod. stripped from 103 weights"],
    }
    assert recorded_notes([recorded("a", stored), recorded("b", {})]) == [
        "made of tweets",
        stored["model_loading"][0],
        "",
    ]


def test_bare_numbers_are_named_as_labels() -> None:
    table = TableSource(path="t.csv", text=("text",), annotations=("a", "b"))
    assert label_words(("0", "1", "yes"), table) == {"0": "label 0", "1": "label 1", "yes": "yes"}
    known = label_words(("0", "1"), LeWiDiSource(dataset="MD-Agreement"))
    assert known == {"0": "not offensive (label 0)", "1": "offensive (label 1)"}


def test_undefined_everywhere_claims_nothing() -> None:
    empty = {g: group(g, NONE) for g in row().groups}
    said = findings([row(rho=NONE, partial=NONE, hard=NONE, groups=empty)], 0.05)
    assert said == (
        "The correlation of entropy with the loss averaged over training is undefined in every condition.",
    )
    assert findings([], 0.05) == said


def test_un_learning_is_counted_by_regime_and_method() -> None:
    flat = {**row().groups, "contested": group("contested", FLAT)}
    rows = [row(method="lora-r8"), row(groups=flat), row(regime="trained_on")]
    said = findings(rows, 0.05)
    assert "in 1 of the 2 conditions (LoRA, rank 8: 1 of 1; full fine-tuning: 0 of 1)" in said[2]
    assert said[3].startswith(
        "Trained on: the contested group ended with a clearly higher mean gold-label loss"
    )


def test_covariates_are_named_and_the_hard_control_is_reported() -> None:
    said = findings([row()], 0.05)[1]
    assert said.startswith(
        "With token count and gold class held constant, the interval lies above 0 in the one"
    )
    assert "held constant as well, the interval lies above 0 in none (of one condition)" in said


def test_limits_name_seeds_methods_gold_and_missing_cells() -> None:
    rows = [row(), row(method="lora-r8", gold="majority", n=20)]
    one = " ".join(limits_of_reading(rows, 2, expand(study_spec())))
    for part in (
        "one seed",
        "one learning rate",
        "majority of the same annotations",
        "2 cells have no result",
        "1 of 2",
    ):
        assert part in one, part
    several = " ".join(limits_of_reading([row(seeds=3)], 0, expand(study_spec())))
    assert "one seed" not in several
    assert "no result" not in several


def said_of(study: StudySpec, rows: Sequence[ConditionRow]) -> dict[str, str]:
    return dict(study_words(study, rows, expand(study), "5 an example"))


def test_settings_are_those_of_the_cells_not_those_that_overrides_replaced() -> None:
    both = {"regimes": ["held_out", "trained_on"], "training": {"epochs": 1.5}}
    changes = {"dataset": {"train_size": 300, "tracked_size": 600}, "training": {"epochs": 4}}
    rule = {
        "when": {"regime": "trained_on", "method": "full"},
        "set": {**changes, "method": {"learning_rate": 2e-5}},
    }
    study = study_spec(**both, overrides=[rule])
    rows = [row(), row(regime="trained_on", n=600)]
    said = said_of(study, rows)
    assert said["Methods"] == (
        "LoRA, rank 8 (learning rate 0.001); full fine-tuning (learning rates 2e-05 or 5e-05)"
    )
    assert said["Training"].startswith("1.5 or 4 epochs, batches of 32")
    assert "600 or 1500 of them" in said["Data"]
    assert "300 or 1000 drawn" in said["Data"]
    rows = [row(), row(method="lora-r8")]
    limits = " ".join(limits_of_reading(rows, 0, expand(study)))
    assert "Each condition ran at one learning rate (see its caption)" in limits
    assert "Methods ran at one" not in limits
    # A rate that replaces the study's in every cell is the only one that is named.
    everywhere = study_spec(
        overrides=[{"when": {"method": "full"}, "set": {"method": {"learning_rate": 7e-4}}}]
    )
    assert "full fine-tuning (learning rate 0.0007)" in said_of(everywhere, rows)["Methods"]
    assert "Methods ran at one learning rate each" in " ".join(limits_of_reading(rows, 0, expand(everywhere)))
    by_seed = [{"when": {"seed": 1, "method": "full"}, "set": {"method": {"learning_rate": 7e-4}}}]
    seeds = expand(study_spec(seeds=[0, 1], overrides=by_seed))
    assert "between seeds" in " ".join(limits_of_reading(rows, 0, seeds))


def test_a_schedule_is_named_only_where_it_placed_the_points() -> None:
    log = said_of(study_spec(tracking={"schedule": "log"}), [row()])["Tracking"]
    assert log == "20 tracking points (log), step 0 and the last included"
    given = said_of(study_spec(tracking={"schedule": "log", "steps": [5, 10]}), [row()])["Tracking"]
    assert given == "20 tracking points (at the steps given), step 0 and the last included"


def test_points_of_every_so_many_steps_and_flips_among_some_examples_are_named() -> None:
    often = said_of(study_spec(tracking={"every": 100, "epoch_ends": True}), [row()])["Tracking"]
    assert "tracking points (every 100 steps and at epoch ends), step 0 and the last included" in often
    assert (
        "(linear and at epoch ends)"
        in said_of(study_spec(tracking={"epoch_ends": True}), [row()])["Tracking"]
    )
    noise = {"rate": 0.3, "among": "settled"}
    plain = study_spec().model_dump(mode="json")["datasets"][0]
    settled = study_spec(
        datasets=[{**plain, "entropy_cuts": {"low": 0.5, "high": 1.0}}],
        training={"noise": noise},
        regimes=["trained_on"],
    )
    assert said_of(settled, [row()])["Training"].endswith(
        "training labels flipped: 30% of the settled tracked examples (uniform)"
    )


def test_cuts_are_inclusive_and_noise_is_said_where_there_is_any() -> None:
    plain = said_of(study_spec(), [row()])
    assert "flipped" not in plain["Training"]
    cut = said_of(study_spec(analysis={"cuts": [0.5, 0.9709505945]}), [row()])["Entropy groups"]
    assert "contested at or above 0.9709505945 bits, settled at or below 0.5" in cut
    noisy = {"when": {"method": "full"}, "set": {"training": {"noise": {"rate": 0.2}}}}
    assert said_of(study_spec(overrides=[noisy]), [row()])["Training"].endswith(
        "training labels flipped: none or 20% (uniform)"
    )


def test_prompt_and_label_words_are_shown_for_models_that_answer_in_words() -> None:
    assert "Answers asked for" not in said_of(study_spec(), [row()])
    model = {"name": "smollm2-135m", "head": "verbalizer"}
    words = {**model, "prompt": "{premise}\nSo {hypothesis}?", "label_words": ["yes", "maybe", "no"]}
    assert said_of(study_spec(models=[words]), [row()])["Answers asked for"] == (
        "smollm2-135m-verbalizer: words yes, maybe, no; prompt “{premise} ⏎ So {hypothesis}?”"
    )
    assert said_of(study_spec(models=[model]), [row()])["Answers asked for"] == (
        "smollm2-135m-verbalizer: the labels' own names; the default prompt, which lists them"
    )


def test_the_minilm_note_appears_for_that_model_alone() -> None:
    assert "contrastively on SNLI" in model_notes(study_spec(), [])[0]
    assert model_notes(study_spec(), ["all-MiniLM-L6-v2: recorded"]) == ("all-MiniLM-L6-v2: recorded",)
    assert model_notes(study_spec(models=[{"name": "gpt2"}]), ["", ""]) == ()


def test_numbers_as_people_read_them() -> None:
    assert number(-0.304) == "−0.30"
    assert number(-0.001) == "0.00"
    assert number(math.nan) == "undefined"
    assert percent(0.126) == "13%"
    assert method_words("lora-r16") == "LoRA, rank 16"
    # An end beside 0 says on which side: -.002 was written 0.00.
    assert interval_end(-0.002) == "−0.002"
    assert interval_end(0.004) == "0.004"
    assert interval_end(-0.0004) == "−0.00"
    assert interval_end(0.0004) == "+0.00"
    assert interval_end(-0.0004, 3) == "−0.0004"
    assert interval_end(0.0) == interval_end(-0.0) == "0.00"
    assert interval_end(-0.006) == "−0.01"
    assert interval_end(math.nan) == "undefined"
    assert Estimate(0.1, -0.002, 0.3).interval == "−0.002 to 0.30"
    assert interval(-0.002, 0.3) == "[-0.002, 0.30]"
    assert interval(-0.304, math.nan, 1) == "[-0.3, -]"
    assert Estimate(0.1, -0.2, 0.3).side == 0
    assert Estimate(0.1).side == 0
    assert UP.interval == "0.25 to 0.35"
    # 1.10 -> 1.00 -> 1.30: the dip is shown; without one, the ends alone.
    assert group("contested", UP).path == "1.10 → 1.00 → 1.30"
    assert replace(group("settled", UP), lowest=1.1).path == "1.10 → 1.30"
    assert replace(group("settled", UP), start=math.nan, end=math.nan).path == "undefined"


def test_absolute_paths_lose_their_folders_and_names_stay() -> None:
    assert file_tail("/srv/models/mine/") == "mine"
    assert file_tail("C:\\models\\mine") == "mine"
    assert file_tail("org/name") == "org/name"
