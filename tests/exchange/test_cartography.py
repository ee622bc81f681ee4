"""Training dynamics of cartography as curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.errors import DataError
from dissensus.exchange import read_annotations, read_cartography, write_store
from dissensus.metrics import aulc, aulc_of, cartography, gold_margins
from dissensus.store import load_curves
from exchange.recorded import EPOCHS, log_softmax, write_epochs

NAMES = ("entailment", "neutral", "contradiction")


def test_logits_become_log_probabilities_by_id(tmp_path: Path) -> None:
    imported = read_cartography(write_epochs(tmp_path))
    curves = imported.curves
    assert curves.ids == ("10", "20", "30")  # as first seen, whatever the order of an epoch
    assert curves.labels == ("0", "1", "2")
    assert curves.gold.tolist() == [0, 1, 2]
    assert curves.steps.tolist() == [1, 2, 3]  # epochs; there is no step 0
    assert curves.total_steps == 3
    assert set(curves.regime) == {"trained_on"}
    assert curves.provenance["source"] == "cartography"
    assert curves.provenance["mode"] == "free"
    np.testing.assert_allclose(curves.log_probs[0, 0], np.log([1 / 3, 1 / 3, 1 / 3]), rtol=1e-6)
    np.testing.assert_allclose(curves.log_probs[1, 2], log_softmax([0.5, 1.5, -0.5]), rtol=1e-6)
    np.testing.assert_allclose(curves.log_probs[2, 1], log_softmax([0.0, 0.0, 3.0]), rtol=1e-5)


def test_the_area_is_that_of_the_logged_losses(tmp_path: Path) -> None:
    curves = read_cartography(write_epochs(tmp_path)).curves
    # Example 10, gold 0. Losses: log 3; log(1 + e^-1 + e^-2); log(2 + e^2). At u = 1/3, 2/3, 1 the trapezoid rule
    # over the covered span is (l1 / 2 + l2 + l3 / 2) / 2.
    l1, l2, l3 = np.log(3), np.log(1 + np.exp(-1) + np.exp(-2)), np.log(2 + np.exp(2))
    np.testing.assert_allclose(curves.losses[0], [l1, l2, l3], rtol=1e-6)
    np.testing.assert_allclose(aulc(curves)[0], (l1 / 2 + l2 + l3 / 2) / 2, rtol=1e-6)
    # And of all three, computed from the logits themselves.
    direct = np.full((3, 3), np.nan)
    for epoch, lines in enumerate(EPOCHS):
        for guid, logits, gold in lines:
            if None not in logits:
                direct[guid // 10 - 1, epoch] = -log_softmax(logits)[gold]
    np.testing.assert_allclose(aulc(curves), aulc_of(direct, curves.progress), rtol=1e-6)


def test_the_data_map_is_the_tool_s_own(tmp_path: Path) -> None:
    """Mean, standard deviation (divisor T) and count of right epochs, over the epochs that an example has."""
    found = cartography(read_cartography(write_epochs(tmp_path)).curves)
    # Example 20, gold 1, in two epochs: p = 1 / (e^2 + 2) and e^1.5 / (e^.5 + e^1.5 + e^-.5).
    p = np.array([1 / (np.exp(2) + 2), np.exp(1.5) / (np.exp(0.5) + np.exp(1.5) + np.exp(-0.5))])
    assert found.confidence[1] == pytest.approx(p.mean(), rel=1e-6)
    assert found.variability[1] == pytest.approx(p.std(), rel=1e-6)
    assert found.correctness[1] == 0.5


def test_a_missing_epoch_and_null_logits_are_gaps_and_are_counted(tmp_path: Path) -> None:
    imported = read_cartography(write_epochs(tmp_path))
    gaps = np.isnan(imported.curves.losses)
    assert np.argwhere(gaps).tolist() == [[1, 1], [2, 2]]
    notes = " ".join(imported.notes)
    assert "1 of 9 (example, epoch) pairs are in no file, e.g. '20' in epoch 1" in notes
    assert "1 of 8 lines have logits that are not finite" in notes
    assert "no annotations were given" in notes
    assert (imported.curves.counts == 0).all()


def test_steps_of_an_epoch(tmp_path: Path) -> None:
    curves = read_cartography(write_epochs(tmp_path) / "training_dynamics", steps_per_epoch=50).curves
    assert curves.steps.tolist() == [50, 100, 150]
    assert curves.total_steps == 150
    # Progress is the same, and so is every area.
    np.testing.assert_array_equal(curves.progress, read_cartography(tmp_path).curves.progress)


def test_ten_epochs_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    epochs: Any = [[("a", [float(e), 0.0], 0)] for e in range(11)]
    curves = read_cartography(write_epochs(tmp_path, epochs)).curves
    # The margin of epoch e is e; by name, the file of epoch 10 would come third.
    np.testing.assert_allclose(gold_margins(curves)[0], np.arange(11), atol=1e-5)


def test_annotations_are_joined_by_id(tmp_path: Path) -> None:
    table = tmp_path / "answers.jsonl"
    rows = [
        {"guid": 30, "label_count": {"contradiction": 5, "neutral": 5}, "gold": "contradiction"},
        {"guid": 10, "label_count": {"entailment": 4, "neutral": 4}, "gold": "neutral"},
        {"guid": 99, "label_count": {"neutral": 1}, "gold": "neutral"},
    ]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    imported = read_cartography(write_epochs(tmp_path), annotations=read_annotations(table), labels=NAMES)
    assert imported.curves.labels == NAMES
    assert imported.curves.counts.tolist() == [[4, 4, 0], [0, 0, 0], [0, 5, 5]]
    assert imported.curves.gold.tolist() == [0, 1, 2]  # what the model was trained on
    notes = " ".join(imported.notes)
    assert "1 of 3 examples have no annotations, e.g. '20'" in notes
    assert "1 of 3 examples have another gold label in the annotations" in notes


def test_the_store_holds_what_was_read(tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    table.write_text('id,text,annotator1,annotator2\n10,"a, b",0,1\n20,c,1,1\n30,d,2,2\n')
    curves = read_cartography(write_epochs(tmp_path), annotations=read_annotations(table)).curves
    back = load_curves(write_store(curves, tmp_path / "store"))
    assert back.ids == curves.ids
    assert back.text == ({"text": "a, b"}, {"text": "c"}, {"text": "d"})
    assert back.provenance == curves.provenance
    np.testing.assert_array_equal(back.log_probs, curves.log_probs)
    np.testing.assert_array_equal(back.counts, [[1, 1, 0], [0, 2, 0], [0, 0, 2]])
    np.testing.assert_array_equal(aulc(back), aulc(curves))


BAD: tuple[tuple[list[list[tuple[Any, Any, Any]]], str], ...] = (
    ([[("a", [1.0, 0.0], 0), ("a", [1.0, 0.0], 0)]], "line 2: the id 'a' is there twice"),
    ([[("a", [1.0, 0.0], 0)], [("a", [1.0, 0.0, 0.0], 0)]], "'a' has 3 logits, those before it have 2"),
    ([[("a", [1.0, 0.0], 2)]], "'gold' is 2; expected a label's index, 0 to 1"),
    ([[("a", [1.0, 0.0], -1)]], "'gold' is -1"),
    ([[("a", [1.0, 0.0], True)]], "'gold' is True"),
    ([[("a", [1.0, 0.0], 0)], [("a", [1.0, 0.0], 1)]], "gold label 1, in an earlier epoch 0"),
    ([[("a", [1.0], 0)]], "expected a list of numbers, one per label, at least two"),
    ([[("a", "1.0 0.0", 0)]], "expected a list of numbers"),
    ([[("a", [1.0, "x"], 0)]], "expected a list of numbers"),
    ([[("a", [1.0, 10**400], 0)]], "a number beyond reading"),
    ([[(None, [1.0, 0.0], 0)]], "'guid' is None; expected a text or a number"),
)


@pytest.mark.parametrize(("epochs", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_line_is_named(tmp_path: Path, epochs: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_cartography(write_epochs(tmp_path, epochs))
    assert message in str(caught.value)
    assert "dynamics_epoch_" in str(caught.value)


def test_a_key_of_another_epoch_is_named(tmp_path: Path) -> None:
    place = write_epochs(tmp_path) / "training_dynamics"
    (place / "dynamics_epoch_1.jsonl").write_text((place / "dynamics_epoch_0.jsonl").read_text())
    with pytest.raises(
        DataError, match=r"line 1: there is no field 'logits_epoch_1'; it has: guid, logits_epoch_0"
    ):
        read_cartography(tmp_path)


def test_a_missing_folder_file_or_epoch_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        read_cartography(tmp_path / "none")
    with pytest.raises(DataError, match=r"holds no dynamics_epoch_0\.jsonl"):
        read_cartography(tmp_path)
    write_epochs(tmp_path)
    (tmp_path / "training_dynamics" / "dynamics_epoch_1.jsonl").unlink()
    with pytest.raises(DataError, match=r"has dynamics_epoch_2\.jsonl but no dynamics_epoch_1\.jsonl"):
        read_cartography(tmp_path)


def test_labels_that_do_not_fit_are_named(tmp_path: Path) -> None:
    write_epochs(tmp_path)
    with pytest.raises(DataError, match="expected 3 different names"):
        read_cartography(tmp_path, labels=("yes", "no"))
    table = tmp_path / "answers.jsonl"
    table.write_text('{"id": "10", "label_count": {"entailment": 3, "neutral": 2}}\n')
    with pytest.raises(
        DataError, match=r"have the label 'entailment', the curves have 0, 1, 2; give the names"
    ):
        read_cartography(tmp_path, annotations=read_annotations(table))
    table.write_text('{"id": "x", "label_count": {"0": 3, "1": 2}}\n')
    with pytest.raises(DataError, match=r"none of the 3 examples \(e\.g\. '10'\) has annotations"):
        read_cartography(tmp_path, annotations=read_annotations(table))


def test_published_annotations_are_read_as_everywhere(tmp_path: Path) -> None:
    """A ChaosNLI file: its own form, texts and names of labels."""
    table = tmp_path / "chaosNLI_snli.jsonl"
    row = {
        "uid": "10", "label_counter": {"e": 60, "n": 40}, "label_count": [60, 40, 0], "majority_label": "e",
        "label_dist": [0.6, 0.4, 0.0], "entropy": 0.97, "old_label": "n", "old_labels": ["n"] * 5,
        "example": {"uid": "10", "premise": "a dog runs", "hypothesis": "it moves", "source": "snli_agree_3"},
    }  # fmt: skip
    table.write_text(json.dumps(row) + "\n")
    curves = read_cartography(
        write_epochs(tmp_path), annotations=read_annotations(table), labels=NAMES
    ).curves
    assert curves.counts[0].tolist() == [60, 40, 0]
    assert curves.text[0] == {"premise": "a dog runs", "hypothesis": "it moves"}
    assert curves.text[1] == {"premise": "", "hypothesis": ""}


def test_annotations_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    table = tmp_path / "answers.jsonl"
    with pytest.raises(DataError, match="does not exist"):
        read_annotations(table)
    table.write_text('{"id": "10", "colour": "red"}\n')
    with pytest.raises(DataError, match="no column for the text has a name that is known"):
        read_annotations(table)
    table.write_text(
        '{"id": "10", "label_count": {"0": 3, "1": 2}}\n{"id": "20", "label_count": {"0": "many"}}\n'
    )
    with pytest.raises(DataError, match=r"answers\.jsonl, line 2: counts of '0' is 'many'"):
        read_annotations(table)
