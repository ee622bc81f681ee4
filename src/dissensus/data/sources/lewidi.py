"""The harmonised JSON of the Learning With Disagreements shared tasks (Leonardelli et al., SemEval-2023 task 11).

One JSON object per item, keyed by the item's number within its split. What varies between the corpora, and is read:

- `annotations`: a comma-separated string in the order of `annotators`, or a mapping from annotator to label.
  An annotator who gave several labels ("entailment,neutral") counts 1/k for each of them.
- `text`: one text, or several (a mapping, or a JSON object inside a string), as in dialogue corpora.
- `hard_label` is the gold label; where it is missing or empty, the majority of the annotations is.
- where `annotations` is missing, or speaks of other labels than `soft_label` does, `soft_label` times
  `number of annotations` gives the counts.

Ids are unique within a split only, so they get the split in front: `train-17`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dissensus.config.sources import SourceSpec
from dissensus.data.annotations import AnnotatedDataset, Example, majority
from dissensus.data.notes import is_tie, tie_note
from dissensus.data.sources.base import FileSample, PublishedData, Recognised, RemoteFile, Source
from dissensus.data.sources.paths import find_file, resolve_path
from dissensus.data.sources.reading import (
    Record,
    label_name,
    not_shares,
    read_json,
    shown,
    sorted_labels,
    whole_if_near,
)
from dissensus.errors import DataError

_ADDRESS = (
    "https://raw.githubusercontent.com/Le-Wi-Di/le-wi-di.github.io/"
    "45d7b06e4c36b59472d6bdf9281f7f1e395eb0e0/LeWiDi_2-2023/"
)
_FILES = {
    "ArMIS_dataset/ArMIS_dev.json": "482112222496c64a704ea22f710bf184196beee848f5109406e3ca6196502526",
    "ArMIS_dataset/ArMIS_test.json": "95498bb854fe476ee33a88cfecb3b05f26e0e1baef6c1083072a56b61586c06a",
    "ArMIS_dataset/ArMIS_train.json": "549dcd92484fa916e4b8076476fba451cda09b8dca0ba501e70cf5a72c1397f7",
    "ConvAbuse_dataset/ConvAbuse_dev.json": "d95f9e740b07076e070ed47a8e010894d7cdbacb3246c89a000c26a17c61a04e",
    "ConvAbuse_dataset/ConvAbuse_test.json": "4a88c6cf2530eb3610bd1e9e7291916ad7fdaedc01dca4e68bcc3e846310afd9",
    "ConvAbuse_dataset/ConvAbuse_train.json": "f68d9c1e234afaf7e582103daac4e0f362da6418be3ff38e6cce76cfa3b674fc",
    "HS-Brexit_dataset/HS-Brexit_dev.json": "77c17f95985cbb6db47ffcda637e717a9074f2660e15b5c0c1f9006f50da60a7",
    "HS-Brexit_dataset/HS-Brexit_test.json": "24e5e1615818ff6e3b96e50245cfe10636ef8ec0ea51f2c2a60acb68858fd195",
    "HS-Brexit_dataset/HS-Brexit_train.json": "d204d83c7b1a73f037b3aff36aac61357c08a96f96292a37ac7655eb562d81fb",
    "MD-Agreement_dataset/MD-Agreement_dev.json": "b42b6b54015589504de259241e14c17ff605baab4eb146effcb17a95fbfd69f5",
    "MD-Agreement_dataset/MD-Agreement_test.json": "a30f185ece8bc99a45ce50e0311593ee1a6882a816c93f6915cabd368f3fad53",
    "MD-Agreement_dataset/MD-Agreement_train.json": "0b100595f7d10fd9b4624c647af2888597472b2dea90643dc788278714f57a6d",
}
PUBLISHED = PublishedData(
    name="lewidi",
    what="Learning With Disagreements, 2nd edition: MD-Agreement, HS-Brexit, ConvAbuse, ArMIS",
    licence="research use; see each corpus",
    citation="Leonardelli et al., SemEval-2023 task 11, and each corpus' own paper",
    homepage="https://github.com/Le-Wi-Di/le-wi-di.github.io",
    files=tuple(RemoteFile(_ADDRESS + name, name, sha) for name, sha in _FILES.items()),
    expects=tuple(_FILES),
)
_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "MD-Agreement": {"0": "not offensive", "1": "offensive"},
    "HS-Brexit": {"0": "no hate speech", "1": "hate speech"},
    "ArMIS": {"0": "not misogynist", "1": "misogynist"},
}
"""Label -> meaning in those corpora whose files hold numbers. (ConvAbuse has two scales.)"""


class LeWiDiSource(SourceSpec):
    """A data set in the harmonised JSON of SemEval-2023 task 11 (Learning With Disagreements)."""

    source: Literal["lewidi"] = "lewidi"
    dataset: str = Field("MD-Agreement", description="File stem before `_train.json`.")
    splits: tuple[str, ...] = ("train",)
    path: str | None = Field(None, description="One JSON file instead of dataset and splits.")

    def in_words(self) -> str:
        """How a report names the data."""
        return f"LeWiDi {self.dataset} ({', '.join(self.splits)})"

    def label_meanings(self) -> Mapping[str, str]:
        """What the corpus' numbers mean."""
        return _MEANINGS.get(self.dataset, {})


@dataclass(frozen=True, slots=True)
class _Item:
    id: str
    text: Mapping[str, str]
    gold: str | None
    votes: tuple[tuple[str, str, float], ...]  # annotator ('' if unknown), label, weight
    soft: tuple[tuple[str, float], ...]  # label, soft label times the number of annotations
    extra: Mapping[str, str | float | bool]


def load(spec: LeWiDiSource, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load a LeWiDi corpus; see `dissensus.data.sources.load_source`."""
    if spec.path is not None:
        path = resolve_path(spec.path, data_dir)
        return read([(None, path)], name=path.stem)
    if len(set(spec.splits)) < len(spec.splits) or not spec.splits:
        raise DataError(f"splits of {spec.dataset} must be given, each once; given: {list(spec.splits)}")
    parts: list[tuple[str | None, Path]] = []
    for split in spec.splits:
        file = f"{spec.dataset}_{split}.json"
        folders = ("lewidi/", f"lewidi/{spec.dataset}/", f"lewidi/{spec.dataset}_dataset/", "")
        description = f"the LeWiDi file {file}"
        parts.append(
            (split, find_file([f + file for f in folders], data_dir, what=description, published=PUBLISHED))
        )
    return read(parts, name=f"{spec.dataset}-{'+'.join(spec.splits)}")


def read(parts: Sequence[tuple[str | None, Path]], *, name: str) -> AnnotatedDataset:
    """Read (split, file) pairs into one data set; a split of None takes the one that each item names.

    Labels are those seen in annotations, hard and soft labels, in order (by number where all are numbers).

    Raises:
        DataError: a file is not in the harmonised format, or an id repeats within a split.
    """
    items = [item for split, path in parts for item in _items(path, split)]
    notes = []
    # Some corpora annotate on a finer scale than that of their hard and soft labels (ConvAbuse: -3 to 1, against
    # 0 and 1, where an annotated 1 means the opposite of a hard 1). Gold and counts must speak of the same labels.
    offered = {label for item in items for label, _ in item.soft}
    voted = {label for item in items for _, label, _ in item.votes}
    if offered and not voted <= offered:
        notes.append(
            f"annotations use the labels {', '.join(sorted_labels(voted))}, hard and soft labels "
            f"{', '.join(sorted_labels(offered))}: counts are soft labels times n, the number of annotations"
        )
        items = [replace(item, votes=()) for item in items]
    elif recounted := sum(not item.votes and bool(item.soft) for item in items):
        notes.append(f"{recounted} items without annotations: counts are soft labels times n")
    items = [item if item.votes else replace(item, votes=_unnamed(item.soft)) for item in items]
    golds = {item.gold for item in items if item.gold is not None}
    labels = sorted_labels({label for item in items for _, label, _ in item.votes} | offered | golds)
    position = {label: i for i, label in enumerate(labels)}
    fields = tuple(dict.fromkeys(key for item in items for key in item.text))
    examples, by_majority, ties, bare = [], 0, 0, 0
    for item in items:
        counts = [0.0] * len(labels)
        for _, label, weight in item.votes:
            counts[position[label]] += weight
        if item.gold is None:
            by_majority += 1
            ties += is_tie(counts)
        bare += not item.votes
        examples.append(
            Example(
                id=item.id,
                text={key: item.text.get(key, "") for key in fields},
                gold=majority(counts) if item.gold is None else position[item.gold],
                counts=tuple(counts),
                annotations=tuple((who, position[label]) for who, label, _ in item.votes if who),
                extra=item.extra,
            )
        )
    if by_majority:
        notes.append(f"{by_majority} items without a hard label took the majority")
    if ties:
        notes.append(tie_note(ties, labels))
    if bare:
        notes.append(f"{bare} items have no annotations")
    return AnnotatedDataset(name, labels, tuple(examples), notes=tuple(notes))


def _unnamed(soft: tuple[tuple[str, float], ...]) -> tuple[tuple[str, str, float], ...]:
    return tuple(("", label, count) for label, count in soft if count > 0)


def _items(path: Path, split: str | None) -> list[_Item]:
    document = read_json(path)
    if not isinstance(document, dict) or not document:
        raise DataError(
            f"{path}: expected one JSON object that maps item numbers to items, and at least one item"
        )
    records = []
    for key, values in document.items():
        place = f"item {key!r}"
        if not isinstance(values, dict):
            raise DataError(
                f"{path}, {place}: it is {shown(values)}; expected an object with text and annotations"
            )
        records.append(Record(path, place, values))
    texts = _texts(records)
    return [
        _item(record, key, split, text) for key, record, text in zip(document, records, texts, strict=True)
    ]


def _texts(records: Sequence[Record]) -> list[Mapping[str, str]]:
    """Each item's text fields. A string that holds a JSON object is several texts only if every one in the file is."""
    texts = [record.need("text") for record in records]
    if all(isinstance(text, str) for text in texts):
        parsed = [_as_object(text) for text in texts]
        if any(p is None for p in parsed):
            return [{"text": text} for text in texts]
        texts = parsed
    out: list[Mapping[str, str]] = []
    for record, text in zip(records, texts, strict=True):
        if not isinstance(text, Mapping) or not text:
            raise record.error(
                f"'text' is {shown(text)}; expected a text, or an object with named texts, as elsewhere"
            )
        wrong = [key for key, value in text.items() if value is not None and not isinstance(value, str)]
        if wrong:
            raise record.error(f"'text' has {wrong[0]!r} = {shown(text[wrong[0]])}; expected a text")
        out.append({str(key): value or "" for key, value in text.items()})
    return out


def _as_object(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _item(record: Record, key: str, split: str | None, text: Mapping[str, str]) -> _Item:
    own_split = label_name(record.values.get("split"))
    prefix = split or own_split
    votes = _votes(record)
    gold = label_name(record.values.get("hard_label"))
    soft = _soft_label(record, len(votes))
    extra: dict[str, str | float | bool] = {}
    if prefix:
        extra["split"] = prefix
    others = record.values.get("other_info")
    for name, value in (
        *(others.items() if isinstance(others, Mapping) else ()),
        ("lang", record.values.get("lang")),
    ):
        if isinstance(value, str | int | float | bool):
            extra[str(name)] = value
    return _Item(
        id=f"{prefix}-{key}" if prefix else key,
        text=text,
        gold=gold,
        votes=votes,
        soft=soft,
        extra=extra,
    )


def _votes(record: Record) -> tuple[tuple[str, str, float], ...]:
    stored = record.values.get("annotations")
    names = record.values.get("annotators")
    if stored is None:
        return ()
    if isinstance(stored, Mapping):
        votes = []
        for who, answer in stored.items():
            several = _labels_of(record, answer, str(who))
            votes += [(str(who), label, 1 / len(several)) for label in several]
        return tuple(votes)
    if isinstance(stored, int | float):
        stored = label_name(stored)
    if not isinstance(stored, str):
        raise record.error(
            f"'annotations' is {shown(stored)}; expected labels with commas between them, or a mapping by annotator"
        )
    if not stored.strip():
        return ()
    answers = stored.split(",")
    who_said = names.split(",") if isinstance(names, str) and names.strip() else [""] * len(answers)
    if len(who_said) != len(answers):
        raise record.error(
            f"there are {len(answers)} annotations but {len(who_said)} annotators; expected one each"
        )
    pairs = zip(who_said, map(label_name, answers), strict=True)
    return tuple((who.strip(), label, 1.0) for who, label in pairs if label is not None)


def _labels_of(record: Record, answer: object, who: str) -> list[str]:
    if isinstance(answer, str):
        return [label for label in map(label_name, answer.split(",")) if label is not None]
    if answer is None:
        return []
    label = label_name(answer)
    if label is None:
        raise record.error(f"the annotation of {who!r} is {shown(answer)}; expected a label")
    return [label]


def _soft_label(record: Record, votes: int) -> tuple[tuple[str, float], ...]:
    """(label, share x n) pairs, n being the number of annotations; empty without a soft label."""
    soft_label = record.values.get("soft_label")
    # A multi-label corpus gives each label its own yes/no distribution: no single distribution, so no counts.
    if not isinstance(soft_label, Mapping) or any(
        isinstance(share, Mapping) for share in soft_label.values()
    ):
        return ()
    shares: dict[str, float] = {}
    for key, share in soft_label.items():
        label = label_name(key)
        if (
            label is None
            or isinstance(share, bool)
            or not isinstance(share, int | float)
            or not 0 <= share <= 1
        ):
            raise record.error(f"'soft_label' gives {shown(key)} the share {shown(share)}; expected 0 to 1")
        shares[label] = float(share)
    if not shares:
        return ()
    wrong = not_shares(shares.values())
    if wrong:
        raise record.error(f"in 'soft_label', {wrong}")
    n = record.values.get("number of annotations", votes or None)
    if isinstance(n, bool) or not isinstance(n, int | float) or not 0 < n < 1e9:
        raise record.error(f"'number of annotations' is {shown(n)}; expected a number of at least 1")
    return tuple((label, whole_if_near(share * n)) for label, share in shares.items())


def recognise(sample: FileSample) -> Recognised | None:
    """A file in the harmonised JSON, by the fields of its items."""
    items = list((sample.document or {}).values())[:1]
    if not any(
        isinstance(i, Mapping) and "text" in i and {"annotations", "soft_label"} & i.keys() for i in items
    ):
        return None
    spec = LeWiDiSource.parse({"source": "lewidi", "path": str(sample.path)}, str(sample.path))
    return Recognised(spec, "LeWiDi harmonised JSON")


SOURCE = Source(LeWiDiSource, load, (PUBLISHED,), recognise)
