"""Contested and un-learned examples as issues of a real Datalab."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from dissensus.curves import Curves
from dissensus.errors import DataError, MissingDependencyError, SpecError
from dissensus.exchange import add_to_datalab
from dissensus.exchange import datalab as module


@pytest.fixture
def curves() -> Curves:
    """Six examples, two labels, gold the second. p(gold) falls from 1/2 to 1/4 for e, and rises for the others."""
    end = np.array([0.8, 0.8, 0.8, 0.8, 0.25, 0.8])
    p = np.stack([np.full(6, 0.5), (0.5 + end) / 2, end], axis=1)
    return Curves(
        ids=tuple("abcdef"),
        labels=("no", "yes"),
        steps=np.array([0, 5, 10]),
        total_steps=10,
        log_probs=np.log(np.stack([1 - p, p], axis=2)).astype(np.float32),
        gold=np.array([1, 1, 1, 1, 1, -1]),
        counts=np.array([[0.0, 8], [1, 7], [4, 4], [2, 6], [0, 8], [0, 0]]),
        regime=np.full(6, "held_out"),
    )


@pytest.fixture
def datalab() -> type:
    pytest.importorskip("datasets")
    return pytest.importorskip("cleanlab").Datalab


def test_the_report_shows_both_issues(
    datalab: type, curves: Curves, capsys: pytest.CaptureFixture[str]
) -> None:
    # Rows in another order than the curves, and one (q) that was not tracked.
    ids = ["q", *"fedcba"]
    lab = datalab(data={"text": ids, "label": [0, 1, 1, 1, 1, 1, 1]}, label_name="label", verbosity=0)
    add_to_datalab(lab, curves, ids)
    contested, unlearned = lab.get_issues("contested"), lab.get_issues("unlearned")
    # Entropy 0, h(1/8), 1, h(1/4), 0 bits; f has no annotations, q is none of the curves. The contested third of five
    # is c, the highest, and d: places (r - 1/2) / 5 of 0.9 and 0.7, above 2/3.
    h = {p: -p * math.log2(p) - (1 - p) * math.log2(1 - p) for p in (1 / 8, 1 / 4)}
    assert contested["is_contested_issue"].tolist() == [False, False, False, True, True, False, False]
    np.testing.assert_allclose(
        contested["contested_score"], [np.nan, np.nan, 1, 1 - h[1 / 4], 0, 1 - h[1 / 8], 1], atol=1e-12
    )
    np.testing.assert_allclose(contested["contested_entropy"][2:], [0, h[1 / 4], 1, h[1 / 8], 0], atol=1e-12)
    # e ends at half the probability that it began with; delta = rise = log 2.
    assert unlearned["is_unlearned_issue"].tolist() == [False, False, True, False, False, False, False]
    np.testing.assert_allclose(unlearned["unlearned_score"], [np.nan, np.nan, 0.5, 1, 1, 1, 1], rtol=1e-6)
    assert unlearned["unlearned_delta"][2] == pytest.approx(math.log(2))
    assert unlearned["unlearned_rise"][2] == pytest.approx(math.log(2))
    summary = lab.get_issue_summary().set_index("issue_type")
    assert summary["num_issues"].to_dict() == {"contested": 2, "unlearned": 1}
    assert summary["score"]["unlearned"] == pytest.approx(0.9)  # (0.5 + 4) / 5, over those that have one
    assert lab.get_info("contested")["rows_undefined"] == 2
    lab.report(include_description=True)
    shown = capsys.readouterr().out
    assert "contested issues" in shown
    assert "Annotators disagree on the example" in shown
    assert "unlearned issues" in shown


def test_beside_the_issues_that_datalab_finds(datalab: type, curves: Curves) -> None:
    lab = datalab(data={"text": list("abcdef"), "label": [0, 1, 1, 1, 1, 0]}, label_name="label", verbosity=0)
    lab.find_issues(issue_types={"class_imbalance": {}})
    add_to_datalab(lab, curves, curves.ids, issues=["unlearned"])
    assert set(lab.get_issue_summary()["issue_type"]) == {"class_imbalance", "unlearned"}


def test_what_cannot_be_shown_is_refused(datalab: type, curves: Curves) -> None:
    lab = datalab(data={"text": list("abcdef")}, verbosity=0)
    with pytest.raises(SpecError, match="the issue 'label' is unknown; expected contested or unlearned"):
        add_to_datalab(lab, curves, curves.ids, issues=["label"])
    with pytest.raises(DataError, match="5 ids for the 6 rows"):
        add_to_datalab(lab, curves, curves.ids[:5])
    with pytest.raises(DataError, match="stands for two rows"):
        add_to_datalab(lab, curves, list("aabcde"))
    with pytest.raises(DataError, match="'contested' is not defined for any of the 6 rows"):
        add_to_datalab(lab, curves, list("uvwxyz"))
    with pytest.raises(SpecError, match=r"share is 0\.9"):
        add_to_datalab(lab, curves, curves.ids, share=0.9)
    assert lab.issue_summary.empty


def test_a_missing_library_is_named_with_its_extra(curves: Curves, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab.datalab.internal.issue_manager", None)
    module.register_issue.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"pip install 'dissensus\[cleanlab\]'"):
        add_to_datalab(None, curves, curves.ids)
