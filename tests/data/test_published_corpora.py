"""Published corpora that are tables, by name and recognised: small files in their forms, with invented rows."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import types
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dissensus.config.sources import SOURCES, SourceSpec
from dissensus.data.agreement import annotation_entropy
from dissensus.data.check import check_dataset, sniff
from dissensus.data.sources import load_source
from dissensus.data.sources.civil_comments import CivilCommentsSource
from dissensus.data.sources.goemotions import GoEmotionsSource
from dissensus.data.sources.preferences import PreferencePairsSource
from dissensus.data.sources.presets import PresetSource
from dissensus.data.sources.ratings import HelpSteer2Source, MeasuringHateSpeechSource, PopquornSource
from dissensus.errors import DataError, SpecError

Write = Callable[[str, object], Path]
Rows = Sequence[dict[str, Any]]


def as_csv(rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


# GoEmotions


def emotions(item: str, rater: int, *chosen: str, unclear: bool = False) -> dict[str, Any]:
    marks = {emotion: int(emotion in chosen) for emotion in ("anger", "joy", "neutral")}
    meta = {"author": "u", "subreddit": "s", "created_utc": 1.5e9}
    return {
        "text": f"t {item}",
        "id": item,
        **meta,
        "rater_id": rater,
        "example_very_unclear": unclear,
        **marks,
    }


GOEMOTIONS = [
    emotions("a", 1, "joy"),
    emotions("a", 2, "anger", "joy"),
    emotions("a", 3, unclear=True),
    emotions("b", 1, "neutral"),
    emotions("b", 3, "neutral"),
]


def test_goemotions_shares_an_answer_among_its_emotions(write: Write) -> None:
    data = sniff(write("x.csv", as_csv(GOEMOTIONS)))
    assert data.labels == ("anger", "joy", "neutral")
    assert data.counts.tolist() == [[0.5, 1.5, 0.0], [0.0, 0.0, 2.0]]
    assert data["a"].annotations == (("1", 1), ("2", 0), ("2", 1))
    assert "1 rows were left out, with example_very_unclear = 'True'" in data.notes
    assert data.name == "goemotions"
    # Of shares 1/4 and 3/4: 2 - 3/4 log2(3) bits.
    np.testing.assert_allclose(annotation_entropy(data.counts), [2 - 0.75 * np.log2(3), 0], atol=1e-9)


def test_goemotions_from_several_files_and_from_the_hub(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("1.csv", as_csv(GOEMOTIONS[:2]))  # one item's raters stand in both files
    write("2.csv", as_csv([*GOEMOTIONS[2:], emotions("a", 9, "anger")]))
    whole = load_source(GoEmotionsSource(path=("1.csv", "2.csv")), data_dir=tmp_path)
    assert whole["a"].counts == (1.5, 1.5, 0.0)
    library = types.ModuleType("datasets")
    asked: list[Any] = []

    def load_dataset(name: str, config: str | None, split: str) -> Rows:
        asked.append((name, config, split))
        return GOEMOTIONS

    monkeypatch.setattr(library, "load_dataset", load_dataset, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", library)
    assert load_source(GoEmotionsSource(hub=True))["a"].counts == (0.5, 1.5, 0.0)
    assert asked == [("google-research-datasets/go_emotions", "raw", "train")]


# Civil Comments


def comment(key: int, share: Any, n: Any, **more: Any) -> dict[str, Any]:
    names = {"comment_text": f"c {key}", "target": share, "toxicity_annotator_count": n}
    return {"id": key, **names, "obscene": 0, "female": "", "identity_annotator_count": 0, **more}


def test_civil_comments_shares_become_counts(write: Write) -> None:
    rows = [comment(1, 0.893617021276596, 47), comment(2, "0.0", 4, female=0.25, identity_annotator_count=4)]
    path = write("train.csv", as_csv(rows))
    data = sniff(path)
    assert data.labels == ("no", "yes")
    assert data.counts.tolist() == [[5.0, 42.0], [4.0, 0.0]]
    assert data.gold.tolist() == [1, 0]
    female = load_source(CivilCommentsSource(path=str(path), label="female"))
    assert female.counts.tolist() == [[0.0, 0.0], [3.0, 1.0]]  # nobody was asked of the first
    assert CivilCommentsSource(path="x", label="female").in_words() == "Civil Comments, female"


def test_single_annotations_of_civil_comments(write: Write) -> None:
    rows = [
        {"id": 1, "worker": 7, "toxic": 1, "severe_toxic": 0},
        {"id": 1, "worker": 8, "toxic": 0, "severe_toxic": 0},
        {"id": 2, "worker": 7, "toxic": 1, "severe_toxic": 1},
    ]
    path = write("toxicity_individual_annotations.csv", as_csv(rows))
    with pytest.raises(DataError, match=r"texts: \{path: all_data.csv, id: id\}"):
        sniff(path)
    write("all_data.csv", as_csv([comment(1, 0.5, 2), comment(2, 1, 1), comment(3, 0, 1)]))
    data = sniff(path)
    assert data["1"].counts == (1.0, 1.0)
    assert data["1"].annotations == (("7", 1), ("8", 0))
    assert data["2"].text == {"comment_text": "c 2"}
    assert "1 texts of all_data.csv belong to no item of the table" in data.notes


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            comment(1, 1.5, 4),
            r"line 2: 'target' is '1.5' of 'toxicity_annotator_count' = '4'; expected a share",
        ),
        (comment(1, "high", 4), "expected a share from 0 to 1"),
        (comment(1, 0.5, ""), "expected a share from 0 to 1 and a number of annotators"),
        (comment(1, 0.5, "inf"), "expected a share from 0 to 1 and a number of annotators"),
    ],
)
def test_wrong_shares_of_civil_comments(write: Write, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        sniff(write("train.csv", as_csv([row])))


# HelpSteer2


def test_helpsteer2_has_lists_of_ratings(write: Write) -> None:
    rows = [
        {"prompt": "Q", "response": "a", "helpfulness": [0, 4, 4], "verbosity": [1, 2]},
        {"prompt": "Q", "response": "b", "helpfulness": [2, 2, 2, 3], "verbosity": [2, 2]},
    ]
    path = write("disagreements.jsonl", rows)
    data = sniff(path)
    assert (data.labels, data.scale) == (("0", "1", "2", "3", "4"), "ordinal")
    assert data.counts.tolist() == [[1, 0, 0, 0, 2], [0, 0, 3, 1, 0]]
    assert data.fields == ("prompt", "response")
    verbosity = load_source(HelpSteer2Source(path=str(path), attribute="verbosity"))
    assert verbosity.counts.tolist() == [[0, 1, 1, 0, 0], [0, 0, 2, 0, 0]]
    assert verbosity.name == "helpsteer2-verbosity"


def test_helpsteer2_means_and_wrong_ratings_are_refused(write: Write) -> None:
    row: dict[str, Any] = {"prompt": "Q", "response": "a", "helpfulness": 3, "coherence": 4}
    with pytest.raises(DataError, match=r"one number per answer.*disagreements.jsonl.gz"):
        sniff(write("train.jsonl", [row]))
    with pytest.raises(DataError, match="line 1: the label '7' is not among the labels: 0, 1, 2, 3, 4"):
        sniff(write("a.jsonl", [row | {"helpfulness": [7, 3]}]))
    with pytest.raises(DataError, match="an annotation is"):
        sniff(write("b.jsonl", [row | {"helpfulness": [[1], 3]}]))


# Measuring Hate Speech


def test_measuring_hate_speech_asks_several_questions(write: Write) -> None:
    def row(comment_id: int, annotator: int, hate: float, insult: float) -> dict[str, Any]:
        texts = {"text": f"post {comment_id}", "hate_speech_score": 0.1}
        return {
            "comment_id": comment_id,
            "annotator_id": annotator,
            "hatespeech": hate,
            "insult": insult,
            **texts,
        }

    rows = [row(1, 7, 0.0, 4.0), row(1, 8, 2.0, 3.0), row(2, 7, 1.0, 0.0)]
    path = write("mhs.csv", as_csv(rows))
    data = sniff(path)
    assert (data.labels, data.scale) == (("0", "1", "2"), "ordinal")
    assert data.counts.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert data["1"].annotations == (("7", 0), ("8", 2))
    insult = load_source(MeasuringHateSpeechSource(path=str(path), question="insult"))
    assert insult["1"].counts == (0.0, 0.0, 0.0, 1.0, 1.0)
    with pytest.raises(DataError, match="has no column 'respect', which Measuring Hate Speech has"):
        load_source(MeasuringHateSpeechSource(path=str(path), question="respect"))


# POPQUORN


def popquorn(items: int = 1500, rows: int = 13_000, seed: int = 0) -> tuple[str, dict[str, Counter[str]]]:
    """A file of POPQUORN's form, its rows in no order, and the ratings of each item that it holds."""
    rng = np.random.default_rng(seed)
    given: dict[str, Counter[str]] = {str(item): Counter() for item in range(items)}
    lines = []
    raters = [rng.permutation(262) for _ in range(items)]
    for number in range(rows):
        item, turn = number % items, number // items
        rating = 1 + int(rng.binomial(4, 0.1 + 0.3 * (item % 3)))
        given[str(item)][str(rating)] += 1
        meta = {"gender": "Man", "race": "White", "age": "35-39", "occupation": "x", "education": "y"}
        words = f'Comment {item}, "quoted" and long'
        who = int(raters[item][turn])
        lines.append(
            {"instance_id": item, "user_id": who, "text": words, "offensiveness": float(rating), **meta}
        )
    return as_csv([lines[k] for k in rng.permutation(rows)]), given


def test_popquorn_of_13000_ratings(write: Write) -> None:
    text, given = popquorn()
    data = sniff(write("raw_data.csv", text))
    assert (len(data), data.scale, data.labels) == (1500, "ordinal", ("1", "2", "3", "4", "5"))
    right = np.array([[given[item][label] for label in data.labels] for item in data.ids], dtype=float)
    np.testing.assert_allclose(data.counts, right, atol=1e-9)
    shares = right / right.sum(axis=1, keepdims=True)
    bits = -np.sum(np.where(shares > 0, shares * np.log2(np.where(shares > 0, shares, 1)), 0), axis=1)
    np.testing.assert_allclose(annotation_entropy(data.counts), bits, atol=1e-9)
    report = check_dataset(data)
    assert report.named_annotators == 262
    assert report.annotators == (8.0, 9.0, 9.0)
    np.testing.assert_array_equal(data.values, [1, 2, 3, 4, 5])


def test_popquorn_of_questions_without_annotators_names(write: Write) -> None:
    def row(item: int, difficulty: Any) -> dict[str, Any]:
        meta = {"text": f"passage {item}", "question": "Who?", "answer": "Ann", "groundtruth": "Ann"}
        return {"instance_id": item, "user_id": "", **meta, "difficulty": difficulty}

    path = write("raw_data.csv", as_csv([row(1, 1.0), row(1, 1.0), row(1, 5.0), row(2, 3.0), row(2, "")]))
    data = sniff(path)
    assert data.fields == ("text", "question")
    assert data["1"].counts == (2.0, 0.0, 0.0, 0.0, 1.0)
    assert data["2"].counts == (0.0, 0.0, 1.0, 0.0, 0.0)
    assert not data["1"].annotations
    with pytest.raises(DataError, match="has no column 'politeness', which POPQUORN has"):
        load_source(PopquornSource(path=str(path), question="politeness"))


def test_popquorn_rewriting_has_no_labels(write: Write) -> None:
    row = {"instance_id": 1, "user_id": 2, "original email": "send it", "revised email": "Please send it."}
    with pytest.raises(DataError, match="text rewriting: each annotator wrote a text of their own"):
        sniff(write("raw_data.csv", as_csv([row])))


# Preference pairs


def test_preference_pairs_say_how_votes_are_read(write: Write) -> None:
    rows = [
        {"prompt": "Q", "chosen": "a", "rejected": "b", "votes": [3, 2]},
        {"prompt": "R", "chosen": "c", "rejected": "d", "votes": [1, 4]},
    ]
    path = write("pairs.jsonl", rows)
    data = sniff(path)
    assert (data.labels, data.fields) == (("chosen", "rejected"), ("prompt", "chosen", "rejected"))
    assert data.counts.tolist() == [[3, 2], [1, 4]]
    assert data.gold.tolist() == [0, 1]
    assert any("PreferenceProbe" in note for note in data.notes)
    with pytest.raises(DataError, match="expected 2, for chosen, rejected"):
        load_source(PreferencePairsSource(path=str(write("x.jsonl", [rows[0] | {"votes": [1, 2, 3]}]))))


# What presets share


def test_the_lines_of_the_page_on_corpora_are_specifications() -> None:
    page = (Path(__file__).parents[2] / "docs/corpora.md").read_text("utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    lines = [yaml.safe_load(line)["tracked"] for block in blocks for line in block.splitlines()]
    named = set()
    for keys in lines:
        cls = SourceSpec.of_tag(keys["source"])
        assert cls is not None
        cls.parse(keys, "docs/corpora.md")
        named.add(keys["source"])
    presets = {name for name in SOURCES.builtin if issubclass(SOURCES.load(name).spec, PresetSource)}
    assert len(presets) == 6
    assert presets | {"lewidi", "snli", "mnli", "table"} == named


def test_rules_of_answers_hold_for_presets(write: Write) -> None:
    text, _ = popquorn(items=3, rows=24)
    path = str(write("raw.csv", text))
    everyone = load_source(PopquornSource(path=path))
    who = everyone["0"].annotations[0][0]
    fewer = load_source(PopquornSource(path=path, leave_out=(who,), scale="nominal"))
    assert fewer.counts.sum() < everyone.counts.sum()
    assert (fewer.scale, everyone.scale) == ("nominal", "ordinal")
    assert everyone.fingerprint != load_source(PopquornSource(path=path, scale="nominal")).fingerprint


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (PopquornSource(), r"POPQUORN \(https://github.com/.*was not found.*data pull popquorn"),
        (HelpSteer2Source(), "data pull helpsteer2"),
        (CivilCommentsSource(), r"Civil Comments \(https://www.kaggle.com/"),
    ],
)
def test_a_corpus_that_is_not_here_says_where_it_is(spec: SourceSpec, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load_source(spec, data_dir=tmp_path)


def test_a_published_file_is_found_in_a_data_folder(write: Write, tmp_path: Path) -> None:
    text, _ = popquorn(items=3, rows=24)
    write("popquorn/offensiveness/raw_data.csv", text)
    assert len(load_source(PopquornSource(), data_dir=tmp_path)) == 3


def test_origins_that_cannot_be() -> None:
    with pytest.raises(SpecError, match="POPQUORN has no copy with annotations on the hub"):
        PopquornSource.parse({"source": "popquorn", "hub": True}, "a study")
    with pytest.raises(SpecError, match="give one of 'path' and 'hub'"):
        GoEmotionsSource.parse({"source": "goemotions", "hub": True, "path": "x.csv"}, "a study")
    with pytest.raises(SpecError, match="there is no label 'toxicty'; did you mean 'toxicity'"):
        CivilCommentsSource.parse({"source": "civil_comments", "label": "toxicty"}, "a study")


HOSTILE: dict[str, object] = {
    "header alone": "instance_id,user_id,text,offensiveness\n",
    "no ratings": "instance_id,user_id,text,offensiveness\n1,2,t,\n",
    "two texts": "instance_id,user_id,text,offensiveness\n1,2,t,1\n1,3,u,2\n",
    "a cell too many": "instance_id,user_id,text,offensiveness\n1,2,t,1,1\n",
    "words": "instance_id,user_id,text,offensiveness\n1,2,t,very\n",
    "infinite": "instance_id,user_id,text,offensiveness\n1,2,t,inf\n",
    "no id": "instance_id,user_id,text,offensiveness\n,2,t,1\n",
    "emotions of words": "text,id,rater_id,example_very_unclear,anger,joy\nt,a,1,False,much,0\n",
    "no emotions": "text,id,rater_id,example_very_unclear,x,y\nt,a,1,False,1,0\n",
    "all unclear": "text,id,rater_id,example_very_unclear,anger,joy\nt,a,1,True,1,0\n",
    "worker's words": "id,worker,toxic,comment_text\n1,2,often,t\n",
    "null bytes": b"id,worker,toxic,comment_text\n1,2,1,\x00\n",
    "votes of words": json.dumps({"chosen": "a", "rejected": "b", "votes": "many"}),
    "negative votes": json.dumps({"chosen": "a", "rejected": "b", "votes": [-1, 2]}),
    "an answer that is a number": json.dumps({"chosen": 1, "rejected": "b", "votes": [1, 2]}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_rubbish_is_refused_in_words(write: Write, case: str) -> None:
    content = HOSTILE[case]
    name = "x.jsonl" if isinstance(content, str) and content.startswith("{") else "x.csv"
    with pytest.raises(DataError) as error:
        sniff(write(name, content))
    assert name in str(error.value)
