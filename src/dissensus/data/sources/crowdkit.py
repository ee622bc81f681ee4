"""crowd-kit's tables of annotations: task, worker and label, with texts beside them or in a second file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.base import FileSample, Recognised, Source
from dissensus.data.sources.paths import resolve_path
from dissensus.data.sources.table import TextTable
from dissensus.data.sources.tabular import Table, read_table
from dissensus.data.sources.tool_exports import Export, ExportSpec, annotator_name, label_names
from dissensus.errors import DataError

WORKERS = ("worker", "performer")
"""The column of who annotated, today's name and the older one."""
OWN = frozenset({"task", "label", *WORKERS})


class CrowdKitSource(ExportSpec):
    """A table with the columns task, worker and label, as crowd-kit takes and its data sets have them."""

    source: Literal["crowdkit"] = "crowdkit"
    texts: TextTable | None = Field(
        None,
        description="A second file that holds the texts, and its column of tasks: {path: FILE, id: task}.",
    )
    question: Literal[None] = None
    item: Literal[None] = None


def load(spec: CrowdKitSource, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load a table; see `dissensus.data.sources.load_source`."""
    texts = None if spec.texts is None else read_table(resolve_path(spec.texts.path, data_dir))
    return read(read_table(resolve_path(spec.path, data_dir)), spec, texts)


def read(table: Table, spec: CrowdKitSource, texts: Table | None = None) -> AnnotatedDataset:
    """Annotated data from a table of annotations; `texts` has one row per task, where the table has no texts."""
    export = Export(spec, table.path, table.notes)
    by_task = {}
    if texts is not None and spec.texts is not None:
        for record in texts.records:
            task = record.need_name(spec.texts.id)
            if task in by_task:
                raise record.error(f"the task {task!r} is there twice; expected one row per task")
            by_task[task] = record
    elif spec.text is None and set(table.columns) <= OWN:
        raise _no_texts(table)
    fields = export.text_fields(table.records if texts is None else texts.records, OWN)
    used = set()
    for record in table.records:
        task = record.need_name("task")
        if texts is not None and task not in by_task:
            raise record.error(
                f"the task {task!r} has no row in {texts.path}, whose tasks are like {next(iter(by_task), '')!r}"
            )
        used.add(task)
        item = export.add_item(by_task.get(task, record), fields, task)
        who = next((annotator_name(record, record.get(key)) for key in WORKERS if key in record.values), "")
        export.add_answer(item, who, label_names(record, record.need("label"), "'label'"), record.place)
    unused = len(by_task.keys() - used)
    if unused and texts is not None:
        export.note(f"{unused} texts of {texts.path.name} belong to no task of the table")
    return export.dataset(table.name)


def _no_texts(table: Table) -> DataError:
    return DataError(
        f"{table.path}: a table of crowd-kit without texts. Name the file that holds them, and its column of tasks: "
        f"`{{source: crowdkit, path: {table.path.name}, texts: {{path: FILE, id: task}}, text: [COLUMN]}}`"
    )


def recognise(sample: FileSample) -> Recognised | None:
    """A table with crowd-kit's three columns.

    Raises:
        DataError: it has no texts; a second file must be named.
    """
    table = sample.table
    if table is None or not ({"task", "label"} <= set(table.columns) and set(WORKERS) & set(table.columns)):
        return None
    if set(table.columns) <= OWN:
        raise _no_texts(table)
    spec = CrowdKitSource.parse({"source": "crowdkit", "path": str(sample.path)}, str(sample.path))
    return Recognised(spec, "annotations in crowd-kit's form")


SOURCE = Source(CrowdKitSource, load, recognise=recognise)
