"""What the README shows is what the code takes: its blocks are read from it and used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dissensus import load_curves
from dissensus.cli.app import app
from dissensus.config import StudySpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.study.grid import expand

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_the_study_of_ones_own_data_is_valid() -> None:
    (text,) = blocks("yaml")
    cells = expand(StudySpec.parse(yaml.safe_load(text), "README.md"))
    assert len(cells) == 6  # two methods, three seeds


def test_the_study_of_ones_own_data_trains_long_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the 240 rows that it was tried with (docs/design/training.md) there is nothing to warn of."""
    from dissensus.run.step_warnings import step_warnings, steps_before_a_run

    rows = [f"{i},words of number {i},{i % 2},{i % 2},{i % 3 % 2}" for i in range(240)]
    (tmp_path / "labelled.csv").write_text("id,text,ann1,ann2,ann3\n" + "\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    (text,) = blocks("yaml")
    found = steps_before_a_run(expand(StudySpec.parse(yaml.safe_load(text), "README.md")), None)
    assert [steps for _, steps in found] == [240] * 6
    assert step_warnings(found) == ()
    short = yaml.safe_load(text) | {"training": {"epochs": 3}}
    assert len(step_warnings(steps_before_a_run(expand(StudySpec.parse(short, "short")), None))) == 2


def test_the_three_lines_and_the_reading_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_dataset: AnnotatedDataset,
    tiny_encoder_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import transformers

    monkeypatch.chdir(tmp_path)
    recording, in_a_trainer, reading = blocks("python")
    names: dict[str, Any] = {
        "rows": [
            {"id": e.id, **e.text, "gold": tiny_dataset.labels[e.gold or 0], "counts": list(e.counts)}
            for e in tiny_dataset
        ],
        "tokenizer": transformers.AutoTokenizer.from_pretrained(tiny_encoder_dir),
        "model": transformers.AutoModelForSequenceClassification.from_pretrained(
            tiny_encoder_dir, num_labels=3
        ),
        "loader": [1, 2, 3],
        "epochs": 2,
    }
    exec(recording, names)
    assert load_curves("runs/mine").steps.tolist() == list(range(7))  # two epochs of three steps
    names["trainer"] = transformers.Trainer(
        names["model"],
        transformers.TrainingArguments(tmp_path / "trainer", max_steps=2, report_to="none", use_cpu=True),
        train_dataset=[{**names["tokenizer"]("a dog runs"), "labels": 1}] * 8,
        processing_class=names["tokenizer"],
    )
    exec(in_a_trainer, names)
    assert (tmp_path / "runs" / "mine-too" / "manifest.json").exists()
    capsys.readouterr()
    exec(reading, names)
    rho, low, high = map(float, capsys.readouterr().out.split())
    assert -1 <= low <= rho <= high <= 1


def test_every_command_that_it_lists_exists() -> None:
    import typer.main

    command = typer.main.get_command(app)
    listed = re.findall(r"^dissensus (\w+)(?: ((?:\w+\|)+\w+))?", README, flags=re.M)
    assert len(listed) > 6
    for name, below in listed:
        assert name in command.commands
        for sub in below.split("|") if below else []:
            assert sub in command.commands[name].commands
