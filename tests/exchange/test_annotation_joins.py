"""Annotations joined to another tool's curves: ids spelt otherwise, labels in another order, notes that travel on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError
from dissensus.exchange import read_annotations, read_cartography, write_store
from dissensus.exchange.annotations import answers_for
from dissensus.store import load_curves
from exchange.recorded import write_epochs

LABELS = ("no", "maybe", "yes")


def annotated(golds: list[str], ids: list[str] | None = None) -> AnnotatedDataset:
    records = [
        {"id": ids[k] if ids else str(k), "text": f"t {k}", "counts": {gold: 2, "maybe": 1}}
        for k, gold in enumerate(golds)
    ]
    return AnnotatedDataset.from_records(records, labels=LABELS, text=["text"], gold=None, name="mine")


def test_ids_that_are_spelt_otherwise_are_joined_and_said() -> None:
    data = annotated(["no", "yes"], ["7.0", "B"])
    answers = answers_for(data, ["007", "b"], LABELS, np.array([0, 2]))
    assert answers.counts.tolist() == [[2, 1, 0], [0, 1, 2]]
    assert any(
        "2 ids are spelt otherwise in the annotations" in note and "'007' with '7.0'" in note
        for note in answers.notes
    )


def test_labels_in_another_order_are_refused_with_the_order_that_fits() -> None:
    # The curves call their outputs no, maybe, yes; the model's were maybe, yes, no. So gold no stands at 2, maybe at 0.
    names = ["no", "maybe", "yes", "no", "yes", "maybe", "no", "yes"]
    gold = np.array([{"no": 2, "maybe": 0, "yes": 1}[name] for name in names])
    ids = [str(k) for k in range(len(names))]
    with pytest.raises(DataError, match=r"8 of 8 gold labels .* `--labels maybe,yes,no`") as refusal:
        answers_for(annotated(names), ids, LABELS, gold)
    assert "labels=['maybe', 'yes', 'no']" in str(refusal.value)
    # With that order, everything agrees.
    answers = answers_for(annotated(names), ids, ("maybe", "yes", "no"), gold)
    assert not any("another gold label" in note for note in answers.notes)


def test_gold_labels_that_fit_in_no_order_are_a_note() -> None:
    names = ["no", "maybe", "yes", "no", "maybe", "yes", "no", "maybe", "yes"]
    gold = np.array([1, 2, 0, 2, 0, 1, 0, 1, 2])  # each label as often with each
    answers = answers_for(annotated(names), [str(k) for k in range(9)], LABELS, gold)
    assert any("6 of 9 examples have another gold label" in note for note in answers.notes)


def test_notes_of_the_annotations_reach_the_store(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    rows = [{"id": str(i), "annotations": ["0", "NA", str(i % 3)]} for i in (10, 20, 30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    imported = read_cartography(write_epochs(tmp_path), annotations=read_annotations(path))
    stored = load_curves(write_store(imported.curves, tmp_path / "store"))
    assert any("read as no answer: 'NA' (3)" in note for note in stored.provenance["data_notes"])
    assert set(stored.provenance["data_notes"]) <= set(imported.notes)


def test_annotations_one_a_row_without_texts(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("item_id,annotator,label\na,A,0\na,B,1\nb,A,1\nb,B,1\n")
    data = read_annotations(path)
    assert data.ids == ("a", "b")
    assert data.counts.tolist() == [[1, 1], [0, 2]]
