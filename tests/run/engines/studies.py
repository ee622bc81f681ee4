"""Studies for the engines' tests: real cells on tiny models, and stand-ins of `fake_cell.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dissensus.config import StudySpec
from dissensus.store import load_curves
from dissensus.study.grid import expand


def eight_cells(model: Path, **more: Any) -> StudySpec:
    """2 methods x 2 regimes x 2 seeds, each some seconds long, with a checkpoint at each tracking point."""
    return StudySpec.parse(
        {
            "name": "eight",
            "models": [{"name": str(model), "max_length": 48}],
            "datasets": [
                {
                    "name": "panel",
                    "tracked": {"source": "simulated", "size": 60, "annotators": 20},
                    "train": {"source": "simulated", "size": 600, "split": "train", "annotators": 5},
                }
            ],
            "methods": [
                {"name": "lora", "rank": 2, "learning_rate": 1e-3},
                {"name": "full", "learning_rate": 1e-4},
            ],
            "regimes": ["held_out", "trained_on"],
            "seeds": [0, 1],
            "training": {"batch_size": 8, "epochs": 2},
            "tracking": {"points": 7},
            "execution": [{"set": {"cpus": 1, "memory_gib": 0.75, "checkpoint_seconds": 0}}],
        }
        | more,
        "test",
    )


def fake_study(*models: str, **more: Any) -> StudySpec:
    """A cell a model's name, which says how the cell behaves; see `fake_cell.py`."""
    return StudySpec.parse(
        {
            "name": "fake",
            "models": [{"name": model} for model in models],
            "datasets": [{"name": "sim", "tracked": {"source": "simulated"}}],
            "methods": [{"name": "full", "learning_rate": 1e-4}],
            "regimes": ["trained_on"],
        }
        | more,
        "test",
    )


def same_curves(study: StudySpec, one: Path, other: Path) -> None:
    """Assert that two folders of a study hold the same numbers, bit for bit."""
    for cell in expand(study):
        a, b = (load_curves(out / "cells" / cell.cell_id) for out in (one, other))
        assert a.ids == b.ids
        assert a.steps.tolist() == b.steps.tolist()
        np.testing.assert_array_equal(a.log_probs, b.log_probs)


def parent_of(pid: int) -> int:
    """The process that started another one."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("PPid:"))
