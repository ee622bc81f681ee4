"""Toloka: assignments (TSV) with `INPUT:`, `OUTPUT:`, `GOLDEN:` and `ASSIGNMENT:` columns.

Rejected, skipped and expired assignments do not count, nor do control tasks (rows with a `GOLDEN:` answer), unless
`control_tasks` says so. Blank lines between tasks are passed over.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.cells import opened
from dissensus.data.sources.reading import Record, cell_name
from dissensus.data.sources.tabular import Table
from dissensus.data.sources.tool_exports import (
    Export,
    ExportSpec,
    annotator_name,
    export_source,
    label_names,
    without_prefix,
)

COUNTED = ("approved", "accepted", "submitted", "")


class TolokaSource(ExportSpec):
    """Toloka assignments (TSV). Fields are named without `INPUT:`, questions without `OUTPUT:`."""

    source: Literal["toloka"] = "toloka"
    control_tasks: bool = Field(
        False, description="Count answers to control tasks, whose right answer Toloka knows, too."
    )


def read(table: Table, spec: TolokaSource) -> AnnotatedDataset:
    """Annotated data from the rows of assignments."""
    export = Export(spec, table.path, table.notes)
    outputs = [without_prefix(record, "OUTPUT:") for record in table.records]
    question = export.question(
        name for own in outputs for name, value in own.values.items() if cell_name(value) is not None
    )
    inputs = [without_prefix(record, "INPUT:") for record in table.records]
    fields = export.text_fields(inputs)
    for record, given, output in zip(table.records, inputs, outputs, strict=True):
        item = export.add_item(given, fields, record.get("ASSIGNMENT:task_id"))
        status = (cell_name(record.get("ASSIGNMENT:status")) or "").casefold()
        if status not in COUNTED:
            export.leave_out(f"{status} (ASSIGNMENT:status)")
        elif not spec.control_tasks and _is_control(record):
            export.leave_out("to control tasks (GOLDEN; `control_tasks: true` counts them)")
        else:
            value = opened(output, question, output.get(question))
            who = annotator_name(record, record.get("ASSIGNMENT:worker_id"))
            export.add_answer(item, who, label_names(record, value, repr(question)), record.place)
    if "ASSIGNMENT:status" not in table.columns:
        export.note(
            "the file does not say which assignments were rejected or skipped (ASSIGNMENT:status); all count"
        )
    return export.dataset(table.name)


def _is_control(record: Record) -> bool:
    return any(
        column.startswith("GOLDEN:") and cell_name(value) is not None
        for column, value in record.values.items()
    )


def _holds(table: Table) -> bool:
    return all(
        any(c.startswith(prefix) for c in table.columns) for prefix in ("INPUT:", "OUTPUT:", "ASSIGNMENT:")
    )


SOURCE = export_source(TolokaSource, read, holds=_holds, form="Toloka assignments")
