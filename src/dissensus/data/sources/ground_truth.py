"""SageMaker Ground Truth: workers' responses, rather than the consolidated label that the output manifest has.

Read are the folder `annotations/worker-response` (one file per data object; texts come from the manifest, whose lines
are the objects), and the files of `consolidation-request`, which hold texts and workers' annotations together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.base import FileSample, Recognised, Source
from dissensus.data.sources.crowd_forms import form_answers
from dissensus.data.sources.paths import data_dirs, resolve_path
from dissensus.data.sources.reading import Record, read_json, read_jsonl
from dissensus.data.sources.tabular import Table, read_table
from dissensus.data.sources.tool_exports import Export, ExportSpec, annotator_name, is_text, objects
from dissensus.errors import DataError

_OBJECT = re.compile(r"iteration-(\d+)/(\d+)/[^/]+\.json")
"""Place of a response under the folder of responses: the iteration, and the line of the data object from 0."""

_HOW = "`{source: ground_truth, path: JOB/annotations/worker-response, manifest: JOB/manifests/output/output.manifest}`"


class GroundTruthSource(ExportSpec):
    """SageMaker Ground Truth: the workers' responses of a labelling job."""

    source: Literal["ground_truth"] = "ground_truth"
    path: str = Field(
        description="The folder annotations/worker-response of a job, or a file of its consolidation-request."
    )
    manifest: str | None = Field(
        None, description="The job's input or output manifest, whose lines hold the texts (`source`)."
    )
    item: str | None = Field(
        None,
        description="Field of the manifest with the item's id; default: `item_id`, else the line, from 0.",
    )


def load(spec: GroundTruthSource, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load responses; see `dissensus.data.sources.load_source`."""
    folder = _folder(spec.path, data_dir)
    if folder is None:
        return read_requests(read_table(resolve_path(spec.path, data_dir)), spec)
    if spec.manifest is None:
        raise DataError(
            f"{folder}: workers' responses hold no texts; name the job's manifest with `manifest: FILE`"
        )
    return read_responses(folder, resolve_path(spec.manifest, data_dir), spec)


def _folder(path: str, data_dir: Path | None) -> Path | None:
    named = Path(path).expanduser()
    places = [*(folder / named for folder in data_dirs(data_dir)), named]  # an absolute path stays as it is
    return next((place for place in places if place.is_dir()), None)


def read_responses(folder: Path, manifest: Path, spec: GroundTruthSource) -> AnnotatedDataset:
    """Annotated data from a folder of responses, and the manifest that holds the texts."""
    export = Export(spec, folder)
    texts = list(read_jsonl(manifest))
    files = sorted(
        (int(match[1]), int(match[2]), path)
        for path in folder.rglob("*.json")
        if (match := _OBJECT.search(path.as_posix()))
    )
    if not files:
        raise DataError(
            f"{folder} holds no workers' responses; expected files such as iteration-1/0/TIME.json in it"
        )
    pairs: list[tuple[Record, str, Record]] = []
    for _, line, path in files:
        if line >= len(texts):
            raise DataError(
                f"{path}: data object {line}, but {manifest} has {len(texts)} lines; is it the manifest of this job?"
            )
        document = read_json(path)
        if not isinstance(document, dict):
            raise DataError(f"{path}: expected one JSON object with `answers`")
        pairs += [
            (texts[line], str(line), answer)
            for answer in objects(Record(path, f"data object {line}", document), "answers")
        ]
    return _read(
        export, [(item, own, answer, answer.get("answerContent")) for item, own, answer in pairs], folder.name
    )


def read_requests(table: Table, spec: GroundTruthSource) -> AnnotatedDataset:
    """Annotated data from a consolidation request: data objects with the annotations of all workers."""
    export = Export(spec, table.path, table.notes)
    pairs: list[tuple[Record, str, Record, Any]] = []
    for record in table.records:
        own = record.need_name("datasetObjectId")
        item = _with_content(record.need_mapping("dataObject"))
        for answer in objects(record, "annotations"):
            data = answer.need_mapping("annotationData")
            pairs.append((item, own, answer, _opened(data, data.need("content"))))
    return _read(export, pairs, table.name)


def _read(export: Export, pairs: list[tuple[Record, str, Record, Any]], name: str) -> AnnotatedDataset:
    """Annotated data from data objects with their line, a worker's answer, and what it holds."""
    answers = [{} if content is None else form_answers(answer, content) for _, _, answer, content in pairs]
    question = export.question(name for own in answers for name, labels in own.items() if labels)
    items = [item for item, *_ in pairs]
    columns = {column for item in items for column in item.values}
    in_source = all(is_text(item.get("source")) for item in items)  # else the objects are lines of a manifest
    fields = export.text_fields(items, columns - {"source"} if in_source else {"source-ref"})
    for (item, line, answer, _), own in zip(pairs, answers, strict=True):
        who = annotator_name(answer, answer.get("workerId"))
        export.add_answer(export.add_item(item, fields, line), who, own.get(question, ()), answer.place)
    return export.dataset(name)


def _with_content(record: Record) -> Record:
    """A data object: its content is a text, or the line of the manifest as JSON."""
    content = record.need("content")
    opened = _opened(record, content) if is_text(content) and content.lstrip()[:1] == "{" else content
    fields = opened if isinstance(opened, Mapping) else {"source": content}
    return Record(record.path, record.place, fields)


def _opened(record: Record, content: Any) -> Any:
    if not isinstance(content, str):
        return content
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise record.error(f"'content' is not JSON: {content[:60]!r}") from None


def recognise(sample: FileSample) -> Recognised | None:
    """A consolidation request.

    Raises:
        DataError: the file is an output manifest, or the responses to one data object; the message says what to read.
    """
    document = sample.document
    if (
        document is not None
        and isinstance(document.get("answers"), list)
        and _are_answers(document["answers"])
    ):
        raise DataError(
            f"{sample.path}: Ground Truth's responses to one data object, without its text. Read all of them with "
            + _HOW
        )
    table = sample.table
    if table is None:
        return None
    metadata = next((c for c in table.columns if c.endswith("-metadata")), None)
    first = table.records[0].values
    if metadata and isinstance(first.get(metadata), Mapping) and {"source", "source-ref"} & first.keys():
        raise DataError(
            f"{sample.path}: a Ground Truth manifest holds one consolidated label per item, not who chose what. Read "
            f"the workers' responses with {_HOW}"
        )
    if not {"datasetObjectId", "dataObject", "annotations"} <= first.keys():
        return None
    spec = GroundTruthSource.parse({"source": "ground_truth", "path": str(sample.path)}, str(sample.path))
    return Recognised(spec, "a consolidation request of SageMaker Ground Truth")


def _are_answers(answers: list[Any]) -> bool:
    return any(isinstance(one, Mapping) and "workerId" in one and "answerContent" in one for one in answers)


SOURCE = Source(GroundTruthSource, load, recognise=recognise)
