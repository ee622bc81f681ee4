"""Exports of annotation tools: the keys, the choice of text and question, and the counting that their readers share.

A reader walks through an export and hands each item and each annotation to an `Export`, with the reason where an
annotation does not count; every reason is counted in a note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard, TypeVar

from pydantic import Field

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.answers import Answer, AnswerRules, Item, Scale, collect, text_id
from dissensus.data.sources.base import FileSample, Recognised, Source
from dissensus.data.sources.cells import TRUE
from dissensus.data.sources.columns import IDS, TEXTS, normal_name
from dissensus.data.sources.paths import resolve_path
from dissensus.data.sources.reading import Record, cell_name, label_name, shown
from dissensus.data.sources.tabular import Table, read_table
from dissensus.errors import DataError
from dissensus.wording import file_tail

ITEM_ID = "item_id"
"""Field of the item's id in what `dissensus queue` writes for a tool."""
QUEUE_FACTS = frozenset({"gold", "votes", "entropy", "why", "labels_wanted"})
"""Fields that it writes beside the texts; the tool exports them again, and they are no texts and no answers."""


class ExportSpec(AnswerRules):
    """An export of an annotation tool. The tool's own fields need no key."""

    path: str = Field(description="The exported file (.gz allowed for text).")
    text: tuple[str, ...] | None = Field(
        None, description="Text fields, in order; default: the only one, or those with conventional names."
    )
    question: str | None = Field(
        None, description="The question whose answers are the labels; default: the only one."
    )
    item: str | None = Field(
        None, description="Field of the item's id; default: `item_id`, else the tool's own id."
    )

    def in_words(self) -> str:
        """How a report names the data; a page names no place on a machine."""
        return f"{self.source} export {file_tail(self.path)}"

    def gold_from(self) -> str:
        """Tools export annotations; gold is their majority."""
        return "majority"


class Export:
    """Items and answers of one export, gathered while it is read.

    Args:
        spec: the keys of the study.
        where: the file, for messages.
        notes: how the file was read.
    """

    def __init__(self, spec: ExportSpec, where: Path | str, notes: Iterable[str] = ()) -> None:
        self._spec = spec
        self._where = str(where)
        self._notes = list(notes)
        self._items: dict[str, Item] = {}
        self._answers: list[Answer] = []
        self._left_out: Counter[str] = Counter()
        self._unnamed = 0

    def note(self, sentence: str) -> None:
        """Say something of the data."""
        self._notes.append(sentence)

    def question(self, questions: Iterable[str]) -> str:
        """The question that is read, of those that the export holds.

        Raises:
            DataError: there is none, none of that name, or several and the study names none.
        """
        known = list(dict.fromkeys(questions))
        listed = ", ".join(known) or "none"
        if self._spec.question is not None:
            if self._spec.question not in known:
                raise DataError(
                    f"{self._where}: there is no question {self._spec.question!r}; its questions are: {listed}"
                )
            return self._spec.question
        if not known:
            raise DataError(
                f"{self._where} holds no question whose answers are labels: nobody answered, or the answers are spans, "
                "rankings or free text"
            )
        if len(known) > 1:
            raise DataError(
                f"{self._where} holds answers to {len(known)} questions: {listed}. Say which is read with `question: "
                f"{known[0]}`"
            )
        self.note(f"the question is {known[0]!r}, the only one")
        return known[0]

    def text_fields(self, records: Sequence[Record], ignored: Iterable[str] = ()) -> tuple[str, ...]:
        """The text fields of items, from the records that hold them.

        Raises:
            DataError: no field holds text, or several may and the study names none.
        """
        if self._spec.text is not None:
            return self._spec.text
        columns = dict.fromkeys(column for record in records for column in record.values)
        skipped = {*ignored, *queue_facts(columns)}
        if normal_name(self._spec.item or "") not in {name for group in TEXTS for name in group}:
            skipped.add(
                self._spec.item or ""
            )  # `item: text` joins items by their text, which is read all the same
        texts = [
            column
            for column in columns
            if column not in skipped and normal_name(column) not in IDS and _is_text(records, column)
        ]
        names = {normal_name(column): column for column in reversed(texts)}
        usual = next(
            (tuple(names[t] for t in group) for group in TEXTS if all(t in names for t in group)), ()
        )
        chosen = usual or tuple(texts)
        listed = ", ".join(texts or map(str, list(columns)[:20])) or "none"
        if not chosen:
            raise DataError(
                f"{self._where}: no field holds a text; the fields are: {listed}. Name it with `text: [FIELD]`"
            )
        if not usual and len(chosen) > 1:
            raise DataError(
                f"{self._where}: the text may be in any of: {listed}. Name the field, or several in order, with "
                f"`text: [{chosen[0]}]`"
            )
        rest = [column for column in texts if column not in chosen]
        self.note(
            f"the text is read from {' and '.join(map(repr, chosen))}"
            + (f"; not read: {', '.join(rest[:8])} (`text` names others)" if rest else "")
        )
        return chosen

    def add_item(self, record: Record, fields: Sequence[str], own_id: object = None) -> str:
        """Add an item, or find it again; its id.

        Args:
            record: the fields of the item.
            fields: those that are its text.
            own_id: the tool's id, used where the record has none of ours.

        Raises:
            DataError: the item was there with another text, or a text is none.
        """
        text = {name: _text(record, name) for name in fields}
        if self._spec.item is not None:
            item_id = record.need_name(self._spec.item)
        else:
            item_id = cell_name(record.get(ITEM_ID)) or cell_name(own_id) or text_id(text)
        known = self._items.setdefault(item_id, Item(item_id, text, place=record.place))
        if known.text != text and folded_texts(known.text) != folded_texts(text):
            raise record.error(
                f"the item {item_id!r} has another text than in {known.place}; one id must stand for one text. "
                "`item` names the field of the item's id"
            )
        return item_id

    def add_answer(self, item: str, annotator: str, labels: Sequence[str], place: str) -> None:
        """Add an annotation that counts; one without labels is counted as unanswered."""
        if not labels:
            self.leave_out("without an answer to the question")
            return
        self._unnamed += not annotator
        self._answers.append(Answer(item, annotator, tuple(labels), place=place))

    def leave_out(self, reason: str, n: int = 1) -> None:
        """Count annotations that do not count; `reason` completes the sentence '3 annotations were left out: ...'."""
        if n:
            self._left_out[reason] += n

    def dataset(self, name: str, *, labels: Sequence[str] = (), scale: Scale = "nominal") -> AnnotatedDataset:
        """The data set.

        Args:
            name: of the data set.
            labels: those that the export lists.
            scale: what the export says of them.

        Raises:
            DataError: no annotation counts, or as `dissensus.data.answers.collect`.
        """
        reasons = [f"{n} {reason}" for reason, n in self._left_out.items()]
        if not self._answers:
            said = f": {'; '.join(reasons)}" if reasons else ""
            raise DataError(
                f"{self._where}: none of the annotations of its {len(self._items)} items counts{said}"
            )
        self._refuse_one_text_under_many_ids()
        if reasons:
            self.note(f"annotations that do not count: {'; '.join(reasons)}")
        if self._unnamed:
            self.note(
                f"who annotated is not known for {self._unnamed} of {len(self._answers)} annotations; a second answer "
                "by one annotator counts there as another annotator's"
            )
        if scale == "ordinal" and self._spec.scale is None:
            self.note(
                "the question is a rating: its labels are steps of a scale (`scale: nominal` undoes this)"
            )
        return collect(
            list(self._items.values()),
            self._answers,
            self._spec,
            name=name,
            where=self._where,
            labels=labels if self._spec.labels is None else (),
            leave_out_unanswered=True,
            notes=self._notes,
            scale=scale,
        )

    def _refuse_one_text_under_many_ids(self) -> None:
        """Raise where nearly all items have one annotation and share their text: entropy would be 0 everywhere.

        Raises:
            DataError: names the key that joins them.
        """
        if self._spec.item is not None:
            return
        per_item = Counter(answer.item for answer in self._answers)
        texts = Counter(folded_texts(self._items[item].text) for item in per_item)
        shared = sum(n for n in texts.values() if n > 1)
        if shared * 2 < len(per_item) or sum(n == 1 for n in per_item.values()) < 0.8 * len(per_item):
            return
        fields = next(iter(self._items.values())).text
        first = next(iter(fields))
        raise DataError(
            f"{self._where}: {shared} of {len(per_item)} items share their text with another, and nearly all have one "
            "annotation: the same text seems to stand under several ids. "
            f"`item: {first}` with `text: [{', '.join(fields)}]` joins them by that text; `item` may name any field "
            "that tells items apart"
        )


def folded_texts(text: Mapping[str, str]) -> tuple[str, ...]:
    """Texts without what a reader does not see: case and spacing."""
    return tuple(" ".join(one.split()).casefold() for one in text.values())


def annotator_name(record: Record, value: object) -> str:
    """The annotator in a cell, or in an object with an id or an address; '' where there is none."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("email", "username", "id") if value.get(key)), None)
    name = cell_name(value)
    if name is None and isinstance(value, Mapping | list | tuple):
        raise record.error(f"the annotator is {shown(value)}; expected a name or a number")
    return name or ""


def label_names(record: Record, value: object, what: str) -> tuple[str, ...]:
    """The labels of one answer: a label, or a list of them; none for an empty cell."""
    names = []
    for cell in value if isinstance(value, list | tuple) else [value]:
        if isinstance(cell, Mapping | list | tuple):
            raise record.error(f"{what} is {shown(value)}; expected a label or a list of labels")
        name = label_name(cell)
        if name is not None:
            names.append(name)
    return tuple(dict.fromkeys(names))


def objects(record: Record, key: str) -> Iterator[Record]:
    """The objects of a list in the field `key`, each as a record with a place of its own; none where it is missing."""
    value = record.get(key)
    if value is None:
        return
    if not isinstance(value, list | tuple):
        raise record.error(f"{key!r} is {shown(value)}; expected a list of objects")
    for number, element in enumerate(value, 1):
        if not isinstance(element, Mapping):
            raise record.error(f"number {number} of {key!r} is {shown(element)}; expected an object")
        yield Record(record.path, f"{record.place}, {key} {number}", element)


def without_prefix(record: Record, prefix: str) -> Record:
    """The fields whose names begin with `prefix`, named without it."""
    fields = {key[len(prefix) :]: value for key, value in record.values.items() if key.startswith(prefix)}
    return Record(record.path, record.place, fields)


def queue_facts(columns: Iterable[str]) -> set[str]:
    """Those of the columns that `dissensus queue` wrote beside the texts; none where it did not write them."""
    names = {column: column.removeprefix("queue_") for column in columns}
    if not {"votes", "why"} <= set(names.values()):
        return set()
    return {
        column
        for column, name in names.items()
        if name in QUEUE_FACTS and (column != name or f"queue_{name}" not in names)
    }


def is_set(value: object) -> bool:
    """Whether a cell that is true or false is true."""
    return (cell_name(value) or "").casefold() in TRUE


def is_text(value: object) -> TypeGuard[str]:
    """Whether a cell holds words."""
    return isinstance(value, str) and bool(value.strip())


S = TypeVar("S", bound=ExportSpec)


def export_source(
    spec_class: type[S],
    read: Callable[[Table, S], AnnotatedDataset],
    *,
    holds: Callable[[Table], bool],
    form: str,
) -> Source:
    """A source of one tool's exports, which are tables or lists of objects.

    Args:
        spec_class: its keys.
        read: from the records of the file to annotated data.
        holds: whether the records are the tool's.
        form: what the file was recognised as, in words.
    """

    def load(spec: S, *, data_dir: Path | None = None) -> AnnotatedDataset:
        return read(read_table(resolve_path(spec.path, data_dir)), spec)

    def recognise(sample: FileSample) -> Recognised | None:
        if sample.table is None or not holds(sample.table):
            return None
        path = str(sample.path)
        source = spec_class.model_fields["source"].default
        return Recognised(spec_class.parse({"source": source, "path": path}, path), form)

    return Source(spec_class, load, recognise=recognise)


def _is_text(records: Sequence[Record], column: str) -> bool:
    cells = [record.values.get(column) for record in records]
    return any(is_text(cell) and not _is_number(cell) for cell in cells) and all(
        cell is None or isinstance(cell, str) for cell in cells
    )


def _is_number(cell: str) -> bool:
    return cell.strip().lstrip("+-").replace(".", "", 1).isdecimal()


def _text(record: Record, name: str) -> str:
    value = record.need(name)
    if value is None or value != value:
        return ""  # an empty cell; an example without words has no loss, which is counted
    if not isinstance(value, str):
        raise record.error(f"the text field {name!r} is {shown(value)}; expected a text")
    return value
