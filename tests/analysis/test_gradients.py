"""Tables of the gradient probe: known values, and a whole study's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from dissensus.analysis.gradients import norms_table, pairs_table
from dissensus.analysis.tables import analyze
from dissensus.config import RunSpec
from dissensus.errors import StoreError
from dissensus.store import load_curves
from dissensus.store.gradients import (
    GRADIENT_NORMS,
    GRADIENTS,
    ExampleGradientNorms,
    GroupGradients,
    load_gradient_norms,
    load_group_gradients,
    save_gradient_norms,
    save_group_gradients,
)
from dissensus.study.folder import StudyFolder
from synthetic_study import study_spec, write_study

CELL = RunSpec.parse(
    {
        "dataset": {"name": "d", "tracked": {"source": "simulated", "size": 8}},
        "model": {"name": "m"},
        "method": {"name": "full", "learning_rate": 1e-3},
        "regime": "trained_on",
    },
    "test",
)


def test_cosines_are_of_the_mean_gradients(tmp_path: Path) -> None:
    """Gradients (3, 4) and (4, 3) have norm 5, product 24, cosine .96; opposite ones -1; a zero one has none."""
    pairs = [((3.0, 4.0), (4.0, 3.0)), ((1.0, 0.0), (-2.0, 0.0)), ((0.0, 0.0), (1.0, 0.0))]
    products = np.stack([np.array(pair) @ np.array(pair).T for pair in pairs])
    stored = GroupGradients(("settled", "contested"), (5, 7), (0, 10, 20), products)
    save_group_gradients(tmp_path / "g.parquet", stored)
    back = load_group_gradients(tmp_path / "g.parquet")
    assert (back.groups, back.sizes, back.steps) == (stored.groups, stored.sizes, stored.steps)
    assert np.array_equal(back.products, products)
    rows = pairs_table(CELL, back).to_pylist()
    assert [row["step"] for row in rows] == [0, 10, 20]
    np.testing.assert_allclose([row["cosine"] for row in rows], [0.96, -1.0, np.nan])
    np.testing.assert_allclose([row["norm"] for row in rows], [5.0, 1.0, 0.0])
    np.testing.assert_allclose([row["norm_other"] for row in rows], [5.0, 2.0, 1.0])
    assert {(row["group"], row["n"], row["other"], row["n_other"]) for row in rows} == {
        ("settled", 5, "contested", 7)
    }
    alone = GroupGradients(("middle",), (5,), (0,), np.full((1, 1, 1), 4.0))
    (row,) = pairs_table(CELL, alone).to_pylist()
    assert (row["group"], row["other"], row["norm"], row["cosine"]) == ("middle", "middle", 2.0, 1.0)


def test_norms_are_summed_up_by_class() -> None:
    """Settled 1, 3: mean 2, sd sqrt 2; middle 4; contested 6, 8: ranks rise with entropy, rho 1.

    Kruskal-Wallis by hand: 12 / (5 6) (3^2 / 2 + 3^2 / 1 + 9^2 / 2) - 3 6 = 3.6.
    """
    groups = np.array(["settled", "settled", "middle", "contested", "contested"])
    norms = ExampleGradientNorms(tuple("abcde"), groups, (9,), np.array([[1.0, 3.0, 4.0, 6.0, 8.0]]))
    rows = norms_table(CELL, norms, np.array([0.0, 0.1, 0.7, 1.2, 1.5])).to_pylist()
    assert [(row["group"], row["n"], row["mean"], row["median"]) for row in rows] == [
        ("settled", 2, 2.0, 2.0),
        ("middle", 1, 4.0, 4.0),
        ("contested", 2, 7.0, 7.0),
    ]
    np.testing.assert_allclose([row["sd"] for row in rows], [2**0.5, np.nan, 2**0.5])
    np.testing.assert_allclose([row["rho_entropy"] for row in rows], 1.0)
    assert rows[0]["kruskal_h"] == pytest.approx(3.6)
    assert rows[0]["kruskal_p"] == pytest.approx(stats.chi2.sf(3.6, 2))


def test_a_study_has_them_where_a_cell_has(tmp_path: Path) -> None:
    write_study(tmp_path, study_spec())
    analyze(tmp_path)
    assert not (tmp_path / "analysis" / "gradients.parquet").exists()
    before = {p.name: p.read_bytes() for p in (tmp_path / "analysis").iterdir()}
    folder = StudyFolder(tmp_path)
    cell = folder.cell(folder.done[0])
    stored = GroupGradients(("settled", "contested"), (2, 2), (0,), np.array([[[1.0, 0.5], [0.5, 1.0]]]))
    save_group_gradients(cell / GRADIENTS, stored)
    ids = load_curves(cell).ids
    groups = np.array(["settled", "contested"] * len(ids))[: len(ids)]
    norms = ExampleGradientNorms(ids, groups, (0,), np.arange(float(len(ids)))[None])
    save_gradient_norms(cell / GRADIENT_NORMS, norms)
    analyze(tmp_path)
    (row,) = pq.read_table(tmp_path / "analysis" / "gradients.parquet").to_pylist()
    assert (row["cell"], row["cosine"]) == (folder.done[0], 0.5)
    table = pq.read_table(tmp_path / "analysis" / "gradient_norms.parquet").to_pylist()
    assert [line["group"] for line in table] == ["settled", "contested"]
    assert (tmp_path / "analysis" / "gradients.csv").is_file()
    for name in before.keys() - {"inputs.json"}:  # the other tables are as they were
        content = before[name]
        assert (tmp_path / "analysis" / name).read_bytes() == content

    (cell / GRADIENTS).unlink()
    save_gradient_norms(cell / GRADIENT_NORMS, ExampleGradientNorms(ids[::-1], groups, (0,), norms.norms))
    with pytest.raises(StoreError, match=r"gradient_norms\.parquet is about other examples than the curves"):
        analyze(tmp_path)
    (cell / GRADIENT_NORMS).unlink()
    analyze(tmp_path)
    assert not (tmp_path / "analysis" / "gradients.parquet").exists()
    assert not (tmp_path / "analysis" / "gradient_norms.csv").exists()


def test_files_that_lack_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.parquet"
    save_group_gradients(path, GroupGradients(("settled", "contested"), (1, 1), (0,), np.ones((1, 2, 2))))
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(StoreError, match="does not hold each pair of groups at each step"):
        load_group_gradients(path)
    save_gradient_norms(path, ExampleGradientNorms(("a", "b"), np.array(["x", "y"]), (0, 1), np.ones((2, 2))))
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(StoreError, match="does not hold the same examples at each step"):
        load_gradient_norms(path)
