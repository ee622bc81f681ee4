"""Whatever a file holds, the answer is data or a `DataError` that names the file: never another exception."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.check import check_dataset, sniff
from dissensus.data.sources import chaosnli, lewidi, nli
from dissensus.errors import DataError, DissensusError

Write = Callable[[str, object], Path]

GOOD_LINE = '{"id": "1", "text": "words", "label": "yes"}\n'
DEEP = "[" * 200_000

RUBBISH: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.jsonl", b"", "is empty"),
    "blank lines": ("a.jsonl", b"\n \n", "is empty"),
    "cut off": ("a.jsonl", GOOD_LINE.encode() + b'{"id": "2", "te', "line 2: not JSON"),
    "no object": ("a.jsonl", b"[1, 2]\n", "line 1: expected a JSON object"),
    "binary": ("a.jsonl", bytes(range(256)), "line 1: not a text file"),
    "latin-1": (
        "a.jsonl",
        GOOD_LINE.encode() + '{"id": "2", "text": "caf\xe9"}'.encode("latin-1"),
        "line 2: not UTF-8",
    ),
    "null bytes": ("a.jsonl", b"\x00" + GOOD_LINE.encode(), "line 1: not a text file"),
    "deep": ("a.jsonl", DEEP.encode(), "line 1: not JSON"),
    "half a character": (
        "a.jsonl",
        rb'{"text": "\ud83d", "label": "yes"}' + b"\n",
        "line 1: the text holds half of a",
    ),
    "half a character in an array": (
        "a.json",
        rb'[{"text": "\uDE00", "label": "yes"}]',
        "half of a character",
    ),
    "half a character in an object": (
        "a.json",
        rb'{"1": {"text": "\ud83d", "annotations": "0"}}',
        "half of a",
    ),
    "a huge count": (
        "a.jsonl",
        b'{"uid": "1", "label_count": [1' + b"0" * 400 + b', 1, 1], "example": {}, "old_label": "n"}',
        "expected 3 whole numbers",
    ),
    "a huge number of annotations": (
        "a.json",
        b'{"1": {"text": "t", "soft_label": {"0": 1.0}, "number of annotations": Infinity}}',
        "expected a number of at least 1",
    ),
    "no gzip": ("a.jsonl.gz", GOOD_LINE.encode(), "does not unpack"),
    "half a gzip": ("a.jsonl.gz", gzip.compress(GOOD_LINE.encode() * 999)[:60], "does not unpack"),
    "no parquet": ("a.parquet", b"PAR1 not really", "is not Parquet"),
    "empty parquet": ("a.parquet", b"", "is not Parquet"),
    "json array cut off": ("a.json", b'[{"id": 1},', "line 1, column 12: not JSON"),
    "json array of numbers": ("a.json", b"[1, 2]", "row 1: it is 1"),
    "deep json": ("a.json", DEEP.encode(), "not JSON"),
    "json object cut off": ("a.json", b'{"1": {"text": "a"', "line 1, column"),
    "json object of others": ("a.json", b'{"a": 1, "b": 2}', "its items are not LeWiDi's"),
    "ragged csv": ("a.csv", b"id,text,label\n1,a,yes\n2,b\n", "line 3: 2 cells, but the header has 3"),
    "utf-16": ("a.csv", "id;text\n1;a\n".encode("utf-16"), 'Save it as "CSV UTF-8"'),
    "header only": ("a.csv", b"id,text,label\n", "has no rows"),
    "column twice": ("a.csv", b"id,text,text\n1,a,b\n", "the column 'text' is there twice"),
    "open quote": ("a.csv", b'id,text,label\n1,"a,yes\n', "not valid .csv"),
    "semicolons": ("a.csv", b"id;text\n1;a\n", "the columns are: id, text"),
    "unknown columns": ("a.csv", b"x,y\n1,2\n", "Name them in a study"),
    "text but no labels": ("a.csv", b"id,text\n1,a\n", "no column for the labels"),
    "unknown form": ("a.docx", b"PK", "of no known form"),
}


@pytest.mark.parametrize("case", RUBBISH)
def test_rubbish_is_named(write: Write, case: str) -> None:
    name, content, message = RUBBISH[case]
    path = write(name, content)
    with pytest.raises(DataError) as caught:
        sniff(path)
    assert message in str(caught.value)
    assert name in str(caught.value)


def test_parquet_with_text_that_is_no_text(tmp_path: Path) -> None:
    text = pa.array([b"fine", b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": text, "label": ["yes", "no"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="is not Parquet that can be read"):
        sniff(tmp_path / "a.parquet")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        sniff(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="it is a folder"):
        sniff(tmp_path)


def test_whole_emoji_in_escapes_are_fine(write: Write) -> None:
    data = sniff(
        write(
            "a.jsonl", rb'{"text": "\ud83d\ude00", "label": "yes"}' + b"\n" + rb'{"text": "b", "label": "no"}'
        )
    )
    assert data.examples[0].text["text"] == "\N{GRINNING FACE}"


def test_a_byte_order_mark_is_no_part_of_the_first_column(write: Write) -> None:
    data = sniff(write("a.csv", "\ufefftext,label\na,yes\nb,no\n"))
    assert data.fields == ("text",)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = (
    "uid",
    "label_count",
    "example",
    "old_label",
    "old_labels",
    "entropy",
    "gold_label",
    "sentence1",
    "sentence2",
    "annotator_labels",
    "pairID",
    "id",
    "premise",
    "hypothesis",
    "label",
    "split",
    "text",
    "annotations",
    "annotators",
    "soft_label",
    "hard_label",
    "number_of_annotations",
    "counts",
)
records = st.dictionaries(st.sampled_from(KEYS), json_values, max_size=10)


@given(st.lists(records, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_data_or_a_data_error(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    lines = tmp_path / "fuzz.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    items = tmp_path / "fuzz_dev.json"
    items.write_text(json.dumps({str(i): row for i, row in enumerate(rows)}), encoding="utf-8")
    readers: list[Callable[[], AnnotatedDataset]] = [
        lambda: chaosnli.read(lines),
        lambda: chaosnli.read(lines, part="alphanli"),
        lambda: nli.read([lines], name="fuzz"),
        lambda: lewidi.read([("dev", items)], name="fuzz"),
        lambda: sniff(lines),
        lambda: sniff(items),
    ]
    for reader in readers:
        with contextlib.suppress(DissensusError):  # any other exception fails the test
            check_dataset(reader())


@given(
    st.binary(max_size=80), st.sampled_from(["jsonl", "json", "csv", "tsv", "parquet", "jsonl.gz", "csv.gz"])
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(b",", "csv")
def test_any_bytes_are_data_or_a_data_error(tmp_path: Path, content: bytes, form: str) -> None:
    path = tmp_path / f"fuzz.{form}"
    path.write_bytes(content)
    with contextlib.suppress(DataError):  # any other exception fails the test
        sniff(path)
