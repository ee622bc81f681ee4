"""ChaosNLI and SNLI/MNLI readers on small files in the published forms."""

from __future__ import annotations

import gzip
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dissensus.data.check import sniff
from dissensus.data.sources import chaosnli, load_source, nli
from dissensus.data.sources.chaosnli import ChaosNLISource
from dissensus.data.sources.nli import NLISource
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.errors import DataError, MissingDependencyError, SpecError

Write = Callable[[str, object], Path]


def chaos(uid: str = "a", counts: object = (70, 30, 0), old: object = "n", **more: Any) -> dict[str, Any]:
    return {
        "uid": uid,
        "label_count": list(counts) if isinstance(counts, tuple) else counts,
        "entropy": 0.8812908992306927,
        "example": {"uid": uid, "premise": "A man sleeps.", "hypothesis": "He dreams."},
        "old_label": old,
        "old_labels": ["neutral", "entailment"],
        **more,
    }


def pair(uid: str, gold: str, labels: list[str], **more: Any) -> dict[str, Any]:
    texts = {"sentence1": f"premise {uid}", "sentence2": f"hypothesis {uid}"}
    return {"pairID": uid, "gold_label": gold, "annotator_labels": labels, **texts, **more}


def test_chaosnli_original_and_majority(write: Write) -> None:
    path = write("c.jsonl", [chaos("a"), chaos("b", (50, 50, 0))])
    original = chaosnli.read(path)
    assert original.gold.tolist() == [1, 1]
    assert original["a"].extra["original_labels"] == "neutral,entailment"
    majority = chaosnli.read(path, gold="majority")
    assert majority.gold.tolist() == [0, 0]  # 70 of 100; and the tie goes to the first label
    assert majority["a"].extra["original_gold"] == "neutral"
    tie = "1 item has a tie for the most frequent label; the first in label order was taken"
    assert majority.notes[1] == f"{tie} (entailment, neutral, contradiction)"


def test_alphanli(write: Write) -> None:
    example = {
        "obs1": "Stan felt sick.",
        "obs2": "Stan recovered.",
        "hyp1": "He stayed home.",
        "hyp2": "He left.",
    }
    path = write("a.jsonl", [{"uid": "x-1", "label_count": [37, 63], "example": example, "old_label": 2}])
    data = chaosnli.read(path, part="alphanli")
    assert data.labels == ("1", "2")
    assert data.fields == ("obs1", "obs2", "hyp1", "hyp2")
    assert data.gold.tolist() == [1]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (chaos(counts=(70, 30)), r"line 1: 'label_count' is \[70, 30\]; expected 3 whole numbers"),
        (chaos(counts="70"), "expected 3 whole numbers"),
        (chaos(old="maybe"), "'old_label' is 'maybe'; expected one of entailment, neutral, contradiction"),
        (chaos(example={"premise": "only"}), "'example': there is no field 'hypothesis'"),
        (chaos(example="text"), "expected an object with named fields"),
        ({"uid": "a"}, "there is no field 'label_count'; it has: uid"),
        (chaos(entropy="high"), "expected a number of bits"),
    ],
)
def test_a_wrong_chaosnli_record_is_named(write: Write, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        chaosnli.read(write("c.jsonl", [row]))


def test_repeated_ids_are_named(write: Write) -> None:
    with pytest.raises(DataError, match=r"1 repeated id\(s\), e.g. 'a'"):
        chaosnli.read(write("c.jsonl", [chaos("a"), chaos("a")]))


def test_chaosnli_is_found_in_its_usual_places(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="dissensus data pull chaosnli"):
        load_source(ChaosNLISource())
    write("elsewhere/chaosNLI_v1.0/chaosNLI_snli.jsonl", [chaos("zipped")])
    monkeypatch.setenv("DISSENSUS_DATA", str(tmp_path / "elsewhere"))
    assert load_source(ChaosNLISource()).ids == ("zipped",)
    write("named/chaosnli/chaosNLI_snli.jsonl", [chaos("named")])
    assert load_source(ChaosNLISource(), data_dir=tmp_path / "named").ids == ("named",)
    with pytest.raises(DataError, match="does not exist"):
        load_source(ChaosNLISource(), data_dir=tmp_path / "absent")


def test_published_pairs(write: Write, tmp_path: Path) -> None:
    write(
        "snli_1.0/snli_1.0_dev.jsonl",
        [pair("1", "neutral", ["neutral", "neutral", "entailment", "", "neutral"])],
    )
    write(
        "snli_1.0/snli_1.0_test.jsonl",
        [pair("2", "-", ["neutral", "entailment"]), pair("3", "contradiction", [])],
    )
    data = load_source(NLISource(source="snli"), data_dir=tmp_path)
    assert data.ids == ("1", "3")
    assert data["1"].counts == (1.0, 3.0, 0.0)  # the blank cell is no label
    assert data["3"].counts == (0.0, 0.0, 0.0)
    assert data["1"].text == {"premise": "premise 1", "hypothesis": "hypothesis 1"}
    assert data.notes == ("read from the published files", "1 pairs without a gold label left out")


def test_the_pool_is_preferred_for_snli_dev_and_test(tmp_path: Path) -> None:
    folder = tmp_path / "snli"
    folder.mkdir()
    rows = [
        {"id": f"p{i}", "premise": "a", "hypothesis": str(i), "label": "entailment", "split": split}
        for i, split in enumerate(("dev", "test", "dev"))
    ]
    with gzip.open(folder / "snli_dev_test_pool.jsonl.gz", "wt", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows)
    assert load_source(NLISource(source="snli", splits=("test", "dev")), data_dir=tmp_path).ids == (
        "p1",
        "p0",
        "p2",
    )
    assert load_source(NLISource(source="snli", splits=("dev",)), data_dir=tmp_path).ids == ("p0", "p2")
    # The pool has no training pairs, so these come from the published files alone.
    with pytest.raises(DataError, match=r"snli_1.0_train.jsonl"):
        load_source(NLISource(source="snli", splits=("train",)), data_dir=tmp_path)


def test_mnli_splits(write: Write, tmp_path: Path) -> None:
    write("mnli/multinli_1.0/multinli_1.0_dev_matched.jsonl", [pair("1", "neutral", [], genre="travel")])
    write("mnli/multinli_1.0/multinli_1.0_dev_mismatched.jsonl", [pair("2", "neutral", [], genre="letters")])
    data = load_source(NLISource.parse({"source": "mnli"}, "test"), data_dir=tmp_path)
    assert [e.extra["genre"] for e in data] == ["travel", "letters"]
    with pytest.raises(DataError, match="no labelled split 'test'"):
        load_source(NLISource(source="mnli", splits=("test",)), data_dir=tmp_path)
    with pytest.raises(DataError, match="did you mean 'dev_matched'"):
        load_source(NLISource(source="mnli", splits=("dev_match",)), data_dir=tmp_path)


def test_a_specification_survives_being_written_and_read() -> None:
    spec = NLISource.parse({"source": "mnli"}, "test")
    assert NLISource.parse(spec.model_dump(mode="json"), "test") == spec
    with pytest.raises(SpecError):
        NLISource.parse({"source": "qnli"}, "test")


def test_an_unknown_nli_label_is_named(write: Write) -> None:
    with pytest.raises(DataError, match="line 2: the label is 'neutrall'"):
        nli.read([write("s.jsonl", [pair("1", "neutral", []), pair("2", "neutrall", [])])], name="s")


def test_hub_without_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"dissensus\[hub\]"):
        load_source(NLISource(source="snli", hub=True))


def test_hub_rows_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"premise": "a", "hypothesis": "b", "label": 2}, {"premise": "a", "hypothesis": "c", "label": -1}]
    asked = []

    def load_dataset(name: str, config: str | None, *, split: str) -> list[dict[str, Any]]:
        asked.append((name, split))
        if split == "test":
            raise ConnectionError("no route to the hub")
        return rows

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    data = load_source(NLISource(source="snli", hub=True, splits=("dev",)))
    assert asked == [("stanfordnlp/snli", "validation")]
    assert data.gold.tolist() == [2]
    assert data.notes[-1] == "1 pairs without a gold label left out"
    with pytest.raises(DataError, match="no route to the hub"):
        load_source(NLISource(source="snli", hub=True, splits=("test",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"premise": None}, r"stanfordnlp/snli, dev, row 2: 'premise' is None; expected a text"),
        ({"hypothesis": float("nan")}, "dev, row 2: 'hypothesis' is nan; expected a text"),
        ({"premise": ["a"]}, r"dev, row 2: 'premise' is \['a'\]; expected a text"),
        ({"label": "neutral"}, "dev, row 2: the label is 'neutral'; expected 0, 1 or 2, or -1 for none"),
    ],
)
def test_a_wrong_row_of_the_hub_is_named(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    good = {"premise": "a", "hypothesis": "b", "label": 2}
    rows = [good, {**good, **changes}]
    monkeypatch.setitem(
        sys.modules, "datasets", types.SimpleNamespace(load_dataset=lambda *_args, **_more: rows)
    )
    with pytest.raises(DataError, match=message):
        load_source(NLISource(source="snli", hub=True, splits=("dev",)))


def test_nothing_is_no_word_of_a_pair(write: Write) -> None:
    rows = [pair("1", "neutral", [], genre=None), pair("2", "neutral", [], genre="travel")]
    data = nli.read([write("m.jsonl", rows)], name="m")
    assert [dict(example.extra) for example in data] == [{}, {"genre": "travel"}]
    with pytest.raises(DataError, match=r"m\.jsonl, line 1: 'sentence1' is None; expected a text"):
        nli.read([write("m.jsonl", [{**pair("1", "neutral", []), "sentence1": None}])], name="m")


def test_simulated_panel_is_dispatched() -> None:
    assert len(load_source(SimulatedSource(size=8))) == 8


def test_pairs_as_datasets_writes_them(write: Write) -> None:
    rows = [
        {"premise": f"p{k}", "hypothesis": f"h{k}", "label": label} for k, label in enumerate((2, 0, 1, -1))
    ]
    data = sniff(write("x.jsonl", rows))
    assert data.labels == ("entailment", "neutral", "contradiction")
    assert data.gold.tolist() == [2, 0, 1]
    assert data.notes[1:] == (
        "read from a file that `datasets` wrote: 0, 1, 2 are entailment, neutral, contradiction",
        "1 pairs without a gold label left out",
    )
    mnli = "promptID,pairID,premise,hypothesis,genre,label\n1,1e,p,h,fiction,2\n2,2n,q,h,fiction,-1\n"
    written = sniff(write("train.csv", mnli))
    assert (written.ids, written.name) == (("1e",), "mnli")
    assert written["1e"].extra == {"genre": "fiction"}
    with pytest.raises(DataError, match="line 3: the label is '7'; expected 0, 1 or 2, or -1 for none"):
        load_source(
            NLISource(source="snli", path=str(write("y.csv", "premise,hypothesis,label\np,h,2\np,h,7\n")))
        )


@pytest.mark.parametrize("labels", [("0", "1"), ("0", "1", "2", "3"), ("no", "yes")])
def test_other_pairs_with_labels_are_not_taken_for_nli(write: Write, labels: tuple[str, ...]) -> None:
    rows = "".join(f"{k},p{k},h{k},{label}\n" for k, label in enumerate(labels))
    data = sniff(write("x.csv", f"id,premise,hypothesis,label\n{rows}"))
    assert data.labels == labels


def test_annotations_of_pairs_are_not_taken_for_gold_labels(write: Write) -> None:
    rows = "1,a,p,h,0\n1,b,p,h,2\n2,a,q,h,1\n2,b,q,h,1\n"
    data = sniff(write("x.csv", f"id,annotator,premise,hypothesis,label\n{rows}"))
    assert data.counts.tolist() == [[1, 0, 1], [0, 2, 0]]


def test_published_csv_has_five_columns_of_labels(write: Write) -> None:
    head = "gold_label,sentence1,sentence2,captionID,pairID,label1,label2,label3,label4,label5"
    text = (
        f"{head}\nneutral,p,h,c,1n,neutral,entailment,neutral,neutral,contradiction\n-,p,i,c,2n,neutral,,,,\n"
    )
    data = sniff(write("snli_1.0_dev.csv", text + "entailment,q,h,c,3e,entailment,,,,\n"))
    assert data.ids == ("1n", "3e")
    assert data.counts.tolist() == [[1, 3, 1], [1, 0, 0]]
    assert "1 pairs without a gold label left out" in data.notes
