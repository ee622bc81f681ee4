"""`dissensus rates`: what it refuses, what it prints, and that a search which was killed resumes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from dissensus.cli.app import app
from dissensus.run import runner
from dissensus.study.builtin import load_study
from processes import wait_for

HERE = Path(__file__).parent
STUDY: dict[str, Any] = {
    "name": "mine",
    "models": [{"name": "ok"}],
    "datasets": [{"name": "sim", "tracked": {"source": "simulated", "size": 40}}],
    "methods": [{"name": "full", "learning_rate": 1e-3}],
    "regimes": ["trained_on"],
    "training": {"epochs": 8, "batch_size": 8},
    "analysis": {"resamples": 100},
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DISSENSUS_DATA", raising=False)


def write_study(**changes: Any) -> None:
    Path("s.yaml").write_text(yaml.safe_dump(STUDY | changes))


def cli(*args: str) -> Result:
    return CliRunner().invoke(app, ["rates", "s.yaml", *args])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ["--rates", "high"],
            "--rates 'high' is no list of numbers; expected such as --rates 2e-5,1e-4,5e-4",
        ),
        (["--rates", "-1e-4"], "a learning rate is -0.0001; expected a number above 0"),
        (["--share", "2"], "share is 2; expected a share of the training length"),
        (["--rungs", "9"], "9 rungs from a share of 0.0625 end at 16 of the training length"),
        (["--only", "method=lora"], "--only: no cell has method 'lora'"),
        (["--write", "s.yaml"], "--write s.yaml: that file exists, and would lose its comments"),
    ],
)
def test_bad_input_is_refused_in_words(args: list[str], words: str) -> None:
    write_study()
    result = cli(*args)
    assert result.exit_code == 2, result.output
    assert words in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert not Path("runs").exists()


def test_where_every_short_run_fails_no_rate_is_chosen_and_it_exits_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(HERE / "run"))
    monkeypatch.setattr(runner, "RUN_CELL", "fake_cell:run_cell")
    write_study(models=[{"name": "fail"}])
    result = cli("--rates", "1e-4", "--rungs", "1", "--workers", "1")
    assert result.exit_code == 1
    assert "No rate can be chosen: every short run failed (ZeroDivisionError: on purpose)." in result.stdout
    rows = csv.DictReader(Path("runs/mine-rates/rates.csv").read_text().splitlines())
    assert [row["loss"] for row in rows] == ["", ""]


def test_a_search_that_was_killed_resumes_and_runs_nothing_twice(tiny_encoder_dir: Path) -> None:
    write_study(models=[{"name": str(tiny_encoder_dir), "max_length": 48}])
    options = ["--workers", "1", "--threads", "1", "--yes", "--json"]
    options += ["--rates", "1e-4,1e-2", "--share", "0.25", "--rungs", "2"]
    cells = Path("runs/mine-rates/cells")

    def finished() -> dict[str, int]:
        manifests = {path.parent.name: path for path in cells.glob("*/manifest.json")}
        return {
            name: path.stat().st_mtime_ns
            for name, path in manifests.items()
            if json.loads(path.read_text()).get("complete")
        }

    first = subprocess.Popen(
        [sys.executable, "-m", "dissensus", "rates", "s.yaml", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: bool(finished()) or first.poll() is not None, "a short run")
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    before = finished()
    assert before
    assert not Path("runs/mine-rates/rates.json").exists()
    again = cli(*options, "--write", "best.yaml")
    assert again.exit_code == 0, again.output
    after = finished()
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before)
    (search,) = json.loads(again.stdout)
    assert search == json.loads(Path("runs/mine-rates/rates.json").read_text())[0]
    assert {run["cell"] for run in search["runs"]} <= after.keys()
    assert {run["rung"] for run in search["runs"]} == {1, 2}
    (best,) = load_study("best.yaml").methods
    assert best.learning_rate == search["learning_rate"]
    # Once more: nothing is left to run, and the answer is the same.
    assert json.loads(cli(*options).stdout) == [search]
    assert finished() == after
