"""`dissensus triage`: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dissensus.analysis.triage import KINDS
from dissensus.cli.app import app
from dissensus.cli.triage import Kind
from dissensus.report.quotes import keep_quotes
from synthetic_study import dataset, study_spec, write_study


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_study(tmp_path / "study", study_spec(), n=90)
    return tmp_path / "study"


def cli(*args: object) -> Result:
    return CliRunner().invoke(app, [*map(str, args)])


def refused(*args: object) -> str:
    result = cli(*args)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    return str(result.stderr)


def test_it_counts_the_kinds_says_the_steps_and_lists_the_urgent_first(folder: Path) -> None:
    result = cli("triage", folder, "--top", 3)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "snli, held out: 90 examples"
    counts = {
        line.split(maxsplit=1)[1].split(".")[0]: int(line.split()[0]) for line in lines[1 : lines.index("")]
    }
    assert sum(counts.values()) == 90
    assert counts["contested"] > 20  # the last items of `dataset` are widely split
    assert "3 of 90, those that ask for a person first:" in lines
    assert any(
        line.startswith("item-") and " of 100 votes are for the label 'entailment'" in line for line in lines
    )
    assert lines[-1].startswith("next: dissensus ")


def test_one_kind_and_json(folder: Path) -> None:
    rows = json.loads(cli("triage", folder, "--kind", "contested", "--json").stdout)
    assert {row["kind"] for row in rows} == {"contested"}
    assert rows[0]["text"]["premise"].startswith("A scene")
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert {kind.value.replace("-", " ") for kind in Kind} == set(KINDS)
    keep_quotes(folder, 0)
    assert json.loads(cli("triage", folder, "--top", 1, "--json").stdout)[0]["text"] == {}


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_a_file_holds_every_example_with_text_and_reason(folder: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    result = cli("triage", folder, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"90 examples with text and reason: {out}" in result.stdout
    text = out.read_text(encoding="utf-8")
    if name.endswith("csv"):
        assert text.startswith("\ufeff")
        rows = list(csv.DictReader(text.removeprefix("\ufeff").splitlines()))
    else:
        rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == 90
    assert set(rows[0]) >= {
        "id",
        "kind",
        "score",
        "suspicion",
        "label",
        "why",
        "given",
        "premise",
        "hypothesis",
    }


def test_a_single_recording(folder: Path) -> None:
    store = next((folder / "cells").iterdir())
    result = cli("triage", store, "--top", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "held out: 90 examples"
    assert "queue" not in result.stdout  # the queue is a study's


def test_the_queue_ranks_by_triage(tmp_path: Path) -> None:
    # Of 90 items three have a gold label that 4, 8 and 12 of a hundred people chose.
    made = dataset(90)
    wrong = {f"item-{k:05d}": (4.0 * (k + 1), 96.0 - 4.0 * k, 0.0) for k in range(3)}
    examples = tuple(replace(e, counts=wrong.get(e.id, e.counts)) for e in made.examples)
    write_study(tmp_path, study_spec(), data=replace(made, examples=examples))
    result = cli("queue", tmp_path, "--by", "triage", "--json")
    assert result.exit_code == 0, result.output
    tasks = json.loads(result.stdout)["tasks"]
    assert {task["id"] for task in tasks[:3]} == set(wrong)
    assert tasks[0]["why"].startswith("Perhaps 'neutral'. ")
    assert [task["score"] for task in tasks[:3]] == sorted((t["score"] for t in tasks[:3]), reverse=True)
    assert "labels are probably wrong" in result.stderr
    assert "next: dissensus queue" in cli("triage", tmp_path).stdout


def test_what_it_refuses(folder: Path, tmp_path: Path) -> None:
    assert "expected a name that ends with .csv or .jsonl" in refused("triage", folder, "--out", "x.txt")
    assert "no example is of a data set 'other'; there are: snli" in refused(
        "triage", folder, "--dataset", "other"
    )
    assert "holds neither a study (study.yaml) nor a recording" in refused("triage", tmp_path)
