"""Any table whose columns a specification names: JSONL, JSON, CSV, TSV, Parquet, or a `datasets` data set.

Each row is one item (`annotations`, `counts`, `distribution`, or `gold` alone), or one annotation (`annotation`: the
long form, which most annotation tools export). Empty cells (missing, NaN, blank) are skipped, not taken for a label.
Every error names the file and the row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from dissensus.config.base import Spec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.answers import Answer, AnswerRules, Item, collect, text_id
from dissensus.data.sources import cells
from dissensus.data.sources.base import FileSample, Recognised, Source
from dissensus.data.sources.columns import conventional_columns
from dissensus.data.sources.long_form import read_long, refuse_annotations_as_items, refuse_other_separator
from dissensus.data.sources.paths import resolve_path
from dissensus.data.sources.reading import Record, absent, load_hub, shown
from dissensus.data.sources.tabular import Table, read_table
from dissensus.data.spelling import IdMatch, match_ids
from dissensus.errors import DataError
from dissensus.wording import file_tail

Cell = str | int | float | bool


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else value


Kept = Annotated[
    tuple[tuple[str, Cell | tuple[Cell, ...]], ...],
    BeforeValidator(_pairs),
    PlainSerializer(dict, return_type=dict),
]
"""Column -> the value, or values, of rows that count; pairs, so that a specification stays frozen and has a hash."""


class TextTable(Spec):
    """A second file that holds the texts of a table's items."""

    path: str = Field(description="JSONL, CSV, TSV or Parquet file with one row per item.")
    id: str = Field(description="Its column of item ids, which `item` (or `id`) of the table refers to.")


class TableSource(AnswerRules):
    """Any table: JSONL, CSV, Parquet, or a `datasets` data set, with its columns named here.

    One row per item: label information comes as exactly one of `annotations`, `counts` or `distribution`, or, when
    all three are missing, as `gold` alone (no disagreement is then known). One row per annotation: `annotation`, with
    `item` and `annotator`. Fields of nested records are named by path, as in `data.text`.
    """

    source: Literal["table"] = "table"
    path: str | None = Field(None, description="JSONL, CSV, TSV or Parquet file (.gz allowed for text).")
    hub: str | None = Field(None, description="A `datasets` name instead of a path, e.g. 'org/name'.")
    config: str | None = Field(None, description="Configuration of the hub data set.")
    split: str = Field("train", description="Split of the hub data set.")
    id: str | None = Field(None, description="Column of stable ids; default: a hash of the text fields.")
    text: tuple[str, ...] = Field(description="Text columns, in order; their names become the field names.")
    texts: TextTable | None = Field(None, description="A second file, which holds the text columns.")
    rows: Literal["items", "annotations"] | None = Field(
        None,
        description="What a row is; default: an annotation where `annotation` is given, else an item. `items` keeps a "
        "table whose texts repeat and whose rows hold one label each, which is refused otherwise.",
    )
    item: str | None = Field(
        None,
        description="One row per annotation: column of the item's id; default: a hash of the text fields.",
    )
    annotator: str | None = Field(None, description="One row per annotation: column of the annotator.")
    annotation: str | tuple[str, ...] | None = Field(
        None,
        description="One row per annotation: its column (a label, or a list of labels), or one column per label "
        "with 1 where it was chosen.",
    )
    round: str | None = Field(
        None,
        description="One row per annotation: column of the round of annotation; a later one counts as last.",
    )
    keep: Kept = Field(
        (),
        description="One row per annotation: column and the value, or values, of rows that count, e.g. {status: "
        "submitted, was_skipped: false}; all others are left out.",
    )
    gold: str | None = Field(None, description="Gold-label column; default: the majority of the annotations.")
    annotations: tuple[str, ...] | None = Field(
        None, description="Columns, one per annotator; or one column that holds a list or a separated string."
    )
    separator: str = Field(",", description="Separator of a one-column string of annotations.")
    counts: str | tuple[str, ...] | None = Field(
        None,
        description="One column per label (in the order of `labels`), or one column holding a mapping or list.",
    )
    distribution: str | tuple[str, ...] | None = Field(None, description="Like `counts`, with shares.")
    annotators: str | int | None = Field(
        None, description="With `distribution`: n as a column name or a number."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> TableSource:
        if (self.path is None) == (self.hub is None):
            raise ValueError("give exactly one of 'path' and 'hub'")
        forms = ("annotation", "annotations", "counts", "distribution")
        origins = [n for n in forms if getattr(self, n) is not None]
        if len(origins) > 1:
            raise ValueError(f"give one of {', '.join(forms)}; given: {', '.join(origins)}")
        if not origins and self.gold is None:
            raise ValueError(f"give one of {', '.join(forms)}, or at least gold")
        if self.distribution is not None and self.annotators is None:
            raise ValueError(
                "'distribution' needs 'annotators': the number of labels behind each distribution"
            )
        long = [n for n in ("item", "annotator", "round", "keep") if getattr(self, n)]
        if self.annotation is None and (long or self.rows == "annotations"):
            said = " and ".join(long) or "rows: annotations"
            raise ValueError(f"{said}: a row is one annotation then; name its column with 'annotation'")
        if self.annotation is not None and (self.id is not None or self.rows == "items"):
            raise ValueError(
                "'annotation' reads one row per annotation: name the item's column with 'item', not 'id'"
            )
        if self.texts is not None and self.id is None and self.item is None:
            raise ValueError("'texts' is joined by id: name the table's column of ids with 'item' (or 'id')")
        return self

    def in_words(self) -> str:
        """How a report names the data; a page names no place on a machine."""
        return f"the table {file_tail(self.path or self.hub or '')}"

    def gold_from(self) -> str:
        """The table's own column, or the annotators' majority."""
        return "published" if self.gold is not None else "majority"


def load(spec: TableSource, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load a table; see `dissensus.data.sources.load_source`."""
    texts = None if spec.texts is None else read_table(resolve_path(spec.texts.path, data_dir))
    if spec.path is not None:
        return build(read_table(resolve_path(spec.path, data_dir)), spec, texts=texts)
    assert spec.hub is not None  # the specification demands one of the two
    rows = load_hub(spec.hub, split=spec.split, config=spec.config)
    return build(hub_table(rows, spec.hub), spec, name=spec.hub.rpartition("/")[2], texts=texts)


def build(
    table: Table, spec: TableSource, *, name: str | None = None, texts: Table | None = None
) -> AnnotatedDataset:
    """Annotated data from a table and the columns that `spec` names; `texts` holds the text columns if given."""
    if not table.records:
        raise DataError(f"{name or table.name} has no rows")
    reader = TextReader(spec, texts, table)
    notes = list(table.notes)
    if spec.annotation is not None:
        items, answers, more = read_long(table, spec, reader)
    else:
        items, answers, more = _one_row_each(table, spec, reader)
    return collect(
        items,
        answers,
        spec,
        name=name or table.name,
        where=str(table.path),
        published_gold=spec.gold is not None,
        labels=_listed(spec),
        leave_out_unanswered=spec.annotation is not None,
        notes=[*notes, *more, *reader.notes()],
    )


def _listed(spec: TableSource) -> tuple[str, ...]:
    return cells.label_columns(spec) if spec.labels is None else ()


def _one_row_each(
    table: Table, spec: TableSource, texts: TextReader
) -> tuple[list[Item], list[Answer], list[str]]:
    """Items and answers of a table with one row per item."""
    for column in spec.annotations if spec.annotations and len(spec.annotations) > 1 else ():
        if all(absent(record.values, column) for record in table.records):
            table.records[0].need(column)  # which names the columns there are
    occurrences: Counter[str] = Counter()
    items: list[Item] = []
    answers: list[Answer] = []
    per_row: list[float] = []
    repeated = gaps = 0
    rows = [cells.row_answers(record, spec) for record in table.records]
    total = None if spec.counts is None or spec.labels is not None else cells.total_among(rows)
    if total is not None and not isinstance(spec.counts, str):
        raise DataError(
            f"{table.path}: the counts of {total!r} are the sum of the others in every row, so it is no label. Name "
            "the columns of labels alone in `counts`"
        )
    for record, row in zip(table.records, rows, strict=True):
        own = None if spec.id is None else record.need_name(spec.id)
        text = texts.of(record, own)
        item_id = own
        if item_id is None:
            item_id = text_id(text)
            occurrences[item_id] += 1
            if occurrences[item_id] > 1:
                repeated += 1
                item_id += f"-{occurrences[item_id]}"
        gold = None if spec.gold is None else cells.gold_cell(record, spec.gold)
        items.append(Item(item_id, text, gold, place=record.place))
        row = [given for given in row if given.labels != (total,)]
        gaps += any(given.weight != given.weight for given in row)
        answers += [
            Answer(item_id, given.annotator, given.labels, weight, place=record.place)
            for given in row
            for weight in [0.0 if given.weight != given.weight else given.weight]
        ]
        per_row.append(sum(given.weight for given in row if given.weight == given.weight))
    if spec.rows is None:
        refuse_annotations_as_items(table, spec, items, per_row)
    if spec.annotations is not None and len(spec.annotations) == 1:
        refuse_other_separator(table, spec.annotations[0], spec.separator, answers)
    notes = [f"{repeated} rows repeat another row's text; their ids got a number"] if repeated else []
    notes += [f"{gaps} rows have an empty cell among their numbers; it counts as 0"] if gaps else []
    if total is not None:
        notes.append(
            f"{total!r} is the sum of the other counts in every row and was left out; to keep it as a label, name all "
            "with `labels`"
        )
    if spec.distribution is not None:
        notes.append("counts are the shares of each label times n, the number of annotators")
    if spec.annotations is None and spec.counts is None and spec.distribution is None:
        notes.append("only gold labels are known, so that no disagreement is")
    return items, answers, notes


class TextReader:
    """The text fields of rows, from their own columns or from a second table.

    Args:
        spec: which columns.
        texts: the second table, with one row per item.
        table: the table whose texts they are.
    """

    def __init__(self, spec: TableSource, texts: Table | None, table: Table) -> None:
        self._columns = spec.text
        self._match = IdMatch({}, ())
        self._by_id: dict[str, Record] | None = None
        self._used: set[str] = set()
        if texts is not None:
            assert spec.texts is not None
            self._by_id = {}
            for record in texts.records:
                key = record.need_name(spec.texts.id)
                if key in self._by_id:
                    raise record.error(f"the id {key!r} is there twice; expected one row per item")
                self._by_id[key] = record
            self._path, self._notes = texts.path, texts.notes
            column = spec.item or spec.id or ""
            ids = [record.need_name(column) for record in table.records]
            self._match = match_ids(ids, self._by_id, f"{table.path} and {texts.path}")

    def of(self, record: Record, item_id: str | None) -> dict[str, str]:
        """The texts of a row, by column."""
        if self._by_id is not None:
            assert item_id is not None
            known = self._match.known.get(item_id)
            if known is None:
                raise record.error(
                    f"the item {item_id!r} has no row in {self._path}, whose ids are like "
                    f"{next(iter(self._by_id), '')!r}; are both ids written alike?"
                )
            self._used.add(known)
            record = self._by_id[known]
        return {column: _text_cell(record, column) for column in self._columns}

    def notes(self) -> list[str]:
        """What a reader should know of the second table."""
        unused = 0 if self._by_id is None else len(self._by_id) - len(self._used)
        left = [f"{self._path.name}: {note}" for note in self._notes] if self._by_id is not None else []
        left += [f"{unused} texts of {self._path.name} belong to no item of the table"] if unused else []
        return [*left, *self._match.notes(f"in {self._path.name}" if self._by_id is not None else "")]


def _text_cell(record: Record, column: str) -> str:
    value = record.need(column)
    if isinstance(value, str):
        return str(value)
    if value is None or (isinstance(value, float) and value != value):
        return ""  # an empty cell; an example without words has no loss, which is counted
    raise record.error(f"{column!r} is {shown(value)} ({type(value).__name__}); expected a text")


def hub_table(rows: Iterable[Mapping[str, Any]], name: str) -> Table:
    """The rows of a `datasets.Dataset` (or mappings like them), with class labels by name."""
    return Table(Path(name), tuple(_records_of(rows, name)))


def _records_of(rows: Iterable[Mapping[str, Any]], name: str) -> Iterator[Record]:
    names = _class_names(getattr(rows, "features", None))
    for number, values in enumerate(rows, 1):
        if not isinstance(values, Mapping):
            raise DataError(
                f"row {number} of {name!r} is {shown(values)}; expected a mapping from column to value"
            )
        converted = {
            key: _class_name(value, names[key]) if key in names else value for key, value in values.items()
        }
        yield Record(Path(name), f"row {number}", converted)


def _class_names(features: Any) -> dict[str, list[str]]:
    """Columns of class labels (also lists of them) -> names, from the `features` of a `datasets.Dataset`."""
    names_by_column = {}
    for column, feature in features.items() if isinstance(features, Mapping) else ():
        names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        if names:
            names_by_column[column] = list(names)
    return names_by_column


def _class_name(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_class_name(item, names) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return names[value] if 0 <= value < len(names) else None  # -1 stands for "no label"
    return value


def recognise(sample: FileSample, named: Mapping[str, Any] | None = None) -> Recognised | None:
    """A table whose columns are named or have conventional names; `DataError` where it is a table and they have not."""
    if sample.table is None:
        return None
    keys = conventional_columns(sample.table, named)
    path = str(sample.path)
    spec = TableSource.parse({"source": "table", "path": path, **keys}, path)
    shown_keys = ", ".join(
        f"{key} = {value}"
        for key, value in spec.model_dump(exclude_defaults=True, mode="json").items()
        if key != "path"
    )
    return Recognised(spec, f"a table; columns taken: {shown_keys}")


SOURCE = Source(TableSource, load, recognise=recognise)
