"""Tables in files: JSONL, JSON, CSV, TSV and Parquet as rows, with a note wherever a file could be read otherwise.

Cells of CSV are separated by what cuts the header into most of them: commas, semicolons or tabs. TSV is read without
quoting where every line then has as many cells as the header (most programs write it so), and with it where that does
not fit.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.data.sources.reading import Record, read_json, read_jsonl, read_lines, shown
from dissensus.errors import DataError
from dissensus.wording import first_line

csv.field_size_limit(2**31 - 1)  # the default refuses texts of more than 131,072 characters

FORMS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".manifest")


@dataclass(frozen=True)
class Table:
    """The rows of a table.

    Attributes:
        path: the file, or the name of what it came from.
        records: its rows, in order.
        notes: how it was read, where it could be read otherwise.
    """

    path: Path
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name without its endings."""
        return self.path.name.partition(".")[0]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All columns of all rows, in the order in which they appear."""
        return tuple(dict.fromkeys(column for record in self.records for column in record.values))

    def cells(self, column: str) -> list[Any]:
        """A column, top to bottom; None in rows that lack it."""
        return [record.values.get(column) for record in self.records]


def read_table(path: Path) -> Table:
    """All rows of a table file.

    Raises:
        DataError: the form is unknown, or the file is malformed or without rows.
    """
    suffixes = [s.lower() for s in path.suffixes]
    form = next((s for s in reversed(suffixes) if s != ".gz"), "")
    if form in (".csv", ".tsv"):
        table = _separated(path, form)
    elif form == ".parquet":
        table = Table(path, tuple(_parquet_records(path)))
    elif form == ".json":
        table = Table(path, tuple(_json_records(path)))
    elif form in (".jsonl", ".ndjson", ".manifest"):
        table = Table(path, tuple(read_jsonl(path)))
    else:
        raise DataError(
            f"{path} is of no known form; expected a name that ends in {', '.join(FORMS)} (text also .gz)"
        )
    if not table.records:
        raise DataError(f"{path} has no rows")
    first = set(table.records[0].values)
    late = [column for column in table.columns if column not in first]
    if not late:
        return table
    lacking = sum(len(record.values) < len(table.columns) for record in table.records)
    note = (
        f"{lacking} of {len(table.records)} rows lack a column that others have; first seen after the first row: "
        f"{', '.join(late[:5])}{' and others' if len(late) > 5 else ''}"
    )
    return Table(path, table.records, (*table.notes, note))


def _separated(path: Path, form: str) -> Table:
    lines = [line for _, line in read_lines(path, blank=True)]
    if len(lines) == 1 and "\r" in lines[0].strip():
        lines = lines[0].splitlines(keepends=True)  # old spreadsheets end lines with a carriage return alone
    said = _SEPARATOR_LINE.fullmatch(lines[0].strip()) if lines else None
    if said:  # a spreadsheet's own first line, which is no row; a blank line keeps the numbers of the others
        lines = ["\n", *lines[1:]]
    header = next((line for line in lines if line.strip()), "")
    usual = "\t" if form == ".tsv" else ","
    separator = max((usual, *_SEPARATORS), key=lambda one: len(_cells(header, one)))
    table = _tab_separated(path, lines) if separator == "\t" else _comma_separated(path, lines, separator)
    if separator == usual:
        return table
    return Table(path, table.records, (f"cells are separated by {_SEPARATORS[separator]}", *table.notes))


_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SEPARATOR_LINE = re.compile("sep=.", re.IGNORECASE)


def _cells(line: str, separator: str) -> list[str]:
    """The cells of one line."""
    return next(csv.reader([line], delimiter=separator), [])


def _comma_separated(path: Path, lines: Sequence[str], separator: str) -> Table:
    records = tuple(_csv_records(path, lines, separator))
    return Table(path, records, _swallowed(lines, separator) if any('"' in line for line in lines) else ())


def _swallowed(lines: Sequence[str], separator: str) -> tuple[str, ...]:
    """A note where a quotation mark that nobody closed may have made one cell of several rows."""
    reader = csv.reader(lines, delimiter=separator)
    size, first = 0, 1
    for row in reader:
        block = lines[first - 1 : reader.line_num]
        if size and len(block) > 1 and all(line.count(separator) == size - 1 for line in block):
            return (
                f"lines {first} to {reader.line_num} are read as one row, with a text of several lines in quotation "
                "marks; each would be a row of its own without them. If a mark is there by mistake, double it",
            )
        size = size or (len(row) if any(row) else 0)
        first = reader.line_num + 1
    return ()


def _tab_separated(path: Path, lines: Sequence[str]) -> Table:
    if not any('"' in line for line in lines):
        return Table(path, tuple(_csv_records(path, lines, "\t")))
    plain = [line.rstrip("\r\n").split("\t") for line in lines]
    header = next((cells for cells in plain if any(cells)), [])
    quoted = [cell for cells in plain for cell in cells if cell.startswith('"')]
    # A cell in quotes ends in one, and has its own quotes doubled; a cell that only begins with one is no such cell.
    closed = all(
        len(c) > 1 and c.endswith('"') and c[1:-1].count('"') == 2 * c[1:-1].count('""') for c in quoted
    )
    if any(any(cells) and len(cells) != len(header) for cells in plain) or (quoted and closed):
        return Table(path, tuple(_csv_records(path, lines, "\t")), _swallowed(lines, "\t"))
    note = "read as TSV without quoting: every line has all its cells so, and quotation marks are part of the text"
    return Table(path, tuple(_csv_records(path, lines, "\t", quoting=csv.QUOTE_NONE)), (note,))


def _csv_records(
    path: Path, lines: Sequence[str], delimiter: str, *, quoting: int = csv.QUOTE_MINIMAL
) -> Iterator[Record]:
    if quoting == csv.QUOTE_NONE:
        reader = csv.reader(lines, delimiter=delimiter, strict=True, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next((row for row in reader if any(row)), None)
        if header is None:
            raise DataError(f"{path} has no header; expected a first line with the names of the columns")
        _refuse_repeated(path, header)
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


def _refuse_repeated(path: Path, columns: Sequence[str]) -> None:
    twice = [column for column, n in Counter(columns).items() if n > 1]
    if twice:
        raise DataError(f"{path}: the column {twice[0]!r} is there twice; give every column its own name")


def _parquet_records(path: Path) -> Iterator[Record]:
    try:
        with pq.ParquetFile(path) as file:
            _refuse_repeated(path, file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield Record(path, f"row {number}", values)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not Parquet that can be read ({first_line(error)})") from None


def _json_records(path: Path) -> Iterator[Record]:
    if not next(line for _, line in read_lines(path)).lstrip().startswith("["):
        yield from read_jsonl(path)
        return
    for number, values in enumerate(read_json(path), 1):
        if not isinstance(values, dict):
            raise DataError(
                f"{path}, row {number}: it is {shown(values)}; expected an object with named columns"
            )
        yield Record(path, f"row {number}", values)
