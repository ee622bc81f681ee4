"""Any table whose columns a specification names: JSONL, JSON, CSV, TSV, Parquet, or a `datasets` data set.

Empty cells (missing, NaN, blank) are skipped, not taken for a label. Every error names the file and the row.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from dissensus.config.sources import SourceSpec
from dissensus.data.annotations import AnnotatedDataset, Example, majority
from dissensus.data.notes import tie_notes
from dissensus.data.sources import cells
from dissensus.data.sources.base import Source
from dissensus.data.sources.paths import resolve_path
from dissensus.data.sources.reading import (
    Record,
    load_hub,
    read_jsonl,
    read_lines,
    read_text,
    refuse_half_characters,
    shown,
    sorted_labels,
)
from dissensus.errors import DataError
from dissensus.wording import file_tail, first_line

FORMS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


class TableSource(SourceSpec):
    """Any table: JSONL, CSV, Parquet, or a `datasets` data set, with its columns named here.

    Label information comes as exactly one of `annotations`, `counts` or `distribution`, or, when all three
    are missing, as `gold` alone (no disagreement is then known).
    """

    source: Literal["table"] = "table"
    path: str | None = Field(None, description="JSONL, CSV, TSV or Parquet file (.gz allowed for text).")
    hub: str | None = Field(None, description="A `datasets` name instead of a path, e.g. 'org/name'.")
    config: str | None = Field(None, description="Configuration of the hub data set.")
    split: str = Field("train", description="Split of the hub data set.")
    id: str | None = Field(None, description="Column of stable ids; default: a hash of the text fields.")
    text: tuple[str, ...] = Field(description="Text columns, in order; their names become the field names.")
    labels: tuple[str, ...] | None = Field(
        None, description="Label names, in order; default: those seen, sorted."
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
        origins = [n for n in ("annotations", "counts", "distribution") if getattr(self, n) is not None]
        if len(origins) > 1:
            raise ValueError(f"give one of annotations, counts, distribution; given: {', '.join(origins)}")
        if not origins and self.gold is None:
            raise ValueError("give one of annotations, counts, distribution, or at least gold")
        if self.distribution is not None and self.annotators is None:
            raise ValueError(
                "'distribution' needs 'annotators': the number of labels behind each distribution"
            )
        return self

    def in_words(self) -> str:
        """How a report names the data; a page names no place on a machine."""
        return f"the table {file_tail(self.path or self.hub or '')}"

    def gold_from(self) -> str:
        """The table's own column, or the annotators' majority."""
        return "published" if self.gold is not None else "majority"


def load(spec: TableSource, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load a table; see `dissensus.data.sources.load_source`."""
    if spec.path is not None:
        path = resolve_path(spec.path, data_dir)
        return build(read_records(path), spec, name=path.name.partition(".")[0])
    assert spec.hub is not None  # the specification demands one of the two
    rows = load_hub(spec.hub, split=spec.split, config=spec.config)
    return build(_records_of(rows, spec.hub), spec, name=spec.hub.rpartition("/")[2])


def read_records(path: Path) -> Iterator[Record]:
    """The rows of a table file, each with its place.

    Raises:
        DataError: the form is unknown or the file is malformed.
    """
    suffixes = [s.lower() for s in path.suffixes]
    form = next((s for s in reversed(suffixes) if s != ".gz"), "")
    if form in (".csv", ".tsv"):
        return _csv_records(path, "\t" if form == ".tsv" else ",")
    if form == ".parquet":
        return _parquet_records(path)
    if form == ".json":
        return _json_records(path)
    if form in (".jsonl", ".ndjson"):
        return read_jsonl(path)
    raise DataError(
        f"{path} is of no known form; expected a name that ends in {', '.join(FORMS)} (text also .gz)"
    )


def build(records: Iterable[Record], spec: TableSource, *, name: str) -> AnnotatedDataset:
    """Annotated data from records and the columns that `spec` names."""
    rows = [_row(record, spec) for record in records]
    if not rows:
        raise DataError(f"{name} has no rows")
    labels = spec.labels
    if labels is None:
        seen = {label for row in rows for label in row.weights} | {
            row.gold for row in rows if row.gold is not None
        }
        labels = cells.column_labels(spec) or sorted_labels(seen)
    position = {label: i for i, label in enumerate(labels)}
    occurrences: Counter[str] = Counter()
    examples, repeated = [], 0
    for row in rows:
        unknown = [
            label for label in (*row.weights, *([row.gold] if row.gold else [])) if label not in position
        ]
        if unknown:
            raise row.record.error(f"the label {unknown[0]!r} is not among the labels: {', '.join(labels)}")
        counts = tuple(row.weights.get(label, 0.0) for label in labels)
        example_id = row.id
        if example_id is None:
            example_id = _text_id(row.text)
            occurrences[example_id] += 1
            if occurrences[example_id] > 1:
                repeated += 1
                example_id += f"-{occurrences[example_id]}"
        gold = majority(counts) if spec.gold is None else None if row.gold is None else position[row.gold]
        named = tuple((who, position[label]) for who, label in row.named)
        examples.append(Example(example_id, row.text, gold, counts, named))
    notes = [f"{repeated} rows repeat another row's text; their ids got a number"] if repeated else []
    if spec.distribution is not None:
        notes.append("counts are the shares of each label times n, the number of annotators")
    if spec.gold is None:
        notes += tie_notes((example.counts for example in examples), labels)
    if spec.annotations is None and spec.counts is None and spec.distribution is None:
        notes.append("only gold labels are known, so that no disagreement is")
    return AnnotatedDataset(name, tuple(labels), tuple(examples), notes=tuple(notes))


def _row(record: Record, spec: TableSource) -> cells.Row:
    text = {}
    for column in spec.text:
        value = record.need(column)
        if isinstance(value, str):
            text[column] = str(value)
        elif value is None or (isinstance(value, float) and value != value):
            text[column] = ""  # an empty cell; an example without words has no loss, which is counted
        else:
            raise record.error(f"{column!r} is {shown(value)} ({type(value).__name__}); expected a text")
    weights, named = cells.label_weights(record, spec)
    return cells.Row(
        record=record,
        id=None if spec.id is None else record.need_name(spec.id),
        text=text,
        gold=None if spec.gold is None else cells.gold_cell(record, spec.gold),
        weights=weights,
        named=named,
    )


def _text_id(text: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(list(text.items()), ensure_ascii=False).encode()).hexdigest()[:16]


def _csv_records(path: Path, delimiter: str) -> Iterator[Record]:
    reader = csv.reader((line for _, line in read_lines(path, blank=True)), delimiter=delimiter, strict=True)
    try:
        header = next(reader)
        twice = [column for column, n in Counter(header).items() if n > 1]
        if twice:
            raise DataError(f"{path}: the column {twice[0]!r} is there twice; give every column its own name")
        for row in reader:
            if not any(row):
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(row)} cells, but the header has {len(header)}; is the "
                    f"separator {delimiter!r}, and is text that holds it in double quotes?"
                )
            yield Record(path, f"line {reader.line_num}", dict(zip(header, row, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid {path.suffix} ({error})") from None


def _parquet_records(path: Path) -> Iterator[Record]:
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield Record(path, f"row {number}", values)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is not Parquet that can be read ({first_line(error)})") from None


def _json_records(path: Path) -> Iterator[Record]:
    text = read_text(path)
    if not text.lstrip().startswith("["):
        yield from read_jsonl(path)
        return
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{path}{where}: not JSON ({error}); is the file cut off?") from None
    refuse_half_characters(rows, text, str(path))
    for number, values in enumerate(rows, 1):
        if not isinstance(values, dict):
            raise DataError(
                f"{path}, row {number}: it is {shown(values)}; expected an object with named columns"
            )
        yield Record(path, f"row {number}", values)


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


SOURCE = Source(TableSource, load)
