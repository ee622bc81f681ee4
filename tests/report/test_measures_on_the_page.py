"""Measures on the page: a table for each that a study has, its numbers, and nothing where it has none."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from dissensus.analysis.measures.tables import EVERY_TABLE
from dissensus.analysis.tables import Analysis, analyze
from dissensus.config import Measure
from dissensus.report.grid import Grid
from dissensus.report.measures import _PAGE, measure_grids
from dissensus.report.page import write_report
from dissensus.report.tables import condition_rows
from dissensus.store import load_curves
from dissensus.store.gradients import (
    GRADIENT_NORMS,
    GRADIENTS,
    ExampleGradientNorms,
    GroupGradients,
    save_gradient_norms,
    save_group_gradients,
)
from dissensus.store.validation import VALIDATION, ValidationScores, save_validation
from dissensus.study.folder import StudyFolder
from synthetic_study import dataset, study_spec, write_study

RIGHT, WRONG = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """Three ranks, two seeds, every measure; validation scores and gradients in the cells of rank 4."""
    root = tmp_path_factory.mktemp("measures") / "study"
    study = study_spec(
        methods=[{"name": "lora", "rank": rank, "learning_rate": 1e-3} for rank in (4, 8, 16)],
        seeds=[0, 1],
        analysis={"resamples": 100, "learned_loss": 0.95, "measures": list(get_args(Measure))},
        variants=[
            {
                "name": "noisy",
                "when": {"method": "lora-r4", "seed": 0},
                "set": {"training": {"noise": {"kind": "uniform", "rate": 0.1}}},
            }
        ],
    )
    write_study(root, study, data=dataset(60))
    folder = StudyFolder(root)
    for name in folder.done:
        cell = folder.planned[name].cell
        if cell.method.rank != 4 or cell.variant is not None:
            continue
        # Two examples; seed 0: none right, one, both, one. Seed 1: one right throughout.
        right = [(), (0,), (0, 1), (1,)] if cell.seed == 0 else [(0,)] * 4
        scores = [[RIGHT if i in known else WRONG for known in right] for i in range(2)]
        save_validation(
            folder.cell(name) / VALIDATION,
            ValidationScores(
                ("a", "b"), np.zeros(2, dtype=np.int64), (0, 25, 50, 100), np.log(scores).astype(np.float32)
            ),
        )
        # Norms 2 and 1 at the start, 4 and 2 at the end; cosines 0.5 and -0.25.
        products = np.array([[[4.0, 1.0], [1.0, 1.0]], [[16.0, -2.0], [-2.0, 4.0]]])
        save_group_gradients(
            folder.cell(name) / GRADIENTS,
            GroupGradients(("settled", "contested"), (20, 20), (0, 100), products),
        )
        ids = load_curves(folder.cell(name)).ids
        groups = np.array(["settled", "contested"] * 30)
        norms = np.stack([np.ones(60), np.where(groups == "settled", 1.0, 3.0)])
        save_gradient_norms(
            folder.cell(name) / GRADIENT_NORMS, ExampleGradientNorms(ids, groups, (0, 100), norms)
        )
    return analyze(root)


@pytest.fixture(scope="module")
def grids(analysis: Analysis) -> dict[str, Grid]:
    return {
        grid.anchor: grid for grid in measure_grids(analysis.measures, condition_rows(analysis.conditions))
    }


def test_every_table_is_on_the_page(analysis: Analysis, grids: dict[str, Grid]) -> None:
    assert set(_PAGE) == set(EVERY_TABLE) == set(analysis.measures)
    assert set(grids) == {f"measure-{name.replace('_', '-')}" for name in EVERY_TABLE}
    page = write_report(analysis.reader).read_text(encoding="utf-8")
    places = [page.index(f'<section id="measure-{name.replace("_", "-")}"') for name in _PAGE]
    assert places == sorted(places)
    assert page.count("<details>\n<summary>1 row</summary>") == page.count("<summary>1 row</summary>") > 0
    assert "undefined (" not in page


def test_validation_accuracy_of_a_condition_is_the_mean_of_its_seeds(grids: dict[str, Grid]) -> None:
    # Before: 0 and 1/2. Highest: 1 and 1/2. At the end: 1/2 and 1/2, loss (-ln .8 - ln .1) / 2 = 1.26.
    (row,) = grids["measure-validation"].rows
    assert row == ("snli · minilm-l6 · held out · LoRA, rank 4", "2", "0.250", "0.750", "0.500", "1.26")
    assert "Over several seeds: their mean." in grids["measure-validation"].notes


def test_gradients_from_the_first_point_to_the_last(grids: dict[str, Grid]) -> None:
    (row,) = grids["measure-gradients"].rows
    assert row[1:] == (
        *("settled", "contested", "2", "0.50", "0.12", "−0.25"),
        *("2.00", "4.00", "1.00", "2.00"),
    )
    settled, contested = grids["measure-gradient-norms"].rows
    assert settled[1:5] == ("settled", "30", "1.00", "0.00")
    assert contested[1:5] == ("contested", "30", "3.00", "0.00")


def test_a_number_that_some_seeds_lack_says_so(analysis: Analysis) -> None:
    table = analysis.measures["kendall"]
    rows = [row for row in table.to_pylist() if row["quantity"] == "aulc"]
    rows = [row for row in rows if row["condition"] == rows[0]["condition"]]
    assert len(rows) == 2
    rows[0]["tau"] = float("nan")
    (grid,) = measure_grids({"kendall": table.from_pylist(rows)}, condition_rows(analysis.conditions))
    assert grid.rows[0][2] == f"{rows[1]['tau']:.2f} (1 of 2 seeds)"
    for row in rows:
        row["tau"] = float("nan")
    (grid,) = measure_grids({"kendall": table.from_pylist(rows)}, condition_rows(analysis.conditions))
    assert grid.rows[0][2] == "undefined"


def test_without_measures_the_page_has_none(tmp_path: Path) -> None:
    write_study(tmp_path / "study", study_spec())
    assert "measure-" not in write_report(tmp_path / "study").read_text(encoding="utf-8")
