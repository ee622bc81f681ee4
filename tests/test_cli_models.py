"""`dissensus run` with a model whose weights do not fit, or only under other names: what it says, and how it exits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from dissensus.cli.app import app
from dissensus.store import load_curves
from dissensus.study.folder import StudyFolder
from tiny import make_tiny


def study(folder: Path, model: Path) -> str:
    pool = {"source": "simulated", "annotators": 6}
    data = {
        "name": "s",
        "models": [{"name": str(model), "max_length": 48}],
        "datasets": [
            {
                "name": "panel",
                "tracked": {**pool, "size": 20},
                "train": {**pool, "size": 16, "split": "train"},
            }
        ],
        "methods": [
            {"name": "full", "learning_rate": 1e-4},
            {"name": "lora", "rank": 2, "learning_rate": 1e-3},
        ],
        "tracking": {"points": 2},
    }
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


def run(*args: str) -> Any:
    return CliRunner().invoke(app, ["run", *args, "--workers", "1", "--threads", "1"])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_tiny("bert", tmp_path / "tiny")


def rewrite(model: Path, pattern: str, replacement: str | None) -> None:
    """Rename what a pattern matches in the names of the weights; None takes those weights out."""
    weights = load_file(model / "model.safetensors")
    kept = {
        re.sub(pattern, replacement or "", name): value
        for name, value in weights.items()
        if replacement is not None or not re.search(pattern, name)
    }
    save_file(kept, model / "model.safetensors")


def test_a_missing_layer_is_found_before_any_cell_starts_and_is_said_once(
    model: Path, tmp_path: Path
) -> None:
    rewrite(model, r"\.layer\.1\.", None)
    result = run(study(tmp_path, model), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert result.stderr.count("Missing from the file: bert.encoder.layer.1 (16 tensors)") == 1
    assert "Only a scoring head may start from random numbers." in result.stderr
    assert "Traceback (most" not in result.output
    assert [cell.state for cell in StudyFolder(tmp_path / "out").statuses] == ["pending", "pending"]
    assert not list((tmp_path / "out").rglob("manifest.json"))


def test_weights_that_are_not_finite_fail_every_cell_before_training_and_are_said_once(
    model: Path, tmp_path: Path
) -> None:
    """No header shows them. What is wrong is said by `run` once, and whole by `status`."""
    weights = load_file(model / "model.safetensors")
    weights["bert.encoder.layer.1.output.dense.weight"].view(-1)[3] = float("nan")
    save_file(weights, model / "model.safetensors")
    result = run(study(tmp_path, model), "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    failed = result.stderr[result.stderr.index("2 of 2 cells failed") :]
    assert failed.count("bert.encoder.layer.1.output.dense.weight (1 NaN of 2048 numbers)") == 1  # 64 x 32
    assert "Traceback (most" not in result.output
    cells = StudyFolder(tmp_path / "out").statuses
    assert [cell.state for cell in cells] == ["failed", "failed"]
    assert all(cell.step == 0 for cell in cells)
    assert not list((tmp_path / "out").rglob("manifest.json"))


def test_a_stripped_prefix_is_said_on_the_terminal_in_the_log_and_in_the_manifest(
    model: Path, tmp_path: Path
) -> None:
    rewrite(model, "^", "_orig_mod.")
    result = run(
        study(tmp_path, model), "--out", str(tmp_path / "out"), "--only", "method=full", "--no-report"
    )
    assert result.exit_code == 0, result.output
    said = "the prefix '_orig_mod.' (torch.compile) was stripped from the names of 42 weights"
    lines = result.stderr.splitlines()
    assert lines[lines.index("model tiny:") + 1] == f"  {said}"
    assert lines[lines.index("data set panel:") + 1].startswith("  tracked set: simulated panel, seed 0")
    (folder,) = (tmp_path / "out" / "cells").iterdir()
    assert said in (folder / "log.txt").read_text()
    provenance = load_curves(folder).provenance
    assert provenance["model_notes"] == [said]
    assert provenance["model_loading"] == [
        "not used from the checkpoint: cls.predictions (5 tensors), of another task",
        "drawn from the seed, for the checkpoint lacks it: bert.pooler, classifier",
    ]
    assert provenance["data_notes"][0].startswith("tracked set: simulated panel, seed 0")
    assert json.loads((folder / "manifest.json").read_text())["provenance"]["data_notes"]
