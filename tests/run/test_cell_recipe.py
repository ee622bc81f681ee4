"""A cell with the paper's settings: what is held back, whose labels are flipped, what is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dissensus.config import RunSpec
from dissensus.data.assembly import assemble
from dissensus.errors import DataError, StoreError
from dissensus.run.cell import CellProgress, run_cell
from dissensus.seeds import stream_seed
from dissensus.store import load_curves
from dissensus.store.gradients import GRADIENTS
from dissensus.store.validation import VALIDATION, ValidationScores, load_validation, save_validation


def spec(folder: Path, **changes: Any) -> RunSpec:
    base: dict[str, Any] = {
        "dataset": {
            "name": "panel",
            "tracked": {"source": "simulated", "size": 60, "annotators": 20},
            "train": {"source": "simulated", "size": 60, "split": "train", "annotators": 5},
            "entropy_cuts": {"low": 0.6, "high": 1.1},
            "holdout": {"share": 0.2, "seed": 1},
        },
        "model": {"name": str(folder), "max_length": 48},
        "method": {"name": "lora", "rank": 2, "learning_rate": 1e-3},
        "regime": "trained_on",
        "training": {"batch_size": 12, "epochs": 2, "class_weights": "inverse", "warmup_from": "zero"},
        "tracking": {"every": 4, "epoch_ends": True},
    }
    for key, value in changes.items():
        base[key] = {**base[key], **value}
    return RunSpec.parse(base, "test")


def test_what_is_held_back_is_scored_at_epoch_ends(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    run_cell(spec(tiny_encoder_dir), tmp_path)
    curves, validation = load_curves(tmp_path), load_validation(tmp_path / VALIDATION)
    assert curves.steps.tolist() == [0, 4, 8, 9, 12, 16, 18]  # 48 + 60 examples: 9 steps per epoch
    assert validation.steps == (0, 9, 18)
    assert len(validation.ids) == 12
    assert not set(validation.ids) & set(curves.ids)
    np.testing.assert_allclose(np.exp(validation.log_probs).sum(axis=2), 1.0, atol=1e-5)
    picked = validation.log_probs.argmax(axis=2)
    right = [float(np.mean(picked[:, t] == validation.gold)) for t in range(3)]
    assert validation.accuracy().tolist() == right
    loss = [
        -np.mean([validation.log_probs[i, t, g] for i, g in enumerate(validation.gold)]) for t in range(3)
    ]
    np.testing.assert_allclose(validation.loss(), loss, rtol=1e-6)
    only_first = np.array([1.0, 0.0, 0.0])
    rows = np.flatnonzero(validation.gold == 0)
    np.testing.assert_allclose(
        validation.loss(only_first), -validation.log_probs[rows, :, 0].mean(axis=0), rtol=1e-6
    )


def test_validation_scores_go_on_where_a_run_was_cut_off(
    tiny_encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dissensus.train.loop.CHECKPOINT_SECONDS", -1.0)  # at every tracking point
    cell = spec(tiny_encoder_dir)
    run_cell(cell, tmp_path / "whole")

    class CutOffError(Exception):
        pass

    def cut(progress: CellProgress) -> None:
        if progress.step == 11:
            raise CutOffError

    with pytest.raises(CutOffError):
        run_cell(cell, tmp_path / "cut", on_progress=cut)
    assert load_validation(tmp_path / "cut" / VALIDATION).steps == (0, 9)
    run_cell(cell, tmp_path / "cut")
    for name in (VALIDATION, "curves/step-00000018.parquet"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_a_resumed_run_cannot_measure_again_is_said(
    tiny_encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dissensus.train.loop.CHECKPOINT_SECONDS", -1.0)  # at every tracking point
    cell = spec(tiny_encoder_dir, tracking={"gradients": {"every": 9}})

    class CutOffError(Exception):
        pass

    def cut(progress: CellProgress) -> None:
        if progress.step == 11:
            raise CutOffError

    with pytest.raises(CutOffError):
        run_cell(cell, tmp_path, on_progress=cut)
    path = tmp_path / VALIDATION
    scores = load_validation(path)
    other = ValidationScores(
        tuple(f"other-{i}" for i in scores.ids), scores.gold, scores.steps, scores.log_probs
    )
    save_validation(path, other)
    with pytest.raises(
        StoreError, match="holds the scores of other examples than those that are held back now"
    ):
        run_cell(cell, tmp_path)
    path.unlink()
    (tmp_path / GRADIENTS).unlink()
    run_cell(cell, tmp_path)
    # The checkpoint is that of step 9, whose weights are there: only step 0 is lost.
    said = [
        record.getMessage() for record in caplog.records if "where the run resumes" in record.getMessage()
    ]
    assert [Path(line.split(" lacks step 0, before step 9")[0]).name for line in said] == [
        VALIDATION,
        GRADIENTS,
    ]
    assert load_validation(path).steps == (9, 18)


def test_labels_of_settled_tracked_examples_alone_are_flipped(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    noise = {"kind": "uniform", "rate": 0.5, "among": "settled"}
    cell = spec(tiny_encoder_dir, training={"noise": noise, "epochs": 0.2})
    run_cell(cell, tmp_path)
    data = assemble(cell.dataset, cell.regime, sample_seed=stream_seed(cell.seed, "sample"))
    assert data.classes is not None
    settled = {i for i, group in zip(data.tracked.ids, data.classes, strict=True) if group == "settled"}
    mask = pq.read_table(tmp_path / "noise.parquet").to_pylist()
    flipped = {row["id"] for row in mask if row["flipped"]}
    assert flipped < settled
    assert len(flipped) == round(len(settled) / 2)
    curves = load_curves(tmp_path)
    assert dict(zip(curves.ids, curves.gold, strict=True)) == {e.id: e.gold for e in data.tracked}


def test_annotators_shares_are_learned_instead_of_gold(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    training = {"epochs": 80, "class_weights": "none", "decay": "constant"}
    method = {"name": "full", "rank": None, "learning_rate": 1e-3}
    dataset = {"train": None, "tracked": {"source": "simulated", "size": 30, "annotators": 20}}
    dropout = {"dropout": 0.0}
    ends = {}
    for targets in ("gold", "annotators"):
        asked = {**training, "targets": targets}
        cell = spec(tiny_encoder_dir, dataset=dataset, model=dropout, method=method, training=asked)
        run_cell(cell, tmp_path / targets)
        curves = load_curves(tmp_path / targets)
        shares = curves.counts / curves.counts.sum(axis=1, keepdims=True)
        ends[targets] = -(shares * curves.log_probs[:, -1]).sum(axis=1).mean()
    assert ends["annotators"] < ends["gold"] - 0.1


def test_shares_cannot_be_learned_without_annotations(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.csv"
    bare.write_text("id,text,gold\n" + "".join(f"{i},word {i},{'ab'[i % 2]}\n" for i in range(12)))
    tracked = {
        "source": "table",
        "path": str(bare),
        "id": "id",
        "text": ["text"],
        "gold": "gold",
        "labels": ["a", "b"],
    }
    dataset = {"tracked": tracked, "train": None, "holdout": None, "entropy_cuts": None}
    cell = spec(tiny_encoder_dir, dataset=dataset, training={"targets": "annotators"})
    with pytest.raises(DataError, match="12 tracked example\\(s\\) have no annotations"):
        run_cell(cell, tmp_path / "cell")


def test_damaged_validation_scores_are_named(tmp_path: Path) -> None:
    (tmp_path / VALIDATION).write_bytes(b"no table")
    with pytest.raises(StoreError, match="cannot read the validation scores"):
        load_validation(tmp_path / VALIDATION)
