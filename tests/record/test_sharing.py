"""Two real processes write each tracking point together, where they see one folder; else the first one writes alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dissensus import load_curves

PROGRAM = """
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from dissensus import CurveRecorder
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.data.sources.simulated import load
from dissensus.store import files, parts
from transformers import AutoModelForSequenceClassification, AutoTokenizer

rank, folder, encoder = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
files.ROW_GROUP = parts.ROW_GROUP = 8
parts.SPLIT_FROM, parts.PATIENCE = 1, 30.0
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
tracked = load(SimulatedSource(size=23))
tokenizer = AutoTokenizer.from_pretrained(encoder)
for name in ("one", "two"):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=3)
    path = folder / name if name == "one" or rank == 0 else folder / "of-the-second"
    recorder = CurveRecorder(path, tracked, tokenizer=tokenizer, total_steps=2, points=3)
    for step in range(3):
        recorder.step(model, step)
        if name == "one" and step == 1:  # back to a checkpoint, and on again
            recorder.rewind(0)
            recorder.step(model, 1)
        with torch.no_grad():
            model.classifier.weight.mul_(30)
    recorder.finish()
dist.destroy_process_group()
"""


@pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this torch has no gloo",
)
def test_processes_that_see_one_folder_write_together(tmp_path: Path, tiny_encoder_dir: Path) -> None:
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path), str(tiny_encoder_dir)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    for process in running:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said[-4000:]
    names = {name: sorted(p.name for p in (tmp_path / name / "curves").iterdir()) for name in ("one", "two")}
    assert names["one"] == [f"step-{s:08d}.part-{p:02d}-of-02.parquet" for s in range(3) for p in (0, 1)]
    assert names["two"] == [f"step-{s:08d}.parquet" for s in range(3)]
    assert not (tmp_path / "of-the-second").exists()
    together, alone = load_curves(tmp_path / "one"), load_curves(tmp_path / "two")
    np.testing.assert_array_equal(together.log_probs, alone.log_probs)
    assert np.abs(np.diff(together.losses, axis=1)).max() > 1e-3
