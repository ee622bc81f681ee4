"""Exports of annotation tools: one panel in each tool's form gives the same counts; what does not count is said."""

from __future__ import annotations

import contextlib
import copy
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import annotation_panel as panel
from dissensus.config.sources import SOURCES
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.check import check_dataset
from dissensus.data.sniff import recognise, sniff
from dissensus.data.sources import load_source
from dissensus.errors import DataError, DissensusError

Write = Callable[[str, object], Path]
Rows = list[dict[str, Any]]


def array(rows: Rows) -> str:
    return json.dumps(rows)


def as_csv(rows: Rows) -> str:
    """As Label Studio writes CSV: columns by name."""
    out = io.StringIO()
    writer = csv.DictWriter(out, sorted(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def source(name: str, **keys: Any) -> AnnotatedDataset:
    return load_source(SOURCES.load(name).spec.parse({"source": name, **keys}, "test"))


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(DissensusError) as caught:
        make()
    return str(caught.value)


FILES: dict[str, tuple[str, str, object]] = {
    "Label Studio": ("labelstudio", "ls.json", array(panel.labelstudio())),
    "Label Studio, older": ("labelstudio", "ls.json", array(panel.labelstudio("completions"))),
    "Label Studio, JSONL": ("labelstudio", "ls.jsonl", panel.labelstudio()),
    "Label Studio, JSON-MIN": ("labelstudio", "ls-min.json", array(panel.labelstudio_min())),
    "Label Studio, CSV": ("labelstudio", "ls.csv", as_csv(panel.labelstudio_min())),
    "Argilla": ("argilla", "argilla.jsonl", panel.argilla()),
    "Argilla, JSON": ("argilla", "argilla.json", array(panel.argilla_nested())),
    "Argilla, server": ("argilla", "argilla.json", array(panel.argilla_server())),
    "Argilla, version 1": ("argilla", "argilla.jsonl", panel.argilla_1()),
    "Prodigy": ("prodigy", "prodigy.jsonl", panel.prodigy()),
    "doccano, by user": ("doccano", "doccano.jsonl", panel.doccano_users()),
    "MTurk": ("mturk", "batch.csv", panel.mturk()),
    "MTurk, plain": ("mturk", "batch.csv", panel.mturk("plain")),
    "MTurk, radio buttons": ("mturk", "batch.csv", panel.mturk("radio")),
    "MTurk, taskAnswers": ("mturk", "batch.csv", panel.mturk("taskAnswers")),
    "Toloka": ("toloka", "assignments.tsv", panel.toloka()),
    "Ground Truth, request": ("ground_truth", "request.json", array(panel.consolidation_request())),
}


def hold_the_panel(data: AnnotatedDataset, labels: tuple[str, ...] = panel.LABELS) -> None:
    assert data.labels == labels
    assert [example.joined_text for example in data] == [" ".join(t.split()).casefold() for t in panel.TEXTS]
    np.testing.assert_allclose(data.counts, panel.COUNTS, rtol=0, atol=1e-9)
    assert len({who for example in data for who, _ in example.annotations}) == len(panel.PEOPLE)


@pytest.mark.parametrize("case", FILES)
def test_a_panel_in_each_form(write: Write, case: str) -> None:
    name, file, content = FILES[case]
    path = write(file, content)
    seen = recognise(path)
    assert seen.spec.source == name
    assert seen.spec.gold_from() == "majority"
    assert path.name in seen.spec.in_words()
    assert str(path.parent) not in seen.spec.in_words()
    hold_the_panel(load_source(seen.spec), ("0", "1", "2") if case == "doccano, by user" else panel.LABELS)


LEFT_OUT = {
    "Label Studio": "6 predictions of a model; 1 ground truth; 2 cancelled (skipped tasks)",
    "Argilla": "2 discarded",
    "Argilla, JSON": "2 discarded",
    "Prodigy": "2 ignored",
    "MTurk": "2 rejected (AssignmentStatus)",
    "Toloka": "2 rejected (ASSIGNMENT:status); 1 to control tasks (GOLDEN; `control_tasks: true` counts them)",
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_does_not_count_is_counted_in_a_note(write: Write, case: str) -> None:
    _, file, content = FILES[case]
    notes = sniff(write(file, content)).notes
    (said,) = [note for note in notes if note.startswith("annotations that do not count: ")]
    assert sorted(said.partition(": ")[2].split("; ")) == sorted(LEFT_OUT[case].split("; "))


def test_doccano_by_annotator(write: Write, tmp_path: Path) -> None:
    files = {who: str(write(f"{who}.jsonl", rows)) for who, rows in panel.doccano().items()}
    hold_the_panel(source("doccano", paths=files))
    data = source("doccano", paths=list(files.values()))
    hold_the_panel(data)
    assert data.examples[1].annotations == (("ann", 0), ("bo", 0), ("cy", 1), ("di", 0))
    one = sniff(Path(files["ann"]))
    assert any("paths: {NAME: FILE" in note for note in one.notes)
    (tmp_path / "b").mkdir()
    twins = [files["ann"], str(tmp_path / "b" / "ann.jsonl")]
    assert "names of different annotators (ann, ann)" in refusal(lambda: source("doccano", paths=twins))
    spec_class = SOURCES.load("doccano").spec
    spec = spec_class.parse({"source": "doccano", "paths": files}, "test")
    assert {spec, spec_class.parse({"source": "doccano", "paths": list(files.values())}, "test")} == {spec}
    assert spec_class.parse(spec.model_dump(mode="json"), "test") == spec
    assert "exactly one of 'path' and 'paths'" in refusal(lambda: source("doccano"))


def test_doccano_merged_is_refused_for_who_chose_what_is_lost(write: Write) -> None:
    path = write("all.jsonl", panel.doccano_merged())
    message = refusal(lambda: sniff(path))
    assert "who chose what is lost" in message
    assert "paths: {NAME: FILE" in message
    assert "line 2" in message
    assert "who chose what is lost" in refusal(lambda: source("doccano", paths=[str(path)]))
    spans = write("spans.jsonl", [{"id": 1, "text": "a", "label": [[0, 1, "PER"]]}])
    assert "spans" in refusal(lambda: sniff(spans))


def test_crowdkit_with_texts_from_a_second_file(write: Write) -> None:
    table, texts = write("labels.csv", panel.crowdkit()), write("texts.csv", panel.crowdkit_texts())
    hold_the_panel(source("crowdkit", path=str(table), texts={"path": str(texts), "id": "number"}))
    assert "texts: {path: FILE, id: task}" in refusal(lambda: sniff(table))
    assert "texts: {path: FILE, id: task}" in refusal(lambda: source("crowdkit", path=str(table)))
    fewer = write("texts.csv", "number,text\nt0,a\n")
    message = refusal(lambda: source("crowdkit", path=str(table), texts={"path": str(fewer), "id": "number"}))
    assert "the task 't1' has no row in" in message


def test_ground_truth_reads_the_responses_and_no_consolidated_label(tmp_path: Path) -> None:
    panel.ground_truth(tmp_path / "job")
    folder = tmp_path / "job" / "annotations" / "worker-response"
    manifest = tmp_path / "job" / "manifests" / "output" / "output.manifest"
    hold_the_panel(source("ground_truth", path=str(folder), manifest=str(manifest)))
    assert "one consolidated label per item" in refusal(lambda: sniff(manifest))
    assert "manifest: JOB" in refusal(lambda: sniff(next(folder.rglob("*.json"))))
    assert "`manifest: FILE`" in refusal(lambda: source("ground_truth", path=str(folder)))
    manifest.write_text(manifest.read_text().partition("\n")[0])
    message = refusal(lambda: source("ground_truth", path=str(folder), manifest=str(manifest)))
    assert "is it the manifest of this job?" in message


def test_our_own_item_id_is_the_id(write: Write) -> None:
    ours = [f"mine-{n}" for n in range(len(panel.TEXTS))]
    tasks = panel.labelstudio()
    for task, own in zip(tasks, ours, strict=True):
        task["data"]["item_id"] = own
    minimal = [row | {"item_id": ours[row["id"] - 70]} for row in panel.labelstudio_min()]
    choices = [row | {"meta": {"item_id": ours[row["_input_hash"] - 500]}} for row in panel.prodigy()]
    records = [record | {"id": own} for record, own in zip(panel.argilla(), ours, strict=True)]
    for name, content in {
        "a.json": array(tasks),
        "b.csv": as_csv(minimal),
        "c.jsonl": choices,
        "d.jsonl": records,
    }.items():
        assert list(sniff(write(name, content)).ids) == ours


def test_what_the_queue_wrote_beside_the_texts_is_no_text_and_no_question(write: Write) -> None:
    facts = {"item_id": "x", "queue_why": "Most disagree.", "gold": "dull", "votes": "dull 1", "entropy": 0.5}
    tasks = [panel.labelstudio()[1]]
    tasks[0]["data"] = {"why": tasks[0]["data"]["text"], **facts}
    for one in tasks[0]["annotations"]:
        one["was_cancelled"] = False
    data = sniff(write("a.json", array(tasks)))
    assert (data.fields, data.ids) == (("why",), ("x",))


def test_ids_are_the_tools_own(write: Write) -> None:
    first = {name: sniff(write(file, content)).ids[0] for name, file, content in FILES.values()}
    assert first == {
        **{"labelstudio": "70", "argilla": "rec-0", "prodigy": "500", "doccano": "1", "mturk": "3H0"},
        **{"toloka": "t0", "ground_truth": "0"},
    }
    path = write("a.jsonl", [{**row, "own": f"n{row['_input_hash']}"} for row in panel.prodigy()])
    assert source("prodigy", path=str(path), item="own", text=["text"]).ids[0] == "n500"


def _second_question(rows: Rows) -> Rows:
    for task in rows:
        for one in task["annotations"]:
            stars = 2 if one["result"][0]["value"]["choices"] == ["odd"] else 3
            one["result"].append({"from_name": "stars", "type": "rating", "value": {"rating": stars}})
    return rows


def test_two_questions_are_refused_and_named(write: Write) -> None:
    path = write("two.json", array(_second_question(panel.labelstudio())))
    assert "Say which is read with `question: mood`" in refusal(lambda: sniff(path))
    hold_the_panel(source("labelstudio", path=str(path), question="mood"))
    stars = source("labelstudio", path=str(path), question="stars")
    assert (stars.labels, stars.scale, stars.counts.sum()) == (("2", "3"), "ordinal", 20)
    message = refusal(lambda: source("labelstudio", path=str(path), question="moood"))
    assert "there is no question 'moood'; its questions are: mood, stars" in message
    rows = [record | {"tone.responses": [], "tone.responses.users": []} for record in panel.argilla()]
    assert "2 questions: mood, tone" in refusal(lambda: sniff(write("a.jsonl", rows)))
    table = panel.toloka().replace("HINT:text", "OUTPUT:tone").replace("\tt0\t", "x\tt0\t")
    table = table.replace("\tdull\t\t\t", "\tdull\t\tfine\t")
    assert "2 questions: mood, tone" in refusal(lambda: sniff(write("a.tsv", table)))


def test_two_texts_are_refused_and_named(write: Write) -> None:
    tasks = panel.labelstudio()
    for task in tasks:
        task["data"] = {"story": task["data"]["text"], "reply": "Indeed."}
    path = write("two.json", array(tasks))
    message = refusal(lambda: sniff(path))
    assert "the text may be in any of: story, reply" in message
    assert "`text: [story]`" in message
    assert source("labelstudio", path=str(path), text=["reply", "story"]).fields == ("reply", "story")
    assert "there is no field 'stry'" in refusal(lambda: source("labelstudio", path=str(path), text=["stry"]))


def test_a_rating_is_ordinal_unless_the_study_says_otherwise(write: Write) -> None:
    rows = [
        record | {"mood.responses": [panel.LABELS.index(label) for label in record["mood.responses"]]}
        for record in panel.argilla()
    ]
    path = write("rating.jsonl", rows)
    data = sniff(path)
    assert (data.scale, data.labels) == ("ordinal", ("0", "1", "2"))
    np.testing.assert_allclose(data.counts, panel.COUNTS, rtol=0, atol=1e-9)
    assert source("argilla", path=str(path), scale="nominal").scale == "nominal"


def test_several_labels_of_one_annotator_count_as_parts(write: Write) -> None:
    row = panel.prodigy()[0] | {"accept": ["dull", "odd"]}
    assert sniff(write("a.jsonl", [row])).counts.tolist() == [[0.5, 0, 0.5]]
    task = panel.labelstudio()[3]
    task["annotations"][0]["result"][0]["value"]["choices"] = ["dull", "odd"]
    assert sniff(write("a.json", array([task]))).counts.tolist() == [[1.5, 0.5]]
    task["annotations"][0]["result"][0]["value"] = {"taxonomy": [["animal", "bird"]]}
    assert sniff(write("b.json", array([task]))).labels == ("animal > bird", "dull")


def test_binary_prodigy_has_accept_and_reject_as_labels(write: Write) -> None:
    rows = [
        {"text": t, "label": "ODD", "answer": a, "_input_hash": h, "_task_hash": h, "_session_id": s}
        for t, h, s, a in (
            *(("one", 1, "x", "accept"), ("one", 1, "y", "reject"), ("one", 1, "z", "ignore")),
            ("two", 2, "x", "reject"),
        )
    ]
    data = sniff(write("b.jsonl", rows))
    assert data.labels == ("reject", "accept")
    assert data.counts.tolist() == [[1, 1], [1, 0]]
    path = write("b.jsonl", [*rows, rows[0] | {"label": "DULL"}])
    assert "2 questions: ODD, DULL" in refusal(lambda: sniff(path))
    assert source("prodigy", path=str(path), question="ODD").counts.tolist() == [[1, 1], [1, 0]]


def test_an_answer_about_a_region_is_no_answer_about_the_item(write: Write) -> None:
    tasks = panel.labelstudio()
    region = copy.deepcopy(tasks[1]["annotations"][0]["result"][0])
    region["value"] |= {"start": 0, "end": 4, "choices": ["odd"]}
    tasks[1]["annotations"][0]["result"].append(region)
    data = sniff(write("a.json", array(tasks)))
    hold_the_panel(data)
    assert any("1 of a region" in note for note in data.notes)


def _all_skipped(case: str, content: Any) -> Any:
    """Every annotation marked as one that does not count."""
    words = {"Approved": "Rejected", "APPROVED": "SKIPPED", "submitted": "draft", '"accept", ': '"reject", '}
    text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
    for word, other in words.items():
        text = text.replace(word, other)
    return text.replace('"was_cancelled": false', '"was_cancelled": true')


@pytest.mark.parametrize("case", ["Label Studio", "Argilla", "Argilla, JSON", "Prodigy", "MTurk", "Toloka"])
def test_nothing_that_counts_is_refused_with_the_reasons(write: Write, case: str) -> None:
    _, file, content = FILES[case]
    message = refusal(lambda: sniff(write(file, _all_skipped(case, content))))
    assert "none of the annotations of its" in message
    assert any(w in message for w in ("cancelled", "draft", "rejected", "skipped"))


def test_without_annotators_the_counts_hold_and_a_note_says_so(write: Write) -> None:
    tasks = panel.labelstudio()
    for task in tasks:
        for one in task["annotations"]:
            del one["completed_by"]
    records = [{k: v for k, v in r.items() if not k.endswith("status")} for r in panel.argilla()]
    for record in records:
        record["mood.responses.users"] = [None] * len(record["mood.responses"])
    data = sniff(write("a.json", array(tasks)))
    np.testing.assert_allclose(data.counts, panel.COUNTS, rtol=0, atol=1e-9)
    assert any("who annotated is not known for 20 of 20" in note for note in data.notes)
    data = sniff(write("b.jsonl", records))
    assert any("who annotated is not known for 22 of 22" in note for note in data.notes)
    assert any("whether it was submitted" in note for note in data.notes)
    choices = [{k: v for k, v in row.items() if "_id" not in k} for row in panel.prodigy()]
    data = sniff(write("c.jsonl", choices))
    np.testing.assert_allclose(data.counts, panel.COUNTS, rtol=0, atol=1e-9)
    nobody = [task | {"annotations": []} for task in panel.labelstudio()]
    assert "nobody answered" in refusal(lambda: sniff(write("d.json", array(nobody))))


@pytest.mark.parametrize("case", FILES)
def test_a_truncated_file_is_refused(write: Write, case: str) -> None:
    _, file, content = FILES[case]
    text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)  # type: ignore[attr-defined]
    message = refusal(lambda: sniff(write(file, text[: len(text) - 30].rstrip())))
    assert file in message


def test_one_id_with_two_texts_is_refused(write: Write) -> None:
    rows = panel.prodigy()
    rows[1] = rows[1] | {"text": "Another one."}
    message = refusal(lambda: sniff(write("a.jsonl", rows)))
    assert "the item '500' has another text than in line 1" in message


SMALL = {
    case: FILES[case] for case in ("Label Studio", "Argilla", "Argilla, JSON", "Argilla, server", "Prodigy")
}
SMALL |= {case: FILES[case] for case in ("Argilla, version 1", "doccano, by user", "Ground Truth, request")}
SMALL |= {"Label Studio, JSON-MIN": FILES["Label Studio, JSON-MIN"]}
WRONG: list[Any] = [
    None,
    3,
    -1.5,
    "x",
    "",
    True,
    [],
    {},
    [1],
    ["x"],
    [[]],
    [{}],
    {"x": 1},
    {"value": []},
    float("nan"),
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[Any] = []
    if isinstance(value, dict):
        inner = list(value.items())
    if isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


@given(st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wrong_types_at_any_level_are_data_or_a_refusal(tmp_path: Path, data: st.DataObject) -> None:
    """A value of another type, or none, anywhere in an export: never another exception."""
    name, _, content = SMALL[data.draw(st.sampled_from(sorted(SMALL)))]
    rows = copy.deepcopy(json.loads(content) if isinstance(content, str) else content)[:3]  # type: ignore[index]
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(_places(rows)[1:]))
        target = rows
        for key in place[:-1]:
            target = target[key]
        if data.draw(st.booleans()) and isinstance(target, dict):
            del target[place[-1]]
        else:
            target[place[-1]] = copy.deepcopy(data.draw(st.sampled_from(WRONG)))
    path = tmp_path / "fuzz.json"
    path.write_text(json.dumps(rows))
    for reader in (lambda: sniff(path), lambda: source(name, path=str(path))):
        with contextlib.suppress(DissensusError):  # any other exception fails the test
            check_dataset(reader())


@given(st.sampled_from(["MTurk", "MTurk, radio buttons", "MTurk, taskAnswers", "Toloka"]), st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wrong_cells_are_data_or_a_refusal(tmp_path: Path, case: str, data: st.DataObject) -> None:
    _, file, content = FILES[case]
    assert isinstance(content, str)
    delimiter = "\t" if case == "Toloka" else ","
    rows = [row for row in csv.reader(io.StringIO(content), delimiter=delimiter) if row][:6]
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, len(rows[0]) - 1))
    rows[row][column] = data.draw(
        st.sampled_from(["", "x", "3", "[", "[]", "{}", "[1,[2]]", '{"a": {"b": [3]}}', "null"])
    )
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    path = tmp_path / file
    path.write_text(out.getvalue())
    with contextlib.suppress(DissensusError):
        check_dataset(sniff(path))


def test_wrong_types_name_their_place(write: Write) -> None:
    tasks = panel.labelstudio()
    tasks[1]["annotations"][2] = 17
    message = refusal(lambda: sniff(write("a.json", array(tasks))))
    assert "row 2: number 3 of 'annotations' is 17; expected an object" in message
    records = panel.argilla()
    records[2]["mood.responses.users"].pop()
    message = refusal(lambda: sniff(write("a.jsonl", records)))
    assert "line 3: 'mood.responses' has 4 values, 3 users and 4 statuses" in message
    with pytest.raises(DataError, match="'answer' is 'yes'; expected one of accept, reject, ignore"):
        sniff(write("b.jsonl", [panel.prodigy()[0] | {"answer": "yes"}]))


def _one_text_under_many_ids(case: str) -> tuple[str, object]:
    """The panel where each annotation has an item of its own: projects of one annotator each, HITs published again."""
    if case == "Prodigy":
        return "p.jsonl", [{**row, "_input_hash": k} for k, row in enumerate(panel.prodigy())]
    if case == "MTurk":
        rows = list(csv.DictReader(io.StringIO(panel.mturk())))
        return "m.csv", as_csv([{**row, "HITId": f"H{k}"} for k, row in enumerate(rows)])
    tasks = [
        {**task, "id": 100 * k + task["id"], "annotations": [one]}
        for task in panel.labelstudio()
        for k, one in enumerate(task["annotations"])
    ]
    return "ls.json", array(tasks)


@pytest.mark.parametrize("case", ["Label Studio", "Prodigy", "MTurk"])
def test_one_text_under_many_ids_is_refused_with_the_key_that_joins_them(write: Write, case: str) -> None:
    path = write(*_one_text_under_many_ids(case))
    assert "`item: text` with `text: [text]` joins them by that text" in refusal(lambda: sniff(path))
    data = source(case.casefold().replace(" ", ""), path=str(path), item="text")
    assert data.labels == panel.LABELS or case == "Prodigy"
    order = [data.labels.index(label) for label in panel.LABELS]
    np.testing.assert_array_equal(data.counts[:, order], panel.COUNTS)


@pytest.mark.parametrize("form", ["JSON", "JSON-MIN"])
def test_the_last_of_two_answers_is_the_later_one_wherever_it_stands(write: Write, form: str) -> None:
    if form == "JSON":
        rows = panel.labelstudio()
        first = rows[0]["annotations"][0]
        later = copy.deepcopy(first)
        later["result"][0]["value"]["choices"] = ["dull"]
        first["updated_at"], later["updated_at"] = "2024-05-02T09:00:00Z", "2024-05-03T09:00:00Z"
        rows[0]["annotations"] = [later, first]
    else:
        rows = panel.labelstudio_min()
        rows[0]["updated_at"] = "2024-05-02T09:00:00Z"
        rows.insert(0, {**rows[0], "mood": "dull", "updated_at": "2024-05-03T09:00:00Z"})
    data = sniff(write("ls.json", array(rows)))
    assert data.ids[0] == str(rows[0]["id"])
    assert data[data.ids[0]].counts[data.labels.index("dull")] == 1


def test_what_a_reviewer_or_requester_rejected_does_not_count(write: Write) -> None:
    tasks = panel.labelstudio()
    tasks[0]["annotations"][0]["reviews"] = [{"accepted": True}, {"accepted": False}]
    data = sniff(write("ls.json", array(tasks)))
    assert any("1 rejected by a reviewer" in note for note in data.notes)
    rows = list(csv.DictReader(io.StringIO(panel.mturk())))
    rows[0]["Reject"] = "careless"
    data = sniff(write("m.csv", as_csv(rows)))
    assert any("1 marked for rejection (Reject)" in note for note in data.notes)


def test_a_file_that_lacks_the_status_says_so(write: Write) -> None:
    rows = [
        {key: value for key, value in row.items() if key != "AssignmentStatus"}
        for row in csv.DictReader(io.StringIO(panel.mturk()))
    ]
    assert any(
        "does not say which assignments were rejected" in n for n in sniff(write("m.csv", as_csv(rows))).notes
    )
    path = write("t.tsv", panel.toloka().replace("ASSIGNMENT:status", "ASSIGNMENT:state"))
    assert any("does not say which assignments were rejected or skipped" in n for n in sniff(path).notes)


def test_sessions_named_by_their_time_are_said_to_be_no_annotators(write: Write) -> None:
    rows = [
        {**row, "_annotator_id": f"db-2024-05-0{k % 3 + 1}_10-00-00"} for k, row in enumerate(panel.prodigy())
    ]
    notes = sniff(write("p.jsonl", rows)).notes
    assert any("3 sessions are named by their time" in note for note in notes)
