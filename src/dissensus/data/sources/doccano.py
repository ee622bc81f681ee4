"""doccano exports of text classification: one file per annotator, or records that name who annotated.

The merged form, in which the labels of several annotators stand in one list without their names, is refused: who chose
what, and how many did, is lost there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.base import FileSample, Recognised, Source
from dissensus.data.sources.paths import resolve_path
from dissensus.data.sources.reading import Record, shown
from dissensus.data.sources.tabular import Table, read_table
from dissensus.data.sources.tool_exports import Export, ExportSpec, annotator_name, label_names, objects
from dissensus.wording import file_tail

ANNOTATORS = ("username", "annotator", "user")
MERGED = "all"
"""Name of the file in which doccano merges its annotators."""
MARKS = frozenset({"annotation_approver", "Comments", *ANNOTATORS})
"""Columns that only doccano's own exports have beside `labels`."""
OWN = ("id", "label", "labels", "annotations", "meta", "metadata", *MARKS)


def _files(value: Any) -> Any:
    """Pairs of an annotator and their file, from a mapping or from files named after their annotators."""
    if isinstance(value, Mapping):
        return tuple(value.items())
    if isinstance(value, list | tuple) and all(isinstance(path, str) for path in value):
        return tuple((file_tail(path).partition(".")[0], path) for path in value)
    return value


Files = Annotated[
    tuple[tuple[str, str], ...], BeforeValidator(_files), PlainSerializer(dict, return_type=dict)
]
"""Annotator -> file; pairs, so that a specification stays frozen and has a hash."""


class DoccanoSource(ExportSpec):
    """doccano exports: one JSONL file per annotator (`paths`), or one whose records name the annotator (`path`)."""

    source: Literal["doccano"] = "doccano"
    path: str = Field("", description="One exported file, whose records name who annotated.")
    paths: Files = Field(
        (),
        description="One file per annotator: {NAME: FILE}, or a list of files, named after their annotators.",
    )
    question: Literal[None] = None

    @model_validator(mode="after")
    def _one_of_two(self) -> DoccanoSource:
        if bool(self.path) == bool(self.paths):
            raise ValueError("give exactly one of 'path' and 'paths'")
        names = [who for who, _ in self.paths]
        if "" in names or len(set(names)) < len(names):
            raise ValueError(
                f"the files in 'paths' do not bear the names of different annotators ({', '.join(names)}); say who "
                "annotated which with {NAME: FILE, ...}"
            )
        return self

    def in_words(self) -> str:
        """How a report names the data."""
        return super().in_words() if self.path else f"doccano exports of {len(self.paths)} annotators"


def load(spec: DoccanoSource, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load exports; see `dissensus.data.sources.load_source`."""
    if not spec.paths:
        return read([("", read_table(resolve_path(spec.path, data_dir)))], spec)
    return read([(who, read_table(resolve_path(path, data_dir))) for who, path in spec.paths], spec)


def read(files: Sequence[tuple[str, Table]], spec: DoccanoSource) -> AnnotatedDataset:
    """Annotated data from the files of annotators; the name '' stands for a file that is of no one annotator."""
    tables = [table for _, table in files]
    records = [record for table in tables for record in table.records]
    export = Export(
        spec, ", ".join(str(table.path) for table in tables), (n for t in tables for n in t.notes)
    )
    fields = export.text_fields(records, OWN)
    for who, table in files:
        if who in ("", MERGED):
            _refuse_merged(table)
        for record in table.records:
            item = export.add_item(record, fields, record.get("id"))
            for annotator, labels in _answers(record):
                name = annotator or who or table.name
                export.add_answer(item, name, labels, f"{table.path.name}, {record.place}")
    if len(files) == 1 and not _names_annotators(tables[0]):
        export.note(
            "doccano writes one file per annotator, and this is one of them; name all with `paths: {NAME: FILE, ...}`"
        )
    return export.dataset(tables[0].name)


def _answers(record: Record) -> list[tuple[str, tuple[str, ...]]]:
    """Annotators ('' where the record names none) and their labels."""
    if "annotations" in record.values:
        by_user: dict[str, list[str]] = {}
        for one in objects(record, "annotations"):
            labels = label_names(one, one.need("label"), "'label'")
            by_user.setdefault(annotator_name(one, one.get("user")), []).extend(labels)
        return [(who, tuple(dict.fromkeys(labels))) for who, labels in by_user.items()]
    who = next((annotator_name(record, record.get(key)) for key in ANNOTATORS if record.get(key)), "")
    value = record.get("label") if "label" in record.values else record.need("labels")
    if isinstance(value, str):
        value = value.split("#")  # CSV
    if isinstance(value, list) and any(isinstance(one, list) for one in value):
        raise record.error(f"the labels are spans, {shown(value)}; expected text classification")
    return [(who, label_names(record, value, "the label"))]


def _names_annotators(table: Table) -> bool:
    return any(key in table.columns for key in ("annotations", *ANNOTATORS))


def _refuse_merged(table: Table) -> None:
    """Raise where labels of several annotators seem to stand in one list, without their names."""
    if _names_annotators(table):
        return
    for record in table.records:
        for _, labels in _answers(record):
            if len(labels) > 1:
                raise record.error(
                    f"one list of labels without annotators, {shown(list(labels))}: doccano merged its annotators, and "
                    "who chose what is lost. Export with one file per annotator (share annotations off) and name the "
                    "files: `{source: doccano, paths: {NAME: FILE, ...}}`. If one annotator chose several, say so the "
                    "same way; if each label is an annotator's, `{source: table, annotations: [label], ...}`"
                )


def recognise(sample: FileSample) -> Recognised | None:
    """doccano's records: a list `label`, or annotations by user."""
    table = sample.table
    if table is None or not _holds(table):
        return None
    spec = DoccanoSource.parse({"source": "doccano", "path": str(sample.path)}, str(sample.path))
    return Recognised(spec, "a doccano export")


def _holds(table: Table) -> bool:
    first = table.records[0]
    if not any(isinstance(first.get(key), str) for key in ("text", "data")):
        return False
    annotations = [one for record in table.records for one in _list(record.get("annotations"))]
    if annotations:
        return all(map(_is_annotation, annotations))
    if isinstance(first.get("label"), list):
        return True
    return isinstance(first.get("labels"), list) and bool(MARKS & set(table.columns))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_annotation(value: Any) -> bool:
    return isinstance(value, Mapping) and {"label", "user"} <= value.keys()


SOURCE = Source(DoccanoSource, load, recognise=recognise)
