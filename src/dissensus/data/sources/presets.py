"""Published corpora that are tables: a small specification, which fills that of a `table`.

A preset knows the columns of its corpus, which rows count and whether its labels are ordinal. Reading, joining and
counting are the `table` source's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, model_validator

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.answers import AnswerRules
from dissensus.data.sources.base import PublishedData
from dissensus.data.sources.paths import find_file, resolve_path
from dissensus.data.sources.reading import load_hub
from dissensus.data.sources.table import TableSource, build, hub_table
from dissensus.data.sources.tabular import Table, read_table
from dissensus.errors import DataError


@dataclass(frozen=True)
class Origin:
    """Where a corpus is when no path is given.

    Attributes:
        files: relative to a data folder, best first.
        homepage: where a person finds the files.
        published: what `dissensus data pull` fetches; None where no address is registered.
        hub: name and configuration on the Hugging Face hub; None where the hub has no annotations of single people.
    """

    files: tuple[str, ...]
    homepage: str
    published: PublishedData | None = None
    hub: tuple[str, str | None] | None = None


class PresetSource(AnswerRules):
    """Base of the published corpora that are tables."""

    path: str | tuple[str, ...] | None = Field(
        None,
        description="The file, or several that are joined; default: the published one, in a data folder.",
    )
    hub: bool = Field(
        False, description="Read the `datasets` copy on the Hugging Face hub, where it has one."
    )

    title: ClassVar[str]
    origin: ClassVar[Origin]

    @model_validator(mode="after")
    def _one_origin(self) -> PresetSource:
        if self.hub and self.path is not None:
            raise ValueError("give one of 'path' and 'hub'")
        if self.hub and self.origin.hub is None:
            raise ValueError(
                f"{self.title} has no copy with annotations on the hub; name its file with 'path'"
            )
        return self

    def in_words(self) -> str:
        """How a report names the data."""
        return f"{self.title}{self._aspect()}"

    def gold_from(self) -> str:
        """The annotators' majority: these corpora have no other gold label."""
        return "majority"

    def _aspect(self) -> str:
        """Which of the corpus' questions is read, in words."""
        return ""

    def read_as(self, table: Table) -> tuple[Table, TableSource]:
        """The table to read (columns may have been added), and the specification that reads it.

        Raises:
            DataError: it is no table of this corpus.
        """
        raise NotImplementedError


def load(spec: PresetSource, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load a published corpus; see `dissensus.data.sources.load_source`."""
    table, of_corpus = spec.read_as(_table(spec, data_dir))
    fields = AnswerRules.model_fields
    named = {
        name: value
        for name in fields
        if name != "source" and (value := getattr(spec, name)) != fields[name].get_default()
    }
    filled = of_corpus.model_copy(update=named)  # the study's rules of answers come before the corpus' own
    texts = None if filled.texts is None else read_table(resolve_path(filled.texts.path, data_dir))
    return build(table, filled, name=re.sub(r"[, ]+", "-", f"{spec.source}{spec._aspect()}"), texts=texts)


def _table(spec: PresetSource, data_dir: Path | None) -> Table:
    origin = spec.origin
    if spec.hub:
        assert origin.hub is not None  # the specification demands it
        name, config = origin.hub
        return hub_table(load_hub(name, split="train", config=config), name)
    if spec.path is None:
        what = f"{spec.title} ({origin.homepage})"
        return read_table(find_file(origin.files, data_dir, what=what, published=origin.published))
    paths = (spec.path,) if isinstance(spec.path, str) else spec.path
    tables = [read_table(resolve_path(path, data_dir)) for path in paths]
    if not tables:
        raise DataError(f"{spec.title}: 'path' names no file")
    notes = tuple(f"{table.path.name}: {note}" for table in tables for note in table.notes)
    if len(tables) == 1:
        return tables[0]
    return Table(tables[0].path, tuple(r for table in tables for r in table.records), notes)


def with_column(table: Table, name: str, cells: Sequence[Any]) -> Table:
    """The table with one more column."""
    records = tuple(
        replace(record, values={**record.values, name: cell})
        for record, cell in zip(table.records, cells, strict=True)
    )
    return replace(table, records=records)


def need_columns(table: Table, columns: Sequence[str], title: str) -> None:
    """Raise unless the table has these columns.

    Raises:
        DataError: names those that are missing and those that there are.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(
            f"{table.path} has no column {missing[0]!r}, which {title} has; its columns are: "
            f"{', '.join(table.columns)}. For a table of your own name its columns with `source: table`"
        )
