"""Annotation tools: tasks as Label Studio, Argilla and Prodigy import them, and as CSV for a spreadsheet.

Each form carries the item's id as `item_id`, by which the labels that come back are joined. Votes and reason come along
for whoever leads the annotation; where a tool would show them to annotators unasked they are put where it does not.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence

from dissensus.data.annotation_tasks import AnnotationTask

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Beginnings of a cell that a spreadsheet may run as a formula, the full-width ones among them."""
GUARD = "'"
"""Put before such a cell: a spreadsheet then takes it for text."""


def label_studio(tasks: Sequence[AnnotationTask]) -> str:
    """A JSON list of tasks, to be imported as it is. A labelling interface shows of `data` what it names."""
    return _json([{"data": {"item_id": task.id, **task.text, **_reasons(task)}} for task in tasks])


def argilla(tasks: Sequence[AnnotationTask]) -> str:
    """A JSON list of records with id, fields and metadata, which `Dataset.records.from_json` reads."""
    return _json(
        [
            {
                "id": task.id,
                "fields": dict(task.text),
                "metadata": {"item_id": task.id, **_reasons(task)},
            }
            for task in tasks
        ]
    )


def prodigy(tasks: Sequence[AnnotationTask]) -> str:
    """JSONL for the `choice` interface: all text in `text`, the labels as options.

    `meta` is shown on the card, so only the id stands there; votes and reason are keys of the task, which are kept and
    not shown.
    """
    lines = []
    for task in tasks:
        fields = list(task.text.items())
        text = fields[0][1] if len(fields) == 1 else "\n\n".join(f"{name}: {value}" for name, value in fields)
        options = [{"id": label, "text": label} for label in task.labels]
        line = {
            "text": text,
            "options": options,
            "meta": {"item_id": task.id},
            **_reasons(task, ("text", "options", "meta")),
        }
        lines.append(json.dumps(line, ensure_ascii=False, allow_nan=False))
    return "".join(f"{line}\n" for line in lines)


def spreadsheet(tasks: Sequence[AnnotationTask]) -> str:
    """CSV with a row per item, and the columns `annotator` and `annotation` to be filled in.

    A cell that a spreadsheet could run as a formula (it begins with = + - @, a tab or a carriage return) has an
    apostrophe put before it. The file begins with a byte-order mark, without which Excel misreads what is not ASCII.
    """
    fields = list(dict.fromkeys(name for task in tasks for name in task.text))
    reasons = list(dict.fromkeys(name for task in tasks for name in _reasons(task)))
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow([guarded(name) for name in ("item_id", *fields, "annotator", "annotation", *reasons)])
    for task in tasks:
        facts = _reasons(task)
        cells = (
            task.id,
            *(task.text.get(name, "") for name in fields),
            "",
            "",
            *(facts.get(name) for name in reasons),
        )
        writer.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in cells])
    return "\ufeff" + stream.getvalue()


FORMS: Mapping[str, Callable[[Sequence[AnnotationTask]], str]] = {
    "label-studio": label_studio,
    "argilla": argilla,
    "prodigy": prodigy,
    "csv": spreadsheet,
}


def guarded(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula."""
    return GUARD + cell if cell.lstrip(" ").startswith(_FORMULA) else cell


def unguarded(cell: str) -> str:
    """The cell as it was before `guarded`."""
    return cell[len(GUARD) :] if cell.startswith(GUARD) and guarded(cell[len(GUARD) :]) == cell else cell


def _reasons(task: AnnotationTask, taken: Sequence[str] = ()) -> dict[str, str | float | int | None]:
    """What goes with an item besides its texts, under names that no text field has."""
    facts: dict[str, str | float | int | None] = {
        "gold": task.gold,
        "votes": task.votes_in_words,
        "entropy": None if math.isnan(task.entropy) else round(task.entropy, 6),
        "why": task.why,
    }
    if task.labels_wanted is not None:
        facts["labels_wanted"] = task.labels_wanted
    used = {*task.text, *taken}
    return {
        f"queue_{name}" if name in used else name: value for name, value in facts.items() if value is not None
    }


def _json(rows: object) -> str:
    return json.dumps(rows, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
