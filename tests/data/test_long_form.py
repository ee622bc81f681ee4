"""Tables with one row per annotation: read, guessed from their columns, and never read as one item per row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.check import sniff
from dissensus.data.sources import load_source
from dissensus.data.sources.table import TableSource
from dissensus.errors import DataError, SpecError

Write = Callable[[str, object], Path]
LONG = {"text": ["text"], "item": "item", "annotator": "who", "annotation": "label"}


def load(path: Path, **keys: Any) -> AnnotatedDataset:
    return load_source(TableSource.parse({"source": "table", "path": str(path), **keys}, "test"))


CSV = (
    "item,text,who,label,status,turn\n"
    "a,one,A,p,submitted,1\n"
    "a,one,B,n,submitted,1\n"
    "b,two,A,n,submitted,2\n"
    "b,two,A,p,draft,1\n"
    "b,two,B,n,submitted,1\n"
    "c,three,B,,submitted,1\n"
)


def test_items_and_answers(write: Write) -> None:
    data = load(write("t.csv", CSV), **LONG)
    assert data.ids == ("a", "b")  # c has no answer
    assert data.labels == ("n", "p")
    assert data.counts.tolist() == [[1, 1], [1, 1]]  # A's last row of b says p
    assert data["a"].annotations == (("A", 1), ("B", 0))
    assert "1 rows hold no annotation" in data.notes
    assert "1 of 3 items have no answer and were left out" in data.notes


def test_rows_that_do_not_count_are_counted(write: Write) -> None:
    data = load(write("t.csv", CSV), **LONG, keep={"status": "submitted"})
    assert data["b"].counts == (2, 0)
    assert "1 rows were left out, with status = 'draft'" in data.notes
    with pytest.raises(DataError, match=r"none of 6 rows .*: 5 have status = 'submitted', .* Look at `keep`"):
        load(write("t.csv", CSV), **LONG, keep={"status": ["accepted", "ok"]})


@pytest.mark.parametrize(
    ("keys", "counts"),
    [
        ({}, [1, 1]),  # A's later row: p
        ({"repeats": "first"}, [2, 0]),
        ({"repeats": "all"}, [1.5, 0.5]),
        ({"round": "turn"}, [2, 0]),  # A's answer of round 2: n
        ({"round": "turn", "repeats": "first"}, [1, 1]),
        ({"leave_out": ["A"], "labels": ["n", "p"]}, [1, 0]),
    ],
)
def test_which_of_two_answers_counts(write: Write, keys: dict[str, Any], counts: list[float]) -> None:
    assert list(load(write("t.csv", CSV), **LONG, **keys)["b"].counts) == counts


def test_an_annotator_who_is_left_out_must_be_there(write: Write) -> None:
    with pytest.raises(DataError, match=r"leave_out names the annotator 'C'.*known are: A, B"):
        load(write("t.csv", CSV), **LONG, leave_out=["C"])


def test_one_column_per_label(write: Write) -> None:
    path = write("t.csv", "text,who,joy,anger\nx,A,1,0\nx,B,True,true\ny,A,0,0\ny,B,no,yes\n")
    keys = {"text": ["text"], "annotator": "who", "annotation": ["joy", "anger"]}
    data = load(path, **keys)
    assert data.labels == ("joy", "anger")
    assert data.counts.tolist() == [[1.5, 0.5], [0, 1]]
    with pytest.raises(DataError, match="'joy' is '2'; expected 1 where the label was chosen, else 0"):
        load(write("u.csv", "text,who,joy,anger\nx,A,2,0\n"), **keys)


def test_lists_of_labels_count_one_between_them(write: Write) -> None:
    rows = [
        {"text": "x", "who": "A", "label": ["p", "n"]},
        {"text": "x", "who": "B", "label": ["p"]},
        {"text": "x", "who": "C", "label": "p,n"},
        {"text": "x", "who": "D", "label": []},
    ]
    data = load(write("t.jsonl", rows), text=["text"], annotator="who", annotation="label")
    assert data.counts.tolist() == [[1, 2]]


def test_nested_fields_and_texts_from_another_file(write: Write) -> None:
    write("texts.jsonl", [{"key": 1, "data": {"text": "one"}}, {"key": 2, "data": {"text": "two"}}])
    rows = [
        {"task": {"id": 1}, "by": {"email": e}, "result": {"choice": c}} for e, c in (("a", "p"), ("b", "n"))
    ]
    data = load(
        write("t.jsonl", rows),
        text=["data.text"],
        texts={
            "path": str(
                write("texts.jsonl", [{"key": k, "data": {"text": t}} for k, t in ((1, "one"), (2, "two"))])
            ),
            "id": "key",
        },
        item="task.id",
        annotator="by.email",
        annotation="result.choice",
    )
    assert data["1"].text == {"data.text": "one"}
    assert data.counts.tolist() == [[1, 1]]
    assert "1 texts of texts.jsonl belong to no item of the table" in data.notes


def test_an_item_has_one_text_and_one_gold_label(write: Write) -> None:
    with pytest.raises(DataError, match="line 3: the item 'a' has another text than in line 2"):
        load(write("t.csv", "item,text,who,label\na,x,A,p\na,y,B,n\n"), **LONG)
    with pytest.raises(DataError, match="line 3: the item 'a' has the gold labels 'p' and 'n'"):
        load(write("u.csv", "item,text,who,label,gold\na,x,A,p,p\na,x,B,n,n\n"), **LONG, gold="gold")
    same = load(write("v.csv", "item,text,who,label,gold\na,x y,A,p,p\na,X  y,B,n,P\n"), **LONG, gold="gold")
    assert same.gold.tolist() == [1]


def test_annotators_who_are_not_named(write: Write) -> None:
    data = load(write("t.csv", "item,text,who,label\na,x,,p\na,x,,n\na,x,A,n\n"), **LONG)
    assert data.counts.tolist() == [[2, 1]]
    assert "2 rows name no annotator; each counts as somebody else's" in data.notes


def test_keys_that_belong_to_the_long_form() -> None:
    for keys, words in (
        ({"gold": "g", "item": "i"}, "name its column with 'annotation'"),
        ({"annotation": "a", "id": "i"}, "with 'item', not 'id'"),
        ({"annotation": "a", "texts": {"path": "t", "id": "i"}}, "'texts' is joined by id"),
    ):
        with pytest.raises(SpecError, match=words):
            TableSource.parse({"source": "table", "path": "t.csv", "text": ["t"], **keys}, "test")


# Recognised from the columns' names.


def test_an_annotator_s_column_makes_rows_annotations(write: Write) -> None:
    data = sniff(write("t.csv", "instance_id,text,user_id,rating\n7,x,1,3\n7,x,2,4\n8,y,1,3\n8,y,2,3\n"))
    assert data.ids == ("7", "8")
    assert data.counts.tolist() == [[1, 1], [2, 0]]


def test_the_only_column_with_few_values_is_the_annotation(write: Write) -> None:
    rows = [
        {
            "id": i,
            "text": f"t{i}",
            "annotator": a,
            "mood": "up" if a > i else "down",
            "annotation_id": 10 * i + a,
        }
        for i in (1, 2)
        for a in (1, 2, 3)
    ]
    data = sniff(write("t.jsonl", rows))
    assert data.labels == ("down", "up")
    assert data.counts.tolist() == [[1, 2], [2, 1]]


def test_the_writer_of_a_text_is_no_annotator(write: Write) -> None:
    tweets = "".join(f"{k},tweet {k},user{k},{'pos' if k % 2 else 'neg'}\n" for k in range(9))
    data = sniff(write("t.csv", f"id,text,user,label\n{tweets}10,tweet 3,user9,pos\n"))
    assert len(data) == 10
    assert data.counts.sum() == 0  # gold labels alone
    assert any("only gold labels are known" in note for note in data.notes)


def test_one_annotator_per_item_says_gold_alone(write: Write) -> None:
    data = sniff(write("t.csv", "id,text,annotator,label\n1,x,A,p\n2,y,B,n\n"))
    assert len(data) == 2
    assert data.gold.tolist() == [1, 0]


@pytest.mark.parametrize("header", ["w1,w2,w3", "vote 1,vote 2,vote 3", "q_1,q_2,q_3"])
def test_numbered_columns_that_share_few_values_are_annotators(write: Write, header: str) -> None:
    data = sniff(write("t.csv", f"id,text,{header}\n1,x,p,n,p\n2,y,n,n,n\n3,z,p,p,\n"))
    assert data.counts.tolist() == [[1, 2], [3, 0], [0, 2]]


def test_numbered_columns_of_many_values_are_not(write: Write) -> None:
    rows = "".join(f"{k},x{k},{k * 7},{k * 11 + 1}\n" for k in range(1, 9))
    with pytest.raises(DataError, match="no column for the labels has a name that is known"):
        sniff(write("t.csv", f"id,text,f1,f2\n{rows}"))


# Never one item per row.

REPEATED = {
    "ids": ("id,text,label\na,x,p\na,x,n\nb,y,n\n", {"id": "id", "gold": "label"}),
    "texts, two annotations each": ("text,label\nx,p\nx,n\ny,n\ny,n\n", {"gold": "label"}),
    "texts with a column of annotators": (
        "text,worker_id,label\nx,1,p\nx,2,n\ny,1,n\nz,1,n\nv,1,p\n",
        {"gold": "label"},
    ),
    "one column per label": ("text,p,n\nx,1,0\nx,0,1\ny,0,1\ny,0,1\n", {"counts": ["p", "n"]}),
    "one in a column of annotations": ("text,votes\nx,p\nx,n\ny,n\ny,n\n", {"annotations": ["votes"]}),
    "lists of one": ('text,votes\nx,["p"]\nx,["n"]\ny,["n"]\ny,["n"]\n', {"annotations": ["votes"]}),
    "names that YAML would misread": (
        "text,id no: 1,label\nx,1,p\nx,1,n\ny,2,n\n",
        {"id": "id no: 1", "gold": "label"},
    ),
}


@pytest.mark.parametrize(("content", "keys"), REPEATED.values(), ids=REPEATED)
def test_annotations_read_as_items_are_refused_with_the_keys_that_read_them(
    write: Write, monkeypatch: pytest.MonkeyPatch, content: str, keys: dict[str, Any]
) -> None:
    path = write("t.csv", content)
    with pytest.raises(DataError, match="it seems to be one annotation per row") as refusal:
        load(path, text=["text"], **keys)
    monkeypatch.chdir(path.parent)
    spec = TableSource.parse(yaml.safe_load(str(refusal.value).split("`")[1]), "the message")
    assert load_source(spec)[load_source(spec).ids[0]].counts == (1, 1)


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        # A pool of pairs repeats its premises, not its pairs.
        ("text,b,label\nx,1,p\nx,2,n\nx,3,n\ny,1,n\n", {"text": ["text", "b"], "gold": "label"}),
        # A pool has a few texts twice.
        ("text,label\n" + "".join(f"t{k % 9},{'pn'[k % 2]}\n" for k in range(11)), {"gold": "label"}),
        # Items with several annotations each may share their texts.
        ("text,votes\nx,p n\nx,n n\ny,n p\ny,n n\n", {"annotations": ["votes"], "separator": " "}),
        ("text,p,n\nx,3,1\nx,2,2\ny,1,3\ny,0,4\n", {"counts": ["p", "n"]}),
    ],
)
def test_items_that_share_texts_are_items(write: Write, content: str, keys: dict[str, Any]) -> None:
    path = write("t.csv", content)
    assert len(load(path, **{"text": ["text"], **keys})) == content.count("\n") - 1


def test_a_study_may_say_that_rows_are_items(write: Write) -> None:
    path = write("t.csv", REPEATED["texts, two annotations each"][0])
    assert len(load(path, text=["text"], gold="label", rows="items")) == 4
