"""Tables with one row per annotation (the long form): read, and told from tables with one row per item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dissensus.data.answers import Answer, Item, text_id
from dissensus.data.sources import cells
from dissensus.data.sources.columns import ANNOTATORS, ColumnError, normal_name
from dissensus.data.sources.reading import Record, cell_name, label_name, shown
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
    answers: list[tuple[tuple[Any, ...], Answer]] = []
    left_out: Counter[str] = Counter()
    empty = 0
    for number, record in enumerate(table.records):
        own = None if spec.item is None else record.need_name(spec.item)
        text = texts.of(record, own)
        item = Item(own or text_id(text), text, None, place=record.place)
        known = items.setdefault(item.id, item)
        if known.text != text:
            raise record.error(
                f"the item {item.id!r} has another text than in {known.place}; one id must stand for one text. Is "
                f"{spec.item!r} the column of items?"
            )
        gold = None if spec.gold is None else cells.gold_cell(record, spec.gold)
        if gold is not None and known.gold is not None and gold != known.gold:
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
        turn = "" if spec.round is None else cell_name(record.need(spec.round)) or ""
        answers.append(((_order(turn), number), Answer(item.id, who, labels, round=turn, place=record.place)))
    if not answers:
        raise DataError(
            f"{table.path}: none of {len(table.records)} rows holds an annotation that counts{_why(left_out)}"
        )
    answers.sort(key=lambda pair: pair[0])
    notes = [f"{n} rows were left out, with {reason}" for reason, n in left_out.items()]
    notes += [f"{empty} rows hold no annotation"] if empty else []
    if spec.annotator is None:
        notes.append(
            "who annotated is not known, so that an annotator's second answer counts as another one's"
        )
    return list(items.values()), [answer for _, answer in answers], notes


def refuse_annotations_as_items(
    table: Table, spec: TableSource, items: Sequence[Item], answers: Sequence[Answer]
) -> None:
    """Raise where rows that hold one label each repeat an item: they are annotations, and would all have entropy 0.

    Raises:
        DataError: ids repeat, or half of the rows share their texts with others, or some do and a column says who
            annotated; the message has the specification that reads the table.
    """
    per_item = Counter(answer.item for answer in answers)
    whole = all(answer.weight == 1 for answer in answers)
    if not whole or (max(per_item.values(), default=1) > 1 and not spec.id):
        return
    ids = Counter(item.id for item in items)
    texts = Counter(tuple(" ".join(t.split()).casefold() for t in item.text.values()) for item in items)
    shared = sum(n for n in texts.values() if n > 1)
    who = next((c for c in table.columns if normal_name(c) in ANNOTATORS), None)
    repeated_id = next((key for key, n in ids.items() if n > 1), None)
    single = len(answers) <= len(items)
    if not single or not (repeated_id or shared * 2 >= len(items) or (shared and who)):
        return
    label = (spec.annotations[0] if spec.annotations else None) or spec.gold or "COLUMN"
    reads = (
        f"{{source: table, path: {table.path.name}, text: [{', '.join(spec.text)}], "
        f"item: {spec.id or 'COLUMN'}, annotator: {who or 'COLUMN'}, annotation: {label}}}"
    )
    what = (
        f"the id {repeated_id!r} is in {ids[repeated_id]} rows"
        if repeated_id
        else (f"{shared} of {len(items)} rows share their text with another")
    )
    otherwise = "" if repeated_id else ". If each row is an item of its own, say `rows: items`"
    raise ColumnError(
        f"{table.path}: {what}, and each row holds one label: it seems to be one annotation per row",
        table,
        f". Read it with `{reads}`{otherwise}",
    )


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
