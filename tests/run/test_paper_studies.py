"""The paper's studies, whole, on tiny models: each condition, variant and table, with its own settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dissensus.analysis.tables import analyze
from dissensus.config import StudySpec
from dissensus.run.cell import run_cell
from dissensus.store.gradients import GRADIENTS
from dissensus.store.validation import VALIDATION, load_validation
from dissensus.study.builtin import load_study
from dissensus.study.grid import expand
from tiny import make_tiny

ARCHITECTURES = {
    "roberta-base": "roberta",
    "bert-base": "bert",
    "distilbert-base": "distilbert",
    "deberta-v3-base": "deberta-v2",
    "qwen2.5-1.5b": "qwen2",
    "qwen2.5-3b": "qwen2",
    "gpt2": "gpt2",
}


def small(name: str, tmp_path: Path, *, seeds: list[int]) -> StudySpec:
    """A built-in study on tiny models and a simulated panel, with fewer pairs, epochs and points."""
    spec: Any = yaml.safe_load(load_study(name).to_yaml())
    folders = {model: make_tiny(kind, tmp_path / model) for model, kind in ARCHITECTURES.items()}

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(item) for item in value]
        return (
            {**value, "model": named(value["model"])}
            if isinstance(value, dict) and "model" in value
            else value
        )

    def named(models: Any) -> Any:
        if models is None or isinstance(models, str):
            return None if models is None else str(folders[models])
        return [str(folders[model]) for model in models]

    for model in spec["models"]:
        model |= {"name": str(folders[model["name"]]), "max_length": 64}
        if model["dtype"] == "fp16":
            model["dtype"] = "fp32"  # half precision on a CPU is slow; test_low_precision has it
    for rule in [*spec["overrides"], *spec["variants"]]:
        rule["when"] = renamed(rule["when"])
    spec["exclude"] = renamed(spec["exclude"])
    for rule in spec["exclude"]:
        if isinstance(rule["seed"], list):
            rule["seed"] = [seed for seed in rule["seed"] if seed in seeds]
    spec["exclude"] = [rule for rule in spec["exclude"] if rule["seed"] != []]
    panel = {"source": "simulated", "size": 60, "annotators": 20}
    for dataset in spec["datasets"]:
        two = dataset["name"] == "alphanli"
        dataset["tracked"] = dict(panel)
        dataset["entropy_cuts"] = {"low": 0.6, "high": 1.1}
        if not two:
            dataset |= {"train": {**panel, "split": "train"}, "train_size": 40}
    for variant in spec["variants"]:
        groups = variant["set"].get("dataset", {}).get("train_groups", {})
        groups |= {group: 5 for group, size in groups.items() if size not in (None, "all")}
    spec |= {"name": f"{name}-tiny", "seeds": seeds}
    spec["training"] |= {"epochs": 2, "batch_size": 24}
    spec["tracking"]["every"] = 4
    return StudySpec.parse(spec, name)


@pytest.mark.parametrize(("name", "seeds", "cells"), [("paper", [42], 25), ("paper-appendix", [42, 123], 34)])
def test_every_cell_runs_and_every_table_is_made(
    name: str, seeds: list[int], cells: int, tmp_path: Path
) -> None:
    study = small(name, tmp_path / "models", seeds=seeds)
    planned = expand(study)
    assert len(planned) == cells
    root = tmp_path / "study"
    root.mkdir()
    (root / "study.yaml").write_text(study.to_yaml(), encoding="utf-8")
    for cell in planned:
        run_cell(cell, root / "cells" / cell.cell_id, threads=1, device="cpu")
        scores = load_validation(root / "cells" / cell.cell_id / VALIDATION)
        assert scores.steps[0] == 0
        assert (root / "cells" / cell.cell_id / GRADIENTS).is_file() is (cell.variant == "gradients")
    analysis = analyze(root)
    assert analysis.cells.num_rows == cells
    assert analysis.missing.num_rows == 0
    empty = {name for name in study.analysis.measures if analysis.measures[name].num_rows == 0}
    assert empty == ({"concordance"} if len(seeds) == 1 else set())  # which compares seeds
