"""`dissensus settling`: tables, figure, sentence, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from dissensus.cli.app import app
from synthetic_study import study_spec, write_study

POINTS = 13


def falling(n: int, points: int, number: int) -> np.ndarray:
    """All items fall from ln 3, the first ones fastest; odd cells get half as far."""
    u = np.linspace(0, 1, points)[None, :] * (0.5 if number % 2 else 1.0)
    pace = np.linspace(1.2, 0.2, n)[:, None]
    item = np.random.default_rng(3).standard_normal((n, 1))
    return np.maximum(np.log(3) - pace * u * (1 + 0.1 * item), 0.01)


def cli(*args: str) -> Result:
    return CliRunner().invoke(app, ["settling", *args])


@pytest.fixture
def study(tmp_path: Path) -> str:
    write_study(tmp_path / "made", study_spec(seeds=[0]), n=320, points=POINTS, losses=falling)
    return str(tmp_path / "made")


def test_it_leaves_tables_a_figure_and_a_sentence(study: str) -> None:
    result = cli(study)
    assert result.exit_code == 0, result.output
    folder = Path(study) / "settling"
    tables = {"curves": 2 * POINTS, "ends": 2, "levels": None, "differences": None}
    for name, rows in tables.items():
        stored = pq.read_table(folder / f"{name}.parquet")
        assert rows in (None, len(stored))
        assert len(list(csv.reader((folder / f"{name}.csv").read_text().splitlines()))) == len(stored) + 1
    (setting,) = json.loads((folder / "settling.json").read_text())
    assert setting["setting"] == "snli.minilm-l6.held_out"
    assert setting["sentence"] in result.stdout
    assert setting["sentence"].startswith("Not told of methods in general (one seed of each run")
    assert [row["run"] for row in setting["ends"]] == ["full 5e-05", "lora-r8 0.001"]
    ends = {name: (folder / f"settling{name}").read_bytes() for name in (".svg", ".pdf", ".png")}
    assert b"lora-r8 0.001" in ends[".svg"]
    assert b"ln K" in ends[".svg"]
    # Once more, as JSON: the same, and the figure to the byte.
    again = cli(study, "--json")
    assert json.loads(again.stdout) == json.loads((folder / "settling.json").read_text())
    assert {name: (folder / f"settling{name}").read_bytes() for name in ends} == ends


def test_levels_are_as_asked_for(study: str) -> None:
    cli(study, "--levels", "0.9,0.85")
    levels = pq.read_table(Path(study) / "settling" / "levels.parquet").to_pylist()
    assert [(row["level"], row["why"]) for row in levels] == [(0.9, ""), (0.9, ""), (0.85, ""), (0.85, "")]


def test_a_cell_that_two_studies_hold_counts_once(study: str, tmp_path: Path) -> None:
    write_study(tmp_path / "other", study_spec(seeds=[0, 1]), n=320, points=POINTS, losses=falling)
    assert cli(study, str(tmp_path / "other"), "--out", str(tmp_path / "out")).exit_code == 0
    ends = pq.read_table(tmp_path / "out" / "ends.parquet").to_pylist()
    assert [row["seeds"] for row in ends] == [2, 2]


def test_bad_input_is_refused_in_words(study: str, tmp_path: Path) -> None:
    write_study(tmp_path / "cut", study_spec(analysis={"cuts": [0.5, 1.0], "resamples": 100}), n=40)
    cut = str(tmp_path / "cut")
    nats = str(tmp_path / "nats")
    analysis = {"cuts": [0.5, 1.0], "cuts_unit": "nats", "resamples": 100}
    write_study(tmp_path / "nats", study_spec(analysis=analysis), n=40)
    for args, words in (
        ([study, cut], "several folders, or a URL: say where tables and figure go with --out"),
        ([study, cut, "--out", "x"], "differ in analysis.cuts (None and (0.5, 1.0))"),
        ([cut, nats, "--out", "x"], "differ in analysis.cuts_unit ('bits' and 'nats')"),
        ([study, "--margin", "0"], "--margin 0: expected a number of nats above 0"),
        ([study, "--levels", "low"], "--levels 'low' is no list of losses above 0"),
        ([str(tmp_path / "none")], "there is no such folder"),
    ):
        result = cli(*args)
        assert result.exit_code == 2, result.output
        assert words in result.stderr.replace("\n", " ")
