"""Annotation tools: what each form holds, read back with the tools' own rules."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from dissensus.data.annotation_tasks import AnnotationTask
from dissensus.exchange.annotation_tools import FORMS, guarded, unguarded


def task(**changes: Any) -> AnnotationTask:
    settings: dict[str, Any] = {
        "id": "a-1",
        "text": {"premise": "It rains; über.", "hypothesis": "=1+1"},
        "labels": ("yes", "no", "perhaps"),
        "votes": (2.0, 0.0, 0.5),
        "gold": "yes",
        "entropy": 0.72,
        "score": 0.72,
        "why": "annotators disagree",
        "labels_wanted": 3,
    }
    return AnnotationTask(**{**settings, **changes})


BARE = {"gold": "", "entropy": float("nan"), "votes": (0.0, 0.0, 0.0), "labels_wanted": None}


def test_label_studio_tasks_hold_all_that_an_interface_may_name() -> None:
    (one,) = json.loads(FORMS["label-studio"]([task()]))
    assert one == {
        "data": {
            "item_id": "a-1",
            "premise": "It rains; über.",
            "hypothesis": "=1+1",
            "gold": "yes",
            "votes": "yes 2, perhaps 0.50",
            "entropy": 0.72,
            "why": "annotators disagree",
            "labels_wanted": 3,
        }
    }


def test_argilla_records_keep_fields_and_metadata_apart() -> None:
    (one,) = json.loads(FORMS["argilla"]([task()]))
    assert (one["id"], one["metadata"]["item_id"]) == ("a-1", "a-1")
    assert one["fields"] == {"premise": "It rains; über.", "hypothesis": "=1+1"}
    assert one["metadata"]["votes"] == "yes 2, perhaps 0.50"
    assert all(isinstance(value, str | int | float) for value in one["metadata"].values())


def test_prodigy_shows_the_annotator_texts_and_options_and_no_votes() -> None:
    (line,) = FORMS["prodigy"]([task()]).splitlines()
    one = json.loads(line)
    assert one["text"] == "premise: It rains; über.\n\nhypothesis: =1+1"
    assert [option["id"] for option in one["options"]] == ["yes", "no", "perhaps"]
    assert one["meta"] == {"item_id": "a-1"}  # it is shown on the card
    assert one["votes"] == "yes 2, perhaps 0.50"
    (plain,) = FORMS["prodigy"]([task(text={"text": "It rains."})]).splitlines()
    assert json.loads(plain)["text"] == "It rains."


def test_csv_has_empty_columns_to_be_filled_in() -> None:
    text = FORMS["csv"]([task(), task(id="a-2", text={"premise": "x", "hypothesis": "two\nlines"})])
    assert text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row["item_id"] for row in rows] == ["a-1", "a-2"]
    assert rows[0]["annotator"] == rows[0]["annotation"] == ""
    assert rows[1]["hypothesis"] == "two\nlines"
    assert rows[0]["labels_wanted"] == "3"


@pytest.mark.parametrize(
    "cell", ["=1+1", "+41 79", "-5", "@SUM(A1)", "\t=1", "\r=1", "  =1+1", "\uff1d1", '=HYPERLINK("x")']
)
def test_no_cell_of_the_csv_is_a_formula(cell: str) -> None:
    text = FORMS["csv"]([task(id=cell, text={"t": cell}, gold=cell, why=cell, labels=(cell, "b", "c"))])
    (row,) = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    for name in ("item_id", "t", "gold", "votes", "why"):
        assert row[name].startswith("'"), name
    assert unguarded(row["item_id"]) == cell
    assert guarded("plain - text") == unguarded("plain - text") == "plain - text"
    assert unguarded("'tis") == "'tis"


def test_what_is_not_known_is_left_out() -> None:
    (one,) = json.loads(FORMS["label-studio"]([task(**BARE)]))
    assert one["data"]["votes"] == "none"
    assert not one["data"].keys() & {"entropy", "labels_wanted"}
    assert all("NaN" not in form([task(**BARE)]) for form in FORMS.values())


def test_a_text_field_that_has_the_name_of_a_fact_keeps_it() -> None:
    odd = task(text={"why": "the text", "votes": "more text"})
    (one,) = json.loads(FORMS["label-studio"]([odd]))
    assert (one["data"]["why"], one["data"]["queue_why"]) == ("the text", "annotators disagree")
    row = next(csv.DictReader(io.StringIO(FORMS["csv"]([odd]).removeprefix("\ufeff"))))
    assert (row["votes"], row["queue_votes"]) == ("more text", "yes 2, perhaps 0.50")
