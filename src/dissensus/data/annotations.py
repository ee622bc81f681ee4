"""Examples with the labels that many annotators gave them.

An example has a stable id, named text fields, a gold label and, for each label, how many annotators chose it.
Everything downstream joins by id; nothing relies on row positions.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dissensus.data.conversations import Messages, chat_of, messages_of, read_aloud
from dissensus.data.notes import AS_MANY, tie_notes
from dissensus.data.spelling import alike
from dissensus.display import cut, html_table
from dissensus.errors import DataError

NO_GOLD = -1
"""Stands in integer arrays of gold labels where an example has none."""


MOST_ANNOTATORS = 1e9
"""Counts are below it: above, they are no people, and their sums lose the ones."""


@dataclass(frozen=True, slots=True)
class Example:
    """One example.

    Attributes:
        id: stable, unique in its data set.
        text: field name -> text, in reading order (one text; premise and hypothesis; any named fields).
        gold: index into the data set's labels, or None.
        counts: annotators who chose each label, in label order; all zero when nobody was asked. Not
            necessarily whole numbers: a published distribution times its n may be fractional.
        annotations: (annotator id, label index) pairs where annotators are known by name.
        extra: further facts of the corpus (a split, a latent truth), kept as they are.
        messages: field name -> its messages, of a field that holds a conversation; its text says the same to a reader.
        chat: what the row says to the tokenizer's chat template (`tools`, and its own keyword arguments).
    """

    id: str
    text: Mapping[str, str]
    gold: int | None
    counts: tuple[float, ...]
    annotations: tuple[tuple[str, int], ...] = ()
    extra: Mapping[str, str | float | bool] = field(default_factory=dict)
    messages: Mapping[str, Messages] = field(default_factory=dict)
    chat: Mapping[str, Any] = field(default_factory=dict)

    @property
    def joined_text(self) -> str:
        """All fields as one string: what "the same text" means when overlap is checked."""
        return "\x1f".join(" ".join(value.split()).casefold() for value in self.text.values())


@dataclass(frozen=True, repr=False)
class AnnotatedDataset:
    """A validated, ordered collection of examples over one set of labels.

    Attributes:
        name: in tables and messages.
        labels: label names; their order is that of every count and index.
        examples: in order.
        notes: what a loader has to say: which file form was read, how many records were left out. Not part of
            the fingerprint.
        scale: 'ordinal' where the labels are steps of a scale, lowest first; else 'nominal'.
        annotator_facts: what is known of annotators, by name (age, education, as the corpus has it). Not part of the
            fingerprint.

    Raises `DataError` on construction when ids repeat, a text field is missing, a gold label or the counts do
    not fit the labels.
    """

    name: str
    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    scale: Literal["nominal", "ordinal"] = "nominal"
    annotator_facts: Mapping[str, Mapping[str, str | float | bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise DataError(f"data set {self.name!r} has labels {list(self.labels)}; at least two are needed")
        if len(set(self.labels)) < len(self.labels):
            raise DataError(f"data set {self.name!r} names a label twice: {list(self.labels)}")
        if not self.examples:
            raise DataError(f"data set {self.name!r} is empty")
        fields = tuple(self.examples[0].text)
        for example in self.examples:
            _check(example, self.name, self.labels, fields)
        repeated = [i for i, n in Counter(e.id for e in self.examples).items() if n > 1]
        if repeated:
            shown = ", ".join(map(repr, repeated[:3]))
            raise DataError(
                f"data set {self.name!r} has {len(repeated)} repeated id(s), e.g. {shown}; ids must be unique "
                "because everything is joined by id"
            )

    def __len__(self) -> int:
        return len(self.examples)

    def __repr__(self) -> str:
        return f"AnnotatedDataset({'; '.join(words for _, words in self._summary())})"

    def _repr_html_(self) -> str:
        return html_table(f"AnnotatedDataset {self.name}", self._summary()[1:])

    def _summary(self) -> tuple[tuple[str, str], ...]:
        """(name, words) of what is shown of it."""
        answers = sum(sum(example.counts) for example in self.examples)
        return (
            ("name", cut(self.name)),
            ("examples", f"{len(self)} examples"),
            ("text fields", cut(f"text: {', '.join(self.fields)}", 120)),
            ("labels", cut(f"{len(self.labels)} labels: {', '.join(self.labels)}", 120)),
            ("annotations", f"{answers / len(self):.4g} annotations per example"),
        )

    def __iter__(self) -> Iterator[Example]:
        return iter(self.examples)

    def __getitem__(self, example_id: str) -> Example:
        try:
            return self.examples[self._position[example_id]]
        except KeyError:
            raise DataError(f"data set {self.name!r} has no example with id {example_id!r}") from None

    def __contains__(self, example_id: object) -> bool:
        return example_id in self._position

    @cached_property
    def _position(self) -> dict[str, int]:
        return {example.id: i for i, example in enumerate(self.examples)}

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids in order."""
        return tuple(example.id for example in self.examples)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the text fields, in reading order."""
        return tuple(self.examples[0].text)

    @property
    def gold(self) -> NDArray[np.int64]:
        """Gold label indices, shape (n,); `NO_GOLD` where there is none."""
        return np.array([NO_GOLD if e.gold is None else e.gold for e in self.examples], dtype=np.int64)

    @property
    def counts(self) -> NDArray[np.float64]:
        """Label counts, shape (n, K)."""
        return np.array([e.counts for e in self.examples], dtype=np.float64)

    @property
    def values(self) -> NDArray[np.float64]:
        """Where each label lies on an ordinal scale, shape (K,): its number, or its place where one is no number."""
        try:
            return np.array([float(label) for label in self.labels])
        except ValueError:
            return np.arange(len(self.labels), dtype=np.float64)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over labels, ids, texts, gold labels and counts, in order; and an ordinal scale."""
        digest = hashlib.sha256(json.dumps(self.labels).encode())
        if self.scale == "ordinal":
            digest.update(b"ordinal")
        for e in self.examples:
            row: list[Any] = [e.id, list(e.text.items()), e.gold, list(e.counts)]
            if e.messages or e.chat:
                row += [dict(e.messages), dict(e.chat)]
            digest.update(json.dumps(row, ensure_ascii=False, default=str).encode())
        return digest.hexdigest()

    def subset(self, ids: Iterable[str], name: str | None = None) -> AnnotatedDataset:
        """The examples with these ids, in the order of `ids`."""
        return replace(self, name=name or self.name, examples=tuple(self[i] for i in ids))

    @classmethod
    def from_records(
        cls,
        records: Iterable[Mapping[str, object]],
        *,
        labels: Sequence[str],
        text: Sequence[str],
        name: str = "data",
        id: str = "id",
        gold: str | None = "gold",
        counts: str = "counts",
    ) -> AnnotatedDataset:
        """Build from dictionaries already in memory.

        Args:
            records: one mapping per example. Of a conversation, `tools` and `chat_template_kwargs` are kept for the
                tokenizer's chat template.
            labels: label names; fixes the order of counts.
            text: keys of the text fields, in reading order: each a string, or the messages of a conversation (a list of
                mappings with `role` and `content`).
            name: of the data set.
            id: key of the id.
            gold: key of the gold label (a label name); None takes the majority of the counts.
            counts: key of the counts: a mapping from label name, or a sequence in label order.

        Raises:
            DataError: a key is missing, or its value is no text, id, label or count.
        """
        names = tuple(_said(label, f"{name!r} is given the label") for label in labels)
        position = {label: i for i, label in enumerate(names)}
        examples = []
        for number, record in enumerate(records, 1):
            missing = [key for key in (id, *text, counts, *([gold] if gold else [])) if key not in record]
            if missing:
                raise DataError(
                    f"record {number} of {name!r} lacks {missing[0]!r}; it has: {', '.join(map(str, record))}"
                )
            where = f"record {number} of {name!r}"
            stored = record[counts]
            try:
                if isinstance(stored, Mapping):
                    stored = {_said(k, f"{where} counts the label"): v for k, v in stored.items()}
                    unknown = [k for k in stored if k not in position]
                    if unknown:
                        raise DataError(
                            f"record {number} of {name!r} counts the label {unknown[0]!r}; labels: {', '.join(names)}"
                        )
                    row = {k: float(v) for k, v in stored.items()}
                    values = tuple(row.get(label, 0.0) for label in names)
                else:
                    values = tuple(float(v) for v in stored)  # type: ignore[attr-defined]
            except (TypeError, ValueError):
                raise DataError(
                    f"record {number} of {name!r} has counts {stored!r}; expected a mapping from label to number, "
                    "or one number per label"
                ) from None
            label = None if gold is None else _said(record[gold], f"{where} has the gold label")
            if label is not None and label not in position:
                raise DataError(
                    f"record {number} of {name!r} has the gold label {label!r}; labels: {', '.join(names)}"
                )
            messages = {key: chat for key in text if (chat := messages_of(record[key])) is not None}
            examples.append(
                Example(
                    id=_said(record[id], f"{where} has the {id!r}"),
                    text={
                        key: read_aloud(messages[key]) if key in messages else _text(record[key], key, where)
                        for key in text
                    },
                    gold=majority(values) if label is None else position[label],
                    counts=values,
                    messages=messages,
                    chat=chat_of(record, where) if messages else {},
                )
            )
        notes = tie_notes((example.counts for example in examples), names) if gold is None else ()
        same = [
            f"the labels {' and '.join(map(repr, twins))} differ in spelling alone, and are counted as different labels"
            for twins in alike(names)
        ]
        return cls(name, names, tuple(examples), (*same, *notes))


def majority(counts: Sequence[float]) -> int | None:
    """Index of the most frequent label; None when nobody answered. A tie goes to the first label in order."""
    if not counts or sum(counts) <= 0:
        return None
    exact = np.asarray(counts, dtype=np.float64)
    return int(np.argmax(exact >= exact.max() * AS_MANY))


def _text(value: object, key: str, where: str) -> str:
    if isinstance(value, str):
        return str(value)
    words = "nothing" if _is_nothing(value) else repr(value)[:60]
    raise DataError(
        f"{where} has {words} ({type(value).__name__}) in the text field {key!r}; expected a text, or the messages of "
        "a conversation (a list of mappings with 'role' and 'content'). Leave the record out, or give it a text"
    )


def _said(value: object, where: str) -> str:
    """A name (an id, a label) as text; numbers are names as well, nothing is none."""
    if _is_nothing(value):
        raise DataError(f"{where} {value!r} ({type(value).__name__}); expected a text or a number")
    return str(value)


def _is_nothing(value: object) -> bool:
    return value is None or (isinstance(value, float | np.floating) and value != value)


def _check(example: Example, name: str, labels: tuple[str, ...], fields: tuple[str, ...]) -> None:
    where = f"example {example.id!r} of data set {name!r}"
    if not example.id:
        raise DataError(
            f"an example of data set {name!r} has an empty id; text: {example.joined_text[:60]!r}"
        )
    if not fields or tuple(example.text) != fields:
        raise DataError(
            f"{where} has the text fields {list(example.text)}; the data set's are {list(fields)}"
        )
    if example.gold is not None and not 0 <= example.gold < len(labels):
        raise DataError(f"{where} has gold label index {example.gold}; expected 0 to {len(labels) - 1}")
    if len(example.counts) != len(labels):
        raise DataError(
            f"{where} has {len(example.counts)} label counts; expected one for each of {list(labels)}"
        )
    if not all(0 <= c < MOST_ANNOTATORS for c in example.counts):
        raise DataError(
            f"{where} has label counts {example.counts}; expected finite numbers of at least 0, below 1e9"
        )
