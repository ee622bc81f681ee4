"""Triage as a table, as files, as a `datasets` data set, and as an issue of a real Datalab."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from dissensus.analysis.triage import Triaged
from dissensus.errors import DataError
from dissensus.exchange.triage import (
    add_triage_to_datalab,
    triage_csv,
    triage_dataset,
    triage_jsonl,
    triage_table,
)

ROWS = (
    Triaged("a", "d", "held_out", "mislabelled", 0.9, "yes", "4 of 5 votes", 0.9),
    Triaged("b", "d", "held_out", "settled", 0.8, None, "=1+1", 0.1),
    Triaged("c", "d", "held_out", "not told", float("nan"), None, "Nobody voted.", float("nan")),
)
TEXTS = ({"text": "<b>A</b>", "label": "x"}, {"text": "@B"}, {})


def test_a_row_per_example_and_a_column_per_field() -> None:
    table = triage_table(ROWS, TEXTS)
    assert table.column_names[-2:] == ["text", "text_label"]  # `label` is taken
    assert table["score"].to_pylist() == [0.9, 0.8, None]
    lines = triage_jsonl(table).splitlines()
    assert json.loads(lines[0])["text"] == "<b>A</b>"
    assert json.loads(lines[2])["suspicion"] is None
    rows = list(csv.DictReader(triage_csv(table).removeprefix("\ufeff").splitlines()))
    assert rows[1]["why"] == "'=1+1"  # nothing that a spreadsheet runs
    assert rows[1]["text"] == "'@B"


def test_a_datasets_data_set() -> None:
    pytest.importorskip("datasets")
    assert triage_dataset(triage_table(ROWS))[0]["kind"] == "mislabelled"


def test_datalab_shows_the_mislabelled() -> None:
    pytest.importorskip("datasets")
    cleanlab = pytest.importorskip("cleanlab")
    lab = cleanlab.Datalab(data={"x": [1, 2, 3, 4], "y": [0, 1, 0, 1]}, label_name="y")
    add_triage_to_datalab(lab, ROWS, ["b", "a", "c", "unknown"])
    issues = lab.get_issues("mislabelled")
    assert issues["is_mislabelled_issue"].tolist() == [False, True, False, False]
    np.testing.assert_allclose(issues["mislabelled_score"], [0.9, 0.1, np.nan, np.nan])
    with pytest.raises(DataError, match="triaged twice"):
        add_triage_to_datalab(lab, [*ROWS, ROWS[0]], ["b", "a", "c", "unknown"])
    with pytest.raises(DataError, match="none of the 4 rows"):
        add_triage_to_datalab(lab, ROWS, ["1", "2", "3", "4"])
