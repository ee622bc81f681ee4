"""One invented panel of annotators, and the files in which each annotation tool would export it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LABELS = ("dull", "lively", "odd")
PEOPLE = ("ann", "bo", "cy", "di")
TEXTS = (
    "The parade turned the corner twice.",
    "A lecture about gravel, part nine.",
    "The fountain hums when nobody looks.",
    "Minutes of the last meeting.",
    "A goose, seated, reading the menu.",
    'Three drums and a "quiet" librarian.',
)
SKIPPED = "!"
"""Before a label: chosen, but then the task was skipped, discarded or rejected."""
ANSWERS = (
    ("lively", "lively", "lively", "lively"),
    ("dull", "dull", "lively", "dull"),
    ("odd", "dull", "lively", "!lively"),
    ("dull", "dull", None, None),
    ("odd", "odd", "!dull", "lively"),
    ("lively", "odd", "odd", "dull"),
)
COUNTS = [[0, 4, 0], [3, 1, 0], [1, 1, 1], [2, 0, 0], [0, 1, 2], [1, 1, 2]]
"""Annotators of each item who chose dull, lively, odd, and whose answer counts."""


def answers() -> Iterator[tuple[int, str, str, bool]]:
    """Item, annotator, label, and whether the answer counts."""
    for item, row in enumerate(ANSWERS):
        for who, label in zip(PEOPLE, row, strict=True):
            if label is not None:
                yield item, who, label.removeprefix(SKIPPED), not label.startswith(SKIPPED)


def labelstudio(key: str = "annotations") -> list[dict[str, Any]]:
    """JSON; `key` is 'completions' in older exports. Each task has a prediction, and the first a ground truth."""
    tasks: list[dict[str, Any]] = [
        {
            "id": 70 + n,
            "data": {"text": text},
            key: [],
            "predictions": [{"result": [_choice("odd")]}],
            "drafts": [],
        }
        for n, text in enumerate(TEXTS)
    ]
    for item, who, label, counts in answers():
        tasks[item][key].append(
            {
                "id": len(tasks[item][key]),
                "completed_by": PEOPLE.index(who) + 1 if key == "annotations" else {"email": who},
                "result": [_choice(label)],
                "was_cancelled": not counts,
            }
        )
    tasks[0][key].append({"completed_by": 9, "result": [_choice("dull")], "ground_truth": True})
    return tasks


def _choice(label: str) -> dict[str, Any]:
    return {"from_name": "mood", "to_name": "text", "type": "choices", "value": {"choices": [label]}}


def labelstudio_min() -> list[dict[str, Any]]:
    """JSON-MIN, which leaves out skipped tasks itself."""
    return [
        {
            "text": TEXTS[item],
            "id": 70 + item,
            "mood": label,
            "annotator": who,
            "annotation_id": n,
            "created_at": "2024-05-02T09:10:11Z",
            "updated_at": "2024-05-02T09:10:12Z",
            "lead_time": 3.2,
        }
        for n, (item, who, label, counts) in enumerate(answers())
        if counts
    ]


def argilla() -> list[dict[str, Any]]:
    """Records as `datasets` holds them."""
    records = []
    for item, text in enumerate(TEXTS):
        own = [(who, label, counts) for i, who, label, counts in answers() if i == item]
        records.append(
            {
                "id": f"rec-{item}",
                "status": "completed",
                "_server_id": f"0000-{item}",
                "text": text,
                "mood.responses": [label for _, label, _ in own],
                "mood.responses.users": [who for who, _, _ in own],
                "mood.responses.status": ["submitted" if counts else "discarded" for _, _, counts in own],
                "mood.suggestion": "odd",
                "mood.suggestion.score": 0.9,
                "mood.suggestion.agent": "model",
            }
        )
    return records


def argilla_nested() -> list[dict[str, Any]]:
    """Records as JSON."""
    return [
        {
            "id": record["id"],
            "status": "completed",
            "fields": {"text": record["text"]},
            "metadata": {},
            "suggestions": {"mood": {"value": "odd", "score": 0.9, "agent": "model"}},
            "responses": {
                "mood": [
                    {"value": value, "user_id": user, "status": status}
                    for value, user, status in zip(
                        record["mood.responses"],
                        record["mood.responses.users"],
                        record["mood.responses.status"],
                        strict=True,
                    )
                ]
            },
        }
        for record in argilla()
    ]


def argilla_server() -> list[dict[str, Any]]:
    """Records as the server gives them: responses by user."""
    records = argilla_nested()
    for record in records:
        record["responses"] = [
            {
                "user_id": one["user_id"],
                "status": one["status"],
                "values": {"mood": {"value": one["value"]}} if one["status"] == "submitted" else None,
            }
            for one in record["responses"]["mood"]
        ]
    return records


def argilla_1() -> list[dict[str, Any]]:
    """Records as version 1 wrote them for `datasets`."""
    return [
        {
            "text": record["fields"]["text"],
            "mood": record["responses"]["mood"],
            "mood-suggestion": "odd",
            "mood-suggestion-metadata": {"agent": "model"},
            "external_id": record["id"],
            "metadata": "{}",
        }
        for record in argilla_nested()
    ]


def prodigy() -> list[dict[str, Any]]:
    """The choice interface."""
    return [
        {
            "text": TEXTS[item],
            "options": [{"id": name, "text": name.title()} for name in LABELS],
            "_input_hash": 500 + item,
            "_task_hash": -item,
            "accept": [label],
            "answer": "accept" if counts else "ignore",
            "_annotator_id": f"mood-{who}",
            "_session_id": f"mood-{who}",
        }
        for item, who, label, counts in answers()
    ]


def doccano() -> dict[str, list[dict[str, Any]]]:
    """One list of records per annotator; a skipped task has no label."""
    return {
        person: [
            {"id": 1 + item, "text": TEXTS[item], "label": [label] if counts else [], "Comments": []}
            for item, who, label, counts in answers()
            if who == person
        ]
        for person in PEOPLE
    }


def doccano_merged() -> list[dict[str, Any]]:
    """All annotators' labels in one list per item."""
    return [
        {
            "id": 1 + item,
            "text": text,
            "label": sorted({label for i, _, label, counts in answers() if i == item and counts}),
            "Comments": [],
        }
        for item, text in enumerate(TEXTS)
    ]


def doccano_users() -> list[dict[str, Any]]:
    """The form with annotations by user."""
    return [
        {
            "id": 1 + item,
            "text": text,
            "meta": {},
            "annotation_approver": None,
            "annotations": [
                {"label": LABELS.index(label), "user": 1 + PEOPLE.index(who)}
                for i, who, label, counts in answers()
                if i == item and counts
            ],
        }
        for item, text in enumerate(TEXTS)
    ]


def mturk(form: str = "label") -> str:
    """Batch results; `form` is 'label', 'plain', 'radio' or 'taskAnswers'."""
    columns = {
        "label": ["Answer.mood.label"],
        "plain": ["Answer.mood"],
        "radio": [f"Answer.mood.{name}" for name in LABELS],
        "taskAnswers": ["Answer.taskAnswers"],
    }[form]
    rows: list[list[object]] = [
        ["HITId", "AssignmentId", "WorkerId", "AssignmentStatus", "Input.text", *columns]
    ]
    for n, (item, who, label, counts) in enumerate(answers()):
        cells: list[object] = [label]
        if form == "radio":
            cells = [str(label == name).lower() for name in LABELS]
        if form == "taskAnswers":
            cells = [json.dumps([{"mood": {name: label == name for name in LABELS}}])]
        status = "Approved" if counts else "Rejected"
        rows.append([f"3H{item}", f"3A{n}", f"A{who.upper()}", status, TEXTS[item], *cells])
    return _separated(rows, ",")


def toloka() -> str:
    """Assignments, with a control task, and blank lines after the header and between tasks."""
    header = [
        *("INPUT:text", "OUTPUT:mood", "GOLDEN:mood", "HINT:text", "ASSIGNMENT:task_id"),
        *("ASSIGNMENT:assignment_id", "ASSIGNMENT:worker_id", "ASSIGNMENT:status"),
    ]
    rows: list[Sequence[object]] = [header, []]
    for n, (item, who, label, counts) in enumerate(answers()):
        status = "APPROVED" if counts else "REJECTED"
        rows.append([TEXTS[item], label, "", "", f"t{item}", f"a{n}", who, status])
        if n % 4 == 3:
            rows.append([])
    rows.append(["Water is wet.", "dull", "dull", "", "t99", "a99", "ann", "APPROVED"])
    return _separated(rows, "\t")


def crowdkit() -> str:
    """task, worker, label."""
    rows = [(f"t{item}", who, label) for item, who, label, counts in answers() if counts]
    return _separated([("task", "worker", "label"), *rows], ",")


def crowdkit_texts() -> str:
    """The second file."""
    return _separated([("number", "text"), *((f"t{n}", text) for n, text in enumerate(TEXTS))], ",")


def ground_truth(job: Path) -> None:
    """A labelling job's folder: responses of workers, and the output manifest."""
    (job / "manifests" / "output").mkdir(parents=True)
    lines = []
    for item, text in enumerate(TEXTS):
        responses = job / "annotations" / "worker-response" / "iteration-1" / str(item)
        responses.mkdir(parents=True)
        given = [
            {"workerId": f"private.{who}", "answerContent": {"crowd-classifier": {"label": label}}}
            for i, who, label, counts in answers()
            if i == item and counts
        ]
        (responses / "2024-05-02_09:10:11.json").write_text(json.dumps({"answers": given}))
        lines.append(
            {"source": text, "mood": 1, "mood-metadata": {"class-name": "odd", "human-annotated": "yes"}}
        )
    manifest = job / "manifests" / "output" / "output.manifest"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))


def consolidation_request() -> list[dict[str, Any]]:
    """Ground Truth's file of data objects with all workers' annotations."""
    return [
        {
            "datasetObjectId": str(item),
            "dataObject": {"content": text},
            "annotations": [
                {
                    "workerId": f"private.{who}",
                    "annotationData": {"content": json.dumps({"crowd-classifier": {"label": label}})},
                }
                for i, who, label, counts in answers()
                if i == item and counts
            ],
        }
        for item, text in enumerate(TEXTS)
    ]


def _separated(rows: Sequence[Sequence[object]], delimiter: str) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return out.getvalue()
