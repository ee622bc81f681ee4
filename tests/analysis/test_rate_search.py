"""Successive halving over learning rates, on scores that are made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dissensus.analysis.rates.scores import Score, difference
from dissensus.analysis.rates.search import RateSearch, follow, search_rates
from dissensus.analysis.rates.tables import chosen_study, yaml_lines
from dissensus.config import StudySpec, When
from dissensus.errors import StoreError
from dissensus.study.rates import SearchSettings, ShortRun, searched_cells
from synthetic_study import study_spec

STUDY = study_spec(methods=[{"name": "full", "learning_rate": 2e-5}])
(CONDITION,) = searched_cells(STUDY, When())
ITEMS = np.random.default_rng(0).standard_normal(60) * 0.1
CLUSTERS = np.repeat([f"c{i}" for i in range(15)], 4)


def scored(run: ShortRun, loss: float, learned: str = "yes") -> Score:
    return Score(
        run,
        loss,
        1.1,
        learned,
        "" if learned == "yes" else "it did not",
        "settled",
        60,
        loss + ITEMS,
        CLUSTERS,
    )


def bowl(best: float) -> Callable[[ShortRun], Score]:
    """The loss is lowest at a rate."""
    return lambda run: scored(run, 0.5 + 0.1 * abs(np.log10(run.rate / best)))


def rates_of(search: RateSearch) -> list[list[float]]:
    return [sorted(score.run.rate for score in rung.scores) for rung in search.rungs]


def test_the_better_half_goes_on_to_runs_of_twice_the_length() -> None:
    search = follow(CONDITION, SearchSettings(), bowl(7e-5))
    # Distances in powers of ten: .05 (6.3e-5), .46, .54, .95 (6.3e-4), 1.05 (6.3e-6), ...
    assert rates_of(search) == [list(search.grid), [2e-5, 6.3e-5, 2e-4, 6.3e-4], [6.3e-5, 2e-4]]
    assert [rung.share for rung in search.rungs] == [1 / 16, 1 / 8, 1 / 4]
    assert search.best is not None
    assert search.best.run.rate == 6.3e-5
    assert (search.added, search.wanted, search.warnings) == ((), (), ())
    assert search.sentence.startswith(
        "Ranked by the mean loss at the end of 60 settled examples whose gold label most annotators chose: "
        "6.3e-05 is best, 0.505 nats; 0.0002 is 0.041 behind (standard error over examples 0.000): more than other "
    )


def test_what_is_not_finished_is_wanted_and_nothing_is_chosen() -> None:
    search = follow(CONDITION, SearchSettings(), lambda run: None if run.rate == 2e-5 else bowl(1e-4)(run))
    assert [run.rate for run in search.wanted] == [2e-5]
    assert search.best is None
    assert search.sentence == "No rate can be chosen: the search is not over."


def test_a_best_rate_at_the_edge_widens_the_grid_once_and_a_second_edge_is_a_warning() -> None:
    inside = follow(CONDITION, SearchSettings(), bowl(6.3e-3))
    assert inside.added == (2e-3, 6.3e-3, 2e-2)
    assert inside.best is not None
    assert inside.best.run.rate == 6.3e-3
    assert inside.warnings == ()
    outside = follow(CONDITION, SearchSettings(), bowl(1.0))
    assert outside.added == (2e-3, 6.3e-3, 2e-2)
    assert outside.best is not None
    assert outside.best.run.rate == 2e-2
    (warning,) = outside.warnings
    assert warning.startswith(
        "the best rate, 0.02, is the highest that was tried, also after the grid was widened once"
    )


def test_failed_runs_rank_last_and_do_not_go_on() -> None:
    def score(run: ShortRun) -> Score:
        failed = run.rate > 1e-5
        return Score(run, float("inf"), why="ModelError: the run diverged") if failed else bowl(2e-6)(run)

    search = follow(CONDITION, SearchSettings(), score)
    assert rates_of(search)[1] == [6.3e-7, 2e-6, 6.3e-6]
    assert search.best is not None
    assert search.best.run.rate == 2e-6
    assert search.warnings == (
        "no loss at the end: 2e-05, 6.3e-05, 0.0002, 0.00063 (ModelError: the run diverged)",
    )
    nothing = follow(
        CONDITION, SearchSettings(), lambda run: Score(run, float("inf"), why="ModelError: no weights")
    )
    assert nothing.best is None
    assert len(nothing.rungs) == 1
    assert nothing.sentence == "No rate can be chosen: every short run failed (ModelError: no weights)."


def test_where_nothing_learned_it_is_said() -> None:
    search = follow(CONDITION, SearchSettings(), lambda run: scored(run, bowl(2e-5)(run).loss, "no"))
    (warning,) = search.warnings
    assert warning.startswith(
        "nothing learned: no rate took the loss below the best constant answer's (it did not)"
    )


def test_the_distance_of_two_runs_has_its_error_over_clusters() -> None:
    """Deviations of 1, 1 (cluster a) and -1, -1 (b): sums 2 and -2, (4 + 4) x 2 / 1 = 16, the root over n = 4 is 1."""
    run = ShortRun(CONDITION.listed, 1e-4, 0.1, False)
    first = Score(run, 0.0, losses=np.zeros(4), clusters=np.array(["a", "a", "b", "b"]))
    second = Score(run, 1.0, losses=np.array([2.0, 2.0, 0.0, 0.0]), clusters=first.clusters)
    assert difference(first, second) == (1.0, pytest.approx(1.0))


def test_a_search_ends_where_the_runner_leaves_runs_undone(tmp_path: Path) -> None:
    asked: list[tuple[StudySpec, When]] = []
    with pytest.raises(StoreError, match="7 short runs are not finished"):
        search_rates(
            STUDY, [CONDITION], tmp_path, SearchSettings(), lambda study, only: asked.append((study, only))
        )
    assert len(asked) == 1


def test_the_lines_to_paste_name_what_changes() -> None:
    study = study_spec()
    searches = [follow(one, SearchSettings(), bowl(2e-4)) for one in searched_cells(study, When())]
    chosen = chosen_study(study, searches)
    assert yaml_lines(study, chosen) == [
        "methods: # the learning_rate alone changes",
        f"  - {{name: lora, rank: 8, learning_rate: {searches[0].best.run.rate if searches[0].best else 0}}}",
        f"  - {{name: full, learning_rate: {searches[1].best.run.rate if searches[1].best else 0}}}",
    ]
