"""One cell, whole: the simulated panel, a tiny model, a curves store; killed, resumed, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dissensus.config import RunSpec
from dissensus.errors import StoreError
from dissensus.run.cell import CellProgress, run_cell
from dissensus.store import load_curves
from dissensus.study.grid import expand
from run.engines.studies import fake_study

Finished = tuple[RunSpec, Path, list[CellProgress]]


def spec(folder: Path, **changes: Any) -> RunSpec:
    base: dict[str, Any] = {
        "dataset": {
            "name": "panel",
            "tracked": {"source": "simulated", "size": 40, "annotators": 20},
            "train": {"source": "simulated", "size": 96, "split": "train", "annotators": 5},
        },
        "model": {"name": str(folder), "max_length": 48},
        "method": {"name": "lora", "rank": 2, "learning_rate": 1e-3},
        "regime": "held_out",
        "training": {"batch_size": 16, "epochs": 2},
        "tracking": {"points": 5},
    }
    return RunSpec.parse({**base, **changes}, "test")


@pytest.fixture(scope="module")
def finished(tiny_encoder_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    cell, folder, seen = spec(tiny_encoder_dir), tmp_path_factory.mktemp("study") / "cell", []
    run_cell(cell, folder, on_progress=seen.append)
    return cell, folder, seen


def test_a_cell_leaves_a_complete_store(finished: Finished) -> None:
    cell, folder, seen = finished
    curves = load_curves(folder)
    assert curves.steps.tolist() == [0, 3, 6, 9, 12]  # 96 / 16 = 6 steps per epoch
    assert len(curves) == 40
    assert set(curves.regime) == {"held_out"}
    np.testing.assert_allclose(np.exp(curves.log_probs).sum(axis=2), 1.0, atol=1e-5)
    assert set(curves.covariates) == {"token_count", "lexical_overlap"}
    assert RunSpec.parse(json.loads((folder / "spec.json").read_text()), "t") == cell
    assert not (folder / "checkpoint").exists()
    assert seen[0].step == 0
    assert (seen[-1].step, seen[-1].tracking_points_done) == (12, 5)
    assert curves.provenance["train_examples"] == 96
    assert len(curves.provenance["model_fingerprint"]) == 64


def test_a_finished_cell_is_left_as_it_is(finished: Finished) -> None:
    cell, folder, _ = finished
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    run_cell(cell, folder)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_another_specification_in_the_folder_is_an_error_that_shows_the_difference(
    finished: Finished, tiny_encoder_dir: Path
) -> None:
    _, folder, _ = finished
    with pytest.raises(StoreError) as caught:
        run_cell(spec(tiny_encoder_dir, seed=1), folder)
    assert '-"seed": 0' in str(caught.value).replace("- ", "-")
    assert '+"seed": 1' in str(caught.value).replace("+ ", "+")


def test_cells_of_one_seed_start_alike_whatever_the_method(
    finished: Finished, tiny_encoder_dir: Path, tmp_path: Path
) -> None:
    starts = [load_curves(finished[1]).log_probs[:, 0]]
    for name, method in (
        ("full", {"name": "full"}),
        ("ia3", {"name": "ia3"}),
        ("r4", {"name": "lora", "rank": 4}),
    ):
        run_cell(spec(tiny_encoder_dir, method={**method, "learning_rate": 1e-3}), tmp_path / name)
        starts.append(load_curves(tmp_path / name).log_probs[:, 0])
        assert not np.array_equal(starts[0], load_curves(tmp_path / name).log_probs[:, -1])
    for other in starts[1:]:
        np.testing.assert_allclose(other, starts[0], atol=1e-6)
    run_cell(spec(tiny_encoder_dir, seed=1), tmp_path / "seed1")
    assert np.abs(load_curves(tmp_path / "seed1").log_probs[:, 0] - starts[0]).max() > 1e-3


def test_trained_on_and_noise_are_recorded(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    training = {"batch_size": 16, "epochs": 1, "noise": {"kind": "uniform", "rate": 0.25}}
    run_cell(spec(tiny_encoder_dir, regime="trained_on", training=training), tmp_path)
    curves = load_curves(tmp_path)
    assert set(curves.regime) == {"trained_on"}
    assert curves.provenance["train_examples"] == 136
    assert curves.provenance["flipped_labels"] == 34  # a quarter of 136
    mask = pq.read_table(tmp_path / "noise.parquet")
    assert sum(mask["flipped"].to_pylist()) == 34


def test_a_decoder_with_a_verbalizer_runs(tiny_decoder_dir: Path, tmp_path: Path) -> None:
    model = {"name": str(tiny_decoder_dir), "head": "verbalizer", "max_length": 120}
    model["label_words"] = ["dog", "bird", "no"]
    run_cell(spec(tiny_decoder_dir, model=model), tmp_path)
    assert len(load_curves(tmp_path)) == 40


def test_kill_nine_then_again_is_bit_identical(finished: Finished, tmp_path: Path) -> None:
    cell, whole, _ = finished
    script = f"""
import json, time
from pathlib import Path
from dissensus.config import Execution, RunSpec
from dissensus.run.cell import run_cell
import torch
torch.set_num_threads({_threads()})
def wait(progress):
    if progress.step == 7:
        print("here", flush=True)
        time.sleep(600)
spec = RunSpec.parse(json.loads({json.dumps(cell.model_dump_json())}), "t")
often = Execution(checkpoint_seconds=0)  # at every tracking point
run_cell(spec, Path({str(tmp_path)!r}), on_progress=wait, execution=often)
"""
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    assert load_curves(tmp_path, partial=True).steps.tolist() == [0, 3, 6]
    assert (tmp_path / "checkpoint" / "state.safetensors").exists()
    begun = time.time()
    run_cell(cell, tmp_path)
    rewritten = {p.name for p in (tmp_path / "curves").iterdir() if p.stat().st_mtime > begun}
    assert rewritten == {"step-00000009.parquet", "step-00000012.parquet"}  # it did resume, not begin again
    for shard in (whole / "curves").iterdir():
        assert shard.read_bytes() == (tmp_path / "curves" / shard.name).read_bytes()
    assert (whole / "examples.parquet").read_bytes() == (tmp_path / "examples.parquet").read_bytes()


def test_changed_data_or_weights_are_noticed(finished: Finished, tmp_path: Path) -> None:
    cell, whole, _ = finished
    manifest = json.loads((whole / "manifest.json").read_text())
    for key in ("train_fingerprint", "model_fingerprint"):
        folder = tmp_path / key
        (folder / "curves").mkdir(parents=True)
        for name in ("spec.json", "examples.parquet"):
            (folder / name).write_bytes((whole / name).read_bytes())
        changed = {
            **manifest,
            "complete": False,
            "shards": [],
            "provenance": {**manifest["provenance"], key: "other"},
        }
        (folder / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(StoreError, match=key.replace("_", " ")):
            run_cell(cell, folder)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def test_a_cell_says_what_it_does_now(tmp_path: Path, tiny_encoder_dir: Path) -> None:
    """Phases in their order; measuring is said before each point, and numbers come with the first step."""
    told: list[CellProgress] = []
    study = fake_study(
        str(tiny_encoder_dir),
        datasets=[{"name": "sim", "tracked": {"source": "simulated", "size": 16}}],
        training={"batch_size": 8},
        tracking={"points": 3},
    )
    run_cell(expand(study)[0], tmp_path / "cell", threads=1, device="cpu", on_progress=told.append)
    phases = [progress.phase for progress in told]
    assert [p for n, p in enumerate(phases) if phases[n - 1 : n] != [p]] == [
        "loading data",
        "loading model",
        "encoding texts",
        *(["training", "measuring"] * 3),
        "training",
        "saving",
    ]
    measuring = [(p.tracking_points_done, p.step) for p in told if p.phase == "measuring"]
    assert measuring == [(0, 0), (1, 1), (2, 2)]
    assert {p.total_steps for p in told[:3]} == {0}
