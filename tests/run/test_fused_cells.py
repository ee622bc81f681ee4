"""Cells trained in one pass against the same cells alone: whole studies, killed, resumed, refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.config import RunSpec, StudySpec
from dissensus.errors import StoreError
from dissensus.run.cell import CellProgress, run_cell
from dissensus.run.fused_cells import run_cells
from dissensus.run.runner import run_study
from dissensus.store import load_curves
from dissensus.study.grid import expand
from tiny import make_tiny

ALONE = ("status.json", "log.txt")


def study(folder: Path, **more: Any) -> StudySpec:
    return StudySpec.parse(
        {
            "name": "fused",
            "models": [{"name": str(folder), "max_length": 48}],
            "datasets": [
                {
                    "name": "panel",
                    "tracked": {"source": "simulated", "size": 40, "annotators": 20},
                    "train": {"source": "simulated", "size": 120, "split": "train", "annotators": 5},
                    "train_size": 96,
                }
            ],
            "methods": [
                {"name": "lora", "rank": 2, "learning_rate": 1e-2},
                {"name": "lora", "rank": 5, "alpha": 3.0, "learning_rate": 3e-3},
            ],
            "regimes": ["held_out"],
            "seeds": [0, 1],
            "training": {"batch_size": 16, "epochs": 2, "gradient_accumulation_steps": 2},
            "tracking": {"points": 5},
        }
        | more,
        "test",
    )


def assert_same(alone: Path, fused: Path) -> float:
    """The two folders hold the same files, with the same numbers up to rounding; the largest difference."""
    names = [
        sorted(str(p.relative_to(f)) for p in f.rglob("*") if p.is_file() and p.name not in ALONE)
        for f in (alone, fused)
    ]
    assert names[0] == names[1]
    for name in ("spec.json", "examples.parquet"):
        assert (alone / name).read_bytes() == (fused / name).read_bytes()
    one, other = load_curves(alone), load_curves(fused)
    assert one.steps.tolist() == other.steps.tolist()
    assert one.provenance == other.provenance
    difference = float(np.abs(one.log_probs - other.log_probs).max())
    assert difference < 1e-5
    return difference


@pytest.fixture(scope="module")
def alone(tiny_encoder_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[RunSpec, Path]:
    """The study's cells, each run by itself."""
    root = tmp_path_factory.mktemp("alone")
    found = {cell: root / cell.cell_id for cell in expand(study(tiny_encoder_dir))}
    for cell, folder in found.items():
        run_cell(cell, folder, threads=1, device="cpu")
    return found


def test_a_fused_study_leaves_what_its_cells_leave_alone(
    tiny_encoder_dir: Path, alone: dict[RunSpec, Path], tmp_path: Path
) -> None:
    spec = study(tiny_encoder_dir)
    wild = {"name": "lora", "rank": 2, "learning_rate": 1e30, "tag": "wild"}
    spec = study(tiny_encoder_dir, methods=[wild, *(m.model_dump() for m in spec.methods)])
    result = run_study(spec, tmp_path, fuse=16, workers=1, threads=1, device="cpu")
    assert len({cell.pid for cell in result.cells}) == 1
    assert [cell.state for cell in result.cells] == ["failed", "done", "done"] * 2
    assert all("Lower the learning rate (now 1e+30)" in cell.error for cell in result.failures)
    assert [cell.cell for cell in result.cells if cell.state == "done"] == [c.cell_id for c in alone]
    for cell, folder in alone.items():
        assert_same(folder, tmp_path / "cells" / cell.cell_id)
    steps = [(c.step, c.total_steps, c.tracking_points_done) for c in result.cells if c.state == "done"]
    assert steps == [(12, 12, 5)] * 4


def test_one_worker_after_another_cell_leaves_the_same_bytes(
    tiny_encoder_dir: Path, alone: dict[RunSpec, Path], tmp_path: Path
) -> None:
    """One process runs all cells in turn, and later cells take the states of step 0 from the first."""
    result = run_study(study(tiny_encoder_dir), tmp_path, fuse=1, workers=1, threads=1, device="cpu")
    assert len({cell.pid for cell in result.cells}) == 1
    assert len(list((tmp_path / "shared").iterdir())) == 1
    for cell, folder in alone.items():
        shards = sorted((folder / "curves").iterdir())
        assert shards
        for shard in shards:
            other = tmp_path / "cells" / cell.cell_id / "curves" / shard.name
            assert shard.read_bytes() == other.read_bytes()


def test_kill_nine_then_again_goes_on_and_ends_the_same(alone: dict[RunSpec, Path], tmp_path: Path) -> None:
    folders = {cell: tmp_path / cell.cell_id for cell in alone}
    script = """
import json, sys, time
from pathlib import Path
from dissensus.config import RunSpec
from dissensus.run.fused_cells import run_cells
from dissensus.train import loop
loop.CHECKPOINT_SECONDS = -1.0
def wait(place, progress):
    if place == 2 and progress.step == 7:
        print("here", flush=True)
        time.sleep(600)
cells = [(RunSpec.parse(json.loads(s), "t"), Path(f)) for s, f in json.loads(sys.stdin.read())]
run_cells(cells, threads=1, device="cpu", on_progress=wait, on_end=lambda *_: None)
"""
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    child.stdin.write(json.dumps([(cell.model_dump_json(), str(f)) for cell, f in folders.items()]))
    child.stdin.close()
    assert child.stdout.readline() == "here\n"
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()
    # One cell starts anew: the four then stand at different steps.
    cells = list(folders.items())
    (cells[0][1] / "checkpoint" / "state.safetensors").unlink()
    first: dict[int, CellProgress] = {}
    ended: list[tuple[int, Exception | None]] = []
    taken: list[tuple[int, int]] = []

    def watch(place: int, progress: CellProgress) -> None:
        first.setdefault(place, progress)
        if progress.phase == "training" and progress.loss == progress.loss:  # a step was just taken
            taken.append((place, progress.step))

    run_cells(
        cells,
        threads=1,
        device="cpu",
        on_progress=watch,
        on_end=lambda place, error: ended.append((place, error)),
    )
    assert ended == [(1, None), (2, None), (3, None), (0, None)]
    assert [step for place, step in taken if place == 0] == list(range(1, 13))
    assert [step for place, step in taken if place == 1] == list(range(7, 13))
    for cell, folder in alone.items():
        assert_same(folder, folders[cell])


def test_a_cell_that_is_refused_or_done_keeps_no_other_from_running(
    alone: dict[RunSpec, Path], tmp_path: Path
) -> None:
    done, other, fresh, _ = alone
    at = alone[done]
    before = {p: p.stat().st_mtime_ns for p in at.rglob("*")}
    cells = [(done, at), (other, at), (fresh, tmp_path / "fresh")]
    ended: dict[int, Exception | None] = {}
    run_cells(cells, threads=1, device="cpu", on_progress=lambda *_: None, on_end=ended.__setitem__)
    assert list(ended) == [0, 1, 2]
    assert (ended[0], ended[2]) == (None, None)
    assert isinstance(ended[1], StoreError)
    assert {p: p.stat().st_mtime_ns for p in at.rglob("*")} == before
    assert_same(alone[fresh], tmp_path / "fresh")


def test_the_cells_of_a_job_hold_one_frozen_model(
    tiny_encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dissensus.train import fused

    opened: list[Any] = []

    def look(runs: Any) -> Iterator[Any]:
        opened.extend(run.model.body.embeddings.word_embeddings.weight.data_ptr() for run in runs)
        return iter(())

    monkeypatch.setattr(fused, "train_fused", look)
    cells = [(cell, tmp_path / cell.cell_id) for cell in expand(study(tiny_encoder_dir))]
    run_cells(cells, threads=1, device="cpu", on_progress=lambda *_: None, on_end=lambda *_: None)
    assert len(opened) == 4
    assert len(set(opened)) == 1


def test_an_architecture_that_reads_no_packed_rows_is_run_cell_by_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_tiny("deberta-v2", tmp_path / "deberta")
    cells = [(cell, tmp_path / cell.cell_id) for cell in expand(study(folder, seeds=[0]))]
    ended: dict[int, Exception | None] = {}
    run_cells(cells, threads=1, device="cpu", on_progress=lambda *_: None, on_end=ended.__setitem__)
    assert ended == {0: None, 1: None}
    assert all(len(load_curves(at)) == 40 for _, at in cells)
    assert capsys.readouterr().err.count("is trained alone: its architecture does not read packed rows") == 2
