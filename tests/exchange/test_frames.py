"""The table of examples, and what it becomes in pandas, polars and `datasets`."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dissensus.curves import Curves
from dissensus.errors import DataError, MissingDependencyError
from dissensus.exchange import example_table, to_datasets, to_pandas, to_polars, to_xarray
from synthetic_curves import curves_of

NAN = math.nan


@pytest.fixture
def curves() -> Curves:
    """Three examples at steps 0, 5, 10 over two labels: one learned, one un-learned, one without gold or annotations.

    p(gold) of the first is 1/2, 3/4, 3/4; of the second 1/2, 3/4, 1/4.
    """
    p = np.array([[0.5, 0.75, 0.75], [0.5, 0.75, 0.25], [0.5, 0.5, 0.5]])
    return Curves(
        ids=("x", "y", "z"),
        labels=("no", "yes"),
        steps=np.array([0, 5, 10]),
        total_steps=10,
        log_probs=np.log(np.stack([1 - p, p], axis=2)).astype(np.float32),
        gold=np.array([1, 1, -1]),
        counts=np.array([[0.0, 8.0], [4.0, 4.0], [0.0, 0.0]]),
        regime=np.array(["held_out", "trained_on", "held_out"]),
        covariates={"token_count": np.array([3.0, 4.0, 5.0])},
        text=({"text": "a"}, {"text": "ä b"}, {"text": ""}),
        provenance={"source": "made"},
        values={"length": np.arange(9, dtype=np.float32).reshape(3, 3)},
    )


def test_one_row_an_example(curves: Curves) -> None:
    rows = example_table(curves).to_pylist()
    assert list(rows[0]) == [
        "id", "gold", "count_no", "count_yes", "entropy", "regime", "aulc", "aulc_soft", "initial_loss", "final_loss",
        "delta", "slope", "rise", "unlearned", "confidence", "variability", "correctness", "margin_mean",
        "margin_final", "forgetting_events", "token_count",
    ]  # fmt: skip
    half, good, bad = math.log(2), math.log(4 / 3), math.log(4)  # losses at p = 1/2, 3/4, 1/4
    x, y, z = rows
    assert (x["id"], x["gold"], x["count_no"], x["count_yes"]) == ("x", "yes", 0, 8)
    assert (x["entropy"], y["entropy"]) == (0, 1)  # 8 of one mind; 4 against 4
    assert x["aulc"] == pytest.approx((half / 2 + good + good / 2) / 2)
    assert (x["initial_loss"], x["final_loss"]) == pytest.approx((half, good))
    assert y["delta"] == pytest.approx(bad - half)
    assert y["rise"] == pytest.approx(bad - good)
    assert y["slope"] == pytest.approx(bad - half)  # three even points on [0, 1]: last less first
    assert (x["unlearned"], y["unlearned"], z["unlearned"]) == (False, True, None)
    # Step 0 is left out of the data map and of the margins: p is 3/4, 1/4.
    assert y["confidence"] == pytest.approx(0.5)
    assert y["variability"] == pytest.approx(0.25)
    assert y["correctness"] == 0.5
    assert y["margin_mean"] == pytest.approx(0, abs=1e-6)  # log 3 and -log 3
    assert y["margin_final"] == pytest.approx(-math.log(3))
    assert y["forgetting_events"] == 1
    assert z["gold"] is None
    assert all(math.isnan(z[key]) for key in ("entropy", "aulc", "rise", "confidence", "margin_mean"))
    assert [row["token_count"] for row in rows] == [3, 4, 5]
    assert [row["regime"] for row in rows] == ["held_out", "trained_on", "held_out"]


def test_a_covariate_of_a_column_s_name_is_refused(curves: Curves) -> None:
    with pytest.raises(DataError, match="a covariate is named 'rise'"):
        example_table(replace(curves, covariates={"rise": np.zeros(3)}))


def same(found: Any, wanted: Any) -> bool:
    both_nan = (
        isinstance(found, float) and isinstance(wanted, float) and math.isnan(found) and math.isnan(wanted)
    )
    return both_nan or found == wanted


def assert_same_rows(found: list[dict[str, Any]], table: pa.Table) -> None:
    for row, wanted in zip(found, table.to_pylist(), strict=True):
        assert list(row) == list(wanted)
        assert [key for key in wanted if not same(row[key], wanted[key])] == []


def test_pandas_and_back(curves: Curves, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table, frame = example_table(curves), to_pandas(curves)
    assert frame.shape == (3, 21)
    assert frame["unlearned"].dtype == "boolean"
    assert frame["unlearned"].isna().tolist() == [False, False, True]
    assert frame.set_index("id")["aulc"].isna().tolist() == [False, False, True]
    # Through a file of its own and back into Arrow.
    frame.to_parquet(tmp_path / "table.parquet")
    back = pa.Table.from_pandas(pandas.read_parquet(tmp_path / "table.parquet"), preserve_index=False)
    assert back.column_names == table.column_names
    for name in table.column_names:
        column, wanted = back[name].to_pylist(), table[name].to_pylist()
        # pandas has one mark for what is undefined: NaN comes back as null.
        wanted = [None if isinstance(v, float) and math.isnan(v) else v for v in wanted]
        assert [None if isinstance(v, float) and math.isnan(v) else v for v in column] == wanted


def test_polars_and_back(curves: Curves, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = to_polars(curves)
    assert_same_rows(frame.to_dicts(), example_table(curves))
    assert frame["aulc"].is_nan().to_list() == [False, False, True]  # NaN, not null
    assert frame["unlearned"].null_count() == 1
    frame.write_parquet(tmp_path / "table.parquet")
    assert_same_rows(polars.read_parquet(tmp_path / "table.parquet").to_dicts(), example_table(curves))


def test_datasets_and_back(curves: Curves, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = to_datasets(curves)
    assert_same_rows(list(made), example_table(curves))
    assert made.features["unlearned"].dtype == "bool"
    made.save_to_disk(tmp_path / "saved")
    assert_same_rows(list(datasets.load_from_disk(tmp_path / "saved")), example_table(curves))


@pytest.mark.parametrize(
    ("export", "library"),
    [(to_pandas, "pandas"), (to_polars, "polars"), (to_datasets, "datasets"), (to_xarray, "xarray")],
)
def test_a_missing_library_is_named_with_its_extra(
    curves: Curves, monkeypatch: pytest.MonkeyPatch, export: Callable[[Curves], Any], library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # what makes `import` raise ImportError
    with pytest.raises(MissingDependencyError, match=rf"'{library}'.*pip install 'dissensus\[exchange\]'"):
        export(curves)


def test_none_of_the_libraries_is_loaded_before_it_is_needed() -> None:
    heavy = [
        m
        for m in ("pandas", "polars", "datasets", "xarray", "cleanlab", "torch")
        if importlib.util.find_spec(m)
    ]
    code = f"import dissensus.exchange, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_texts_are_columns_where_they_are_asked_for() -> None:
    curves = curves_of(9)
    table = example_table(curves, text=True)
    assert table["hypothesis"].to_pylist() == [text["hypothesis"] for text in curves.text]
    assert table.column_names[: -len(curves.text[0])] == example_table(curves).column_names
    with pytest.raises(DataError, match=r"a text field is named 'gold'.*rename it in the data"):
        example_table(replace(curves, text=tuple({"gold": "x"} for _ in curves.ids)), text=True)
    with pytest.raises(DataError, match="no text is stored"):
        example_table(replace(curves, text=()), text=True)
