"""Tables with one row per annotation (the long form): read, and told from tables with one row per item."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dissensus.data.answers import Answer, Item, text_id
from dissensus.data.sources import cells
from dissensus.data.sources.columns import ANNOTATORS, ColumnError, normal_name
from dissensus.data.sources.reading import Record, cell_name, label_name, shown
from dissensus.data.spelling import alike, spelling_key
from dissensus.errors import DataError

if TYPE_CHECKING:
    from dissensus.data.sources.table import TableSource, TextReader
    from dissensus.data.sources.tabular import Table


def read_long(
    table: Table, spec: TableSource, texts: TextReader
) -> tuple[list[Item], list[Answer], list[str]]:
    """Items, answers and notes of a table with one row per annotation.

    Raises:
        DataError: an item has two texts or two gold labels, or no row is kept.
    """
    items: dict[str, Item] = {}
    by_text: dict[tuple[str, ...], str] = {}
    answers: list[tuple[tuple[Any, ...], Answer]] = []
    left_out: Counter[str] = Counter()
    empty = nameless = respelt = 0
    for number, record in enumerate(table.records):
        own = None if spec.item is None else record.need_name(spec.item)
        text = texts.of(record, own)
        same = tuple(map(_folded, text.values()))
        item = Item(own or by_text.setdefault(same, text_id(text)), text, None, place=record.place)
        known = items.setdefault(item.id, item)
        respelt += own is None and known.text != text
        if known.text != text and tuple(map(_folded, known.text.values())) != same:
            raise record.error(
                f"the item {item.id!r} has another text than in {known.place}; one id must stand for one text. Is "
                f"{spec.item!r} the column of items?"
            )
        gold = None if spec.gold is None else cells.gold_cell(record, spec.gold)
        if gold is not None and known.gold is not None and spelling_key(gold) != spelling_key(known.gold):
            raise record.error(
                f"the item {item.id!r} has the gold labels {known.gold!r} and {gold!r}; expected one per item. A label "
                "that differs from row to row is an annotation"
            )
        if gold is not None and known.gold is None:
            items[item.id] = Item(item.id, text, gold, place=known.place)
        reason = _left_out(record, dict(spec.keep))
        if reason:
            left_out[reason] += 1
            continue
        labels = cells.one_answer(record, spec)
        if not labels:
            empty += 1
            continue
        who = "" if spec.annotator is None else cell_name(record.need(spec.annotator)) or ""
        nameless += not who
        turn = "" if spec.round is None else cell_name(record.need(spec.round)) or ""
        answers.append(((_order(turn), number), Answer(item.id, who, labels, round=turn, place=record.place)))
    if not answers:
        raise DataError(
            f"{table.path}: none of {len(table.records)} rows holds an annotation that counts{_why(left_out)}"
        )
    answers.sort(key=lambda pair: pair[0])
    notes = [f"{n} rows were left out, with {reason}" for reason, n in left_out.items()]
    notes += [f"{empty} rows hold no annotation"] if empty else []
    if respelt:
        notes.append(
            f"{respelt} rows have a text that differs from an earlier one in spaces or case alone, and are read as "
            "annotations of the same item; an `item` column tells items apart"
        )
    notes += _unread_states(table, spec)
    if spec.annotator is None:
        notes.append(
            "who annotated is not known, so that an annotator's second answer counts as another one's"
        )
    elif nameless:
        notes.append(f"{nameless} rows name no annotator; each counts as somebody else's")
    notes += [
        f"the items {' and '.join(map(repr, same))} differ in spelling alone, and are counted as different items"
        for same in alike(items)[:5]
    ]
    return list(items.values()), [answer for _, answer in answers], notes


def _unread_states(table: Table, spec: TableSource) -> list[str]:
    """A sentence for each column that seems to say which rows count, and is not read."""
    several = spec.annotation if isinstance(spec.annotation, tuple) else (spec.annotation,)
    used = {spec.item, spec.annotator, spec.round, spec.gold, *several, *dict(spec.keep), *spec.text}
    notes = []
    for column in table.columns:
        if column in used or normal_name(column) not in _STATES:
            continue
        values = Counter(cell_name(value) or "" for value in table.cells(column))
        if 2 <= len(values) <= 8:
            said = ", ".join(f"{value!r} ({n})" for value, n in values.most_common(4))
            notes.append(
                f"the column {column!r} is not read, so that all its rows count: {said}; `keep: {{{column}: VALUE}}` "
                "counts some alone"
            )
    return notes


_STATES = frozenset(
    (
        *("status", "state", "response_status", "assignmentstatus", "assignment_status", "review_status"),
        *("skipped", "is_skipped", "was_skipped", "cancelled", "is_cancelled", "was_cancelled", "discarded"),
        *(
            "rejected",
            "is_rejected",
            "draft",
            "is_draft",
            "valid",
            "is_valid",
            "invalid",
            "accepted",
            "approved",
        ),
        *(
            "is_gold",
            "is_golden",
            "golden",
            "is_control",
            "control",
            "is_test",
            "test_question",
            "attention_check",
        ),
        *("ground_truth", "is_prediction", "deleted", "is_deleted", "spam", "is_spam"),
    )
)
"""Columns, as `normal_name` writes them, that say whether an annotation counts."""


def refuse_annotations_as_items(
    table: Table, spec: TableSource, items: Sequence[Item], per_row: Sequence[float]
) -> None:
    """Raise where rows that hold one label each repeat an item: they are annotations, and would all have entropy 0.

    Args:
        table: whose rows were read as items.
        spec: how.
        items: one per row.
        per_row: annotations that each row holds.

    Raises:
        DataError: ids repeat, or half of the rows share their texts with others, or some do and a column says who
            annotated; the message has the specification that reads the table.
    """
    if sum(n <= 1 for n in per_row) < _NEARLY_ALL * len(per_row):
        return
    ids = Counter(item.id for item in items)
    texts = Counter(tuple(map(_folded, item.text.values())) for item in items)
    shared = sum(n for n in texts.values() if n > 1)
    who = next((c for c in table.columns if normal_name(c) in ANNOTATORS), None)
    repeated_id = next((key for key, n in ids.items() if n > 1), None)
    if not (repeated_id or shared * 2 >= len(items) or (shared and who)):
        return
    if spec.annotations is not None and len(spec.annotations) > 1:
        reads = "Put all annotations of an item into one row, or name one column with `annotation`"
    else:
        reads = f"Read it with `{_long_spec(table, spec, who)}`"
    what = (
        f"the id {repeated_id!r} is in {ids[repeated_id]} rows"
        if repeated_id
        else f"{shared} of {len(items)} rows share their text with another"
    )
    otherwise = "" if repeated_id else ". If each row is an item of its own, say `rows: items`"
    raise ColumnError(
        f"{table.path}: {what}, and each row holds one label: it seems to be one annotation per row",
        table,
        f". {reads}{otherwise}",
    )


_NEARLY_ALL = 0.8
"""Share of rows with one label at most: an annotator may give several to some items."""


def _long_spec(table: Table, spec: TableSource, who: str | None) -> str:
    """The specification that reads a table's rows as annotations."""
    columns = spec.annotations or spec.counts or spec.distribution or spec.gold or "COLUMN"
    annotation = (columns,) if isinstance(columns, str) else columns
    keys = {
        "source": "table",
        "path": table.path.name,
        "text": list(spec.text),
        "item": spec.id,
        "annotator": who,
        "annotation": annotation[0] if len(annotation) == 1 else annotation,
    }
    return "{" + ", ".join(f"{key}: {_yaml(value)}" for key, value in keys.items() if value) + "}"


def _yaml(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


_PLAIN = re.compile(r"[^\W\d][\w./-]*(?: [\w./-]+)*")
"""Texts that YAML reads as they are."""


def refuse_other_separator(table: Table, column: str, separator: str, answers: Sequence[Answer]) -> None:
    """Raise where a cell of separated annotations is separated by something else: '0;1;1' would be one label.

    Raises:
        DataError: names the separator that the cell seems to have.
    """
    texts = [
        (r, value)
        for r in table.records
        if isinstance(value := r.get(column), str) and value.strip()[:1] not in "[{"
    ]
    if not texts:
        return
    labels = {label for answer in answers for label in answer.labels}
    for other in (";", "|", "/", "\t", ",", " "):
        if other == separator:
            continue
        cut = [
            (r, v, [p.strip() for p in v.split(other) if p.strip()]) for r, v in texts if separator not in v
        ]
        cut = [(r, v, pieces) for r, v, pieces in cut if len(pieces) > 1]
        alone = labels - {v.strip() for _, v, _ in cut}
        pieces_seen = Counter(piece for _, _, pieces in cut for piece in pieces)
        most = (
            len(cut) * 2 > len(texts)
            and all(n > 1 for n in pieces_seen.values())
            and (other != " " or all(piece.lstrip("-").isdecimal() for piece in pieces_seen))
        )
        for record, value, pieces in cut:
            if most or {label_name(piece) for piece in pieces} <= alone:
                raise record.error(
                    f"{column!r} is {shown(value)}, which has no {separator!r} and seems to be separated by {other!r}. "
                    f"Say `separator: {other!r}`, or mend the cell"
                )


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _left_out(record: Record, keep: Mapping[str, Any]) -> str:
    """Why a row does not count, in words; '' where it does."""
    for column, wanted in keep.items():
        value = record.need(column)
        said = (cell_name(value) or "").casefold()
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        if said not in {(cell_name(one) or "").casefold() for one in allowed}:
            return f"{column} = {shown(value) if said else 'nothing'}"
    return ""


def _why(left_out: Counter[str]) -> str:
    if not left_out:
        return ""
    return (
        ": " + ", ".join(f"{n} have {reason}" for reason, n in left_out.most_common(3)) + ". Look at `keep`"
    )


def _order(turn: str) -> tuple[int, float, str]:
    """Rounds in order: by number, else by name."""
    try:
        return (0, float(turn), "")
    except ValueError:
        return (1, 0.0, turn)
