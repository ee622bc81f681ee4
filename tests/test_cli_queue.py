"""`dissensus queue`: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dissensus.cli import output, queue
from dissensus.cli.app import app
from dissensus.report.quotes import keep_quotes
from synthetic_study import study_spec, write_study


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_study(tmp_path / "study", study_spec(), n=24)
    return tmp_path / "study"


def cli(*args: object) -> Result:
    return CliRunner().invoke(app, [*map(str, args)])


def refused(*args: object) -> str:
    """What a command that must be refused says: exit code 2, nothing on standard output, no traceback."""
    result = cli(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return str(result.stderr)


def test_it_lists_items_with_texts_votes_and_reason_and_ends_with_the_next_step(folder: Path) -> None:
    result = cli("queue", folder, "--top", 3)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "snli: 3 of 24 candidates by entropy (24 items in all)"
    assert lines[1].split() == ["item", "text", "votes", "and", "why"]
    assert lines[2].startswith("item-00023")
    assert "A scene, the 5th. / Somebody does thing 23." in lines[2]
    assert (
        "entailment 40, neutral 40, contradiction 20. annotators disagree: entropy 1.52 of at most"
        in lines[2]
    )
    assert lines[-1] == f"when it is labelled: dissensus merge {folder} EXPORT --out ALL.jsonl"
    named = cli("queue", folder, "--dataset", "snli", "--top", 3).stdout.splitlines()
    assert named[-1] == f"when it is labelled: dissensus merge {folder} --dataset snli EXPORT --out ALL.jsonl"
    assert len(cli("queue", folder, "--json").stdout) > 0
    assert (
        len(json.loads(cli("queue", folder, "--json").stdout)["tasks"]) == 20
    )  # unless --top says another number


@pytest.mark.parametrize("tool", ["label-studio", "argilla", "prodigy", "csv"])
def test_a_file_for_a_tool(folder: Path, tool: str, tmp_path: Path) -> None:
    out = tmp_path / "tasks"
    result = cli("queue", folder, "--budget", 12, "--to", tool, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"items for {tool}: {out}" in result.stdout
    assert result.stderr.splitlines()[-1].endswith(f"then: dissensus merge {folder} EXPORT --out ALL.jsonl")
    assert "12 labels over" in result.stderr
    text = out.read_text(encoding="utf-8-sig")
    if tool == "csv":
        wanted = [int(row["labels_wanted"]) for row in csv.DictReader(text.splitlines())]
    elif tool == "prodigy":
        wanted = [json.loads(line)["labels_wanted"] for line in text.splitlines()]
    else:
        part = {"label-studio": "data", "argilla": "metadata"}[tool]
        wanted = [task[part]["labels_wanted"] for task in json.loads(text)]
    assert sum(wanted) == 12
    piped = cli("queue", folder, "--budget", 12, "--to", tool)
    assert piped.stdout.strip().lstrip("\ufeff") == text.strip()
    assert {path.name for path in tmp_path.iterdir()} == {"study", "tasks"}


def test_where_the_page_quotes_nothing_the_screen_does_not_and_the_tasks_do_and_say_so(
    folder: Path, tmp_path: Path
) -> None:
    keep_quotes(folder, 0)
    result = cli("queue", folder, "--top", 3)
    assert "Somebody does" not in result.stdout
    assert "Texts are left out here" in result.stdout
    assert "Somebody does" not in cli("queue", folder, "--top", 3, "--json").stdout
    out = tmp_path / "tasks.json"
    result = cli("queue", folder, "--top", 3, "--to", "label-studio", "--out", out)
    assert "Somebody does" in out.read_text()
    assert "is to quote no texts (report.json); the tasks hold every text" in result.stderr


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    assert "--out x.json needs --to" in refused("queue", folder, "--out", "x.json")
    assert "give one" in refused("queue", folder, "--to", "csv", "--json")
    assert "is no study's folder" in refused("queue", tmp_path / "nowhere")
    assert "no data set 'x'" in refused("queue", folder, "--dataset", "x")
    assert "'entrpy' is not one of" in refused("queue", folder, "--by", "entrpy")


def test_it_fits_a_terminal_of_80_columns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (output, queue):
        monkeypatch.setattr(module, "terminal_width", lambda stream: 80)
    result = cli("queue", folder, "--top", 3, "--budget", 9)
    lines = [line for line in result.stdout.splitlines() if str(folder) not in line]  # a path is never broken
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("item-000") for line in lines)
