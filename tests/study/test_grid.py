"""The grid: which cells a study has, and what its mistakes are told as."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dissensus.config import RunSpec, StudySpec, When
from dissensus.errors import SpecError
from dissensus.study.builtin import load_study
from dissensus.study.grid import expand, merge, parse_only, planned_cells, select

BASE: dict[str, Any] = {
    "name": "s",
    "models": [{"name": "minilm-l6"}, {"name": "smollm2-135m"}],
    "datasets": [
        {"name": "snli", "tracked": {"source": "chaosnli"}, "train": {"source": "snli"}},
        {"name": "mnli", "tracked": {"source": "chaosnli", "part": "mnli"}, "train": {"source": "snli"}},
    ],
    "methods": [
        {"name": "lora", "rank": 8, "learning_rate": 1e-3},
        {"name": "full", "learning_rate": 5e-5},
    ],
    "regimes": ["held_out", "trained_on"],
    "seeds": [0, 1],
}


def study(**changes: Any) -> StudySpec:
    return StudySpec.parse(copy.deepcopy(BASE) | changes, "f.yaml")


def refused(**changes: Any) -> str:
    with pytest.raises(SpecError) as caught:
        expand(study(**changes))
    return str(caught.value)


def test_every_combination_once_seed_by_seed() -> None:
    cells = expand(study())
    assert len(cells) == 2 * 2 * 2 * 2 * 2
    assert len({cell.cell_id for cell in cells}) == 32
    assert [cell.seed for cell in cells] == [0] * 16 + [1] * 16
    assert cells[0].condition == "snli.minilm-l6.lora-r8.held_out"


def test_overrides_merge_deeply_and_later_ones_win() -> None:
    cells = expand(
        study(
            training={"epochs": 3, "batch_size": 16},
            overrides=[
                {"when": {"model": "smollm2-135m"}, "set": {"training": {"precision": "bf16", "epochs": 2}}},
                {
                    "when": {"model": "smollm2-135m", "method": "lora-r8", "seed": [0]},
                    "set": {"training": {"epochs": 1}, "method": {"alpha": 4}},
                },
            ],
        )
    )
    minilm = [c for c in cells if c.model.name == "minilm-l6"]
    assert {(c.training.epochs, c.training.precision) for c in minilm} == {(3, "fp32")}
    smol = {(c.method.label, c.seed): c for c in cells if c.model.name == "smollm2-135m"}
    assert smol["lora-r8", 0].training.epochs == 1
    assert smol["lora-r8", 0].method.alpha == 4
    assert smol["lora-r8", 1].training.epochs == 2
    assert smol["full", 0].training.epochs == 2
    assert {c.training.batch_size for c in cells} == {16}
    assert {c.training.precision for c in smol.values()} == {"bf16"}


def test_an_override_to_another_source_replaces_the_old_one_whole() -> None:
    table = {"source": "table", "path": "t.csv", "text": ["a"], "gold": "g"}
    cells = expand(study(overrides=[{"when": {"dataset": "mnli"}, "set": {"dataset": {"tracked": table}}}]))
    assert {c.dataset.tracked.source for c in cells if c.dataset.name == "mnli"} == {"table"}


def test_exclude_takes_cells_out() -> None:
    cells = expand(study(exclude=[{"model": "smollm2-135m", "regime": ["trained_on"]}, {"seed": 1}]))
    assert len(cells) == 16 - 4
    assert not any(c.model.name == "smollm2-135m" and c.regime == "trained_on" for c in cells)


def test_a_held_out_cell_needs_something_to_train_on() -> None:
    datasets = [{"name": "md", "tracked": {"source": "lewidi"}}]
    message = refused(datasets=datasets)
    assert "minilm-l6 x md x lora-r8 x held_out x seed 0" in message
    assert "no 'train' source" in message
    assert len(expand(study(datasets=datasets, exclude=[{"dataset": "md", "regime": "held_out"}]))) == 8


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"training": {"epoch": 1}}, "overrides.0.set.training.epoch: unknown key; did you mean 'epochs'?"),
        ({"trainig": {"epochs": 1}}, "overrides.0.set.trainig: unknown key; did you mean 'training'?"),
        (
            {"dataset": {"tracked": {"prt": "mnli"}}},
            "overrides.0.set.dataset.tracked.prt: unknown key; did you mean 'part'?",
        ),
        ({"training": {"epochs": 0}}, "overrides.0.set.training.epochs: expected greater than 0 (given: 0)"),
        ({"training": 3}, "overrides.0.set.training: expected a mapping (key: value) (given: 3)"),
    ],
)
def test_a_bad_setting_of_an_override_is_named(changed: dict[str, Any], line: str) -> None:
    message = refused(overrides=[{"when": {"method": "full"}, "set": changed}])
    assert "in the cell minilm-l6 x snli x full x held_out x seed 0: override 0 is not valid" in message
    assert message.splitlines()[1:] == [f"  {line}"]


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"seed": 3}, "overrides.0.set.seed: an override cannot move a cell along an axis"),
        ({"model": {"name": "x"}}, "overrides.0.set.model.name: an override changes a cell's settings"),
    ],
)
def test_an_override_cannot_turn_a_cell_into_another(changed: dict[str, Any], part: str) -> None:
    assert part in refused(overrides=[{"when": {}, "set": changed}])


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        (
            {"exclude": [{"model": "minilm-l7"}]},
            "exclude.0: no cell has model 'minilm-l7'; did you mean 'minilm-l6'?",
        ),
        ({"exclude": [{"model": ["minilm-l6", "mini"]}]}, "no cell has model 'mini'"),
        ({"exclude": [{"seed": 7}]}, "exclude.0: no cell has seed 7; known: 0,1"),
        ({"exclude": [{"method": "lora-r16"}]}, "no cell has method 'lora-r16'; did you mean 'lora-r8'?"),
        ({"exclude": [{}]}, "no cell left"),
        (
            {"overrides": [{"when": {"dataset": "snl"}, "set": {}}]},
            "overrides.0.when: no cell has dataset 'snl'; did you mean 'snli'?",
        ),
        (
            {
                "exclude": [{"model": "minilm-l6", "method": "full"}],
                "overrides": [{"when": {"model": "minilm-l6", "method": "full"}, "set": {}}],
            },
            "overrides.0.when: no cell matches model=minilm-l6, method=full together",
        ),
        ({"seeds": [0, 0]}, "the same run more than once"),
        ({"models": [{"name": "minilm-l6"}] * 2}, "the same run more than once: snli.minilm-l6.lora-r8"),
    ],
)
def test_what_matches_nothing_or_repeats_is_an_error(changes: dict[str, Any], part: str) -> None:
    assert part in refused(**changes)


def test_only_filters_by_every_key_and_adds_values_of_one_key() -> None:
    cells = expand(study())
    assert parse_only(["model=minilm-l6", "seed=0,1"]) == When(model=("minilm-l6",), seed=(0, 1))
    chosen = select(cells, parse_only(["model=minilm-l6", "method=lora", "seed=1", "regime=held_out"]))
    assert [c.condition for c in chosen] == [
        "snli.minilm-l6.lora-r8.held_out",
        "mnli.minilm-l6.lora-r8.held_out",
    ]
    assert len(select(cells, parse_only(["method=lora", "method=full"]))) == len(cells)
    assert select(cells, parse_only([])) == cells


@pytest.mark.parametrize(
    ("items", "part"),
    [
        (["minilm"], "is not KEY=VALUE"),
        (["model="], "is not KEY=VALUE"),
        (["modl=x"], "unknown key 'modl'; did you mean 'model'?"),
        (["seed=x"], "seed.0: expected a valid integer"),
        (["regime=heldout"], "regime.0: expected 'held_out' or 'trained_on'"),
        (["model=minilm-l7"], "--only: no cell has model 'minilm-l7'; did you mean 'minilm-l6'?"),
    ],
)
def test_a_bad_filter_is_explained(items: list[str], part: str) -> None:
    with pytest.raises(SpecError) as caught:
        select(expand(study()), parse_only(items))
    assert part in str(caught.value)


def test_only_sees_the_rank_that_an_override_set() -> None:
    cells = expand(
        study(
            overrides=[{"when": {"model": "smollm2-135m", "method": "lora"}, "set": {"method": {"rank": 4}}}]
        )
    )
    assert {c.model.name for c in select(cells, parse_only(["method=lora-r4"]))} == {"smollm2-135m"}


leaves = st.one_of(st.integers(), st.sampled_from(["x", "y"]), st.none(), st.lists(st.integers(), max_size=2))
trees = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(leaves, lambda t: st.dictionaries(st.sampled_from("abc"), t, max_size=3)),
)


@settings(max_examples=50, deadline=None)
@given(trees, trees)
def test_merging_keeps_every_change_and_is_idempotent(base: dict[str, Any], changes: dict[str, Any]) -> None:
    merged = merge(base, changes)
    assert merge(merged, changes) == merged
    assert merge(base, {}) == base
    assert merged.keys() == base.keys() | changes.keys()
    for key, value in changes.items():
        if not isinstance(value, dict):
            assert merged[key] == value


def test_cells_are_valid_specs_that_survive_json() -> None:
    for cell in expand(study()):
        assert RunSpec.model_validate_json(cell.canonical()) == cell


def test_listing_the_cells_loads_no_torch() -> None:
    code = "import sys, dissensus.study.grid; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cells_that_a_table_could_not_tell_apart_need_a_tag() -> None:
    base = {
        "name": "rates",
        "models": [{"name": "minilm-l6"}],
        "datasets": [
            {
                "name": "panel",
                "tracked": {"source": "simulated"},
                "train": {"source": "simulated", "split": "train"},
            }
        ],
    }
    rates = [{"name": "full", "learning_rate": rate} for rate in (1e-4, 1e-5)]
    with pytest.raises(SpecError, match=r"panel\.minilm-l6\.full\.held_out with seed 0.*tag"):
        expand(StudySpec.parse({**base, "methods": rates}, "t"))
    tagged = [{**rate, "tag": tag} for rate, tag in zip(rates, ("high", "low"), strict=True)]
    cells = expand(StudySpec.parse({**base, "methods": tagged}, "t"))
    assert [c.method.label for c in cells] == ["full-high", "full-low"]


RATE = {
    "name": "rate-high",
    "when": {"method": "lora-r8", "seed": 0},
    "set": {"method": {"learning_rate": 3e-3}},
}


def test_a_variant_is_a_further_cell_of_what_it_changes() -> None:
    own = expand(study())
    planned = planned_cells(study(variants=[RATE]))
    added = [item for item in planned if item.base is not None]
    assert len(planned) == len(own) + 8  # LoRA with seed 0: two models, two data sets, two regimes
    assert {item.cell.cell_id for item in planned} > {
        cell.cell_id for cell in own
    }  # no other cell has changed
    for item in added:
        assert item.base in own
        assert item.cell.variant == "rate-high"
        assert item.cell.condition == f"{item.base.condition}.rate-high"
        assert item.cell.method.learning_rate == 3e-3
        restored = item.cell.model_copy(update={"variant": None, "method": item.base.method})
        assert restored == item.base
    # Within a seed the study's own cells come first.
    assert [item.cell.seed for item in planned] == [0] * 24 + [1] * 16
    assert all(item.base is None for item in planned[:16])


def test_a_variant_is_made_of_the_cell_after_overrides() -> None:
    rule = {"when": {"model": "smollm2-135m"}, "set": {"training": {"batch_size": 4}}}
    planned = planned_cells(study(variants=[RATE], overrides=[rule]))
    sizes = {i.cell.training.batch_size for i in planned if i.base and i.cell.model.name == "smollm2-135m"}
    assert sizes == {4}


def test_only_picks_variants_and_the_cells_that_are_none() -> None:
    cells = expand(study(variants=[RATE]))
    assert len(select(cells, parse_only(["variant=rate-high"]))) == 8
    assert len(select(cells, parse_only(["variant=none"]))) == 32
    with pytest.raises(SpecError, match="rate-hihg"):
        select(cells, parse_only(["variant=rate-hihg"]))


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ({**RATE, "when": {"method": "ia3"}}, "variants.0.when: no cell has method 'ia3'"),
        ({**RATE, "set": {"regime": "held_out"}}, "cannot move a cell along an axis"),
        ({**RATE, "set": {"training": {"epochz": 1}}}, "variants.0.set.training.epochz"),
    ],
)
def test_mistakes_in_variants_are_named(variant: dict[str, Any], words: str) -> None:
    assert words in refused(variants=[variant])


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ({**RATE, "name": "none"}, "is taken"),
        ({**RATE, "when": {"variant": "other"}}, "not of another variant"),
        ({**RATE, "set": {}}, "needs at least one"),
    ],
)
def test_a_variant_has_a_name_of_its_own_and_changes_something(variant: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        study(variants=[variant])


def test_two_variants_of_one_name_must_differ_in_where() -> None:
    assert "2 cells named" in refused(variants=[RATE, {**RATE, "set": {"method": {"learning_rate": 1e-2}}}])


@pytest.mark.parametrize(("name", "own", "conditions"), [("paper", 75, 25), ("paper-mini", 75, 25)])
def test_the_papers_studies_have_25_conditions(name: str, own: int, conditions: int) -> None:
    cells = [item.cell for item in planned_cells(load_study(name)) if item.base is None]
    assert len(cells) == own
    assert len({cell.condition for cell in cells}) == conditions
    if name == "paper":
        assert {c.regime for c in cells} == {"trained_on"}
        assert len({c.model.name for c in cells}) == 6
        assert {c.method.learning_rate for c in cells} == {2e-5}
