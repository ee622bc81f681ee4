"""`dissensus init` and `dissensus data check`: what they see in a file, what one tells them, what they say next."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from dissensus.cli.app import app
from dissensus.config import StudySpec
from dissensus.data.sources import load_source
from dissensus.run.step_warnings import step_warnings, steps_before_a_run
from dissensus.study.grid import expand

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DISSENSUS_DATA", raising=False)


def cli(*args: str) -> Result:
    return CliRunner().invoke(app, args)


def refused(*args: str) -> str:
    result = cli(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return str(result.stderr)


def write_wide(path: Path, rows: int = 240) -> None:
    """A row per item, three annotators' columns with usual names."""
    lines = [f"{i},words of number {i},{i % 2},{i % 2},{i % 3 % 2}" for i in range(rows)]
    path.write_text("id,text,ann1,ann2,ann3\n" + "\n".join(lines) + "\n")


def write_long(path: Path) -> None:
    """A row per annotation with two questions; four items, three people, one row rejected; columns of no usual name."""
    answers = [("calm", "no"), ("calm", "no"), ("rude", "no")]
    lines = [
        f"q{item},p{who},body of {item},{tone},{joke},ok"
        for item in range(4)
        for who, (tone, joke) in enumerate(answers)
    ]
    path.write_text(
        "question,person,body,tone,joke,status\n" + "\n".join([*lines, "q0,p9,body of 0,rude,no,bad"]) + "\n"
    )


LONG = (
    "--text",
    "body",
    "--item",
    "question",
    "--annotator",
    "person",
    "--annotation",
    "tone",
    "--keep",
    "status=ok",
)


def study_of(path: str) -> StudySpec:
    return StudySpec.from_yaml(Path(path))


def test_a_usual_table_needs_no_option_and_its_study_trains_long_enough(tmp_path: Path) -> None:
    write_wide(tmp_path / "my labels.csv")
    result = cli("init", "my labels.csv")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "next: dissensus run my-labels.yaml --plan",
        "then: dissensus run my-labels.yaml",
    ]
    assert "annotations per item: 3; 3 annotators known by name" in result.stdout
    study = study_of("my-labels.yaml")
    assert study.name == "my-labels"
    assert study.datasets[0].tracked.model_dump(exclude_defaults=True) == {
        "path": "my labels.csv",
        "id": "id",
        "text": ("text",),
        "annotations": ("ann1", "ann2", "ann3"),
    }
    known = steps_before_a_run(expand(study), None)
    assert [steps for _, steps in known] == [240] * 6  # two methods, three seeds
    assert step_warnings(known) == ()
    text = (tmp_path / "my-labels.yaml").read_text(encoding="utf-8")
    # H(1/3) = 0.9183 bits where i % 2 != i % 3 % 2, which is in 3 of 6 rows: 0.459.
    assert "annotation entropy: mean 0.459 bits; in 120 of 240 items all annotators" in text
    assert "labels are bare numbers" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(("rows", "steps"), [(9, 240), (90, 240), (1000, 252), (2500, 316), (7000, 282)])
def test_the_steps_are_enough_at_any_size(tmp_path: Path, rows: int, steps: int) -> None:
    write_wide(tmp_path / "t.csv", rows)
    assert f"with {steps} optimiser steps per cell" in cli("init", "t.csv").stdout
    study = study_of("t.yaml")
    assert study.datasets[0].tracked_size == (3000 if rows > 3000 else None)
    known = steps_before_a_run(expand(study)[:1], None)
    assert [n for _, n in known] == [steps]
    assert step_warnings(known) == ()
    assert ("items are few" in (tmp_path / "t.yaml").read_text()) == (rows < 100)


def test_a_study_that_is_there_stays(tmp_path: Path) -> None:
    write_wide(tmp_path / "t.csv", 9)
    (tmp_path / "t.yaml").write_text("mine")
    assert "t.yaml exists; overwrite it with --force, or name another file with --out" in refused(
        "init", "t.csv"
    )
    assert (tmp_path / "t.yaml").read_text() == "mine"
    assert cli("init", "t.csv", "--out", "sub/other.yml").exit_code == 0
    assert study_of("sub/other.yml").name == "other"
    assert cli("init", "t.csv", "--force").exit_code == 0
    assert study_of("t.yaml").name == "t"


def test_what_cannot_be_seen_is_asked_for_with_columns_and_values_and_the_second_try_succeeds(
    tmp_path: Path,
) -> None:
    write_long(tmp_path / "t.csv")
    said = refused("init", "t.csv")
    assert "no column for the text has a name that is known." in said
    for line in ("  question: q0 | q1", "  tone: calm | rude", "  joke: no", "--text COLUMN --item COLUMN"):
        assert line in said
    assert not (tmp_path / "t.yaml").exists()
    assert cli("init", "t.csv", *LONG).exit_code == 0
    dataset = load_source(study_of("t.yaml").datasets[0].tracked)
    assert dataset.labels == ("calm", "rude")
    assert dataset.counts.tolist() == [[2.0, 1.0]] * 4  # the rejected row is left out
    assert {who for e in dataset for who, _ in e.annotations} == {"p0", "p1", "p2"}
    said = refused("data", "check", "t.csv", *LONG[:-4], "--annotation", "ton")
    assert "there is no column 'ton' (annotation); did you mean 'tone'?" in said
    assert "dissensus data check t.csv \\" in said


def test_data_check_prints_the_block_of_a_study_and_the_next_command(tmp_path: Path) -> None:
    write_long(tmp_path / "t.csv")
    result = cli("data", "check", "t.csv", *LONG)
    assert result.exit_code == 0, result.output
    assert result.stderr == f"next: dissensus init t.csv {' '.join(LONG)}\n"
    block = result.stdout[result.stdout.index("  tracked:") :]
    tracked = yaml.safe_load(block)["tracked"]
    assert tracked["keep"] == {"status": ["ok"]}
    answer = json.loads(cli("data", "check", "t.csv", *LONG, "--json").stdout)
    assert answer["tracked"] == tracked
    assert answer["rows"] == 4
    assert cli("data", "check", "t.csv", *LONG, "--json").stderr == ""
    # What has a usual name need not be named, and what does is kept.
    (tmp_path / "u.csv").write_text(
        (tmp_path / "t.csv").read_text().replace("question,person,body", "id,worker,text")
    )
    short = cli("data", "check", "u.csv", "--annotation", "tone")
    assert yaml.safe_load(short.stdout[short.stdout.index("  tracked:") :])["tracked"] == {
        "source": "table",
        "path": "u.csv",
        "text": ["text"],
        "item": "id",
        "annotator": "worker",
        "annotation": "tone",
    }


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (("--annotations", "a,b", "--item", "key"), {"annotations": ["a", "b"], "id": "key"}),
        (("--annotations", "a,b", "--gold", "b"), {"annotations": ["a", "b"], "gold": "b"}),
        (("--annotations", "all", "--separator", ";"), {"annotations": ["all"], "separator": ";"}),
        (("--annotations", "all"), {"annotations": ["all"], "separator": ";"}),
        (
            ("--gold", "a", "--labels", "1,2,3", "--scale", "ordinal"),
            {"labels": ["1", "2", "3"], "scale": "ordinal"},
        ),
        (("--gold", "a", "--missing", ""), {"missing": []}),
        (("--gold", "a", "--set", "same_labels=exact"), {"same_labels": "exact"}),
        (("--source", "table", "--gold", "a"), {"gold": "a"}),
    ],
)
def test_options_become_keys(tmp_path: Path, options: tuple[str, ...], keys: dict[str, Any]) -> None:
    rows = [f"k{i},words {i},{i % 3 + 1},{i % 2 + 1},{i % 3 + 1};{i % 2 + 1}" for i in range(9)]
    (tmp_path / "t.csv").write_text("key,text,a,b,all\n" + "\n".join(rows) + "\n")
    result = cli("data", "check", "t.csv", *options, "--json")
    assert result.exit_code == 0, result.output
    tracked = json.loads(result.stdout)["tracked"]
    assert {key: tracked.get(key) for key in keys} == keys


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--keep", "status"), "--keep 'status': expected COLUMN=VALUE"),
        (("--set", "repeats"), "--set 'repeats': expected KEY=VALUE"),
        (("--set", "repets=last"), "did you mean 'repeats'?"),
        (("--source", "lewidy"), "no source 'lewidy' is known; did you mean 'lewidi'?"),
        (("--source", "simulated"), "the source 'simulated' reads no file"),
        (("--scale", "step"), "scale: expected 'nominal' or 'ordinal'"),
        (("--labels", "0"), "the label '1' is not among the labels: 0"),
    ],
)
def test_options_that_are_wrong_say_what_was_expected(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    write_wide(tmp_path / "t.csv", 9)
    assert words in refused("data", "check", "t.csv", *options)


def test_a_recognised_format_keeps_its_source_and_tells_what_numbers_mean(tmp_path: Path) -> None:
    items = {
        str(n): {
            "text": f"t {n}",
            "annotators": "a,b",
            "annotations": f"{n % 2},1",
            "number of annotations": 2,
            "hard_label": str(n % 2),
            "soft_label": {"0": 0.5 * (1 - n % 2), "1": 0.5 + 0.5 * (n % 2)},
            "split": "train",
        }
        for n in range(4)
    }
    (tmp_path / "MD-Agreement_train.json").write_text(json.dumps(items))
    assert cli("init", "MD-Agreement_train.json").exit_code == 0
    tracked = study_of("MD-Agreement_train.yaml").datasets[0].tracked
    assert tracked.model_dump(exclude_defaults=True) == {"path": "MD-Agreement_train.json"}
    assert len(load_source(tracked)) == 4
    known = steps_before_a_run(expand(study_of("MD-Agreement_train.yaml")), None)
    assert [steps for _, steps in known] == [240] * 6
    assert "#   1: offensive" in (tmp_path / "MD-Agreement_train.yaml").read_text()


def test_data_without_gold_labels_or_with_one_label_make_no_study(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,gold,ann1,ann2\na,x,x,y\nb,,y,y\n")
    assert "1 of 2 items of t have no gold label" in refused("init", "t.csv")
    (tmp_path / "u.csv").write_text("text,ann1,ann2\na,x,x\nb,x,x\n")
    assert "every answer is 'x'; at least two are needed" in refused("init", "u.csv")
    assert not (tmp_path / "t.yaml").exists()


def test_a_name_under_a_data_folder_that_is_another_file_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    write_wide(tmp_path / "data" / "t.csv", 12)
    write_wide(tmp_path / "t.csv", 9)
    monkeypatch.setenv("DISSENSUS_DATA", str(tmp_path / "data"))
    assert cli("init", "t.csv").exit_code == 0
    assert len(load_source(study_of("t.yaml").datasets[0].tracked)) == 9


def test_data_check_of_a_study_looks_at_all_its_data_and_names_what_is_wrong(tmp_path: Path) -> None:
    write_wide(tmp_path / "t.csv", 9)
    assert cli("init", "t.csv").exit_code == 0
    result = cli("data", "check", "t.yaml")
    assert result.exit_code == 0, result.output
    assert "data set t, tracked:" in result.stdout
    assert result.stderr == "next: dissensus run t.yaml --plan\n"
    assert [entry["rows"] for entry in json.loads(cli("data", "check", "t.yaml", "--json").stdout)] == [9]
    study = yaml.safe_load((tmp_path / "t.yaml").read_text())
    (good,) = study["datasets"]
    study["datasets"] += [good | {"name": "u", "train": good["tracked"] | {"path": "away.csv"}}]
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(study))
    result = cli("data", "check", "t.yaml")
    assert result.exit_code == 2
    assert result.stdout.count("9 rows; text fields: text") == 2
    assert "error: u, train: the data file away.csv was not found" in result.stderr
    assert "names its columns itself; --text is for a data file" in refused(
        "data", "check", "t.yaml", "--text", "x"
    )
    assert "is a study already" in refused("init", "t.yaml")


def test_on_a_terminal_nothing_is_asked_and_lines_fit(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    from terminal import Terminal

    write_long(tmp_path / "t.csv")
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "LANG": "C.UTF-8"}
    command = [sys.executable, "-m", "dissensus", "init", "t.csv"]
    with Terminal(command, rows=60, cwd=tmp_path, environment=environment) as terminal:
        assert terminal.end() == 2
        assert "  person: p0 | p1" in terminal.screen.shown
        assert [line for line in terminal.screen.folded if " " in line.strip()] == []
    with Terminal([*command, *LONG], cwd=tmp_path, environment=environment) as terminal:
        assert terminal.end() == 0
        lines = terminal.screen.shown.splitlines()
    assert lines[-2:] == ["next: dissensus run t.yaml --plan", "then: dissensus run t.yaml"]
    assert all(len(line) <= 80 for line in lines)
