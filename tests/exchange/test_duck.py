"""SQL over stores: the numbers are the store's, and names of files are never part of a statement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dissensus.analysis.tables import analyze
from dissensus.errors import StoreError
from dissensus.exchange.duck import connect
from dissensus.store import files, load_curves, parts
from store.test_parts import Processes
from synthetic_study import study_spec, write_study

pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Two cells; a file that no manifest lists lies beside."""
    folder = tmp_path_factory.mktemp("it's a study; DROP TABLE cells")
    names = write_study(folder, study_spec(analysis={"resamples": 100}), n=40)
    analyze(folder)
    curves = folder / "cells" / names[0] / "curves"
    (curves / "step-00000007.parquet").write_bytes((curves / "step-00000020.parquet").read_bytes())
    return folder, names


def test_views_hold_what_the_stores_do(study):
    folder, names = study
    with connect(folder) as sql:
        rows = sql.execute(
            "SELECT cell, examples, points, total_steps, complete FROM cells ORDER BY cell"
        ).fetchall()
        assert rows == [(name, 40, 6, 100, True) for name in sorted(names)]
        for name in names:
            curves = load_curves(folder / "cells" / name)
            found = sql.execute(
                "SELECT step, id, loss FROM losses WHERE cell = ? ORDER BY step, row", [name]
            ).fetchnumpy()
            assert found["step"].tolist() == np.repeat(curves.steps, 40).tolist()
            assert list(found["id"]) == list(curves.ids) * 6
            assert np.array_equal(found["loss"], curves.losses.T.ravel())
            held = sql.execute(
                "SELECT log_prob_0, log_prob_1, log_prob_2 FROM curves WHERE cell = ? AND step = 40 ORDER BY row",
                [name],
            ).fetchnumpy()
            assert np.array_equal(np.stack(list(held.values()), axis=1), curves.log_probs[:, 2])
        labels = sql.execute("SELECT DISTINCT gold_label FROM examples").fetchall()
        assert labels == [("entailment",)]
        joined = sql.execute(
            "SELECT count(*) FROM metrics m JOIN examples e USING (cell, id) WHERE abs(m.entropy - e.entropy) < 1e-9"
        ).fetchone()
        assert joined == (80,)


def test_parts_are_put_back_in_their_places(tmp_path, tiny_dataset, monkeypatch):
    monkeypatch.setattr(files, "ROW_GROUP", 4)
    monkeypatch.setattr(parts, "ROW_GROUP", 4)
    monkeypatch.setattr(parts, "SPLIT_FROM", 1)
    log_probs = np.log(np.random.default_rng(0).dirichlet([1, 1, 1], 24)).astype(np.float32)
    Processes(tmp_path, tiny_dataset, values=("margin",)).write(3, log_probs, {"margin": log_probs[:, 1]})
    with connect(tmp_path) as sql:
        found = sql.execute("SELECT row, log_prob_2, margin FROM curves ORDER BY row").fetchnumpy()
    assert found["row"].tolist() == list(range(24))
    assert np.array_equal(found["log_prob_2"], log_probs[:, 2])
    assert np.array_equal(found["margin"], log_probs[:, 1])


def test_the_connection_reaches_nothing_else(study, tmp_path):
    import duckdb

    (tmp_path / "secret.csv").write_text("a\n1\n")
    with connect(study[0], memory="500MB", spill=tmp_path / "spill") as sql:
        with pytest.raises(duckdb.PermissionException):
            sql.execute("SELECT * FROM read_csv(?)", [str(tmp_path / "secret.csv")])
        with pytest.raises(duckdb.Error, match="configuration"):
            sql.execute("SET enable_external_access = true")


def test_what_cannot_be_opened_is_told(tmp_path, tiny_dataset):
    with pytest.raises(StoreError, match="holds no curves store: neither it nor a folder"):
        connect(tmp_path)
    odd = tmp_path / "study[1]"
    write_study(odd, study_spec(), n=8)
    with pytest.raises(StoreError, match=r"has '\[' in its name, which DuckDB takes for a pattern"):
        connect(odd)
    next((odd / "cells").glob("*/curves/step-00000020.parquet")).unlink()
    with pytest.raises(StoreError, match="is missing or damaged"):
        connect(odd)
