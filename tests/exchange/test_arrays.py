"""Curves as an xarray Dataset, and back."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.curves import Curves
from dissensus.errors import DataError
from dissensus.exchange import from_xarray, read_cartography, to_xarray
from exchange.recorded import write_epochs
from synthetic_curves import curves_of

xarray = pytest.importorskip("xarray")


def whole() -> Curves:
    """Curves with everything that there can be."""
    made = curves_of(12, points=4)
    rng = np.random.default_rng(0)
    return replace(
        made,
        covariates={"token_count": rng.normal(size=12)},
        values={"margin": rng.normal(size=(12, 4)).astype(np.float32)},
        provenance={"source": "made", "nested": {"a": [1, 2]}},
    )


def assert_equal(found: Curves, wanted: Curves) -> None:
    for field in fields(Curves):
        mine, other = getattr(found, field.name), getattr(wanted, field.name)
        if isinstance(other, dict) and field.name in ("covariates", "values"):
            assert list(mine) == list(other)
            for name in other:
                np.testing.assert_array_equal(mine[name], other[name])
        elif isinstance(other, np.ndarray):
            np.testing.assert_array_equal(mine, other)
            assert mine.dtype.kind == other.dtype.kind
        elif field.name == "text":
            assert [dict(text) for text in mine] == [dict(text) for text in other]
        else:
            assert mine == other


def test_dimensions_and_values() -> None:
    curves = whole()
    found = to_xarray(curves)
    assert dict(found.sizes) == {"example": 12, "step": 4, "label": 3}
    one = found["log_prob"].sel(example=curves.ids[3], step=int(curves.steps[2]), label=curves.labels[1])
    assert float(one) == curves.log_probs[3, 2, 1]
    np.testing.assert_array_equal(found["progress"], curves.progress)
    assert float(found["token_count"].sel(example=curves.ids[5])) == curves.covariates["token_count"][5]
    assert found["margin"].dims == ("example", "step")


def test_there_and_back() -> None:
    assert_equal(from_xarray(to_xarray(whole())), whole())
    # Without anything beside, and one example without a gold label.
    gold = np.where(np.arange(12) == 3, -1, whole().gold)
    plain = replace(whole(), text=(), covariates={}, values={}, provenance={}, gold=gold)
    assert_equal(from_xarray(to_xarray(plain)), plain)


def test_imported_curves_there_and_back(tmp_path: Path) -> None:
    curves = read_cartography(write_epochs(tmp_path)).curves
    assert_equal(from_xarray(to_xarray(curves)), curves)


def test_through_a_file(tmp_path: Path) -> None:
    """Classic netCDF, through SciPy: nothing in the Dataset is of a kind that a file cannot hold."""
    curves = whole()
    to_xarray(curves).to_netcdf(tmp_path / "curves.nc", engine="scipy")
    with xarray.open_dataset(tmp_path / "curves.nc", engine="scipy") as opened:
        assert_equal(from_xarray(opened.load()), curves)


def test_a_selection_is_a_subset() -> None:
    curves = whole()
    ids = [curves.ids[4], curves.ids[1]]
    found = from_xarray(to_xarray(curves).sel(example=ids).isel(step=slice(1, None)).transpose("label", ...))
    assert found.ids == tuple(ids)
    np.testing.assert_array_equal(found.steps, curves.steps[1:])
    np.testing.assert_array_equal(found.log_probs, curves.log_probs[[4, 1], 1:])
    np.testing.assert_array_equal(found.progress, curves.progress[1:])  # of the whole run still


def test_what_does_not_fit_is_named() -> None:
    curves = whole()
    with pytest.raises(DataError, match="two variables would be named 'gold'"):
        to_xarray(replace(curves, covariates={"gold": np.zeros(12)}))
    with pytest.raises(DataError, match="two variables would be named 'margin'"):
        to_xarray(replace(curves, covariates={"margin": np.zeros(12)}))
    made: Any = to_xarray(curves)
    with pytest.raises(DataError, match="has no 'count'"):
        from_xarray(made.drop_vars("count"))
    with pytest.raises(DataError, match="has no 'total_steps'"):
        from_xarray(made.drop_attrs())
    with pytest.raises(DataError, match=r"the gold label '.*' is none of the labels"):
        from_xarray(made.sel(label=[name for name in curves.labels if name != curves.labels[curves.gold[0]]]))


def test_labels_may_come_in_another_order() -> None:
    curves = whole()
    found = from_xarray(to_xarray(curves).isel(label=[2, 0, 1]))
    assert found.labels == tuple(curves.labels[k] for k in (2, 0, 1))
    np.testing.assert_array_equal(found.losses, curves.losses)
