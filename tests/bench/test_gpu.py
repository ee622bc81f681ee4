"""The GPU's script at toy size on the CPU: every fast path is held, a broken one is found, the tables are kept."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import exactness
from benchmarks.random_models import TOY
from dissensus.models import merging

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def test_the_script_without_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exactness.main(["--toy", "--device", "cpu", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("No GPU here: the exactness half alone")
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert all(check["holds"] for check in kept["checks"])
    paths = {check["path"] for check in kept["checks"] if check["precision"] == "bf16"}
    assert {"packed rows", "bf16 tracking", "shared states", "runs in one pass"} <= paths
    works = {row["work"].split(",")[0] for row in kept["timings"]}
    assert {
        "tracking pass",
        "lora-r8 step of 32",
        "full step of 32",
        "2 LoRA runs",
        "a cell of the paper",
    } == works
    assert "| packed rows | padded batches | bert | fp32 |" in (tmp_path / "gpu.md").read_text()


def test_a_fast_path_that_is_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    folded = merging._folded

    def off(layer: Any) -> Any:
        found = folded(layer)
        return found and (found[0] * 1.05, found[1])

    monkeypatch.setattr(merging, "_folded", off)
    found = {c.path: c for c in itertools.islice(exactness.checks(torch.device("cpu"), TOY, 16), 3)}
    assert found["packed rows"].holds  # both are folded
    assert not found["tracking pass"].holds
