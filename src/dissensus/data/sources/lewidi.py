"""The harmonised JSON of the Learning With Disagreements shared tasks: SemEval-2023 task 11, and the edition of 2025.

One JSON object per item, keyed by the item's number within its split. What varies between the corpora, and is read:

- `annotations`: a comma-separated string in the order of `annotators`, or a mapping from annotator to label.
  An annotator who gave several labels ("entailment,neutral") counts 1/k for each of them.
- `text`: one text, or several (a mapping, or a JSON object inside a string), as in dialogue corpora.
- `hard_label` is the gold label; where it is missing or empty, the majority of the annotations is.
- where `annotations` is missing, or is on another scale than `soft_label`, `soft_label` times `number of annotations`
  gives the counts. Each item's annotations are compared with its own soft label.
- `X_annotators_meta.json` beside `X_train.json` says who the annotators are.

Ids are unique within a split only, so they get the split in front: `train-17`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.answers import Answer, AnswerRules, Item, Repeats, Scale, collect
from dissensus.data.sources.base import FileSample, Recognised, Source
from dissensus.data.sources.lewidi_annotators import annotator_facts, corpus_of
from dissensus.data.sources.lewidi_published import PUBLISHED, PUBLISHED_2025, publisher_of
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

_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "MD-Agreement": {"0": "not offensive", "1": "offensive"},
    "HS-Brexit": {"0": "no hate speech", "1": "hate speech"},
    "ArMIS": {"0": "not misogynist", "1": "misogynist"},
    "MP": {"0": "not ironic", "1": "ironic"},
}
"""Label -> meaning in those corpora whose files hold numbers. (ConvAbuse has two scales.)"""

_LIKERT = ("sarcasm detection", "paraphrase detection")
"""Tasks (`annotation task`) whose labels are steps of a scale: CSC and Paraphrase."""

_ROUNDED = 0.011
"""Soft labels are published with two decimals, or more."""


class LeWiDiSource(AnswerRules):
    """A data set in the harmonised JSON of Learning With Disagreements (SemEval-2023 task 11; the edition of 2025)."""

    source: Literal["lewidi"] = "lewidi"
    dataset: str = Field("MD-Agreement", description="File stem before `_train.json`.")
    splits: tuple[str, ...] = ("train",)
    path: str | None = Field(None, description="One JSON file instead of dataset and splits.")
    repeats: Repeats = Field(
        "each",
        description="An annotator's second answer to an item: each counts (as published), the last, the first, all of "
        "them (as 1/k each), or the data are refused.",
    )

    def in_words(self) -> str:
        """How a report names the data."""
        splits = "" if self.path else f" ({', '.join(self.splits)})"
        return f"LeWiDi {Path(self.path).stem if self.path else self.dataset}{splits}"

    def label_meanings(self) -> Mapping[str, str]:
        """What the corpus' numbers mean."""
        return _MEANINGS.get(corpus_of(Path(self.path)) if self.path else self.dataset, {})


@dataclass(frozen=True, slots=True)
class _Annotated:
    """An item with its annotations and its soft label, which may be on two scales.

    Attributes:
        item: id, text, gold label.
        votes: the annotations.
        soft: label -> its soft label times the number of annotations; empty without one.
        differs: the annotations are not distributed as the soft label says.
        likert: the task's labels are steps of a scale.
    """

    item: Item
    votes: tuple[Answer, ...]
    soft: Mapping[str, float]
    differs: bool
    likert: bool

    def counted_from_soft(self) -> tuple[Answer, ...]:
        """Answers of nobody by name, as many for each label as the soft label says."""
        return tuple(
            Answer(self.item.id, "", (label,), n, place=self.item.place)
            for label, n in self.soft.items()
            if n > 0
        )


def load(spec: LeWiDiSource, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load a LeWiDi corpus; see `dissensus.data.sources.load_source`."""
    if spec.path is not None:
        path = resolve_path(spec.path, data_dir)
        return read([(None, path)], spec, name=path.stem)
    if len(set(spec.splits)) < len(spec.splits) or not spec.splits:
        raise DataError(f"splits of {spec.dataset} must be given, each once; given: {list(spec.splits)}")
    parts: list[tuple[str | None, Path]] = []
    for split in spec.splits:
        file = f"{spec.dataset}_{split}.json"
        places = [
            f"{folder}{inner}{file}"
            for folder in ("lewidi/", "lewidi-2025/")
            for inner in ("", f"{spec.dataset}/", f"{spec.dataset}_dataset/")
        ]
        published = publisher_of(file)
        what = (
            f"the LeWiDi file {file}{'' if published else f' ({PUBLISHED.homepage}, folder LeWiDi_3-2025)'}"
        )
        parts.append((split, find_file([*places, file], data_dir, what=what, published=published)))
    return read(parts, spec, name=f"{spec.dataset}-{'+'.join(spec.splits)}")


def read(
    parts: Sequence[tuple[str | None, Path]], rules: AnswerRules | None = None, *, name: str
) -> AnnotatedDataset:
    """Read (split, file) pairs into one data set; a split of None takes the one that each item names.

    Labels are those seen in annotations, hard and soft labels, in order (by number where all are numbers).

    Raises:
        DataError: a file is not in the harmonised format or holds no labels, or an id repeats within a split.
    """
    annotated = [one for split, path in parts for one in _annotated(path, split)]
    where = " and ".join(str(path) for _, path in parts)
    if not any(one.votes or one.soft or one.item.gold for one in annotated):
        raise DataError(
            f"{where}: none of {len(annotated)} items has labels: 'annotations', 'soft_label' and 'hard_label' are "
            "missing or empty (or soft labels are one for each label, which does not say who chose several), as in "
            "files of an evaluation phase. Take the file that was published after it"
        )
    notes, annotated = _on_one_scale(annotated)
    if by_majority := sum(one.item.gold is None for one in annotated):
        notes.append(f"{by_majority} items without a hard label took the majority")
    if bare := sum(not one.votes for one in annotated):
        notes.append(f"{bare} items have no annotations")
    fields = tuple(dict.fromkeys(key for one in annotated for key in one.item.text))
    items = [replace(one.item, text={key: one.item.text.get(key, "") for key in fields}) for one in annotated]
    scale: Scale = "ordinal" if all(one.likert for one in annotated) else "nominal"
    facts, more = annotator_facts(parts)
    dataset = collect(
        items,
        [answer for one in annotated for answer in one.votes],
        rules or LeWiDiSource(),
        name=name,
        where=where,
        published_gold=True,
        fill_gold=True,
        scale=scale,
        labels=sorted_labels({label for one in annotated for label in one.soft}),
        notes=[*notes, *more],
    )
    return replace(dataset, annotator_facts=facts)


def _on_one_scale(annotated: Sequence[_Annotated]) -> tuple[list[str], list[_Annotated]]:
    """Items whose votes are of the same scale as gold and soft labels; what was decided, in words.

    Some corpora annotate on a finer scale than that of their hard and soft labels (ConvAbuse: -3 to 1, against 0 and 1,
    where an annotated 1 means the opposite of a hard 1). Part of such a corpus may hold 0 and 1 alone.
    """
    notes = []
    differing = [one for one in annotated if one.differs]
    if differing:
        first = differing[0]
        compared = sum(bool(one.votes and one.soft) for one in annotated)
        votes = Counter(label for answer in first.votes for label in answer.labels)
        notes.append(
            f"annotations are not distributed as the soft label of {len(differing)} of {compared} items (the first: "
            f"{first.item.id}, annotations {_counts(votes)}, soft label times n {_counts(first.soft)}), as where both "
            "are on different scales: counts are soft labels times n, the number of annotations, and who annotated is "
            "left out"
        )
        unknown = sum(bool(one.votes) and not one.soft for one in annotated)
        if unknown:
            notes.append(f"{unknown} items have annotations and no soft label; they were left without either")
        annotated = [replace(one, votes=()) for one in annotated]
    elif recounted := sum(not one.votes and bool(one.soft) for one in annotated):
        notes.append(f"{recounted} items without annotations: counts are soft labels times n")
    return notes, [one if one.votes else replace(one, votes=one.counted_from_soft()) for one in annotated]


def _counts(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{label}: {n:g}" for label, n in sorted(counts.items()))


def _annotated(path: Path, split: str | None) -> list[_Annotated]:
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
        _one(record, key, split, text) for key, record, text in zip(document, records, texts, strict=True)
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


def _one(record: Record, key: str, split: str | None, text: Mapping[str, str]) -> _Annotated:
    prefix = split or label_name(record.values.get("split"))
    item_id = f"{prefix}-{key}" if prefix else key
    votes = _votes(record, item_id)
    soft = _soft_label(record, len(votes))
    item = Item(
        item_id, text, label_name(record.values.get("hard_label")), _extra(record, prefix), record.place
    )
    likert = record.values.get("annotation task") in _LIKERT
    return _Annotated(item, votes, soft, bool(votes and soft) and _differ(votes, soft), likert)


def _extra(record: Record, split: str | None) -> dict[str, str | float | bool]:
    others = record.values.get("other_info")
    facts = dict(others) if isinstance(others, Mapping) else {}
    reasons, names = facts.get("explanations"), record.values.get("annotators")
    if isinstance(reasons, list) and isinstance(names, str) and len(reasons) == len(names.split(",")):
        said = zip(names.split(","), reasons, strict=True)
        facts["explanations"] = "\n".join(f"{who.strip()}: {str(reason).strip()}" for who, reason in said)
    facts["lang"] = record.values.get("lang")
    return {
        **({"split": split} if split else {}),
        **{str(name): value for name, value in facts.items() if isinstance(value, str | int | float | bool)},
    }


def _differ(votes: Sequence[Answer], soft: Mapping[str, float]) -> bool:
    """Whether the annotations are not distributed as the soft label says, rounding aside."""
    counts: defaultdict[str, float] = defaultdict(float)
    for answer in votes:
        for label in answer.labels:
            counts[label] += 1 / len(answer.labels)
    n, total = len(votes), sum(soft.values())
    if abs(n - total) > 0.5:  # some annotations are blank: the soft label counts others
        return False
    return any(abs(counts[label] / n - soft.get(label, 0) / total) > _ROUNDED for label in {*counts, *soft})


def _votes(record: Record, item: str) -> tuple[Answer, ...]:
    stored = record.values.get("annotations")
    names = record.values.get("annotators")
    if stored is None:
        return ()
    if isinstance(stored, Mapping):
        answers = [(str(who), _labels_of(record, answer, str(who))) for who, answer in stored.items()]
        return tuple(Answer(item, who, labels, place=record.place) for who, labels in answers if labels)
    if isinstance(stored, int | float):
        stored = label_name(stored)
    if not isinstance(stored, str):
        raise record.error(
            f"'annotations' is {shown(stored)}; expected labels with commas between them, or a mapping by annotator"
        )
    if not stored.strip():
        return ()
    said = stored.split(",")
    who_said = names.split(",") if isinstance(names, str) and names.strip() else [""] * len(said)
    if len(who_said) != len(said):
        raise record.error(
            f"there are {len(said)} annotations but {len(who_said)} annotators; expected one each"
        )
    pairs = zip(who_said, map(label_name, said), strict=True)
    return tuple(
        Answer(item, who.strip(), (label,), place=record.place) for who, label in pairs if label is not None
    )


def _labels_of(record: Record, answer: object, who: str) -> tuple[str, ...]:
    if isinstance(answer, str):
        return tuple(label for label in map(label_name, answer.split(",")) if label is not None)
    if answer is None:
        return ()
    label = label_name(answer)
    if label is None:
        raise record.error(f"the annotation of {who!r} is {shown(answer)}; expected a label")
    return (label,)


def _soft_label(record: Record, votes: int) -> dict[str, float]:
    """Label -> share x n, n being the number of annotations; empty without a soft label."""
    soft_label = record.values.get("soft_label")
    # A multi-label corpus gives each label its own yes/no distribution: no single distribution, so no counts.
    if not isinstance(soft_label, Mapping) or any(
        isinstance(share, Mapping) for share in soft_label.values()
    ):
        return {}
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
        return {}
    wrong = not_shares(shares.values())
    if wrong:
        raise record.error(f"in 'soft_label', {wrong}")
    n = record.values.get("number of annotations", votes or None)
    if isinstance(n, bool) or not isinstance(n, int | float) or not 0 < n < 1e9:
        raise record.error(f"'number of annotations' is {shown(n)}; expected a number of at least 1")
    return {label: whole_if_near(share * n) for label, share in shares.items()}


def recognise(sample: FileSample) -> Recognised | None:
    """A file in the harmonised JSON, by the fields of its items."""
    first = next(iter((sample.document or {}).values()), None)
    if not isinstance(first, Mapping) or "text" not in first:
        return None
    if not {"annotations", "soft_label", "annotators", "annotation task"} & first.keys():
        return None
    spec = LeWiDiSource.parse({"source": "lewidi", "path": str(sample.path)}, str(sample.path))
    return Recognised(spec, "LeWiDi harmonised JSON")


SOURCE = Source(LeWiDiSource, load, (PUBLISHED, PUBLISHED_2025), recognise)
