"""The data report, and recognising formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.cli.output import emit_json
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.data.check import check_dataset, sniff
from dissensus.errors import DataError

Write = Callable[[str, object], Path]


def test_report_of_a_small_data_set() -> None:
    def row(key: str, text: str, gold: int | None, counts: tuple[float, float]) -> Example:
        return Example(key, {"text": text}, gold, counts, (("w1", 0),) if key == "a" else ())

    data = AnnotatedDataset(
        "small",
        ("no", "yes"),
        (
            row("a", "Same  text", 0, (4, 0)),  # 0 bits
            row("b", "same text", 1, (2, 2)),  # 1 bit; the same text as a, another gold label
            row("c", "  ", 0, (1, 3)),  # 0.811 bits; gold has 1/4
            row("d", "other", None, (0, 0)),  # nobody asked, no gold
            row("e", "wrong", 1, (10, 0)),  # 0 bits; gold has 0
        ),
        notes=("a note",),
    )
    report = check_dataset(data)
    assert (report.rows, report.fields, report.notes) == (5, ("text",), ("a note",))
    assert [(label.gold, label.annotations) for label in report.labels] == [(2, 17.0), (2, 5.0)]
    assert report.labels[0].gold_share == 0.5
    assert report.labels[1].annotation_share == pytest.approx(5 / 22)
    assert report.annotators == (4.0, 4.0, 10.0)
    assert report.named_annotators == 1
    assert (report.without_annotations, report.without_gold) == (1, 1)
    # Ten bins of 0.1 bits from 0 to log2(2): two zeros in the first, 0.811 in the ninth, 1 in the last.
    np.testing.assert_allclose(report.entropy_edges, np.arange(11) / 10)
    assert report.entropy_histogram == (2, 0, 0, 0, 0, 0, 0, 0, 1, 1)
    assert report.entropy_mean == pytest.approx((0 + 1 + 0.811278 + 0) / 4, abs=1e-6)
    assert (report.repeated_texts, report.repeated_items, report.conflicting_texts) == (1, 2, 1)
    assert report.repeated_ids == ("a", "b")
    assert (report.empty_texts, report.empty_ids) == (1, ("c",))
    assert (report.rejected_gold, report.rejected_ids) == (2, ("e", "c"))  # the smallest share first


def test_report_without_any_annotation_is_plain_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = tuple(Example(str(i), {"text": str(i)}, None, (0.0, 0.0, 0.0)) for i in range(3))
    report = check_dataset(AnnotatedDataset("bare", ("a", "b", "c"), rows))
    assert report.annotators is None
    assert report.entropy_histogram == (0,) * 10
    emit_json(asdict(report))
    plain = json.loads(capsys.readouterr().out)
    assert plain["entropy_mean"] is None
    assert plain["labels"][0]["gold_share"] is None


def test_the_largest_entropy_is_counted() -> None:
    # log2(3) of three equal counts may exceed the last edge by rounding; it belongs to the last bin.
    rows = tuple(Example(str(i), {"text": str(i)}, 0, (i + 1.0,) * 3) for i in range(50))
    assert check_dataset(AnnotatedDataset("even", ("a", "b", "c"), rows)).entropy_histogram[-1] == 50


TABLES: dict[str, tuple[str, object, str]] = {
    "counts by label": (
        "t.jsonl",
        [{"sentence": "s", "label_count": {"no": 1, "yes": 2}}],
        "counts = label_count",
    ),
    "annotations": ("t.csv", 'Text,annotations\nt,"0,1,1"\n', "annotations = ['annotations']"),
    "one column each": ("t.csv", "tweet,annotator_1,annotator_2\nt,no,yes\n", "'annotator_1', 'annotator_2'"),
    "gold alone": ("t.csv", "premise,hypothesis,gold label\na,b,x\nc,d,y\n", "gold = gold label"),
    "list of counts": ("t.jsonl", [{"text": "t", "counts": [1, 2], "label": 1}], "labels = ['0', '1']"),
    "soft label": (
        "t.jsonl",
        [{"text": "t", "soft_label": {"a": 0.5, "b": 0.5}, "n": 4}],
        "distribution = soft_label",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_conventional_columns(write: Write, case: str) -> None:
    name, content, note = TABLES[case]
    data = sniff(write(name, content))
    assert data.notes[0].startswith("read as a table")
    assert note in data.notes[0]
    assert check_dataset(data).rows == len(data)


def test_a_list_of_counts_whose_order_cannot_be_known(write: Write) -> None:
    with pytest.raises(DataError, match="the order of the labels is not known"):
        sniff(write("t.jsonl", [{"text": "t", "counts": [1, 2], "label": "yes"}]))


def test_corpora_are_recognised_by_content_not_by_name(write: Write) -> None:
    example = {"premise": "a", "hypothesis": "b"}
    chaos: dict[str, Any] = {"uid": "1", "label_count": [1, 2, 97], "old_label": "c", "example": example}
    assert sniff(write("x.jsonl", [chaos])).name == "chaosnli-snli"
    assert sniff(write("y_mnli.jsonl", [chaos])).name == "chaosnli-mnli"
    alpha = {
        **chaos,
        "label_count": [1, 2],
        "old_label": 1,
        "example": dict.fromkeys(("obs1", "obs2", "hyp1", "hyp2"), "t"),
    }
    assert sniff(write("z.jsonl", [alpha])).name == "chaosnli-alphanli"
    snli = {"pairID": "1", "gold_label": "neutral", "sentence1": "a", "sentence2": "b"}
    assert "SNLI/MNLI" in sniff(write("s.jsonl", [snli])).notes[0]
    pool = {"id": "1", "premise": "a", "hypothesis": "b", "label": "neutral", "split": "dev"}
    assert "pool" in sniff(write("p.jsonl", [pool])).notes[0]
    tweet = {"text": "t", "annotations": "0,1", "hard_label": "0", "split": "dev"}
    assert "LeWiDi" in sniff(write("l.json", {"1": tweet})).notes[0]
    # A JSONL file that is named .json is still read line by line.
    assert len(sniff(write("lines.json", [pool, {**pool, "id": "2"}]))) == 2
