"""What is said of inputs that could be read wrongly: one row of docs/data-messages.md per case, held true here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dissensus.data.check import sniff
from dissensus.data.sources import load_source
from dissensus.data.sources.table import TableSource
from dissensus.errors import DataError

Write = Callable[[str, object], Path]
PAGE = Path(__file__).parents[2] / "docs" / "data-messages.md"


@dataclass(frozen=True)
class Case:
    """An input.

    Attributes:
        what: in the words of the page.
        name: of the file.
        content: of it, as the fixture `write` takes it.
        said: how the note, or the error, begins.
        keys: of the `table` source; None: the file is looked at, as by `data check`.
        error: whether it is refused.
        counts: label counts that are read, where they show that the input was read rightly.
    """

    what: str
    name: str
    content: object
    said: str
    keys: dict[str, Any] | None = None
    error: bool = False
    counts: list[list[float]] | None = None
    files: dict[str, object] = field(default_factory=dict)


def wide(*rows: str, head: str = "id,text,rater1,rater2,rater3") -> str:
    return "\n".join([head, *(f"{k},t{k},{row}" for k, row in enumerate(rows))]) + "\n"


def majority_column(items: int) -> str:
    """Three annotators of whom one dissents, in turn, and a fourth column with the majority."""
    rows = []
    for k in range(items):
        votes = ["y" if k % 2 else "n"] * 3
        most = votes[0]
        votes[k % 3] = "n" if k % 2 else "y"
        rows.append(",".join([*votes, most]))
    return wide(*rows, head="id,text,a1,a2,a3,a4")


LONG = {"text": ["text"], "item": "item", "annotator": "who", "annotation": "label"}
CASES = [
    Case(
        "`NA` of R in a column per annotator",
        "t.csv",
        wide("yes,no,NA", "no,NA,no"),
        "read as no answer: 'NA' (2)",
        counts=[[1, 1], [2, 0]],
    ),
    Case(
        "`N/A`, `NULL`, `None`, `<NA>`, `#N/A`",
        "t.csv",
        wide("yes,no,N/A", "no,NULL,no", "yes,yes,None", "yes,no,<NA>", "no,no,#N/A"),
        "read as no answer: 'N/A' (1), 'NULL' (1), 'None' (1), '<NA>' (1), '#N/A' (1)",
        counts=[[1, 1], [2, 0], [0, 2], [1, 1], [2, 0]],
    ),
    Case(
        '"I don\'t know" and `skip`',
        "t.csv",
        wide("yes,no,I don\u2019t know", "no,SKIP,no", "no,yes,yes"),
        "read as no answer: 'I don\u2019t know' (1), 'SKIP' (1)",
        counts=[[1, 1], [2, 0], [1, 2]],
    ),
    Case(
        "`None`, a third of all answers or more",
        "t.csv",
        wide("yes,None,None", "no,None,no", "None,yes,yes"),
        "FILE: 'None' is 4 of 9 answers, and may be a label",
        error=True,
    ),
    Case(
        "`-1` beside 0, 1, 2",
        "t.csv",
        wide("0,1,2", "-1,1,1", "2,2,0"),
        "read as no answer: '-1' (1)",
        counts=[[1, 1, 1], [0, 2, 0], [1, 0, 2]],
    ),
    Case(
        "`-1` beside 0 and 1",
        "t.csv",
        wide("0,1,1", "-1,1,1"),
        "'-1' counted as a label",
        counts=[[0, 1, 2], [1, 0, 2]],
    ),
    Case(
        "`missing: [-1]`",
        "t.csv",
        wide("0,1,1", "-1,1,1"),
        "read as no answer: '-1' (1)",
        {"text": ["text"], "annotations": ["rater1", "rater2", "rater3"], "missing": [-1]},
        counts=[[1, 2], [0, 2]],
    ),
    Case(
        "a word in `missing` that no cell holds",
        "t.csv",
        wide("0,1,1"),
        "no answer is 'unsure'",
        {"text": ["text"], "annotations": ["rater1", "rater2", "rater3"], "missing": ["unsure"]},
    ),
    Case(
        "'unsure', 'other', '?', 99",
        "t.csv",
        wide("yes,no,unsure", "yes,yes,?"),
        "'?', 'unsure' counted as a label",
    ),
    Case(
        "the same beside `NA`",
        "t.csv",
        wide("yes,no,unsure", "yes,yes,NA"),
        "'unsure' counted as a label; if it is no answer, say `missing: ['NA', 'unsure']`",
    ),
    Case(
        "`missing` without `NA`, which a cell holds",
        "t.csv",
        wide("yes,no,unsure", "yes,yes,NA"),
        "'NA' counted as a label, for `missing` replaces",
        {"text": ["text"], "annotations": ["rater1", "rater2", "rater3"], "missing": ["unsure"]},
    ),
    Case(
        "'unknown', `#REF!` of a spreadsheet",
        "t.csv",
        wide("yes,no,Unknown", "yes,yes,#REF!"),
        "'#REF!', 'Unknown' counted as a label",
    ),
    Case("`-1` beside 1 to 4", "t.csv", wide("1,2,-1", "3,4,2"), "'-1' counted as a label"),
    Case(
        "labels that differ in case, width or spaces",
        "t.csv",
        wide("Pos,pos,neg", "pos,\uff50os,neg "),
        "read as one label: 'pos' (2) and 'Pos' (1) and",
        counts=[[1, 2], [1, 2]],
    ),
    Case(
        "a zero-width space in a label",
        "t.csv",
        wide("pos,neg,pos\u200b", "neg,neg,pos"),
        "read as one label: 'pos' (2) and 'pos\\u200b' (1) as 'pos'",
        counts=[[1, 2], [2, 1]],
    ),
    Case(
        "labels that differ in quotation marks or hyphens",
        "t.csv",
        wide("non-toxic,non_toxic,toxic", "'toxic',toxic,toxic"),
        "the labels 'non-toxic' and 'non_toxic' differ in punctuation alone",
    ),
    Case(
        "`y` beside yes", "t.csv", wide("y,yes,no", "yes,n,no"), "the labels 'y' and 'yes' count as different"
    ),
    Case(
        "numbers beside words",
        "t.csv",
        wide("0,neg,1", "pos,1,1"),
        "some labels are numbers (0, 1) and some are not (neg, pos)",
    ),
    Case(
        "`1.50` and `1.5`",
        "t.csv",
        wide("1.5,2,1.50", "2,2,1.5"),
        "read as one label: '1.5' (2) and '1.50' (1)",
        counts=[[2, 1], [1, 2]],
    ),
    Case(
        "`True` as a text beside true",
        "t.jsonl",
        [{"text": "a", "annotations": [True, "True", False]}, {"text": "b", "annotations": [False, "False"]}],
        "read as one label: 'True' (1) and 'true' (1) as 'True'; 'false' (2) and",
        counts=[[2, 1], [0, 2]],
    ),
    Case(
        "`true` beside 0 and 1",
        "t.jsonl",
        [{"text": "a", "annotations": [1, True, 0]}],
        "'true' is a label beside",
    ),
    Case("`TRUE` beside 0 and 1", "t.csv", wide("1,TRUE,0", "0,0,1"), "'TRUE' is a label beside"),
    Case(
        "scores instead of labels",
        "t.csv",
        wide(*(f"0.{k}1,0.{k}2,0.{k}3" for k in range(5))),
        "15 different numbers, such as '0.02', look like scores",
    ),
    Case(
        "free text instead of labels",
        "t.csv",
        "item,text,annotator,label\n" + "".join(f"{k},t{k},a,words {k}\n" for k in range(11)),
        "11 different labels in 11 answers, such as 'words 0', look like free text",
        {"text": ["text"], "item": "item", "annotator": "annotator", "annotation": "label"},
    ),
    Case(
        "one separator gone wrong (`0;1;1`)",
        "t.csv",
        'id,text,annotations\na,x,"0,1,1"\nb,y,0;1;1\n',
        "FILE, line 3: 'annotations' is '0;1;1', which has no ','",
        error=True,
    ),
    Case(
        "lists as NumPy prints them, without commas",
        "t.csv",
        "id,text,annotations\na,x,['pos' 'neg' 'pos']\nb,y,['neg' 'neg']\n",
        "read as a table",
        counts=[[1, 2], [2, 0]],
    ),
    Case(
        "tuples as Python prints them",
        "t.csv",
        "id,text,annotations\na,x,\"('pos', 'neg')\"\nb,y,\"('pos', 'pos')\"\n",
        "read as a table",
        counts=[[1, 1], [0, 2]],
    ),
    Case(
        "a list with a comma lost (`['pos' 'neg', 'pos']`)",
        "t.csv",
        "id,text,annotations\na,x,\"['pos' 'neg', 'pos']\"\n",
        "FILE, line 2: 'annotations' is",
        error=True,
    ),
    Case(
        "TSV with a quotation mark that nobody closes",
        "t.tsv",
        'id\ttext\tann1\tann2\n1\t"Open\tp\tn\n2\tplain\tn\tn\n3\tits end"\tp\tp\n',
        "read as TSV without quoting",
        counts=[[1, 1], [2, 0], [0, 2]],
    ),
    Case(
        "CSV where such a mark makes one row of three",
        "t.csv",
        'id,text,ann1,ann2\n1,"Open,p,n\n2,plain,n,n\n3,its end",p,p\n4,x,n,p\n',
        "lines 2 to 4 are read as one row",
    ),
    Case(
        "CSV with semicolons",
        "t.csv",
        "id;text;ann1;ann2\n1;one, two;p;n\n2;x;n;n\n",
        "cells are separated by semicolons",
        counts=[[1, 1], [2, 0]],
    ),
    Case(
        "columns that come after the first JSONL row",
        "t.jsonl",
        [
            {"text": "a", "annotator1": "y", "annotator2": "n"},
            {"text": "b", "annotator1": "y", "annotator2": "n", "annotator3": "y"},
        ],
        "1 of 2 rows lack a column that others have; first seen after the first row: annotator3",
        counts=[[1, 1], [1, 2]],
    ),
    Case(
        "a column of annotations that is in no row",
        "t.csv",
        wide("yes,no,no"),
        "FILE, line 2: there is no field 'rater4'",
        {"text": ["text"], "annotations": ["rater1", "rater4"]},
        error=True,
    ),
    Case(
        "an annotator called `final`",
        "t.csv",
        wide("y,n,y", "n,n,n", head="id,text,a1,a2,final"),
        "'final' counts as an annotator, and is called like a gold label",
        {"text": ["text"], "annotations": ["a1", "a2", "final"]},
    ),
    Case(
        "an annotator who is always with the majority",
        "t.csv",
        majority_column(15),
        "'a4' counts as an annotator, and always agrees with the majority",
    ),
    Case(
        "gold labels by other names than the annotations",
        "t.csv",
        wide("0,1,1,toxic", "0,0,1,toxic", head="id,text,a1,a2,a3,gold"),
        "no annotator chose 'toxic', which gold labels are",
    ),
    Case(
        "one label everywhere",
        "t.csv",
        wide("no,NA,no"),
        "FILE: every answer is 'no'; at least two",
        error=True,
    ),
    Case(
        "ties", "t.csv", wide("y,n", "y,y", head="id,text,w1,w2"), "1 item has a tie", counts=[[1, 1], [0, 2]]
    ),
    Case(
        "an annotator who answers an item again",
        "t.csv",
        "item,text,who,label\na,x,A,p\na,x,A,n\na,x,B,p\nb,y,A,n\n",
        "1 times an annotator answered the same item again, 1 of them otherwise",
        LONG,
        counts=[[1, 1], [1, 0]],
    ),
    Case(
        "the same with `repeats: refuse`",
        "t.csv",
        "item,text,who,label\na,x,A,p\na,x,A,n\na,x,B,p\n",
        "FILE, line 3: 'A' answered the item 'a' 2 times",
        {**LONG, "repeats": "refuse"},
        error=True,
    ),
    Case(
        "two spellings of an annotator",
        "t.csv",
        "item,text,who,label\na,x,Ann,p\na,x,ann,n\n",
        "'Ann' and 'ann' are counted as different annotators",
        LONG,
        counts=[[1, 1]],
    ),
    Case(
        "two spellings of an item",
        "t.csv",
        "item,text,who,label\na,x,A,p\nA,x,B,n\n",
        "the items 'a' and 'A' differ in spelling alone",
        LONG,
    ),
    Case(
        "a key twice in a JSON object",
        "t.jsonl",
        '{"text": "a", "annotations": {"A": "p", "A": "n"}}\n',
        "FILE, line 1: the key 'A' is there more than once",
        error=True,
    ),
    Case(
        "a key twice in an object inside a cell",
        "t.csv",
        "text,annotations\nx,\"{'A': 'p', 'A': 'n'}\"\n",
        "FILE, line 2: 'annotations' is",
        error=True,
    ),
    Case(
        "ids written otherwise in the file of texts",
        "t.csv",
        "item,who,label\n007,A,p\n007,B,n\n",
        "1 ids are spelt otherwise in texts.csv",
        {**LONG, "texts": {"path": "texts.csv", "id": "id"}},
        counts=[[1, 1]],
        files={"texts.csv": "id,text\n7.0,x\n"},
    ),
    Case(
        "an id that fits two ids of the file of texts",
        "t.csv",
        "item,who,label\n7,A,p\n7,B,n\n",
        "FILE and texts.csv: the id '7' could be joined with",
        {**LONG, "texts": {"path": "texts.csv", "id": "id"}},
        error=True,
        files={"texts.csv": "id,text\n07,x\n007,y\n"},
    ),
    Case(
        "several labels by one annotator",
        "t.jsonl",
        [
            {"text": "a", "annotations": {"A": ["p", "n"], "B": "p"}},
            {"text": "b", "annotations": {"A": "p,n"}},
        ],
        "2 answers name several labels; each of k labels counts 1/k",
        counts=[[0.5, 1.5], [0.5, 0.5]],
    ),
    Case(
        "an empty cell among counts",
        "t.csv",
        "text,p,n\na,3,\nb,1,2\n",
        "1 rows have an empty cell among",
        {"text": ["text"], "counts": ["p", "n"]},
        counts=[[3, 0], [1, 2]],
    ),
    Case(
        "counts that are no numbers of people",
        "t.csv",
        "text,p,n\na,1e308,1\n",
        "FILE, line 2: counts of 'p' is '1e308'",
        {"text": ["text"], "counts": ["p", "n"]},
        error=True,
    ),
    Case(
        "a total among the counts",
        "t.jsonl",
        [
            {"text": "x", "counts": {"p": 3, "n": 1, "total": 4}},
            {"text": "y", "counts": {"p": 0, "n": 2, "total": 2}},
        ],
        "'total' is the sum of the other counts in every row and was left out",
        counts=[[1, 3], [2, 0]],
    ),
    Case(
        "the same as a column",
        "t.csv",
        "text,p,n,total\nx,3,1,4\ny,0,2,2\n",
        "FILE: the counts of 'total' are the sum of the others in every row",
        {"text": ["text"], "counts": ["p", "n", "total"]},
        error=True,
    ),
    Case(
        "texts of annotations that differ in spaces or case",
        "t.csv",
        "text,who,label\nA b,1,p\na b ,2,n\nc,1,p\n",
        "1 rows have a text that differs from an earlier one in spaces or case alone",
        {"text": ["text"], "annotator": "who", "annotation": "label"},
        counts=[[1, 1], [0, 1]],
    ),
    Case(
        "a column of drafts that `keep` does not name",
        "t.csv",
        "item,text,who,label,status\na,x,1,p,submitted\na,x,2,n,draft\nb,y,1,p,submitted\n",
        "the column 'status' is not read, so that all its rows count: 'submitted' (2), 'draft' (1)",
        LONG,
    ),
    Case(
        "one annotation per row, read as items",
        "t.csv",
        "id,text,label\na,x,p\na,x,n\nb,y,p\nb,y,p\n",
        "FILE: the id 'a' is in 2 rows, and each row holds one label",
        error=True,
    ),
    Case(
        "the same without ids that repeat",
        "t.csv",
        "text,label\nx,p\nx,n\ny,p\ny,p\n",
        "FILE: 4 of 4 rows share their text with another",
        error=True,
    ),
]


def outcome(case: Case, write: Write, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any]:
    """What is said of an input, with FILE for its name; and the data, if any."""
    for name, content in case.files.items():
        write(name, content)
    path = write(case.name, case.content)
    monkeypatch.chdir(path.parent)
    try:
        if case.keys is None:
            data = sniff(path)
        else:
            data = load_source(TableSource.parse({"source": "table", "path": str(path), **case.keys}, "test"))
    except DataError as error:
        return str(error).replace(str(path), "FILE").replace(f"{path.parent}/", ""), None
    notes = [note for note in data.notes if note.startswith(case.said)]
    assert notes, data.notes
    return notes[0], data


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_an_input_is_read_rightly_and_said_or_refused(
    case: Case, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, data = outcome(case, write, monkeypatch)
    assert said.startswith(case.said)
    assert (data is None) == case.error
    if case.counts is not None:
        assert data.counts.tolist() == case.counts


def test_the_page_says_what_is_said(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the page are these cases, word for word. On failure: paste what the assertion shows."""
    rows = ["| input | what is said | exit code |", "| --- | --- | --- |"]
    for case in CASES:
        said, _ = outcome(case, write, monkeypatch)
        words = said.partition("; columns taken")[0].replace("|", "\\|")
        rows.append(f"| {case.what} | {words} | {2 if case.error else 0} |")
    page = PAGE.read_text(encoding="utf-8")
    start = page.index("| input |")
    assert page[start:].splitlines() == rows, "\n".join(rows)
