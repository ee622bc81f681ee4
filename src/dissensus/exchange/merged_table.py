"""The table that joined annotations are written as: one row per answer, in JSONL, and the YAML that reads it.

Columns: `item`, `annotator`, `annotation` (a label, or a list of several), `round`, `file` (which an answer came from;
null where no merge brought it), `gold` where the old data published gold labels, and the text fields. An item without
an answer has a row with an empty annotation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.answers import Answer, AnswerRules
from dissensus.data.sources.long_form import read_long
from dissensus.data.sources.table import TableSource, TextReader
from dissensus.data.sources.tabular import read_table
from dissensus.errors import DataError
from dissensus.exchange.merging import Merged, OldAnnotations, file_cell, in_whole_rounds, multiset

_NAMES = ("item", "annotator", "annotation", "round", "file", "gold")


def earlier_merge(old: OldAnnotations, path: Path) -> OldAnnotations:
    """The same data set with the answers of a table that an earlier merge wrote.

    Raises:
        DataError: the file is no such table, or has other items.
    """
    names = _names(old.dataset)
    try:
        table = read_table(path)
        found = set(names.values()) <= {*table.columns, names["gold"]}
    except DataError:
        found = False
    if not found:
        raise DataError(
            f"{path} is there and is no table that `dissensus merge` wrote; it is left as it is. Give another --out"
        )
    spec = TableSource.model_validate({**_columns(old, names), "path": str(path.absolute())})
    _, read, _ = read_long(table, spec, TextReader(spec, None, table))
    if other := next((answer for answer in read if answer.item not in old.dataset), None):
        raise DataError(
            f"{path}, {other.place}: the item {other.item!r} is not among the {len(old.dataset)} of the study. Is it "
            "the table of another study? Give another --out"
        )
    answers, _ = in_whole_rounds(read)
    by_place = {record.place: file_cell(record.values.get(names["file"])) for record in table.records}
    lost = multiset(old.answers) - multiset(answers)
    if lost:
        (item, who, _), n = next(iter(lost.items()))
        raise DataError(
            f"{path} lacks {lost.total()} answers that the study's data have, e.g. {n} by {who or 'somebody'} to "
            f"{item!r}. Give another --out, so that nothing is lost"
        )
    return replace(old, answers=answers, files=tuple(by_place[answer.place] for answer in answers))


def merged_text(merged: Merged) -> str:
    """The table, as JSONL."""
    dataset = merged.old.dataset
    names = _names(dataset)
    by_item: dict[str, list[tuple[Answer, str]]] = {item: [] for item in dataset.ids}
    for answer, name in zip(merged.answers, merged.files, strict=True):
        by_item[answer.item].append((answer, name))
    lines = []
    for example in dataset:
        gold = None if example.gold is None else dataset.labels[example.gold]
        shared = {**({names["gold"]: gold} if merged.old.published_gold else {}), **example.text}
        for answer, name in by_item[example.id] or [(Answer(example.id, "", (), round="1"), "")]:
            label: str | list[str] | None = list(answer.labels) if len(answer.labels) > 1 else None
            row = {
                names["item"]: example.id,
                names["annotator"]: answer.annotator or None,
                names["annotation"]: label or next(iter(answer.labels), None),
                names["round"]: int(answer.round),
                names["file"]: name or None,
                **shared,
            }
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(lines)


def unknown_text(merged: Merged) -> str:
    """The answers that were not merged, as JSONL; '' where there is none."""
    rows = (
        {"item_id": answer.item, "annotator": answer.annotator or None, "annotation": list(answer.labels)}
        for answer in merged.unknown
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def tracked_block(old: OldAnnotations, path: Path) -> str:
    """YAML of a study's `tracked:` key that reads the table at `path`."""
    keys = {**_columns(old, _names(old.dataset)), "path": str(path.absolute())}
    text: str = yaml.safe_dump(
        {"tracked": keys}, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=None
    )
    return text


def _columns(old: OldAnnotations, names: Mapping[str, str]) -> dict[str, object]:
    """Keys of the `table` source that reads the table, but for its path."""
    rules = old.rules.model_dump(mode="json", include=set(AnswerRules.model_fields), exclude_defaults=True)
    return {
        **{"source": "table", "path": ""},
        **{key: names[key] for key in ("item", "annotator", "annotation", "round")},
        **({"gold": names["gold"]} if old.published_gold else {}),
        "text": list(old.dataset.fields),
        **{key: value for key, value in rules.items() if key != "source"},
    }


def _names(dataset: AnnotatedDataset) -> dict[str, str]:
    """Names of the columns beside the texts; one that is a text field's gets another."""
    return {name: f"merged_{name}" if name in dataset.fields else name for name in _NAMES}
