"""Notes of a study's cells, once for each data set and model, whatever state their folders are in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dissensus.config import RunSpec
from dissensus.study.notes import Remark, remarks


def cell(out: Path, name: str, provenance: Any, *, dataset: str = "d", seed: int = 0) -> str:
    spec = RunSpec.parse(
        {
            "dataset": {"name": dataset, "tracked": {"source": "simulated"}},
            "model": {"name": "m"},
            "method": {"name": "full", "learning_rate": 1e-4},
            "regime": "trained_on",
            "seed": seed,
        },
        "test",
    )
    folder = out / "cells" / name
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(spec.model_dump_json())
    (folder / "manifest.json").write_text(json.dumps({"provenance": provenance}))
    return name


def test_each_note_is_there_once_for_its_data_set_or_model(tmp_path: Path) -> None:
    names = [
        cell(tmp_path, "one", {"data_notes": ["a", "b"], "model_notes": ["stripped"]}),
        cell(tmp_path, "two", {"data_notes": ["a", "c"]}, seed=1),
        cell(tmp_path, "three", {"data_notes": ["a"]}, dataset="e"),
        cell(tmp_path, "old", {}, seed=2),  # made before there were notes
        cell(tmp_path, "odd", {"data_notes": 3}, seed=3),
        "never-started",
    ]
    (tmp_path / "cells" / "odd" / "spec.json").write_text("{")
    assert remarks(tmp_path, names) == (
        Remark("data set d", ("a", "b", "c")),
        Remark("data set e", ("a",)),
        Remark("model m", ("stripped",)),
    )
    assert remarks(tmp_path, []) == ()
