"""Prodigy exports (`db-out`): the choice interface, and binary accept or reject of a text.

In the choice interface the accepted options are the labels, and rejected or ignored tasks do not count. In binary
classification accept and reject are the labels themselves, and ignored tasks do not count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.reading import Record, cell_name, shown
from dissensus.data.sources.tabular import Table
from dissensus.data.sources.tool_exports import (
    ITEM_ID,
    Export,
    ExportSpec,
    annotator_name,
    export_source,
    label_names,
    objects,
)
from dissensus.errors import DataError

ANSWERS = ("accept", "reject", "ignore")


class ProdigySource(ExportSpec):
    """A Prodigy export (JSONL). `question`: the label asked about, where binary tasks ask about several."""

    source: Literal["prodigy"] = "prodigy"


def read(table: Table, spec: ProdigySource) -> AnnotatedDataset:
    """Annotated data from the records of an export."""
    export = Export(spec, table.path, table.notes)
    choice = any("options" in record.values for record in table.records)
    if not choice and any(record.get("spans") for record in table.records):
        raise DataError(
            f"{table.path}: its tasks hold spans, not one label for a text; expected the choice interface or textcat"
        )
    question = None
    if not choice and "label" in table.columns:
        question = export.question(
            name for record in table.records if (name := cell_name(record.get("label"))) is not None
        )
    own = [column for column in table.columns if column.startswith("_")]
    fields = export.text_fields(table.records, (*own, "answer", "label", "html", "image", "audio"))
    options: dict[str, None] = {}
    unnamed: set[str] = set()
    for record in table.records:
        if question is not None and cell_name(record.get("label")) != question:
            continue
        item = export.add_item(record, fields, _id(record))
        options.update(dict.fromkeys(_options(record)))
        answer = record.need("answer")
        if answer not in ANSWERS:
            raise record.error(f"'answer' is {shown(answer)}; expected one of {', '.join(ANSWERS)}")
        if answer == "ignore" or (choice and answer == "reject"):
            export.leave_out("ignored" if answer == "ignore" else "rejected")
            continue
        labels = label_names(record, record.get("accept"), "'accept'") if choice else (answer,)
        who = record.get("_annotator_id")
        who = record.get("_session_id") if who is None else who
        name = annotator_name(record, who)
        if _TIME.search(name):
            unnamed.add(name)
        export.add_answer(item, name, labels, record.place)
    if unnamed:
        export.note(
            f"{len(unnamed)} sessions are named by their time, e.g. {min(unnamed)!r}, and not by annotator: each "
            "counts as one annotator, whoever took part in it (`?session=NAME` tells annotators apart)"
        )
    return export.dataset(table.name, labels=tuple(options) if choice else ("reject", "accept"))


_TIME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d$")
"""Prodigy's name of a session that was started without one."""


def _id(record: Record) -> str | None:
    meta = record.get("meta")
    ours = cell_name(meta.get(ITEM_ID)) if isinstance(meta, Mapping) else None
    return ours or cell_name(record.get("_input_hash"))


def _options(record: Record) -> list[str]:
    """The ids of a task's options, which the accepted ones are among."""
    return [
        label for one in objects(record, "options") for label in label_names(record, one.get("id"), "'id'")
    ]


def _holds(table: Table) -> bool:
    return {"answer", "_task_hash"} <= set(table.columns) or {"answer", "_input_hash"} <= set(table.columns)


SOURCE = export_source(ProdigySource, read, holds=_holds, form="a Prodigy export")
