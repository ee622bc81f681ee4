"""The first screen: what was trained, did it learn, which items ask for a step; short, and silent in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from dissensus.analysis.tables import analyze
from dissensus.report.items.kinds import KIND_ORDER, Kind
from dissensus.report.overview import learned_words, most_telling, tiles, trained_words
from dissensus.report.page import build, render
from dissensus.report.tables import ConditionRow, Estimate, condition_rows
from dissensus.study.grid import expand
from synthetic_study import study_spec, write_study


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[ConditionRow, ...]:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, study_spec())
    return condition_rows(analyze(folder).conditions)


def kinds(**items: int) -> list[Kind]:
    return [Kind(key, key, "a step", items.get(key.replace(" ", "_"), 0)) for key in KIND_ORDER]


def test_what_was_trained_on_what_is_one_sentence() -> None:
    study = study_spec(regimes=["held_out", "trained_on"])
    assert trained_words(expand(study), 1234) == (
        "minilm-l6 was fine-tuned on SNLI pairs by LoRA (rank 8) and full fine-tuning; the loss of 1,234 items of "
        "snli, held out or trained on, was tracked."
    )


def test_did_it_learn(rows: tuple[ConditionRow, ...]) -> None:
    first, second = rows
    yes, no = replace(first, learned="yes", accuracy=0.75), replace(second, learned="no")
    assert learned_words([yes], yes)[0] == "yes"
    assert learned_words([yes], yes)[1].endswith("it is right on 75% of the items at the end.")
    assert learned_words([yes, yes], yes)[1].startswith("It learned in both conditions. In ")
    assert learned_words([no, no], no) == ("no", "None of the 2 conditions learned: read no single curve.")
    assert learned_words([yes, no], yes) == (
        "partly",
        f"It learned in 1 of 2 conditions: not, or not surely, in {no.title}.",
    )
    told = replace(first, learned="not told", learned_why="12 examples are too few")
    assert learned_words([told], told) == (
        "not told",
        "Whether it learned cannot be told (12 examples are too few).",
    )


def test_the_most_telling_condition_learned_and_parts_the_groups_most(rows: tuple[ConditionRow, ...]) -> None:
    first, second = (replace(row, learned="yes") for row in rows)
    near, far = Estimate(0.3, 0.1, 0.5), Estimate(-0.6, -0.9, -0.2)
    unsure = Estimate(2.0, -1.0, 5.0)
    assert (
        most_telling([replace(first, difference=near), replace(second, difference=far)]).method
        == second.method
    )
    assert (
        most_telling([replace(first, difference=near), replace(second, difference=unsure)]).method
        == first.method
    )
    lost = replace(second, difference=far, learned="no")
    assert most_telling([replace(first, difference=near), lost]).method == first.method


def test_tiles_say_the_step_and_nothing_where_nothing_is_told() -> None:
    shown = tiles(kinds(mislabelled=1, contested=7, settled=3))
    assert [(tile.count, tile.words) for tile in shown] == [
        (1, "label to look at again"),
        (7, "ambiguous: keep their votes"),
        (0, "No item is hard but agreed"),
    ]
    assert tiles(kinds(not_told=9)) == ()


def test_where_triage_is_silent_the_page_says_why_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dissensus.errors import DissensusError
    from dissensus.report.items import page_items

    def refuses(_: object) -> None:
        raise DissensusError("the cells have other labels")

    monkeypatch.setattr(page_items, "triage_study", refuses)
    write_study(tmp_path, study_spec(), n=20)
    page = render(build(analyze(tmp_path)))
    assert '<p class="silence">No item is named here: the cells have other labels</p>' in page
    assert '<ul class="tiles">' not in page


def test_verdicts_stand_on_the_first_screen_only_where_there_are_claims(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec(), n=20)
    analysis = analyze(tmp_path)
    assert isinstance(analysis.conditions, pa.Table)
    assert '<p class="verdicts">' not in render(build(analysis))
