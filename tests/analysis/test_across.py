"""What looks across the cells of a study on disk: kept, shown on the page, and not shown once it is old."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dissensus.analysis.across import TABLES, load_across, look_across
from dissensus.analysis.claims.tables import claims_json
from dissensus.cli.app import app
from dissensus.report.page import write_report
from synthetic_study import study_spec, write_study

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("across") / "study"
    variants = [
        {
            "name": "rate-high",
            "when": {"method": "lora", "seed": 0},
            "set": {"method": {"learning_rate": 3e-3}},
        }
    ]
    write_study(folder, study_spec(seeds=[0, 1], variants=variants), n=60)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "study"))


def test_what_is_written_is_what_is_read(folder: Path) -> None:
    seen: list[str] = []
    found = look_across(folder, on_table=seen.append)
    assert seen[0] == "claims"
    again = load_across(folder)
    assert again is not None
    assert claims_json(again.claims) == claims_json(found.claims)
    assert set(again.tables) == set(TABLES)
    assert (again.cells, again.planned) == (5, 5)
    for name in TABLES:
        # As text, for a NaN does not equal itself.
        assert str(again.tables[name].to_pylist()) == str(found.tables[name].to_pylist()), name
        assert (folder / "analysis" / f"{name}.csv").is_file()
    table = pq.read_table(folder / "analysis" / "claims.parquet")
    assert set(table["claim"].to_pylist()) >= {"C1", "C4"}


def test_the_page_shows_the_claims_and_no_variant_among_the_conditions(folder: Path) -> None:
    before = write_report(folder).read_text(encoding="utf-8")
    assert 'id="claims"' not in before
    look_across(folder)
    page = write_report(folder).read_text(encoding="utf-8")
    assert 'id="claims"' in page
    assert 'id="sensitivity"' in page
    assert "variant rate-high" in page
    assert page.count("<article") == before.count("<article") == 2
    assert write_report(folder).read_text(encoding="utf-8") == page


def test_verdicts_of_another_state_of_the_study_are_not_shown(folder: Path) -> None:
    look_across(folder)
    cell = next(path for path in sorted((folder / "cells").iterdir()) if "rate-high" not in path.name)
    shutil.rmtree(cell)
    assert load_across(folder) is None
    assert 'id="claims"' not in write_report(folder).read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", ["{", "[]", '{"inputs": {}}'])
def test_damaged_verdicts_count_as_none(folder: Path, damage: str) -> None:
    look_across(folder)
    (folder / "analysis" / "across.json").write_text(damage)
    assert load_across(folder) is None


def test_the_command_prints_verdicts_and_keeps_them(folder: Path) -> None:
    shown = RUNNER.invoke(app, ["claims", str(folder), "--parts"])
    assert shown.exit_code == 0, shown.output
    assert "C1: " in shown.stdout
    assert "C6: not testable here" in shown.stdout
    assert "snli.minilm-l6.lora-r8.held_out" in shown.stdout
    asked = RUNNER.invoke(app, ["claims", str(folder), "--json"])
    data = json.loads(asked.stdout)
    assert [claim["claim"] for claim in data][:2] == ["C1", "C2"]
    assert data == json.loads((folder / "analysis" / "claims.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("arguments", [[], ["somewhere", "--simulate", "2"]])
def test_a_folder_or_simulated_studies_not_both(arguments: list[str]) -> None:
    result = RUNNER.invoke(app, ["claims", *arguments])
    assert result.exit_code == 2
    assert "--simulate" in result.output


def test_a_folder_that_is_no_study(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["claims", str(tmp_path)])
    assert result.exit_code == 2
    assert "study.yaml" in result.output
    assert "Traceback" not in result.output
