"""Notes on the data, the whole road: `data check`, `run`'s terminal, the manifest and the page."""

from __future__ import annotations

import html
import json
import random
import re
from pathlib import Path

import yaml
from typer.testing import CliRunner

from dissensus.cli.app import app
from tiny import make_tiny

WORDS = ("kettle", "coat", "lamp", "tent", "spoon", "chair")
SAID = (
    "read as no answer: 'NA' (1)",
    "read as one label: 'yes' (",
    "1 times an annotator answered the same item again",
    "a tie for the most frequent label",
    "1 rows were left out, with status = 'draft'",
)
FACT = "1 of 24 items have one annotation; their entropy is 0"


def votes(path: Path) -> None:
    """Three annotators of 24 texts, in the long form, with a trouble or two."""
    rng = random.Random(0)
    rows = ["item,text,annotator,label,status"]
    for k in range(24):
        text = f"{WORDS[k % 6]} and {WORDS[(k // 6 + k) % 6]} {k}"
        answers = [
            ("A", "yes"),
            ("B", "no" if k == 1 else rng.choice(("yes", "no"))),
            ("C", "NA" if k == 1 else rng.choice(("yes", "no"))),
        ]
        for who, label in answers[: 1 if k == 0 else 3]:
            rows.append(f"{k},{text},{who},{label},done")
        rows += [f"{k},{text},A,Yes,done", f"{k},{text},D,no,draft"] if k == 2 else []
    path.write_text("\n".join(rows) + "\n")


def test_what_was_decided_is_said_from_the_check_to_the_page(tmp_path: Path) -> None:
    votes(tmp_path / "votes.csv")
    source = {
        **{"source": "table", "path": str(tmp_path / "votes.csv"), "text": ["text"], "item": "item"},
        **{"annotator": "annotator", "annotation": "label", "keep": {"status": "done"}},
    }
    study = {
        "name": "s",
        "models": [{"name": str(make_tiny("bert", tmp_path / "tiny")), "max_length": 32}],
        "datasets": [{"name": "panel", "tracked": source}],
        "methods": [{"name": "full", "learning_rate": 1e-3}],
        "regimes": ["trained_on"],
        "tracking": {"points": 3},
        "analysis": {"resamples": 100},
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(study))
    run = CliRunner().invoke(
        app,
        ["run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--workers", "1", "--threads", "1"],
    )
    assert run.exit_code == 0, run.output
    terminal = " ".join(run.stderr.split())
    (folder,) = (tmp_path / "out" / "cells").iterdir()
    stored = json.loads((folder / "manifest.json").read_text())["provenance"]["data_notes"]
    page = (tmp_path / "out" / "report.html").read_text()
    shown = " ".join(html.unescape(re.sub("<[^>]+>", " ", page)).split())
    for words in (*SAID, FACT):
        assert words in terminal
        assert any(words in note for note in stored)
        assert words in shown


def test_the_check_says_it_too(tmp_path: Path) -> None:
    votes(tmp_path / "votes.csv")
    out = CliRunner().invoke(app, ["data", "check", str(tmp_path / "votes.csv")]).output
    for words in SAID[:4]:  # the check keeps the draft
        assert words in out
    assert "1 items with one annotation, so that their entropy is 0" in out


def test_names_from_files_are_no_commands_to_a_terminal(tmp_path: Path) -> None:
    label = "yes\x1b[2J\u202e"
    rows = [
        {"text": "a", "annotations": {"A\r": label, "B": "no"}},
        {"text": "b", "annotations": {"A\r": label}},
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = CliRunner().invoke(app, ["data", "check", str(tmp_path / "t.jsonl")]).output
    assert "yes\\x1b[2J\\u202e" in out
    assert not {"\x1b", "\u202e", "\r"} & set(out)
