"""Amazon Mechanical Turk: batch results (CSV), with `Input.` and `Answer.` columns.

Rejected assignments do not count. A question is `Answer.QUESTION`, `Answer.QUESTION.label` or `.labels`, one column
`Answer.QUESTION.OPTION` for each option with true or false, or a field of the form in `Answer.taskAnswers`.
"""

from __future__ import annotations

from typing import Any, Literal

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.cells import opened
from dissensus.data.sources.crowd_forms import chosen_options, form_answers
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

FORM = "taskAnswers"


class MTurkSource(ExportSpec):
    """MTurk batch results (CSV). Fields are named without `Input.`, questions without `Answer.`."""

    source: Literal["mturk"] = "mturk"


def read(table: Table, spec: MTurkSource) -> AnnotatedDataset:
    """Annotated data from the rows of batch results."""
    export = Export(spec, table.path, table.notes)
    inputs = [without_prefix(record, "Input.") for record in table.records]
    answers = [_answers(without_prefix(record, "Answer.")) for record in table.records]
    question = export.question(name for own in answers for name, labels in own.items() if labels)
    fields = export.text_fields(inputs)
    for record, given, own in zip(table.records, inputs, answers, strict=True):
        item = export.add_item(given, fields, record.get("HITId"))
        if _is_rejected(record):
            export.leave_out("rejected (AssignmentStatus)")
        elif cell_name(record.get("Reject")) is not None:
            export.leave_out("marked for rejection (Reject)")
        else:
            who = annotator_name(record, record.get("WorkerId"))
            export.add_answer(item, who, own.get(question, ()), record.place)
    if "AssignmentStatus" not in table.columns:
        export.note(
            "the file does not say which assignments were rejected (AssignmentStatus); all of them count"
        )
    return export.dataset(table.name)


def _is_rejected(record: Record) -> bool:
    return (cell_name(record.get("AssignmentStatus")) or "").casefold() == "rejected"


def _answers(record: Record) -> dict[str, tuple[str, ...]]:
    """Question -> the labels chosen; columns of options are brought together."""
    answers: dict[str, tuple[str, ...]] = {}
    options: dict[str, dict[str, Any]] = {}
    for column, value in record.values.items():
        question, dot, option = column.rpartition(".")
        if column == FORM:
            if cell_name(value) is not None:
                answers.update(form_answers(record, opened(record, column, value)))
        elif not dot or option in ("label", "labels"):
            chosen = opened(record, column, value)
            if not isinstance(chosen, dict):
                answers[question if dot else column] = label_names(record, chosen, repr(column))
        else:
            options.setdefault(question, {})[option] = value
    for question, cells in options.items():
        chosen_ones = chosen_options(Record(record.path, record.place, cells))
        if chosen_ones is not None:
            answers[question] = chosen_ones
    return answers


def _holds(table: Table) -> bool:
    return {"HITId", "WorkerId"} <= set(table.columns) and any(c.startswith("Answer.") for c in table.columns)


SOURCE = export_source(MTurkSource, read, holds=_holds, form="MTurk batch results")
