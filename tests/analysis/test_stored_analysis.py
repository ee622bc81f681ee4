"""A cell whose curves are streamed has the tables of one in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dissensus.analysis import clusters, example_rows, reading, study_reading
from dissensus.analysis.clusters import clusters_of, stored_clusters
from dissensus.analysis.reading import majority_gold
from dissensus.analysis.study_reading import StudyReader
from dissensus.analysis.tables import analyze, load_analysis
from dissensus.curves import Curves
from dissensus.stats import running
from dissensus.store import StoredCurves, load_curves, open_curves
from synthetic_study import dataset, study_spec, write_study

BANDS = {f"{end}{side}" for end in ("low", "high") for side in ("", "_backed", "_rejected")}


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything counts as large, and blocks are small."""
    monkeypatch.setattr(study_reading, "LIMIT", 0)
    monkeypatch.setattr(example_rows, "LIMIT", 0)
    monkeypatch.setattr(running, "BLOCK", 37)
    monkeypatch.setattr(reading, "ROW_GROUP", 37)


def write(folder: Path, gold: str) -> None:
    # Two cells with different covariates: a column that the other cell has not is null.
    study = study_spec(analysis={"resamples": 200, "gold": gold})
    names = write_study(folder, study, n=240)
    table = pq.read_table(folder / "cells" / names[1] / "examples.parquet")
    assert "lexical_overlap" in table.column_names


@pytest.mark.parametrize("gold", ["as_stored", "majority"])
def test_streamed_tables_are_those_of_curves_in_memory(tmp_path, gold, request):
    write(tmp_path, gold)
    memory = analyze(tmp_path)
    assert memory.in_memory is not None
    request.getfixturevalue("streamed")
    ours = analyze(tmp_path)
    assert ours.in_memory is None
    assert ours.groups["high"].to_pylist() != memory.groups["high"].to_pylist()  # it was streamed
    assert ours.examples.schema.equals(memory.examples.schema)
    assert ours.examples.to_pandas().equals(memory.examples.to_pandas())  # to the bit
    compare(memory.cells, ours.cells)
    compare(memory.conditions, ours.conditions)
    assert ours.groups.drop_columns(list(BANDS)).schema.equals(memory.groups.drop_columns(list(BANDS)).schema)
    compare(memory.groups.drop_columns(list(BANDS)), ours.groups.drop_columns(list(BANDS)))
    for side in ("", "_backed", "_rejected"):
        of = {end: memory.groups[end + side].to_numpy() for end in ("low", "high")}
        for (
            end,
            band,
        ) in of.items():  # of another kind, and 200 resamples of 80 examples: within half a standard error
            gap = np.abs(band - ours.groups[end + side].to_numpy())
            enough = memory.groups[f"n{side}"].to_numpy() >= 80
            assert enough.any() == (side != "_rejected")
            assert (gap <= 0.6 * (of["high"] - of["low"]) / 3.92 + 1e-12)[enough].all()
    assert not list((tmp_path / "analysis").glob(".examples*"))
    again = load_analysis(tmp_path)
    assert again is not None
    assert again.examples.to_pandas().equals(memory.examples.to_pandas())
    assert ours.cells["clusters"].to_pylist() == [60, 60]


def compare(one: pa.Table, other: pa.Table) -> None:
    assert one.column_names == other.column_names
    for name in one.column_names:
        a, b = one[name].to_pylist(), other[name].to_pylist()
        if pa.types.is_string(one[name].type):
            assert a == b, name
            continue
        loss = "loss_" in name or name.startswith("mean")  # means of losses, added up in another order
        assert a == (
            pytest.approx(b, rel=1e-12, nan_ok=True) if loss else pytest.approx(b, rel=0, abs=0, nan_ok=True)
        )


def test_cells_with_other_covariates_wait_on_the_disk(tmp_path):
    tables = [pa.table({"a": [1.0, 2.0], "b": ["x", "y"]}), pa.table({"a": [3.0], "c": [4.0]})]
    with example_rows.ExampleRows(tmp_path, limit=0) as rows:
        for table in tables:
            rows.add(table)
        assert rows.table() is None
        rows.write(tmp_path / "examples.parquet")
    expected = pa.concat_tables(tables, promote_options="default")
    assert pq.read_table(tmp_path / "examples.parquet").equals(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["examples.parquet"]
    with example_rows.ExampleRows(tmp_path) as rows:
        for table in tables:
            rows.add(table)
        assert rows.table().equals(expected)


def test_clusters_of_a_store_are_drawn_as_those_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "ROW_GROUP", 16)
    names = write_study(tmp_path, study_spec(), n=50)
    folder = tmp_path / "cells" / names[0]
    ours, theirs = stored_clusters(open_curves(folder)), clusters_of(load_curves(folder))
    assert (ours.field, ours.reason) == (theirs.field, theirs.reason)
    assert np.array_equal(ours.labels, theirs.labels)
    numbers = [np.unique(labels, return_inverse=True)[1] for labels in (theirs.labels, theirs.names)]
    assert np.array_equal(*numbers)  # numbers and names sort alike
    assert theirs.count(50) == 13


def test_no_clusters_where_no_premise_repeats(tmp_path):
    for n, name in ((1, "one"), (5, "few")):  # four pairs to a premise, and a fifth
        data = dataset(n)
        names = write_study(tmp_path / name, study_spec(), data=data)
        found = stored_clusters(open_curves(tmp_path / name / "cells" / names[0]))
        assert (found.labels is None) == (n == 1)


def test_majority_of_columns():
    counts = np.array([[0.0, 0, 0], [1, 2, 2], [0.5, 0, 0.5], [0, 0, 3]])
    assert majority_gold(counts).tolist() == [-1, 1, 0, 2]


def test_a_cell_is_streamed_above_the_limit(tmp_path, monkeypatch):
    study = study_spec()
    names = write_study(tmp_path, study, n=20)
    folder = tmp_path / "cells" / names[0]
    size = open_curves(folder).nbytes
    assert size == 20 * 6 * 3 * 4
    for limit, kind in ((size, Curves), (size - 1, StoredCurves)):
        monkeypatch.setattr(study_reading, "LIMIT", limit)
        assert isinstance(StudyReader.at(tmp_path).cell(names[0]).stored, kind)
