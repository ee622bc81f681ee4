"""Argilla exports: the columns that `datasets` gets (`QUESTION.responses`), and nested JSON records.

Only submitted responses count: drafts, discarded and pending ones do not, and suggestions of a model never do. Labels
are those of LabelQuestion and MultiLabelQuestion; a RatingQuestion's are steps of a scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.cells import opened
from dissensus.data.sources.reading import Record, cell_name, shown
from dissensus.data.sources.tabular import Table
from dissensus.data.sources.tool_exports import (
    Export,
    ExportSpec,
    annotator_name,
    export_source,
    label_names,
    objects,
)

RESPONSES = ".responses"
OWN = ("id", "status", "_server_id", "external_id", "inserted_at", "updated_at")


class ArgillaSource(ExportSpec):
    """An Argilla export: a data set of records as `datasets` holds it, or JSON."""

    source: Literal["argilla"] = "argilla"


@dataclass(frozen=True)
class Response:
    """One response to one question, as the export has it.

    Attributes:
        record: the record, for messages.
        question: its name.
        value: the answer.
        user: who gave it.
        status: 'submitted', 'draft', 'discarded'; '' where the export does not say.
    """

    record: Record
    question: str
    value: Any
    user: Any
    status: str


def read(table: Table, spec: ArgillaSource) -> AnnotatedDataset:
    """Annotated data from the records of an export."""
    export = Export(spec, table.path, table.notes)
    nested = _is_nested(table)
    responses = [list((_nested if nested else _flat)(record)) for record in table.records]
    every = [one for own in responses for one in own]
    free = {one.question for one in every if _is_other(one.value)}
    question = export.question(
        dict.fromkeys([q for q in _questions(table) if not nested and q not in free])
        | dict.fromkeys(one.question for one in every if one.question not in free)
    )
    holders = [record.need_mapping("fields") if nested else record for record in table.records]
    questions = {one.question for one in every} | set(_questions(table))
    ignored = [c for c in table.columns if _is_own(c, questions)]
    fields = export.text_fields(holders, () if nested else ignored)
    numbers, statuses = [], set()
    for record, holder, own in zip(table.records, holders, responses, strict=True):
        known = cell_name(record.get("id")) or cell_name(record.get("external_id"))
        item = export.add_item(holder, fields, known or record.get("_server_id"))
        for one in own:
            if one.question != question:
                continue
            statuses.add(one.status)
            if one.status not in ("", "submitted"):
                export.leave_out(one.status)
                continue
            numbers.append(isinstance(one.value, int) and not isinstance(one.value, bool))
            labels = label_names(record, one.value, f"a response to {question!r}")
            export.add_answer(item, annotator_name(record, one.user), labels, record.place)
    if "" in statuses:
        export.note(
            "the export does not say of every response whether it was submitted; those without a status count"
        )
    return export.dataset(table.name, scale="ordinal" if numbers and all(numbers) else "nominal")


def _flat(record: Record) -> Iterator[Response]:
    """Responses of a record with one column per question and property."""
    for column in record.values:
        if column.endswith(RESPONSES):
            question = column.removesuffix(RESPONSES)
            values = _list(record, column)
            users = _list(record, f"{column}.users") or [None] * len(values)
            statuses = _list(record, f"{column}.status") or [None] * len(values)
            if not len(values) == len(users) == len(statuses):
                raise record.error(
                    f"{column!r} has {len(values)} values, {len(users)} users and {len(statuses)} statuses; expected "
                    "as many of each"
                )
            for value, user, status in zip(values, users, statuses, strict=True):
                yield Response(record, question, value, user, _status(status))
        elif f"{column}-suggestion" in record.values:  # as version 1 wrote it
            for one in objects(record, column):
                yield Response(
                    record, column, one.get("value"), one.get("user_id"), _status(one.get("status"))
                )


def _nested(record: Record) -> Iterator[Response]:
    """Responses of a record as JSON: by question, or as the server gives them, by user."""
    if not isinstance(record.get("responses"), list):
        by_question = record.need_mapping("responses")
        for question in by_question.values:
            for one in objects(by_question, question):
                yield Response(
                    record, question, one.get("value"), one.get("user_id"), _status(one.get("status"))
                )
        return
    for one in objects(record, "responses"):
        values = one.values.get("values")
        if values is None:
            values = {}  # a discarded response may have none
        if not isinstance(values, Mapping):
            raise one.error(f"'values' is {shown(values)}; expected an object with a value for each question")
        for question, answer in values.items():
            value = answer.get("value") if isinstance(answer, Mapping) else answer
            yield Response(record, question, value, one.get("user_id"), _status(one.get("status")))


def _list(record: Record, column: str) -> Sequence[Any]:
    value = record.values.get(column)
    if value is None:
        return []
    value = opened(record, column, value)
    if not isinstance(value, list | tuple):
        raise record.error(f"{column!r} is {shown(value)}; expected a list with an entry for each response")
    return value


def _status(value: Any) -> str:
    return (cell_name(value) or "").casefold()


def _is_other(value: Any) -> bool:
    """Whether an answer is a ranking or spans."""
    return isinstance(value, list) and any(isinstance(one, Mapping) for one in value)


def _questions(table: Table) -> list[str]:
    return [c.removesuffix(RESPONSES) for c in table.columns if c.endswith(RESPONSES)]


def _is_own(column: str, questions: set[str]) -> bool:
    """Whether a column is no field of the record: Argilla's own, or of a question."""
    stem = column.partition(".")[0].partition("-suggestion")[0]
    return column in OWN or stem in questions or column.startswith("metadata")


def _is_nested(table: Table) -> bool:
    first = table.records[0]
    return isinstance(first.get("fields"), Mapping) and "responses" in first.values


def _holds(table: Table) -> bool:
    old = any(f"{column}-suggestion" in table.columns for column in table.columns)
    return (
        _is_nested(table) or old or any(f"{q}{RESPONSES}.users" in table.columns for q in _questions(table))
    )


SOURCE = export_source(ArgillaSource, read, holds=_holds, form="an Argilla export")
