"""`dissensus merge`: new annotations joined to old ones, read back by the block that it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from dissensus.cli.app import app
from dissensus.config.sources import SourceSpec
from dissensus.data.annotation_tasks import AnnotationTask
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources import load_source
from dissensus.exchange.annotation_tools import FORMS
from dissensus.study.folder import StudyFolder
from synthetic_study import study_spec

TEXTS = {"a": "It rains.", "b": "-5 degrees", "c": "Nobody asked me.", "-d": "A dash in front."}
OLD = (
    *(("a", "ann", "pos"), ("a", "bob", "pos"), ("a", "cy", "neg")),
    *(("b", "ann", "neg"), ("b", "bob", "neg")),
    *(("-d", "ann", "pos"), ("-d", "bob", "neg")),
)


def cli(*args: object) -> Result:
    return CliRunner().invoke(app, [*map(str, args)])


def refused(*args: object) -> str:
    """What a command that must be refused says: exit code 2, nothing on standard output, no traceback."""
    result = cli(*args)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    return str(result.stderr)


def study(root: Path, tracked: dict[str, Any]) -> Path:
    """A study's folder, whose data set is `tracked`; no cell has been run."""
    root.mkdir(parents=True, exist_ok=True)
    spec = study_spec(datasets=[{"name": "mine", "tracked": tracked}], regimes=["trained_on"])
    (root / "study.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of the long table above; the item c has no answer, and is there."""
    rows = [{"id": i, "who": who, "said": said, "text": TEXTS[i]} for i, who, said in OLD]
    rows.append({"id": "c", "who": None, "said": None, "text": TEXTS["c"]})
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = {
        **{"source": "table", "path": str(tmp_path / "old.jsonl"), "text": ["text"]},
        **{"item": "id", "annotator": "who", "annotation": "said"},
    }
    return study(tmp_path / "study", table)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answers(path: Path) -> list[tuple[Any, ...]]:
    return [(row["item"], row["annotator"], row["annotation"], row["round"]) for row in rows_of(path)]


def read_by_the_block(result: Result) -> AnnotatedDataset:
    """The data set, as the `tracked:` block on the screen reads it."""
    assert result.exit_code == 0, result.output
    block = yaml.safe_load(result.stdout[result.stdout.index("tracked:") :])
    kind = SourceSpec.of_tag(block["tracked"]["source"])
    assert kind is not None
    return load_source(kind.parse(block["tracked"], "the block"))


def test_new_answers_are_joined_and_an_annotators_second_one_is_kept_in_its_own_round(
    folder: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.csv"
    new.write_text(
        "item_id,text,annotator,annotation\na,x,cy,pos\na,x,dee,Neg\nb,x,ann,neg\n'-d,x,dee,pos\nb,x,eve,\n"
    )
    out = tmp_path / "all.jsonl"
    result = cli("merge", folder, new, "--out", out)
    data = read_by_the_block(result)
    assert (
        "new.csv: 3 new answers to 2 of 4 items, as round 2, 1 of them by an annotator who had"
        in result.stdout
    )
    assert "1 answers were there already and are not counted again" in result.stdout  # ann's of b
    assert answers(out) == [
        *(("a", "ann", "pos", 1), ("a", "bob", "pos", 1), ("a", "cy", "neg", 1)),
        *(("a", "cy", "pos", 2), ("a", "dee", "neg", 2)),
        *(("b", "ann", "neg", 1), ("b", "bob", "neg", 1)),
        *(("-d", "ann", "pos", 1), ("-d", "bob", "neg", 1), ("-d", "dee", "pos", 2)),
        ("c", None, None, 1),
    ]
    assert data["a"].counts == (1.0, 3.0)  # neg: dee; pos: ann, bob, and cy's last answer
    assert {row["text"] for row in rows_of(out)} == set(TEXTS.values())
    # Entropy of a: 2 to 1 before, 3 to 1 after; of b 0; of -d 1 bit before, 2 to 1 after.
    two_to_one, three_to_one = 0.918296, 0.811278
    before, after = (two_to_one + 1) / 2, (three_to_one + two_to_one) / 2
    assert f"of the 2 items with new answers: {before:.3f} before, {after:.3f} after" in result.stdout
    assert f"mean annotation entropy: {(two_to_one + 1) / 3:.3f} bits before" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.jsonl", "new.csv", "old.jsonl", "study"]


def _annotated(tool: str, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The queue's tasks as the tool exports them when dee has answered all with neg, and eve skipped them."""
    if tool == "label-studio":
        result = [{"from_name": "mood", "type": "choices", "value": {"choices": ["neg"]}}]
        return [
            task
            | {
                "id": n,
                "annotations": [
                    {"completed_by": "dee", "result": result, "was_cancelled": False},
                    {"completed_by": "eve", "result": [], "was_cancelled": True},
                ],
            }
            for n, task in enumerate(tasks)
        ]
    if tool == "argilla":
        answers = [("dee", "submitted"), ("eve", "discarded")]
        responses = {"mood": [{"value": "neg", "user_id": who, "status": how} for who, how in answers]}
        return [task | {"status": "completed", "suggestions": {}, "responses": responses} for task in tasks]
    return [
        task | {"_input_hash": n, "_task_hash": n, "accept": ["neg"], "answer": how, "_annotator_id": who}
        for n, task in enumerate(tasks)
        for who, how in (("dee", "accept"), ("eve", "ignore"))
    ]


@pytest.mark.parametrize("tool", ["label-studio", "argilla", "prodigy"])
def test_the_queues_tasks_come_back_from_each_tool(folder: Path, tmp_path: Path, tool: str) -> None:
    dataset = load_source(StudyFolder(folder).spec.datasets[0].tracked)
    tasks = [
        AnnotationTask(e.id, e.text, dataset.labels, e.counts, "pos", 1.0, 1.0, "annotators disagree")
        for e in dataset
    ]
    written = FORMS[tool](tasks)
    rows = json.loads(written) if written.startswith("[") else [json.loads(x) for x in written.splitlines()]
    back, out = tmp_path / "back.jsonl", tmp_path / "all.jsonl"
    back.write_text("".join(json.dumps(row) + "\n" for row in _annotated(tool, rows)))
    result = cli("merge", folder, back, "--out", out)
    assert f"{len(tasks)} new answers to {len(tasks)} of 4 items, as round 2" in result.stdout, result.output
    data = read_by_the_block(result)
    assert [data[e.id].counts for e in dataset] == [(neg + 1, pos) for neg, pos in dataset.counts.tolist()]


def test_the_same_file_twice_adds_nothing_and_another_one_is_a_round_of_its_own(
    folder: Path, tmp_path: Path
) -> None:
    first, second, out = tmp_path / "first.csv", tmp_path / "second.csv", folder / "annotations.jsonl"
    first.write_text("item_id,annotation\na,neg\na,neg\nb,pos\n")  # nobody's name is known
    assert "3 new answers" in cli("merge", folder, first).stdout
    once = out.read_bytes()
    result = cli("merge", folder, first)
    assert "first.csv: nothing new" in result.stdout
    assert "3 answers were there already" in result.stdout
    assert out.read_bytes() == once
    second.write_text("item_id,annotation\na,neg\nc,pos\n")
    result = cli("merge", folder, second)
    assert "2 new answers to 2 of 4 items, as round 3" in result.stdout
    data = read_by_the_block(result)
    assert data["a"].counts == (4.0, 2.0)
    assert data["c"].counts == (0.0, 1.0)
    assert [row["file"].split()[0] for row in rows_of(out) if row["file"]] == ["first.csv"] * 2 + [
        *("second.csv", "first.csv", "second.csv")
    ]
    # A study of the joined table goes on from it: the same file is known there too.
    block = yaml.safe_load(result.stdout[result.stdout.index("tracked:") :])["tracked"]
    again = cli("merge", study(tmp_path / "next", block), second)
    assert "nothing new" in again.stdout
    assert (tmp_path / "next" / "annotations.jsonl").read_bytes() == out.read_bytes()


def test_an_export_that_holds_the_old_answers_too_adds_the_new_ones_alone(
    folder: Path, tmp_path: Path
) -> None:
    lines = [f"{i},{who},{said}" for i, who, said in OLD]
    (tmp_path / "export.csv").write_text("\n".join(["item_id,annotator,annotation", *lines, "c,ann,pos", ""]))
    result = cli("merge", folder, tmp_path / "export.csv")
    assert "1 new answers to 1 of 4 items" in result.stdout
    assert "7 answers were there already" in result.stdout


def test_unknown_items_are_kept_aside_by_name_and_a_file_without_a_known_one_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.csv"
    new.write_text("item_id,annotator,annotation\na,dee,pos\nzz,dee,spam\n")
    result = cli("merge", folder, new)
    assert result.exit_code == 0, result.output
    assert "1 answers are to 1 items that mine does not have (zz); they are kept aside in" in result.stderr
    assert rows_of(folder / "annotations.unknown.jsonl") == [
        {"item_id": "zz", "annotator": "dee", "annotation": ["spam"]}
    ]
    new.write_text("item_id,annotator,annotation\nzz,dee,pos\n")
    message = refused("merge", folder, new, "--out", tmp_path / "none.jsonl")
    assert "none of its items (e.g. 'zz') is in the data set (e.g. 'a')" in message
    assert not (tmp_path / "none.jsonl").exists()


def test_counts_become_answers_without_an_annotator_and_gold_labels_are_kept(tmp_path: Path) -> None:
    rows = [
        {"uid": "a", "text": "It rains.", "gold": "no", "counts": {"yes": 2, "no": 1}},
        {"uid": "b", "text": "It snows.", "gold": "yes", "counts": {"yes": 0, "no": 3}},
    ]
    table = tmp_path / "counts.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    keys = {
        "source": "table",
        "path": str(table),
        "text": ["text"],
        "id": "uid",
        "gold": "gold",
        "counts": "counts",
    }
    folder = study(tmp_path / "study", {**keys, "labels": ["yes", "no"]})
    new = tmp_path / "new.jsonl"
    new.write_text('{"item_id": "b", "annotator": "dee", "annotation": ["yes", "no"]}\n')
    data = read_by_the_block(cli("merge", folder, new))
    assert data.labels == ("yes", "no")  # as the study had them, not by name
    np.testing.assert_allclose(data.counts, [[2, 1], [0.5, 3.5]])
    assert data.gold.tolist() == [1, 0]
    rows[1]["counts"] = {"yes": 0.4, "no": 2.6}
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = refused("merge", folder, new, "--out", tmp_path / "x.jsonl")
    assert "the counts of the item 'b' in 'counts' are (0.4, 2.6): they stand for no whole number" in message


def test_several_labels_by_one_annotator_and_those_left_out_come_through(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text,ann1,ann2\na,It rains.,x;y,y\nb,It snows.,x,y\n")
    keys = {"source": "table", "path": str(tmp_path / "t.csv"), "text": ["text"], "id": "id"}
    folder = study(
        tmp_path / "study", {**keys, "annotations": ["ann1", "ann2"], "several": ";", "leave_out": ["ann2"]}
    )
    (tmp_path / "new.csv").write_text("item_id,annotator,annotation\nb,dee,y\n")
    result = cli("merge", folder, tmp_path / "new.csv")
    data = read_by_the_block(result)
    np.testing.assert_allclose(data.counts, [[0.5, 0.5], [1, 1]])
    assert ("a", "ann1", ["x", "y"], 1) in answers(folder / "annotations.jsonl")
    assert ("a", "ann2", "y", 1) in answers(
        folder / "annotations.jsonl"
    )  # nothing is lost; the block leaves it out


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.csv"
    assert "does not exist" in refused("merge", folder, new)
    new.write_text("item_id,annotator,annotation\na,dee,maybe\n")
    assert "'maybe'" in refused("merge", folder, new)
    new.write_text("item_id,annotator,annotation\na,dee,pos\n")
    taken = tmp_path / "taken.jsonl"
    taken.write_text('{"a": 1}\n')
    assert "is no table that `dissensus merge` wrote" in refused("merge", folder, new, "--out", taken)
    assert taken.read_text() == '{"a": 1}\n'
    assert "is no study's folder" in refused("merge", tmp_path / "nowhere", new)
    assert "no data set 'x'" in refused("merge", folder, new, "--dataset", "x")
    assert "say where the joined table goes" in refused("merge", "s3://bucket/study", new)
    # A table that an earlier merge wrote and that has lost an answer is not gone on with.
    out = folder / "annotations.jsonl"
    assert cli("merge", folder, new).exit_code == 0
    out.write_text("".join(out.read_text().splitlines(keepends=True)[1:]))
    assert "lacks 1 answers that the study's data have, e.g. 1 by ann to 'a'" in refused("merge", folder, new)


def test_a_text_field_with_the_name_of_a_column_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,item,round,ann1,ann2\na,It rains.,r,x,y\nb,It snows.,r,x,y\n")
    keys = {"source": "table", "path": str(tmp_path / "t.csv"), "text": ["item", "round"], "id": "id"}
    folder = study(tmp_path / "study", {**keys, "annotations": ["ann1", "ann2"]})
    (tmp_path / "new.csv").write_text("item_id,annotator,annotation\nb,dee,y\n")
    data = read_by_the_block(cli("merge", folder, tmp_path / "new.csv"))
    assert data["b"].text == {"item": "It snows.", "round": "r"}
    assert data["b"].counts == (1.0, 2.0)


def test_a_study_that_refuses_second_answers_takes_the_last_of_the_joined_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text,ann1,ann2\na,It rains.,x,y\nb,It snows.,x,y\n")
    keys = {"source": "table", "path": str(tmp_path / "t.csv"), "text": ["text"], "id": "id"}
    folder = study(tmp_path / "study", {**keys, "annotations": ["ann1", "ann2"], "repeats": "refuse"})
    (tmp_path / "new.csv").write_text("item_id,annotator,annotation\nb,ann1,y\n")
    result = cli("merge", folder, tmp_path / "new.csv")
    assert read_by_the_block(result)["b"].counts == (0.0, 2.0)
    assert "of the joined table the last one counts" in result.stderr


def label_studio(path: Path, *tasks: tuple[dict[str, str], list[str]]) -> Path:
    """An export of Label Studio; of each task its data and one annotator's answers, '' for a skipped one."""
    exported = [
        {
            "id": number,
            "data": data,
            "annotations": [
                {
                    **{"id": k, "completed_by": "dee", "was_cancelled": not label},
                    "result": [{"from_name": "q", "value": {"choices": [label]}}] * bool(label),
                }
                for k, label in enumerate(labels)
            ],
        }
        for number, (data, labels) in enumerate(tasks, 1)
    ]
    path.write_text(json.dumps(exported))
    return path


def test_a_tools_own_numbers_are_not_taken_for_ids_of_other_texts(tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    old.write_text("id,text,ann1,ann2\n1,One.,pos,neg\n2,Two.,neg,neg\n3,Three.,pos,pos\n")
    folder = study(
        tmp_path / "study",
        {"source": "table", "path": str(old), "id": "id", "text": ["text"], "annotations": ["ann1", "ann2"]},
    )
    numbered = label_studio(
        tmp_path / "numbered.json", ({"text": "Three."}, ["pos"]), ({"text": "Two."}, ["neg"])
    )
    assert "the item '1' has the text 'Three.'; in the data set it is 'One.'" in refused(
        "merge", folder, numbered
    )
    assert not (folder / "annotations.jsonl").exists()
    table = tmp_path / "table.csv"
    table.write_text("item_id,text,annotator,annotation\n1,Eleven.,dee,pos\n")
    joined = cli("merge", folder, table)
    assert joined.exit_code == 0
    assert "the item '1' has the text 'Eleven.'; in the data set it is 'One.'" in " ".join(
        joined.stderr.split()
    )


def test_what_of_the_new_file_does_not_count_is_said(folder: Path, tmp_path: Path) -> None:
    export = label_studio(
        tmp_path / "new.json",
        ({"text": TEXTS["a"], "item_id": "a"}, ["pos", "neg"]),
        ({"text": TEXTS["b"], "item_id": "b"}, [""]),
    )
    said = " ".join(cli("merge", folder, export).stderr.split())
    assert "new.json: annotations that do not count: 1 cancelled" in said
    assert "1 times an annotator answered the same item again" in said
    (tmp_path / "new.csv").write_text("item_id,annotator,annotation\na,eve,pos\nb,eve,NA\n")
    said = " ".join(cli("merge", folder, tmp_path / "new.csv").stderr.split())
    assert "new.csv: read as no answer: 'NA' (1)" in said
