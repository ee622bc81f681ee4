"""Recognising the format of a data file from its first record, so that it can be checked without a study."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources import chaosnli, lewidi, nli, table
from dissensus.data.sources.reading import Record, read_json, shown
from dissensus.data.sources.table import TableSource
from dissensus.errors import DataError

# Conventional column names, best first. Compared without case, with spaces and hyphens as underscores.
_IDS = ("id", "uid", "pairid", "pair_id", "guid", "example_id", "item_id", "idx")
_TEXTS = (
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("context", "statement"),
    ("context", "response"),
    ("question1", "question2"),
    ("text",),
    ("sentence",),
    ("tweet",),
    ("comment",),
    ("post",),
)
_GOLDS = ("gold", "gold_label", "hard_label", "label", "majority_label")
_COUNTS = ("label_count", "label_counts", "counts", "votes")
_ANNOTATIONS = ("annotations", "annotator_labels", "annotation", "labels")
_DISTRIBUTIONS = ("label_dist", "soft_label", "distribution")
_NUMBERS = ("annotators", "n_annotators", "number_of_annotations", "num_annotators", "n")
_ONE_EACH = re.compile(r"(annotator|ann|rater|annotation|label|coder)_?\d+")


def sniff(path: Path) -> AnnotatedDataset:
    """Load a file whose format is not named.

    Recognised, in this order: LeWiDi JSON, ChaosNLI JSONL, published SNLI/MNLI JSONL, the derived SNLI pool, and a
    table with conventional column names (premise and hypothesis, text, sentence; gold, gold_label, label;
    label_count, annotations, annotator1 ...). The notes of the data set say what was recognised.

    Raises:
        DataError: the file is missing or malformed, or its columns are not conventional ones; the message then
            says how to name them in a study.
    """
    if not path.is_file():
        raise DataError(f"the data file {path} does not exist{' (it is a folder)' if path.is_dir() else ''}")
    if path.suffix.lower() == ".json" and _starts_with_object(path):
        document = read_json(path)
        if _is_lewidi(document):
            return _noted(lewidi.read([(None, path)], name=path.stem), "LeWiDi harmonised JSON")
        if not {"label_count", "text", "gold_label", "premise"} & document.keys():
            raise DataError(
                f"{path} holds one JSON object, but its items are not LeWiDi's (with 'text' and 'annotations'); its "
                f"keys begin: {', '.join(list(document)[:5])}. For a table, write one object per line, as .jsonl"
            )
    records = table.read_records(path)
    first = next(iter(records), None)
    if first is None:
        raise DataError(f"{path} has no rows")
    keys = set(first.values)
    if {"label_count", "example"} <= keys:
        example = first.values["example"]
        alpha = isinstance(example, Mapping) and "obs1" in example
        part: Literal["snli", "mnli", "alphanli"]
        part = "alphanli" if alpha else "mnli" if "mnli" in path.name.casefold() else "snli"
        return _noted(chaosnli.read(path, part=part), f"ChaosNLI JSONL ({part})")
    name = path.name.partition(".")[0]
    if {"gold_label", "sentence1", "sentence2"} <= keys:
        return _noted(nli.read([path], name=name), "SNLI/MNLI JSONL")
    if {"id", "premise", "hypothesis", "label", "split"} <= keys and not keys & {*_COUNTS, *_ANNOTATIONS}:
        return _noted(nli.read([path], name=name), "an SNLI pool")
    spec = conventional_columns(first)
    dataset = table.build(chain([first], records), spec, name=name)
    columns = spec.model_dump(exclude_defaults=True, mode="json", exclude={"path", "separator"})
    return _noted(dataset, f"a table; columns taken: {', '.join(f'{k} = {v}' for k, v in columns.items())}")


def conventional_columns(record: Record) -> TableSource:
    """The columns of a table, guessed from one of its records by their names.

    Raises:
        DataError: no text column or no label information has a conventional name.
    """
    names = {_normal(column): column for column in record.values}
    text = next((tuple(names[t] for t in group) for group in _TEXTS if all(t in names for t in group)), None)
    one_each = tuple(column for key, column in names.items() if _ONE_EACH.fullmatch(key))
    guessed: dict[str, Any] = {
        "id": _first(names, _IDS),
        "gold": _first(names, _GOLDS),
    }
    counts, annotations = _first(names, _COUNTS), _first(names, _ANNOTATIONS)
    distribution, number = _first(names, _DISTRIBUTIONS), _first(names, _NUMBERS)
    if counts is not None:
        guessed["counts"] = counts
        guessed["labels"] = _labels_of_list(record, counts, guessed["gold"])
    elif annotations is not None:
        guessed["annotations"] = (annotations,)
    elif len(one_each) > 1:
        guessed["annotations"] = one_each
    elif distribution is not None and number is not None:
        guessed["distribution"], guessed["annotators"] = distribution, number
        guessed["labels"] = _labels_of_list(record, distribution, guessed["gold"])
    if text is None or (
        guessed["gold"] is None and not guessed.keys() & {"counts", "annotations", "distribution"}
    ):
        lacking = "text" if text is None else "labels"
        raise DataError(
            f"{record.path}: no column for the {lacking} has a name that is known; the columns are: "
            f"{', '.join(record.values)}. {_HOW}"
        )
    settings = {key: value for key, value in guessed.items() if value is not None}
    return TableSource.parse(
        {"source": "table", "path": str(record.path), "text": text, **settings}, str(record.path)
    )


_HOW = (
    "Name them in a study: `tracked: {source: table, path: FILE, text: [COLUMN, ...], gold: COLUMN, ...}` with one "
    "of annotations, counts, or distribution and annotators"
)


def _labels_of_list(record: Record, column: str, gold: str | None) -> tuple[str, ...] | None:
    """Names for the entries of a list; a mapping brings its own. Only numbers can be guessed."""
    value = record.values[column]
    if isinstance(value, str) and value.lstrip().startswith("["):
        size = value.count(",") + 1
    elif isinstance(value, list | tuple):
        size = len(value)
    else:
        return None
    if gold is not None and not str(record.values[gold]).isdigit():
        raise DataError(
            f"{record.path}: {column!r} is a list, {shown(value)}, and gold labels are names such as "
            f"{record.values[gold]!r}, so the order of the labels is not known. Name it in a study: "
            "`tracked: {source: table, path: FILE, labels: [FIRST, SECOND, ...], counts: COLUMN, ...}`"
        )
    return tuple(str(k) for k in range(size))


def _first(names: Mapping[str, str], wanted: Sequence[str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _normal(column: str) -> str:
    return re.sub(r"[\s-]+", "_", str(column).strip()).casefold()


def _starts_with_object(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and not _one_object_a_line(
            path
        )


def _one_object_a_line(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.readline().rstrip().endswith(b"}") and handle.readline().lstrip().startswith(b"{")


def _is_lewidi(document: Any) -> bool:
    items = list(document.values())[:1] if isinstance(document, Mapping) else []
    return any(
        isinstance(i, Mapping) and "text" in i and {"annotations", "soft_label"} & i.keys() for i in items
    )


def _noted(dataset: AnnotatedDataset, format_name: str) -> AnnotatedDataset:
    return AnnotatedDataset(
        dataset.name, dataset.labels, dataset.examples, (f"read as {format_name}", *dataset.notes)
    )
