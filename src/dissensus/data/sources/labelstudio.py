"""Label Studio exports: JSON (`annotations`, in older versions `completions`), JSON-MIN and CSV.

Never counted: cancelled annotations (a skipped task), ground truth (a honeypot's answer is not an annotator's), drafts,
and predictions of a model. JSON-MIN and CSV leave out cancelled ones themselves and do not tell ground truth apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.cells import opened
from dissensus.data.sources.columns import TEXTS, normal_name
from dissensus.data.sources.reading import Record, shown
from dissensus.data.sources.tabular import Table
from dissensus.data.sources.tool_exports import (
    Export,
    ExportSpec,
    annotator_name,
    export_source,
    is_set,
    label_names,
    objects,
    queue_facts,
)

ANNOTATIONS = ("annotations", "completions")
MIN_COLUMNS = frozenset({"id", "annotator", "annotation_id"})
"""Columns by which JSON-MIN and CSV are known."""
MIN_OWN = MIN_COLUMNS | {"created_at", "updated_at", "lead_time", "agreement", "item_id", "inner_id"}
SCALES = ("rating", "number")
REGION = ("start", "end", "x", "startOffset")


class LabelStudioSource(ExportSpec):
    """A Label Studio export: JSON, JSON-MIN or CSV. `question` is the name of a control tag (its `from_name`)."""

    source: Literal["labelstudio"] = "labelstudio"


def read(table: Table, spec: LabelStudioSource) -> AnnotatedDataset:
    """Annotated data from the records of an export."""
    if _is_min(table):
        return _read_min(table, spec)
    export = Export(spec, table.path, table.notes)
    tasks = [(record, record.need_mapping("data")) for record in table.records]
    annotations = [list(_annotations(record)) for record, _ in tasks]
    results = [result for own in annotations for one in own for result in _results(one)]
    question = export.question(name for result in results if (name := _question(result)) is not None)
    fields = export.text_fields([data for _, data in tasks])
    for (record, data), own in zip(tasks, annotations, strict=True):
        item = export.add_item(data, fields, record.get("id"))
        for kind, word in (("predictions", "predictions of a model"), ("drafts", "drafts")):
            values = record.get(kind)
            export.leave_out(word, len(values) if isinstance(values, list) else 0)
        for one in own:
            if is_set(one.get("was_cancelled")) or is_set(one.get("skipped")):
                export.leave_out("cancelled (skipped tasks)")
            elif _is_rejected(one):
                export.leave_out("rejected by a reviewer")
            elif is_set(one.get("ground_truth")) or is_set(one.get("honeypot")):
                export.leave_out("ground truth")
            else:
                labels: list[str] = []
                for result in _results(one):
                    if result.get("from_name") != question:
                        continue
                    if _is_region(result):
                        export.leave_out("of a region rather than the whole item")
                    else:
                        labels += _labels(result, result.get("value"))
                who = annotator_name(one, one.get("completed_by"))
                export.add_answer(item, who, tuple(dict.fromkeys(labels)), one.place)
    rated = [r.get("value") for r in results if r.get("from_name") == question]
    ordinal = all(isinstance(value, Mapping) and any(key in value for key in SCALES) for value in rated)
    return export.dataset(table.name, scale="ordinal" if ordinal else "nominal")


def _annotations(record: Record) -> list[Record]:
    """A task's annotations, the latest last: an export has them in any order."""
    return sorted((one for key in ANNOTATIONS for one in objects(record, key)), key=_time)


def _time(annotation: Record) -> str:
    """When an annotation was last changed, in ISO 8601, which sorts as text; '' where the export does not say."""
    changed = annotation.get("updated_at") or annotation.get("created_at")
    return changed if isinstance(changed, str) else ""


def _is_rejected(annotation: Record) -> bool:
    """Whether a reviewer's last word on an annotation was no."""
    reviews = list(objects(annotation, "reviews"))
    return bool(reviews) and reviews[-1].get("accepted") is False


def _results(annotation: Record) -> list[Record]:
    return list(objects(annotation, "result"))


def _question(result: Record) -> str | None:
    """The control tag of a result that labels the item; None for regions, relations, boxes and free text."""
    name, value = result.get("from_name"), result.get("value")
    if not isinstance(name, str) or not isinstance(value, Mapping) or _is_region(result):
        return None
    return name if any(key in value for key in ("choices", "taxonomy", *SCALES)) else None


def _is_region(result: Record) -> bool:
    value = result.get("value")
    return isinstance(value, Mapping) and any(key in value for key in REGION)


def _labels(record: Record, value: Any) -> tuple[str, ...]:
    """Labels of a result's value; a place in a taxonomy is one label, written as its path."""
    if not isinstance(value, Mapping):
        return label_names(record, value, "the answer")
    if "choices" in value:
        return label_names(record, value["choices"], "'choices'")
    if "taxonomy" in value:
        paths = value["taxonomy"]
        if not isinstance(paths, list) or not all(isinstance(path, list) for path in paths):
            raise record.error(f"'taxonomy' is {shown(paths)}; expected a list of paths")
        return tuple(" > ".join(label_names(record, path, "a path of 'taxonomy'")) for path in paths)
    for key in SCALES:
        if key in value:
            return label_names(record, value[key], repr(key))
    raise record.error(f"the answer is {shown(value)}; expected choices, a taxonomy, a rating or a number")


def _read_min(table: Table, spec: LabelStudioSource) -> AnnotatedDataset:
    export = Export(spec, table.path, table.notes)
    questions = _min_questions(table, spec)
    question = export.question(questions)
    fields = export.text_fields(table.records, (*MIN_OWN, *questions))
    ordinal = True
    items = [export.add_item(record, fields, record.get("id")) for record in table.records]
    for record, item in sorted(zip(table.records, items, strict=True), key=lambda pair: _time(pair[0])):
        value = opened(record, question, record.get(question))
        labels: list[str] = []
        for part in value if isinstance(value, list) else [value]:
            labels += _labels(record, part)
            ordinal = ordinal and _is_rating(part)
        who = annotator_name(record, record.get("annotator"))
        export.add_answer(item, who, tuple(dict.fromkeys(labels)), record.place)
    export.note("JSON-MIN and CSV do not say which annotations are ground truth; those count here")
    return export.dataset(table.name, scale="ordinal" if ordinal else "nominal")


def _is_rating(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(key in value for key in SCALES)
    return isinstance(value, int) and not isinstance(value, bool)


def _min_questions(table: Table, spec: LabelStudioSource) -> list[str]:
    """Columns of answers: those between `id` and `annotator`, where JSON-MIN writes them, and any that vary in an item.

    CSV has its columns in order of their names. If nothing there varies, whatever is no text is a question.
    """
    texts = {t for group in TEXTS for t in group}
    named = {*(spec.text or ()), spec.item, *queue_facts(table.columns)}
    free = [c for c in table.columns if c not in MIN_OWN and c not in named and normal_name(c) not in texts]
    begin, end = table.columns.index("id"), table.columns.index("annotator")
    between = table.columns[begin + 1 : end]
    values: dict[tuple[str, str], set[str]] = {}
    for record in table.records:
        for column in free:
            values.setdefault((column, str(record.get("id"))), set()).add(repr(record.get(column)))
    varying = {column for (column, _), cells in values.items() if len(cells) > 1}
    questions = [column for column in free if column in between or column in varying]
    return questions or free


def _is_min(table: Table) -> bool:
    return set(table.columns) >= MIN_COLUMNS and "data" not in table.columns


def _holds(table: Table) -> bool:
    if _is_min(table):
        return True
    first = table.records[0]
    return isinstance(first.get("data"), Mapping) and any(isinstance(first.get(k), list) for k in ANNOTATIONS)


SOURCE = export_source(LabelStudioSource, read, holds=_holds, form="a Label Studio export")
