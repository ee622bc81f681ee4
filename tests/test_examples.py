"""Every script under `examples/` runs to its end on a tiny model, as a user would start it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dissensus import load_curves
from processes import PATIENCE

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CLASSIFIERS = {  # script -> (further arguments, the package that it is about)
    "plain_loop.py": ((), "transformers"),
    "accelerate_loop.py": (("--bf16",), "accelerate"),
    "lightning_fit.py": ((), "lightning"),
    "transformers_trainer.py": ((), "datasets"),
}


@pytest.mark.parametrize("script", CLASSIFIERS)
def test_an_example_records_whole_curves(script: str, tiny_encoder_dir: Path, tmp_path: Path) -> None:
    more, package = CLASSIFIERS[script]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    said = run(
        script, "--model", str(tiny_encoder_dir), "--out", "run", "--steps", "7", *more, folder=tmp_path
    )
    curves = load_curves(tmp_path / "run")  # which refuses a store that is not complete
    assert curves.steps.tolist() == [0, 1, 3, 4, 6, 7]
    assert np.isfinite(curves.losses).all()
    assert np.ptp(curves.losses[:, -1] - curves.losses[:, 0]) > 1e-4
    assert "steps [0, 1, 3, 4, 6, 7]" in said


def test_the_plain_loop_takes_several_epochs(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    run(
        "plain_loop.py", "--model", str(tiny_encoder_dir), "--out", "run", "--steps", "5", "--epochs", "2",
        folder=tmp_path,
    )  # fmt: skip
    assert load_curves(tmp_path / "run").steps.tolist() == [0, 2, 4, 6, 8, 10]


def test_accelerate_logs_aggregates_to_its_tracker(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(
        "accelerate_loop.py", "--model", str(tiny_encoder_dir), "--out", "run", "--steps", "7",
        "--tracker", "tensorboard", folder=tmp_path,
    )  # fmt: skip
    (file,) = tmp_path.rglob("events.out.tfevents*")
    events = accumulator.EventAccumulator(str(file.parent))
    events.Reload()
    logged = [event.step for event in events.Scalars("dissensus/contested_loss")]
    assert logged == [0, 1, 3, 4, 6, 7]


def run(script: str, *arguments: str, folder: Path) -> str:
    # Without accelerators, so that a busy GPU or an odd one changes nothing.
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]
    return done.stdout
