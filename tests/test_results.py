"""Published results: each rho and change of loss comes out of the per-example table beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr

RESULTS = Path(__file__).resolve().parents[1] / "results"
STUDIES = sorted(path.parent for path in RESULTS.rglob("cells.csv"))
TEXTS = {"text", "premise", "hypothesis", "texts"}


def rows_of(examples: pa.Table, cell: dict[str, Any]) -> pa.Table:
    """The examples of one cell, which has its condition and its seed."""
    mask = pc.and_(
        pc.equal(examples["condition"], cell["condition"]), pc.equal(examples["seed"], cell["seed"])
    )
    return examples.filter(mask)


@pytest.mark.parametrize("folder", STUDIES, ids=lambda path: str(path.relative_to(RESULTS)))
def test_rho_and_changes_come_out_of_the_examples(folder: Path) -> None:
    examples = pq.read_table(folder / "examples.parquet")
    assert not TEXTS & set(examples.column_names)
    for cell in pyarrow.csv.read_csv(folder / "cells.csv").to_pylist():
        rows = rows_of(examples, cell)
        assert rows.num_rows > 100
        values = {name: rows[name].to_numpy() for name in ("entropy", "aulc", "delta")}
        rho = spearmanr(values["entropy"], values["aulc"], nan_policy="omit").statistic
        assert cell["rho"] == pytest.approx(rho, abs=1e-6), cell["condition"]
        group = np.array(rows["group"].to_pylist())
        for name in ("contested", "settled"):
            change = np.nanmean(values["delta"][group == name])
            assert cell[f"delta_{name}"] == pytest.approx(change, abs=1e-5), cell["condition"]


def test_every_study_is_there() -> None:
    with_tables = {
        path.parent for pattern in ("conditions.csv", "claims.csv") for path in RESULTS.rglob(pattern)
    }
    assert with_tables <= set(STUDIES)
    assert len(STUDIES) >= 3


@pytest.mark.parametrize(
    "ends", sorted(RESULTS.rglob("ends.csv")), ids=lambda path: str(path.parent.relative_to(RESULTS))
)
def test_where_runs_end_comes_out_of_the_examples(ends: Path) -> None:
    examples = pq.read_table(ends.parents[1] / "examples.parquet")
    curves = pyarrow.csv.read_csv(ends.parent / "curves.csv").to_pylist()
    cells = {(point["setting"], point["run"]): point["cell"] for point in curves}
    for run in pyarrow.csv.read_csv(ends).to_pylist():
        condition = re.sub(r"\.s\d+-[0-9a-f]+$", "", cells[run["setting"], run["run"]])
        rows = examples.filter(pc.equal(examples["condition"], condition))
        assert len(rows), condition
        values = {name: rows[name].to_numpy() for name in ("initial_loss", "final_loss", "gold_share")}
        group = np.array(rows["group"].to_pylist())
        contested, backed = group == "contested", (group == "settled") & (values["gold_share"] > 0.5)
        change = (values["final_loss"] - values["initial_loss"])[contested].mean()
        assert run["change"] == pytest.approx(change, abs=1e-5), run
        assert run["contested"] == pytest.approx(values["final_loss"][contested].mean(), abs=1e-5)
        assert run["settled"] == pytest.approx(values["final_loss"][backed].mean(), abs=1e-5)


def test_the_tables_of_triage_are_those_that_its_page_quotes() -> None:
    page = (RESULTS / "triage/README.md").read_text(encoding="utf-8")
    for row in pyarrow.csv.read_csv(RESULTS / "triage/varierr.csv").to_pylist():
        if not row["score"].startswith("what curves add"):
            assert f"| {row['score']} | {row['ap']:.1f} |" in page
    ranks = pyarrow.csv.read_csv(RESULTS / "triage/ranks.csv").to_pylist()
    row = next(r for r in ranks if (r["world"], r["task"]) == ("md-agreement, trained_on, full", "flipped"))
    assert f"{row['positives']} of {row['n']}" in page
