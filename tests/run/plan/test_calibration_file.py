"""What a plan measured, written as JSON and read by another plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dissensus.config import RunSpec
from dissensus.errors import SpecError
from dissensus.run.plan.calibration_file import from_file, to_json
from dissensus.run.plan.facts import DataFacts, Timing, TokenFacts, Weights
from dissensus.run.plan.findings import Findings, Known, Measured

DATA = DataFacts(train=100, tracked=10, labels=3, id_bytes=50, text_bytes=400)
TOKENS = TokenFacts(per_train_example=20.5, tracked=150)
TIMING = Timing(5.0, 0.001, 0.5, 0.0002, 4, 3, 0.9, 1.2, False, True, 1.0, 3.5)
WEIGHTS = Weights(parameters=1000, trainable=90, adapters=80, rank=8)


def cell(**changes: Any) -> RunSpec:
    base: dict[str, Any] = {
        "dataset": {"name": "panel", "tracked": {"source": "chaosnli"}, "train": {"source": "snli"}},
        "model": {"name": "m"},
        "method": {"name": "lora", "rank": 8, "learning_rate": 1e-4},
        "regime": "held_out",
    }
    return RunSpec.parse({**base, **changes}, "test")


ONE = cell()
KNOWN = Known(DATA, TOKENS, TIMING, "", WEIGHTS)
FOUND = Findings(
    {ONE.cell_id: KNOWN}, (Measured("m", "lora", "fp32", ONE.cell_id, 2, TIMING, "NVIDIA H100", 4),)
)


def written(path: Path, findings: Findings = FOUND) -> Path:
    path.write_text(json.dumps({"study": "s", "calibration": to_json([ONE], findings)}))
    return path


def test_there_and_back(tmp_path: Path) -> None:
    assert from_file(written(tmp_path / "h100.json"), [ONE]) == FOUND


def test_cells_that_are_alike_are_known_by_it(tmp_path: Path) -> None:
    # Another rank, seed and learning rate are of the same kind; its checkpoint is known by its rank.
    like = cell(method={"name": "lora", "rank": 2, "learning_rate": 1e-3}, seed=3)
    found = from_file(written(tmp_path / "h100.json"), [like])
    assert found.known[like.cell_id] == KNOWN
    # 10 weights of the head and 80 x 2 / 8 of the adapters; a weight and two moments of 4 bytes each.
    assert WEIGHTS.checkpoint_bytes(2) == 3 * 4 * (10 + 20)
    assert replace(WEIGHTS, adapters=0).checkpoint_bytes(None) == 3 * 4 * 90


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({"training": {"precision": "bf16"}}, "m, lora, bf16"),
        ({"method": {"name": "full", "learning_rate": 1e-4}}, "m, full, fp32"),
        ({"regime": "trained_on"}, "the tokens of panel, trained_on; the data panel, trained_on"),
    ],
)
def test_what_is_not_in_it_is_named(tmp_path: Path, changes: dict[str, Any], lacks: str) -> None:
    path, other = written(tmp_path / "h100.json"), cell(**changes)
    known = from_file(path, [other]).known[other.cell_id]
    assert known.reason == f"not in {path}: {lacks}"
    assert None in (known.timing, known.tokens)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read"),
        ("{", "is not JSON"),
        ("[]", "is not the JSON of a plan"),
        ('{"study": "s"}', "is not the JSON of a plan, or of one made by an older version"),
        ('{"calibration": {"version": 0}}', "holds a calibration of version 0, and this is for 1"),
        ('{"calibration": {"version": 1, "data": [{"a": 1}]}}', "is damaged"),
        ('{"calibration": {"version": 1, "data": [], "tokens": [], "kinds": []}}', "nothing was measured"),
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecError) as refused:
        from_file(path, [ONE])
    assert said in str(refused.value)
