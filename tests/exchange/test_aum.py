"""Records that aum itself writes, as curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError
from dissensus.exchange import read_aum, write_store
from dissensus.metrics import aulc, aulc_of, margin
from dissensus.store import load_curves
from exchange.recorded import log_softmax, write_aum

# Three updates of samples over three labels; sample c is not in the second.
UPDATES = (
    {"c": ([0.0, 3.0, 1.0], 1), "a": ([2.0, 0.0, 1.0], 0), "b": ([0.0, 0.0, 4.0], 0)},
    {"a": ([3.0, 0.5, 0.0], 0), "b": ([1.0, 0.0, 2.0], 0)},
    {"b": ([0.0, 1.0, 0.5], 0), "a": ([1.0, 2.0, 0.0], 0), "c": ([0.0, 0.0, 0.5], 1)},
)
# Assigned less strongest other, by hand. a: 2-1, 3-0.5, 1-2. b: 0-4, 1-2, 0-1. c: 3-1, then 0-0.5.
MARGINS = {"a": [1.0, 2.5, -1.0], "b": [-4.0, -1.0, -1.0], "c": [2.0, -0.5, np.nan]}


def test_margins_become_losses_of_two_labels(tmp_path: Path) -> None:
    curves = read_aum(write_aum(tmp_path, UPDATES)).curves
    assert curves.ids == ("a", "b", "c")  # the tool sorts its records
    assert curves.labels == ("assigned", "strongest other")
    assert curves.gold.tolist() == [0, 0, 0]
    assert curves.steps.tolist() == [1, 2, 3]
    assert curves.total_steps == 3
    expected = np.array([MARGINS[i] for i in curves.ids])
    np.testing.assert_allclose(curves.values["margin"], expected, rtol=1e-6)
    # -log sigmoid(m) = log(1 + e^-m), so that of margin 1 it is log(1 + 1/e) = 0.31326.
    np.testing.assert_allclose(curves.losses, np.log1p(np.exp(-expected)), rtol=1e-5)
    assert curves.losses[0, 0] == pytest.approx(0.31326, abs=1e-5)
    np.testing.assert_allclose(aulc(curves), aulc_of(np.log1p(np.exp(-expected)), curves.progress), rtol=1e-5)
    # Both columns are probabilities that sum to 1.
    np.testing.assert_allclose(np.exp(curves.log_probs[:2]).sum(axis=2), 1, rtol=1e-6)


def test_the_mean_margin_is_the_tool_s_aum(tmp_path: Path) -> None:
    curves = read_aum(write_aum(tmp_path, UPDATES)).curves
    written = dict(line.split(",") for line in (tmp_path / "aum_values.csv").read_text().split()[1:])
    found = dict(zip(curves.ids, margin(curves).mean, strict=True))
    assert found == {i: pytest.approx(float(v), rel=1e-6) for i, v in written.items()}


def test_losses_of_more_labels_are_bounds_and_it_is_said(tmp_path: Path) -> None:
    imported = read_aum(write_aum(tmp_path, UPDATES))
    exact = -log_softmax([2.0, 0.0, 1.0])[0]
    assert imported.curves.losses[0, 0] < exact < imported.curves.losses[0, 0] + np.log(2)
    assert "lower bounds" in imported.notes[0]
    assert imported.curves.provenance["note"] == imported.notes[0]
    assert imported.curves.provenance["mode"] == "free"


def test_losses_of_two_labels_are_exact(tmp_path: Path) -> None:
    curves = read_aum(write_aum(tmp_path, [{"a": ([0.3, -0.9], 1), "b": ([1.0, 2.0], 1)}])).curves
    assert curves.losses[0, 0] == pytest.approx(-log_softmax([0.3, -0.9])[1], rel=1e-6)


def test_a_sample_with_fewer_measurements_ends_in_gaps(tmp_path: Path) -> None:
    imported = read_aum(write_aum(tmp_path, UPDATES))
    assert np.isnan(imported.curves.log_probs[2]).all(axis=1).tolist() == [False, False, True]
    assert "1 of 3 samples have fewer than 3 measurements, e.g. 'c' with 2" in imported.notes[1]


def test_a_diverged_model_s_margins_are_gaps(tmp_path: Path) -> None:
    updates = [{"a": ([1.0, 0.0], 0), "b": ([1.0, 0.0], 0)}, {"a": ([np.nan, 0.0], 0), "b": ([2.0, 0.0], 0)}]
    imported = read_aum(write_aum(tmp_path, updates))
    assert np.isnan(imported.curves.losses).tolist() == [[False, True], [False, False]]
    assert "1 of 4 measurements have a margin that is not finite" in imported.notes[1]


def test_annotations_bring_the_labels_and_their_counts(tmp_path: Path) -> None:
    answers = AnnotatedDataset.from_records(
        [
            {"id": "a", "text": "x", "counts": [5, 5, 0]},
            {"id": "b", "text": "y", "counts": [4, 0, 6]},
            {"id": "c", "text": "z", "counts": [0, 9, 1]},
        ],
        labels=("0", "1", "2"),
        text=("text",),
        gold=None,
    )
    imported = read_aum(write_aum(tmp_path, UPDATES), annotations=answers)
    curves = imported.curves
    assert curves.labels == ("0", "1", "2")
    assert curves.gold.tolist() == [0, 0, 1]
    assert curves.counts.tolist() == [[5, 5, 0], [4, 0, 6], [0, 9, 1]]
    # First update of a: label 0 assigned, label 2 the strongest other; label 1 is taken for impossible.
    np.testing.assert_allclose(
        np.exp(curves.log_probs[0, 0]), [1 / (1 + np.exp(-1)), 0, 1 / (1 + np.e)], rtol=1e-6
    )
    # What needs the margin alone is the same as with two columns.
    plain = read_aum(tmp_path).curves
    np.testing.assert_array_equal(curves.losses, plain.losses)
    np.testing.assert_allclose(margin(curves).mean, margin(plain).mean)
    back = load_curves(write_store(curves, tmp_path / "store"))
    np.testing.assert_array_equal(back.log_probs, curves.log_probs)
    np.testing.assert_array_equal(back.values["margin"], curves.values["margin"])


def test_names_of_labels_without_annotations(tmp_path: Path) -> None:
    write_aum(tmp_path, UPDATES)
    assert read_aum(tmp_path, labels=("x", "y", "z", "never")).curves.labels == ("x", "y", "z", "never")
    with pytest.raises(DataError, match="the label index 2, but 2 labels are named: x, y"):
        read_aum(tmp_path, labels=("x", "y"))


def test_whole_number_ids_are_kept_as_written(tmp_path: Path) -> None:
    curves = read_aum(write_aum(tmp_path, [{7: ([1.0, 0.0], 0), 12: ([0.0, 1.0], 1)}])).curves
    assert curves.ids == ("7", "12")


def test_sums_without_curves_are_refused(tmp_path: Path) -> None:
    write_aum(tmp_path, UPDATES, compressed=True)
    for path in (tmp_path, tmp_path / "aum_values.csv"):
        with pytest.raises(DataError, match=r"no curves; expected full_aum_records\.csv.*compressed=False"):
            read_aum(path)
    with pytest.raises(DataError, match="does not exist"):
        read_aum(tmp_path / "other.csv")


HEADER = "sample_id,num_measurements,target_logit,target_val,other_logit,other_val,margin,aum\n"
BAD = (
    ("sample_id,margin\na,1.0\n", "has no column 'num_measurements'"),
    (HEADER, "has no rows"),
    ("", "is not CSV as the tool writes it"),
    (HEADER + "a,1,0,1.0,1,0.0,one,1.0\n", "is not CSV as the tool writes it"),
    (HEADER + "a,1,0,1.0,1,0.0\n", "is not CSV as the tool writes it"),
    (HEADER + "a,,0,1.0,1,0.0,1.0,1.0\n", "1 rows have no 'num_measurements'"),
    (HEADER + ",1,0,1.0,1,0.0,1.0,1.0\n", "a row has no 'sample_id'"),
    (HEADER + "a,0,0,1.0,1,0.0,1.0,1.0\n", "a row of 'a' has 'num_measurements' 0"),
    (
        HEADER + "a,2,0,1.0,1,0.0,1.0,1.0\n",
        "'a' has 'num_measurements' 2; expected its measurements to be numbered",
    ),
    (HEADER + "a,9000000000000000000,0,1.0,1,0.0,1.0,1.0\n", "'num_measurements' 9000000000000000000"),
    (HEADER + "a,1,-1,1.0,1,0.0,1.0,1.0\n", "'target_logit' -1"),
    (HEADER + "a,1,1,1.0,1,0.0,1.0,1.0\n", "'other_logit' 1, which is its 'target_logit'"),
    (HEADER + "a,1,0,1.0,1,0.0,1.0,1.0\n" * 2, "'a' has its measurement 1 twice"),
    (
        HEADER + "a,1,0,1.0,1,0.0,1.0,1.0\na,2,1,1.0,0,0.0,1.0,1.0\n",
        "'a' is assigned the label 0 and later 1",
    ),
)


@pytest.mark.parametrize(("content", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "full_aum_records.csv"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read_aum(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
