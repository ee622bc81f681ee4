"""The page on one's own data, run from top to bottom: every command of it, on an invented export, with a tiny model."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from dissensus import load_curves
from dissensus.cli.app import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "own-data.md"
WORDS = ("a", "dog", "runs", "park", "two", "red", "balls", "while", "nobody", "looks", "at", "it")
MOODS = ("dull", "lively")


def task(number: int, text: str, labels: list[str], data: dict[str, Any] | None = None) -> dict[str, Any]:
    """A task as Label Studio exports it; annotator k gave the k-th label."""
    return {
        "id": number,
        "data": {**(data or {}), "text": text},
        "annotations": [
            {
                "completed_by": k + 1,
                "was_cancelled": False,
                "result": [
                    {"from_name": "mood", "to_name": "text", "type": "choices", "value": {"choices": [label]}}
                ],
            }
            for k, label in enumerate(labels)
        ],
    }


def export(path: Path) -> None:
    """Thirty items, three annotators each, who disagree about every third."""
    tasks = []
    for n in range(30):
        text = " ".join(WORDS[(n * k) % len(WORDS)] for k in range(1, 8)) + f" {n}"
        own = MOODS[n % 2]
        tasks.append(task(500 + n, text, [own, own, MOODS[1 - n % 2] if n % 3 == 0 else own]))
    path.write_text(json.dumps(tasks))


def labelled(queued: Path, path: Path) -> int:
    """What comes back from the tasks that `queue` wrote: a fourth annotator says 'lively' to each."""
    tasks = json.loads(queued.read_text())
    back = []
    for number, one in enumerate(tasks):
        new = task(900 + number, one["data"]["text"], ["lively"], one["data"])
        new["annotations"][0]["completed_by"] = 4
        back.append(new)
    path.write_text(json.dumps(back))
    return len(back)


def tiny(study: Path, model: Path) -> None:
    """Another model and fewer steps, so that the test takes seconds."""
    settings = yaml.safe_load(study.read_text())
    settings |= {"models": [{"name": str(model)}], "seeds": [0], "training": {"epochs": 2, "batch_size": 16}}
    study.write_text(yaml.safe_dump(settings))


def test_the_page_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_encoder_dir: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    export(tmp_path / "project-1.json")
    commands = [
        line
        for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
        for line in block.splitlines()
    ]
    assert len(commands) == 10
    said: dict[str, str] = {}
    back = 0
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "dissensus"
        if arguments[0] == "merge":
            back = labelled(tmp_path / "again.json", tmp_path / "project-2.json")
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{command}\n{result.output}"
        said[command] = result.output
        if arguments[0] == "init":
            name = arguments[arguments.index("--out") + 1] if "--out" in arguments else "project-1.yaml"
            tiny(tmp_path / name, tiny_encoder_dir)

    assert "30 rows" in said[commands[0]]
    assert "annotations per item: 3" in said[commands[0]]
    assert (tmp_path / "runs" / "project-1" / "report.html").is_file()
    assert 1 <= back <= 30
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert len(rows) == 90 + back  # nothing lost, nothing doubled
    assert sum(str(row["round"]) == "2" for row in rows) == back
    assert {row["item"] for row in rows} == {str(500 + n) for n in range(30)}
    (cell, *_) = sorted((tmp_path / "runs" / "round-2" / "cells").iterdir())
    assert load_curves(cell).counts.sum() == 90 + back  # the second study reads all of them
    assert (tmp_path / "runs" / "round-2" / "report.html").is_file()
