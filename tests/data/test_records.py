"""Records in memory: texts, conversations, and what is neither."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dissensus import AnnotatedDataset
from dissensus.data.conversations import messages_of
from dissensus.errors import DataError, ModelError
from dissensus.models.encoding import encode
from dissensus.record.probes.pairs import shared_prompt
from dissensus.record.probes.preferences import PreferenceProbe
from dissensus.record.probes.sequences import is_blank, text_of

TALK = [{"role": "user", "content": "is it warm"}, {"role": "assistant", "content": None, "tool_calls": [1]}]


def made(**changes: Any) -> AnnotatedDataset:
    record = {"id": "a", "text": "a dog", "gold": "x", "counts": {"x": 2, "y": 1}, **changes}
    return AnnotatedDataset.from_records([record], labels=("x", "y"), text=("text",))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, r"nothing \(NoneType\)"),
        (float("nan"), r"nothing \(float\)"),
        (np.float32("nan"), r"nothing \(float32\)"),
        (3, r"3 \(int\)"),
        ({"role": "user"}, r"\{.*\} \(dict\)"),
        (["a", "b"], r"\['a', 'b'\] \(list\)"),
        ([], r"\[\] \(list\)"),
    ],
)
def test_what_is_no_text_is_refused(value: Any, said: str) -> None:
    with pytest.raises(DataError, match=rf"record 1 of 'data' has {said} in the text field 'text'"):
        made(text=value)


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_nothing_is_no_name(nothing: Any) -> None:
    for key in ("id", "gold"):
        with pytest.raises(DataError, match=r"expected a text or a number"):
            made(**{key: nothing})
    with pytest.raises(DataError, match="counts the label"):
        made(counts={nothing: 2, "x": 1})
    rows = [{"id": "a", "text": "b", "gold": "None", "counts": [1, 1]}]
    with pytest.raises(DataError, match="is given the label"):
        AnnotatedDataset.from_records(rows, labels=(nothing, "x"), text=("text",))
    assert made(id=7).ids == ("7",)


def test_a_conversation_is_kept_and_can_be_read() -> None:
    for value in (TALK, tuple(TALK), np.array(TALK, dtype=object)):
        data = made(text=value, tools='[{"name": "look"}]', chat_template_kwargs={"loud": True})
        example = data.examples[0]
        assert list(example.messages["text"]) == TALK
        assert example.text == {"text": 'user: is it warm\nassistant: {"tool_calls": [1]}'}
        assert example.chat == {"tools": [{"name": "look"}], "loud": True}
    assert text_of(example, "{text}") == tuple(TALK)
    with pytest.raises(DataError, match=r"puts words around \{text\}, which holds messages"):
        text_of(example, "Answer: {text}")
    with pytest.raises(DataError, match="'text' of example 'a' holds messages of a conversation"):
        encode(data, None, max_length=8)  # type: ignore[arg-type]
    assert data.fingerprint != made(text=example.text["text"]).fingerprint
    assert data.fingerprint != made(text=TALK, tools='[{"name": "hear"}]').fingerprint
    with pytest.raises(DataError, match="'tools' that are no JSON"):
        made(text=TALK, tools="look")
    with pytest.raises(DataError, match="'chat_template_kwargs' of type list"):
        made(text=TALK, chat_template_kwargs=["loud"])


def test_the_fingerprint_of_texts_is_what_it_was() -> None:
    """Studies in progress know their data by it."""
    expected = "97ffaeeb235879578996815b668b691e321476a5cb81c414e1e82134f575c01a"
    assert made().fingerprint == expected


def test_a_prompt_that_both_answers_begin_with() -> None:
    assert shared_prompt("a dog is warm", "a dog is cold", "p") == ("a dog is", " warm", " cold")
    assert shared_prompt("a dog", "a dot", "p") == ("a do", "g", "t")
    with pytest.raises(DataError, match="no beginning in common"):
        shared_prompt("warm", "cold", "p")
    with pytest.raises(DataError, match="its answers are str and list"):
        shared_prompt("warm", TALK, "p")
    sides = {
        side: [*TALK, {"role": "user", "content": word}]
        for side, word in (("chosen", "x"), ("rejected", "y"))
    }
    data = PreferenceProbe.pairs([{"id": "a", **sides}], votes=None)
    assert list(data.examples[0].messages["prompt"]) == TALK
    with pytest.raises(ModelError, match=r"names \{other\}"):
        text_of(data.examples[0], "{other}")


def test_parts_of_a_message_are_its_text_and_other_kinds_are_refused() -> None:
    parts = [{"type": "text", "text": "two "}, {"type": "text", "text": "birds"}]
    (message,) = messages_of([{"role": "user", "content": parts}]) or ()
    assert message == {"role": "user", "content": "two birds"}
    with pytest.raises(DataError, match=r"content of the kinds \['image', 'text'\]; only text is scored"):
        messages_of([{"role": "user", "content": [*parts, {"type": "image", "image": "a.png"}]}])


def test_a_message_without_words_is_nothing_to_score() -> None:
    assert is_blank([{"role": "assistant", "content": ""}])
    assert is_blank([{"role": "assistant", "content": None}])
    assert not is_blank([{"role": "assistant", "content": "yes"}])
    assert not is_blank([{"role": "assistant", "content": "", "tool_calls": [{"name": "look"}]}])


def test_labels_that_differ_in_spelling_alone_are_said() -> None:
    records = [{"id": "1", "text": "t", "gold": "Yes", "counts": {"Yes": 1, "yes": 1}}]
    data = AnnotatedDataset.from_records(records, labels=["no", "Yes", "yes"], text=["text"])
    assert data.notes == (
        "the labels 'Yes' and 'yes' differ in spelling alone, and are counted as different labels",
    )


def test_a_count_that_is_no_number_of_people_is_refused() -> None:
    records = [{"id": "1", "text": "t", "gold": "a", "counts": [1e308, 1]}]
    with pytest.raises(DataError, match="below 1e9"):
        AnnotatedDataset.from_records(records, labels=["a", "b"], text=["text"])
