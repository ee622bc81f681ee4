from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from dissensus.errors import DataError
from dissensus.stats import benjamini_hochberg, holm

P = arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1))
NAN = float("nan")


def test_known_values():
    p = [0.04, 0.01, 0.03, NAN, 0.5]
    # Four, sorted: 0.01, 0.03, 0.04, 0.5.
    # Holm: 4 x 0.01 = 0.04; 3 x 0.03 = 0.09; 2 x 0.04 = 0.08, raised to 0.09; 0.5.
    assert holm(p) == pytest.approx([0.09, 0.04, 0.09, NAN, 0.5], nan_ok=True)
    # BH from the top: 0.5; 0.04 x 4/3 = 0.0533; 0.03 x 4/2 = 0.06, lowered to 0.0533; 0.01 x 4 = 0.04.
    assert benjamini_hochberg(p) == pytest.approx([0.16 / 3, 0.04, 0.16 / 3, NAN, 0.5], nan_ok=True)


@given(P)
def test_benjamini_hochberg_equals_scipy(p):
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p), abs=1e-12)


@given(P)
def test_holm_rejects_step_by_step(p):
    # Holm's procedure in his own words: compare the smallest with alpha / m, the next with alpha / (m - 1), ...,
    # and stop at the first that is not rejected.
    adjusted = holm(p)
    alpha = 0.2
    rejected = np.zeros(len(p), dtype=bool)
    for step, i in enumerate(np.argsort(p, kind="stable")):
        if p[i] * (len(p) - step) > alpha:
            break
        rejected[i] = True
    assert (adjusted <= alpha).tolist() == rejected.tolist()
    assert np.all(adjusted >= p)
    assert np.all(adjusted <= 1)


def test_nothing_and_nan_alone():
    for adjust in (holm, benjamini_hochberg):
        assert adjust([]).tolist() == []
        assert np.isnan(adjust([NAN, NAN])).all()


def test_what_is_no_probability_is_refused():
    for adjust in (holm, benjamini_hochberg):
        with pytest.raises(DataError, match=r"p holds 1\.5"):
            adjust([0.1, 1.5])
