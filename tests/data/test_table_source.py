"""Generic tables: every form of file and of label information."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources import load_source
from dissensus.data.sources.table import TableSource, build, hub_table
from dissensus.errors import DataError, SpecError

Write = Callable[[str, object], Path]


def load(path: Path, **columns: Any) -> AnnotatedDataset:
    return load_source(
        TableSource.parse({"source": "table", "path": str(path), "text": ["text"], **columns}, "test")
    )


CSV = 'id,text,gold,a1,a2,a3\n7,"one, two",yes,yes,no,\n8,"line\n\nbreak",no,no,no,yes\n'


@pytest.mark.parametrize("form", ["csv", "tsv", "csv.gz", "parquet", "jsonl", "json"])
def test_one_table_in_every_form(tmp_path: Path, write: Write, form: str) -> None:
    rows = [
        {"id": 7, "text": "one, two", "gold": "yes", "a1": "yes", "a2": "no", "a3": None},
        {"id": 8, "text": "line\n\nbreak", "gold": "no", "a1": "no", "a2": "no", "a3": "yes"},
    ]
    path = tmp_path / f"t.{form}"
    if form == "csv":
        write("t.csv", CSV)
    elif form == "tsv":
        write("t.tsv", CSV.replace("one, two", "one; two").replace(",", "\t").replace("; ", ", "))
    elif form == "csv.gz":
        path.write_bytes(gzip.compress(CSV.encode()))
    elif form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif form == "jsonl":
        write("t.jsonl", rows)
    else:
        import json

        write("t.json", json.dumps(rows, indent=2))
    data = load(path, id="id", gold="gold", annotations=["a1", "a2", "a3"])
    assert data.name == "t"
    assert data.ids == ("7", "8")
    assert data.labels == ("no", "yes")
    assert data["7"].text == {"text": "one, two"}
    assert data["8"].text == {"text": "line\n\nbreak"}  # a blank line inside quotes is text
    assert data.counts.tolist() == [[1.0, 1.0], [2.0, 1.0]]
    assert data["7"].annotations == (("a1", 1), ("a2", 0))
    assert data.gold.tolist() == [1, 0]


@pytest.mark.parametrize(
    "cell",
    [
        "b,a,b",
        ["b", "a", "b"],
        '["b", "a", "b"]',
        "['b', 'a', 'b']",
        {"x": "b", "y": "a", "z": "b"},
        " b , a,, b, nan",
    ],
)
def test_one_column_of_annotations(write: Write, cell: object) -> None:
    data = load(write("t.jsonl", [{"text": "t", "votes": cell}]), annotations=["votes"])
    assert data.labels == ("a", "b")
    assert data.counts.tolist() == [[1.0, 2.0]]
    assert data.gold.tolist() == [1]  # no gold column: the majority
    assert len(data.examples[0].annotations) == (3 if isinstance(cell, dict) else 0)


def test_another_separator_and_numeric_labels(write: Write) -> None:
    rows = [{"text": "t", "votes": "10|2|2"}, {"text": "u", "votes": 2}, {"text": "v", "votes": 1.0}]
    data = load(write("t.jsonl", rows), annotations=["votes"], separator="|")
    assert data.labels == ("1", "2", "10")
    assert data.counts.tolist() == [[0, 2, 1], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    "cell", [{"no": 3, "yes": 1}, [3, 1], "[3, 1]", '{"no": 3, "yes": 1}', {"no": 3.0, "yes": "1"}]
)
def test_one_column_of_counts(write: Write, cell: object) -> None:
    data = load(write("t.jsonl", [{"text": "t", "n": cell}]), counts="n", labels=["no", "yes"])
    assert data.counts.tolist() == [[3.0, 1.0]]


def test_one_column_a_count(write: Write) -> None:
    path = write("t.csv", "text,yes,no\nt,3,1\nu,,\nv,,2\n")
    data = load(path, counts=["yes", "no"])
    assert data.labels == ("yes", "no")  # the columns name the labels
    assert data.counts.tolist() == [[3, 1], [0, 0], [0, 2]]
    renamed = load(path, counts=["no", "yes"], labels=["0", "1"])
    assert renamed.labels == ("0", "1")
    assert renamed.counts.tolist() == [[1, 3], [0, 0], [2, 0]]


def test_distribution_times_its_n(write: Write) -> None:
    path = write("t.csv", "text,yes,no,n\nt,0.33,0.67,3\nu,0.5,0.5,100\nv,0.125,0.875,3\n")
    data = load(path, distribution=["yes", "no"], annotators="n")
    # 0.33 x 3 is 1 up to the rounding of the share; 0.125 x 3 = 0.375 is no whole number and stays.
    assert data.counts.tolist() == [[1, 2], [50, 50], [0.375, 2.625]]
    fixed = load(path, distribution=["yes", "no"], annotators=10)
    assert fixed.counts[1].tolist() == [5, 5]
    with pytest.raises(DataError, match=r"line 2: in the distribution, the shares sum to 30"):
        load(write("p.csv", "text,yes,no\nt,10,20\n"), distribution=["yes", "no"], annotators=10)


def test_gold_alone(write: Write) -> None:
    data = load(write("t.csv", "text,y\na,1\nb,\nc,0\n"), gold="y")
    assert data.labels == ("0", "1")
    assert data.gold.tolist() == [1, -1, 0]
    assert data.counts.sum() == 0


def test_ids_from_the_text_are_stable_and_tell_repeats_apart(write: Write) -> None:
    first = load(write("t.csv", "text,y\na,1\nb,0\na,0\n"), gold="y", rows="items")
    second = load(write("u.csv", "y,text\n0,b\n1,a\n"), gold="y")
    assert set(second.ids) < set(first.ids)
    assert first.ids[2] == f"{first.ids[0]}-2"
    assert "1 rows repeat another row's text" in first.notes[0]


def test_repeated_ids_are_an_error(write: Write) -> None:
    with pytest.raises(DataError, match=r"e\.g\. 'x'"):
        load(write("t.csv", "id,text,y\nx,a,1\nx,b,0\n"), id="id", gold="y", rows="items")


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([{"text": "t", "y": 1}], {"gold": "label"}, r"line 1: there is no field 'label'; it has: text, y"),
        (
            [{"text": "t", "y": 1}, {"text": "u", "y": 3}],
            {"gold": "y", "labels": ["0", "1"]},
            "line 2: the label '3'",
        ),
        (
            [{"text": "t", "n": {"a": -1}}],
            {"counts": "n"},
            "counts of 'a' is -1; expected a number of at least 0",
        ),
        ([{"text": "t", "n": [1, 2]}], {"counts": "n"}, "'labels' must name the labels"),
        ([{"text": "t", "n": [1]}], {"counts": "n", "labels": ["a", "b"]}, "has 1 numbers; expected 2"),
        ([{"text": "t", "n": "lots"}], {"counts": "n"}, "expected a list of numbers"),
        (
            [{"text": "t", "n": [["a"]]}],
            {"annotations": ["n"]},
            r"an annotation is \['a'\]; expected one label",
        ),
        ([{"text": "t", "n": "[1, 2"}], {"annotations": ["n"]}, "expected a JSON list or object"),
        ([{"text": ["t"], "y": 1}], {"gold": "y"}, "'text' is .*; expected a text"),
        ([{"text": True, "y": 1}], {"gold": "y"}, r"line 1: 'text' is True \(bool\); expected a text"),
        (
            [{"text": "t", "y": 0}, {"text": 12.0, "y": 1}],
            {"gold": "y"},
            r"line 2: 'text' is 12.0 \(float\); expected a text",
        ),
        ([{"text": "t", "y": [1]}], {"gold": "y"}, "expected one label"),
        (
            [{"text": "t", "id": "", "y": 1}],
            {"gold": "y", "id": "id"},
            "expected a non-empty text or a number",
        ),
        ([{"text": "t", "y": 1}], {"gold": "y"}, "at least two are needed"),
        (
            [{"text": "t", "d": {"a": 0.5, "b": 0.5}, "n": None}],
            {"distribution": "d", "annotators": "n"},
            "'n' is empty; expected the number of labels",
        ),
    ],
)
def test_wrong_cells_are_named(write: Write, rows: list[Any], columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write("t.jsonl", rows), **columns)


def from_rows(rows: Any, name: str = "data", **columns: Any) -> AnnotatedDataset:
    """What a hub data set goes through."""
    spec = TableSource.parse({"source": "table", "hub": name, **columns}, f"the columns of {name!r}")
    return build(hub_table(rows, name), spec, name=name)


def test_column_keys_that_do_not_fit_together() -> None:
    with pytest.raises(SpecError, match="give one of annotation, annotations, counts, distribution"):
        from_rows([], text=["text"], counts="a", annotations=["b"])


def test_from_mappings_in_memory() -> None:
    rows = [{"text": "a", "votes": ["0", "1"]}, {"text": "b", "votes": ["1", "1"]}]
    data = from_rows(rows, name="mine", text=["text"], annotations=["votes"])
    assert data.name == "mine"
    assert data.counts.tolist() == [[1, 1], [0, 2]]
    with pytest.raises(DataError, match="row 2 of 'mine'"):
        from_rows([rows[0], "no"], name="mine", text=["text"], annotations=["votes"])


def test_a_datasets_dataset_with_class_labels() -> None:
    datasets = pytest.importorskip("datasets")
    names = ["entailment", "neutral", "contradiction"]
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=names),
            "votes": datasets.Sequence(datasets.ClassLabel(names=names)),
        }
    )
    rows = {"text": ["a", "b"], "label": [2, -1], "votes": [[0, 2, 2], [1]]}
    dataset = datasets.Dataset.from_dict(rows, features=features)
    data = from_rows(dataset, text=["text"], gold="label", annotations=["votes"], labels=names)
    assert data.labels == tuple(names)
    assert data.gold.tolist() == [2, -1]
    assert data.counts.tolist() == [[1, 0, 2], [0, 1, 0]]


@pytest.mark.parametrize(
    "content", ["sep=;\nid;text;a1;a2\n7;x, y;yes;no\n", "id|text|a1|a2\n7|x, y|yes|no\n"]
)
def test_what_a_spreadsheet_says_of_its_separator_is_no_row(write: Write, content: str) -> None:
    data = load(write("t.csv", content), id="id", annotations=["a1", "a2"])
    assert data.ids == ("7",)
    assert data["7"].text == {"text": "x, y"}
    assert data.notes[0].startswith("cells are separated by ")
