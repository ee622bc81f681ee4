"""What the page claims: counted from intervals, never more than they carry."""

from __future__ import annotations

import math
from dataclasses import replace

from dissensus.report.tables import ConditionRow, Estimate, GroupCell, method_words, number, percent
from dissensus.report.words import findings, limits_of_reading, model_notes, tail
from synthetic_study import study_spec

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
    return replace(base, **changes)  # type: ignore[arg-type]


def test_clear_results_are_counted_and_their_range_given() -> None:
    said = findings([row(), row(rho=Estimate(0.4, 0.3, 0.5, 0.001)), row(rho=FLAT)], 0.05)
    assert said[0].startswith("In 2 of the 3 conditions, examples on which annotators disagree more")
    assert "ρ from 0.02 to 0.40" in said[0]


def test_an_interval_that_holds_zero_is_no_finding() -> None:
    said = findings([row(rho=FLAT, partial=FLAT, groups={g: group(g, FLAT) for g in row().groups})] * 2, 0.05)
    assert said[0].startswith("none of the 2 conditions show a clear link")
    assert "in none of the 2 conditions; with the share" in said[1]
    assert "in none of the 2 conditions; the settled group ended higher in none" in said[2]


def test_a_positive_interval_whose_adjusted_p_is_too_large_does_not_count() -> None:
    said = findings([row(rho=Estimate(0.1, 0.01, 0.2, 0.2))] * 2, 0.05)
    assert said[0].startswith("none of the 2 conditions")


def test_a_correlation_of_the_other_sign_is_said() -> None:
    assert "In 1 the link clearly runs the other way." in findings([row(), row(rho=DOWN)], 0.05)[0]


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
    assert said[3].startswith("Trained on: the contested group ended with a higher mean gold-label loss")


def test_covariates_are_named_and_the_hard_control_is_reported() -> None:
    said = findings([row()], 0.05)[1]
    assert said.startswith(
        "With token count and gold class held constant, the interval stays above 0 in the one"
    )
    assert "held constant as well, in none (of one condition)" in said


def test_limits_name_seeds_methods_gold_and_missing_cells() -> None:
    one = " ".join(limits_of_reading([row(), row(method="lora-r8", gold="majority", n=20)], missing=2))
    for part in (
        "one seed",
        "one learning rate",
        "majority of the same annotations",
        "2 cells have no result",
        "1 of 2",
    ):
        assert part in one, part
    several = " ".join(limits_of_reading([row(seeds=3)], missing=0))
    assert "one seed" not in several
    assert "no result" not in several


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
    assert Estimate(0.1, -0.2, 0.3).side == 0
    assert Estimate(0.1).side == 0
    assert UP.interval == "0.25 to 0.35"
    # 1.10 -> 1.00 -> 1.30: the dip is shown; without one, the ends alone.
    assert group("contested", UP).path == "1.10 → 1.00 → 1.30"
    assert replace(group("settled", UP), lowest=1.1).path == "1.10 → 1.30"
    assert replace(group("settled", UP), start=math.nan, end=math.nan).path == "undefined"


def test_absolute_paths_lose_their_folders_and_names_stay() -> None:
    assert tail("/srv/models/mine/") == "mine"
    assert tail("C:\\models\\mine") == "mine"
    assert tail("org/name") == "org/name"
