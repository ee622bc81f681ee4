"""The harmonised LeWiDi JSON in the forms that its corpora take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dissensus.data.check import sniff
from dissensus.data.sources import lewidi, load_source
from dissensus.data.sources.lewidi import LeWiDiSource
from dissensus.errors import DataError

Write = Callable[[str, object], Path]


def item(**changes: Any) -> dict[str, Any]:
    values = {
        "text": "some words",
        "number of annotations": 4,
        "annotations": "0,1,1,1",
        "annotators": "Ann3,Ann1,Ann2,Ann9",
        "lang": "en",
        "hard_label": "1",
        "soft_label": {"0": 0.25, "1": 0.75},
        "split": "dev",
        "other_info": {"domain": "BLM", "deep": {"not": "kept"}},
    }
    values.update(changes)
    return {key: value for key, value in values.items() if value is not ...}


def read(write: Write, *items: dict[str, Any]) -> Any:
    path = write("X_dev.json", {str(number): i for number, i in enumerate(items, 1)})
    return lewidi.read([("dev", path)], name="x")


def test_comma_separated_annotations_keep_their_annotators(write: Write) -> None:
    data = read(write, item())
    example = data["dev-1"]
    assert data.labels == ("0", "1")
    assert example.counts == (1.0, 3.0)
    assert example.annotations == (("Ann3", 0), ("Ann1", 1), ("Ann2", 1), ("Ann9", 1))
    assert example.gold == 1
    assert example.extra == {"split": "dev", "domain": "BLM", "lang": "en"}


def test_annotations_by_annotator_and_majority_gold(write: Write) -> None:
    # MultiPico writes labels as "0" but the keys of soft labels as "0.0": one label, not two.
    votes = {"Ann1": "1", "Ann2": "0", "Ann3": "1"}
    soft = {"0.0": 1 / 3, "1.0": 2 / 3}
    one = item(annotations=votes, hard_label=..., soft_label=soft, **{"number of annotations": 3})
    two = item(hard_label="")
    data = read(write, one, two)
    assert data.labels == ("0", "1")
    assert data["dev-1"].counts == (1.0, 2.0)
    assert data.gold.tolist() == [1, 1]
    assert data.notes == ("2 items without a hard label took the majority",)


def test_ties_and_counts_from_soft_labels_are_among_the_notes(write: Write) -> None:
    tied = item(annotations="0,1", annotators="a,b", hard_label=..., soft_label=...)
    data = read(write, tied, tied, item(annotations=..., annotators=...), item())
    assert data.notes == (
        "1 items without annotations: counts are soft labels times n",
        "2 items without a hard label took the majority",
        "2 items have a tie for the most frequent label; the first in label order was taken (0, 1)",
    )
    assert data.gold.tolist()[:2] == [0, 0]


def test_several_labels_by_one_annotator_share_a_vote(write: Write) -> None:
    votes = {"Ann1": "neutral", "Ann2": "entailment,neutral"}
    soft = {"entailment": {"0": 0.5, "1": 0.5}, "neutral": {"0": 0.0, "1": 1.0}}
    data = read(write, item(annotations=votes, hard_label=..., soft_label=soft))
    assert data.labels == ("entailment", "neutral")
    assert data["dev-1"].counts == (0.5, 1.5)


def test_soft_labels_stand_in_for_missing_annotations(write: Write) -> None:
    data = read(write, item(annotations=..., annotators=...), item())
    assert data["dev-1"].counts == (1.0, 3.0)  # 0.25 x 4 and 0.75 x 4
    assert data["dev-1"].annotations == ()
    assert len(data["dev-2"].annotations) == 4
    with pytest.raises(DataError, match="'number of annotations' is 'many'"):
        read(write, item(annotations="", **{"number of annotations": "many"}))


def test_annotations_on_another_scale_than_the_hard_label(write: Write) -> None:
    # As in ConvAbuse: an annotated 1 means "friendly", a hard label of 1 means "abusive".
    data = read(
        write, item(annotations="1,-1,-2,-1"), item(annotations="1,1,1,1", soft_label={"0": 1.0, "1": 0.0})
    )
    assert data.labels == ("0", "1")
    assert data.counts.tolist() == [[1.0, 3.0], [4.0, 0.0]]
    assert "counts are soft labels" in data.notes[0]


def test_several_texts(write: Write) -> None:
    data = read(write, item(text={"post": "hi", "reply": "no"}), item(text={"post": "x", "reply": None}))
    assert data.fields == ("post", "reply")
    assert data["dev-2"].text["reply"] == ""
    inside = read(write, item(text=json.dumps({"agent": "Hello.", "user": "Go away."})))
    assert inside["dev-1"].text == {"agent": "Hello.", "user": "Go away."}


def test_one_tweet_that_looks_like_json_stays_a_text(write: Write) -> None:
    data = read(write, item(text='{"a": "b"}'), item(text="plain"))
    assert data["dev-1"].text == {"text": '{"a": "b"}'}


def test_numeric_labels_are_in_numeric_order(write: Write) -> None:
    data = read(write, item(annotations="-1,10,2,2", soft_label=..., hard_label="2"))
    assert data.labels == ("-1", "2", "10")


def test_ids_are_unique_across_splits(write: Write, tmp_path: Path) -> None:
    write("lewidi/X_train.json", {"1": item(split="train")})
    write("lewidi/X_dataset/X_dev.json", {"1": item()})
    data = load_source(LeWiDiSource(dataset="X", splits=("train", "dev")), data_dir=tmp_path)
    assert data.ids == ("train-1", "dev-1")
    alone = load_source(LeWiDiSource(path="lewidi/X_dataset/X_dev.json"), data_dir=tmp_path)
    assert alone.ids == ("dev-1",)
    with pytest.raises(DataError, match=r"X_test.json was not found.*data pull lewidi"):
        load_source(LeWiDiSource(dataset="X", splits=("test",)), data_dir=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotators": "Ann1"}, "item '1': there are 4 annotations but 1 annotators"),
        ({"annotations": ["0", "1"]}, "expected labels with commas between them"),
        ({"annotations": {"Ann1": ["0"]}}, "the annotation of 'Ann1' is"),
        ({"text": ...}, "there is no field 'text'"),
        ({"text": 5}, "'text' is 5; expected a text"),
        ({"text": {"a": ["b"]}}, "expected a text"),
        ({"soft_label": {"0": 0.2, "1": 0.2}}, "the shares sum to 0.400"),
        ({"soft_label": {"0": 2}}, "gives '0' the share 2; expected 0 to 1"),
    ],
)
def test_a_wrong_item_is_named(write: Write, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write, item(**changes))


def test_blank_annotations_are_skipped(write: Write) -> None:
    data = read(write, item(annotations="0,,1,nan"), item(annotations="", annotators="", soft_label=...))
    assert data["dev-1"].counts == (1.0, 1.0)
    assert data["dev-1"].annotations == (("Ann3", 0), ("Ann2", 1))
    assert data["dev-2"].counts == (0.0, 0.0)
    assert "1 items have no annotations" in data.notes


def test_part_of_a_corpus_on_two_scales_is_read_by_its_soft_labels(write: Write) -> None:
    # ConvAbuse: annotated 0 and 1 are both "not abusive" (0). Nothing in this part but the soft labels says so.
    data = read(
        write,
        item(annotations="1,1,0,1", soft_label={"0": 1.0, "1": 0.0}, hard_label="0"),
        item(annotations="0,0,0,0", soft_label={"0": 1.0, "1": 0.0}, hard_label="0"),
        item(annotations="1,1", annotators="a,b", soft_label=..., hard_label="0"),
    )
    assert data.counts.tolist() == [[4.0, 0.0], [4.0, 0.0], [0.0, 0.0]]
    assert data.gold.tolist() == [0, 0, 0]
    assert not any(example.annotations for example in data)
    assert (
        "of 1 of 2 items (the first: dev-1, annotations 0: 1, 1: 3, soft label times n 0: 4, 1: 0)"
        in (data.notes[0])
    )
    assert data.notes[1].startswith("1 items have annotations and no soft label")


def test_rounded_soft_labels_are_of_the_same_scale(write: Write) -> None:
    votes, soft = {"a": "0", "b": "1", "c": "1"}, {"0": 0.33, "1": 0.67}
    data = read(write, item(annotations=votes, soft_label=soft, **{"number of annotations": 3}))
    assert data["dev-1"].annotations == (("a", 0), ("b", 1), ("c", 1))


def test_an_annotator_who_repeats_counts_as_published(write: Write) -> None:
    repeats = item(annotations="1,1,1,0", annotators="A,A,A,B", soft_label=..., hard_label=...)
    data = read(write, repeats, item())
    assert data["dev-1"].counts == (1.0, 3.0)
    note = next(note for note in data.notes if "answered the same item again" in note)
    assert "'A': item 'dev-1', 3 answers" in note
    assert "each counts as one" in note
    path = write("X_dev.json", {"1": repeats})
    once = lewidi.read([("dev", path)], LeWiDiSource(repeats="last"), name="x")
    assert once["dev-1"].counts == (1.0, 1.0)


def likert(task: str, votes: dict[str, str], steps: range, **changes: Any) -> dict[str, Any]:
    soft = {str(k): list(votes.values()).count(str(k)) / len(votes) for k in steps}
    return item(
        **{"annotation task": task, "number of annotations": len(votes), "annotators": ",".join(votes)},
        annotations=votes,
        hard_label=...,
        soft_label=soft,
        **changes,
    )


def test_likert_corpora_of_2025_are_ordinal(write: Write) -> None:
    text = {"context": "It rains.", "response": "Lovely."}
    sarcasm = likert("sarcasm detection", {"Ann1": "1", "Ann2": "6", "Ann3": "6"}, range(1, 7), text=text)
    path = write("CSC_dev.json", {"7": sarcasm})
    write("CSC_annotators_meta.json", '{"Ann1": {"Gender": "Female", "Age": "56",}, "2": {"Age": 30.0}}')
    data = lewidi.read([("dev", path)], name="csc")
    assert (data.scale, data.labels) == ("ordinal", ("1", "2", "3", "4", "5", "6"))
    assert data["dev-7"].counts == (1.0, 0.0, 0.0, 0.0, 0.0, 2.0)
    assert data["dev-7"].text == text
    assert data.annotator_facts == {"Ann1": {"Gender": "Female", "Age": "56"}, "Ann2": {"Age": 30.0}}
    assert "the labels are an ordinal scale: 1, 2, 3, 4, 5, 6" in data.notes
    assert lewidi.read([("dev", path)], LeWiDiSource(scale="nominal"), name="csc").scale == "nominal"


def test_paraphrases_keep_their_explanations(write: Write) -> None:
    other = {"explanations": ["other topic", " the same, nearly"]}
    pair = likert("paraphrase detection", {"Ann1": "-5", "Ann2": "4"}, range(-5, 6), other_info=other)
    data = read(write, pair)
    assert data.labels == tuple(str(k) for k in range(-5, 6))
    assert data.scale == "ordinal"
    assert data["dev-1"].extra["explanations"] == "Ann1: other topic\nAnn2: the same, nearly"


def test_a_broken_table_of_annotators_does_not_stop_the_data(write: Write) -> None:
    path = write("MP_dev.json", {"1": item()})
    write("MP_annotators_meta.json", "[1, 2")
    data = lewidi.read([("dev", path)], name="mp")
    assert data.annotator_facts == {}
    assert any("MP_annotators_meta.json could not be read" in note for note in data.notes)


@pytest.mark.parametrize(
    "empty",
    [
        {"annotations": ..., "soft_label": ..., "hard_label": ...},
        {"annotations": {"Ann1": ""}, "soft_label": "", "hard_label": ""},
        {"annotations": "", "soft_label": {"a": {"0": 0.5, "1": 0.5}}, "hard_label": ...},
    ],
)
def test_files_of_an_evaluation_phase_are_refused(write: Write, empty: dict[str, Any]) -> None:
    path = write("CSC_test.json", {"1": item(**empty)})
    with pytest.raises(DataError, match="files of an evaluation phase"):
        sniff(path)


def test_a_path_is_not_called_the_default_corpus() -> None:
    spec = LeWiDiSource(path="some/MP_dev.json")
    assert spec.in_words() == "LeWiDi MP_dev"
    assert spec.label_meanings() == {"0": "not ironic", "1": "ironic"}
    assert LeWiDiSource(path="some/CSC_dev.json").label_meanings() == {}


def test_files_without_a_known_checksum_are_not_promised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Paraphrase_train.json was not found.*data pull lewidi-2025"):
        load_source(LeWiDiSource(dataset="Paraphrase"), data_dir=tmp_path)
    with pytest.raises(
        DataError, match=r"CSC_train.json \(https://github.com/Le-Wi-Di.*was not found"
    ) as error:
        load_source(LeWiDiSource(dataset="CSC"), data_dir=tmp_path)
    assert "data pull" not in str(error.value)
