"""Learning rates to try, the short runs that compare them as a study, and a study with chosen rates."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from dissensus.config import RunSpec, StudySpec, When
from dissensus.errors import SpecError
from dissensus.study.builtin import load_study
from dissensus.study.grid import expand
from dissensus.study.rates import (
    SearchSettings,
    ShortRun,
    beyond,
    every_run,
    search_study,
    searched_cells,
    with_rates,
)
from synthetic_study import study_spec

METHODS = [
    {"name": "full", "learning_rate": 2e-5},
    {"name": "full", "learning_rate": 1e-4, "tag": "fast"},
    {"name": "lora", "rank": 4, "learning_rate": 2e-5},
]


def own_rates(study: StudySpec) -> dict[str, float]:
    return {cell.condition: cell.method.learning_rate for cell in expand(study) if cell.variant is None}


def test_candidates_are_a_log_grid_around_a_cells_own_rate() -> None:
    assert SearchSettings().candidates(2e-5) == (6.3e-7, 2e-6, 6.3e-6, 2e-5, 6.3e-5, 2e-4, 6.3e-4)
    assert SearchSettings(rates=(1e-3, 1e-4)).candidates(2e-5) == (2e-5, 1e-4, 1e-3)
    assert SearchSettings().shares == (1 / 16, 1 / 8, 1 / 4)


def test_a_grid_is_widened_in_its_own_spacing_beyond_the_end_that_is_best() -> None:
    grid = SearchSettings().candidates(2e-5)
    assert beyond(grid, 6.3e-4) == (2e-3, 6.3e-3, 2e-2)
    assert beyond(grid, 6.3e-7) == (2e-7, 6.3e-8, 2e-8)
    assert beyond(grid, 2e-5) == ()
    assert beyond((2e-5,), 2e-5) == ()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rates": (0.0,)}, "a learning rate is 0; expected a number above 0"),
        ({"rungs": 0}, "rungs is 0; expected 1 or more"),
        ({"first_share": 0.0}, "share is 0; expected a share of the training length"),
        (
            {"first_share": 0.5, "rungs": 3},
            "end at 2 of the training length; expected 1 at most: lower --share (to 0.25)",
        ),
    ],
)
def test_bad_settings_are_refused_in_words(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        SearchSettings(**settings)  # type: ignore[arg-type]


def short_runs(cells: Sequence[RunSpec], settings: SearchSettings) -> list[ShortRun]:
    return [
        ShortRun(cell, rate, share, rate == cell.method.learning_rate and share == settings.first_share)
        for cell in cells
        for share in settings.shares
        for rate in settings.candidates(cell.method.learning_rate)
    ]


@pytest.mark.parametrize("name", ["made", "paper", "paper-mini", "chaosnli-mini"])
def test_the_searchs_study_lists_exactly_the_short_runs(name: str) -> None:
    """With overrides, exclusions, variants, tags, two heads and two regimes in the study that is searched."""
    study = study_spec(methods=METHODS, seeds=[3, 1]) if name == "made" else load_study(name)
    settings = SearchSettings(rungs=1)
    searched = searched_cells(study, When())
    assert {one.cell.condition for one in searched} == own_rates(study).keys()
    runs = short_runs([one.listed for one in searched], settings)
    as_study = StudySpec.from_text(search_study(study, runs).to_yaml(), "again")
    assert {cell.digest() for cell in expand(as_study)} == {run.spec.digest() for run in runs}
    assert as_study.analysis.contested_share == study.analysis.contested_share


def test_a_short_run_measures_no_gradients() -> None:
    plain = study_spec().model_dump(mode="json")["datasets"][0]
    study = study_spec(
        datasets=[{**plain, "entropy_cuts": {"low": 0.4, "high": 0.7}}],
        tracking={"gradients": {"every": 5, "norms": "all"}},
    )
    runs = every_run(searched_cells(study, When())[0], SearchSettings())
    assert all(cell.tracking.gradients is None for cell in expand(search_study(study, runs)))


def test_a_short_run_is_a_whole_run_over_fewer_epochs_measured_at_both_ends() -> None:
    study = study_spec(
        training={"epochs": 4, "warmup": 0.1}, tracking={"every": 10, "epoch_ends": True}, seeds=[3, 1]
    )
    (first, _) = searched_cells(study, When())
    run = ShortRun(first.listed, 5e-4, 1 / 8, False)
    assert (run.spec.training.epochs, run.spec.training.warmup, run.spec.seed) == (0.5, 0.1, 3)
    assert (run.spec.tracking.points, run.spec.tracking.every, run.spec.tracking.epoch_ends) == (
        2,
        None,
        False,
    )
    assert run.spec.method.learning_rate == 5e-4
    same = run.spec.model_copy(
        update={
            "training": first.cell.training,
            "tracking": first.cell.tracking,
            "variant": None,
            "method": first.cell.method,
        }
    )
    assert same == first.cell


def test_a_plan_counts_as_many_runs_as_a_search_takes() -> None:
    (first, _) = searched_cells(study_spec(), When())
    runs = every_run(first, SearchSettings())
    assert [sum(run.share == share for run in runs) for share in SearchSettings().shares] == [7, 4, 2]


def test_a_rate_that_all_conditions_of_a_method_share_is_set_there_and_others_by_overrides() -> None:
    study = study_spec(methods=METHODS, regimes=["held_out", "trained_on"], seeds=[0, 1])
    wanted = {
        name: 7e-4 if ".lora" in name else 3e-5 if "held_out" in name else 4e-5 for name in own_rates(study)
    }
    changed = with_rates(study, wanted)
    assert own_rates(changed) == wanted
    assert [method.learning_rate for method in changed.methods] == [2e-5, 1e-4, 7e-4]
    assert {override.set["method"]["learning_rate"] for override in changed.overrides} == {3e-5, 4e-5}


def test_an_override_for_a_method_does_not_move_the_rate_of_its_tagged_sister() -> None:
    study = study_spec(methods=METHODS, regimes=["held_out", "trained_on"])
    wanted = {name: rate for name, rate in own_rates(study).items() if name.endswith(".full.held_out")}
    changed = with_rates(study, dict.fromkeys(wanted, 9e-5))
    assert own_rates(changed) == own_rates(study) | dict.fromkeys(wanted, 9e-5)
