"""The TRL scripts under `examples/` run to their end on a tiny decoder-only model."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dissensus import annotation_entropy, load_curves

pytest.importorskip("trl")
pytestmark = pytest.mark.filterwarnings("default")  # theirs to settle

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.parametrize(
    ("script", "more"),
    [
        ("trl_sft.py", []),
        ("trl_preferences.py", ["--how", "dpo"]),
        ("trl_preferences.py", ["--how", "reward"]),
    ],
)
def test_an_example_records_whole_curves(
    script: str, more: list[str], tiny_decoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = importlib.util.spec_from_file_location("example", EXAMPLES / script)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    module.main(["--model", str(tiny_decoder_dir), "--out", "run", "--examples", "12", "--steps", "5", *more])
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == [0, 1, 2, 3, 4, 5]
    assert len(curves) == 12
    assert np.isfinite(curves.losses).all()
    assert np.isfinite(annotation_entropy(curves.counts)).all()
    assert np.ptp(curves.losses[:, -1] - curves.losses[:, 0]) > 0
