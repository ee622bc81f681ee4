"""`dissensus data annotators FILE`: the table, JSON, a missing extra, a narrow terminal, and `data check` beside it."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dissensus.cli import annotators as shown
from dissensus.cli import output
from dissensus.cli.app import app


def write_panel(path: Path, *, people: int = 6, items: int = 300) -> Path:
    """Everybody answers every item in a row of their own; the first guesses."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["item", "annotator", "annotation", "text"])
        for item in range(items):
            p = rng.dirichlet(np.ones(3)) if rng.random() < 0.4 else np.eye(3)[rng.integers(3)] * 0.94 + 0.02
            for k in range(people):
                label = rng.integers(3) if k == 0 else rng.choice(3, p=p)
                rows.writerow([item, f"w{k:02d}", ("bad", "fair", "good")[int(label)], f"text {item}"])
    return path


def run(*args: str | Path) -> str:
    result = CliRunner().invoke(app, ["data", *map(str, args)])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def no_crowd_kit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crowdkit.aggregation", None)


@pytest.mark.usefixtures("no_crowd_kit")
def test_the_table_has_the_worst_first_and_ends_with_how_to_leave_them_out(tmp_path: Path) -> None:
    text = run("annotators", write_panel(tmp_path / "panel.csv"))
    lines = text.splitlines()
    assert lines[0].endswith("300 items, 6 annotators known by name")
    assert lines[1].startswith("Krippendorff's alpha (nominal): 0.")
    first = next(line for line in lines if line.startswith("w"))
    assert first.startswith("w00 ")
    assert first.endswith("answers look random")
    assert "pip install 'dissensus[crowd]'" in text
    assert lines[-1] == "  leave_out: [w00]"
    # What `data check` says of it is the same.
    verdict = next(line for line in lines if "mean entropy is" in line)
    check = run("check", tmp_path / "panel.csv")
    assert verdict.removesuffix(".") in check
    assert "annotator w00 (300 items): answers look random" in check
    assert f"dissensus data annotators {tmp_path / 'panel.csv'}" in check


def test_json_has_every_annotator_and_the_posterior_of_every_item(tmp_path: Path) -> None:
    pytest.importorskip("crowdkit")
    document = json.loads(run("annotators", write_panel(tmp_path / "panel.csv", items=60), "--json"))
    assert {row["name"] for row in document["rows"]} == {f"w{k:02d}" for k in range(6)}
    assert all(0 <= row["dawid_skene"] <= 1 and 0 <= row["mace"] <= 1 for row in document["rows"])
    assert [set(item["dawid_skene"]) for item in document["posterior"]] == [{"bad", "fair", "good"}] * 60
    assert document["missing"] is None


@pytest.mark.usefixtures("no_crowd_kit")
def test_a_terminal_shows_so_many_in_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_panel(tmp_path / "panel.csv", people=shown.MOST + 4, items=60)
    for module in (output, shown):
        monkeypatch.setattr(module, "terminal_width", lambda stream: 80)
    lines = run("annotators", path).splitlines()
    assert max(map(len, lines)) <= 80
    names = {line.split()[0] for line in lines if line[:3] in {f"w{k:02d}" for k in range(30)}}
    assert len(names) == shown.MOST
    assert any(line.startswith("... and 4 more") for line in lines)


@pytest.mark.usefixtures("no_crowd_kit")
def test_names_that_yaml_would_misread_are_quoted(tmp_path: Path) -> None:
    path = write_panel(tmp_path / "panel.csv")
    path.write_text(path.read_text().replace("w00", "007"))
    assert run("annotators", path).splitlines()[-1] == '  leave_out: ["007"]'


def test_without_names_there_is_alpha_and_no_table(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    rows = [
        {"id": k, "text": f"text {k}", "gold": "a", "counts": {"a": 3 + k % 3, "b": 2 - k % 3}}
        for k in range(30)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    text = run("annotators", path)
    assert "annotators not known by name" in text
    assert "alpha (nominal): " in text
    assert "leave_out" not in text
