"""The benchmark's suites at a toy size: every contender does the same work, and says what it is beside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks import grid, tracking, train
from benchmarks.__main__ import app
from benchmarks.flops import Costs, computed
from benchmarks.result import SuiteResult
from benchmarks.suites import run_suite
from benchmarks.timing import Spread, interleave, speedup
from benchmarks.work import LORA, Work
from dissensus.errors import SpecError

# Trainer and its kin warn of their own retirements; they are contenders here, not the code under test.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture
def no_real_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The suites then fall back on the simulated panel, on every machine."""
    monkeypatch.setenv("DISSENSUS_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps per contender: what is asserted is that they take the same ones, not how fast."""
    monkeypatch.setattr(train, "STEPS", 2)
    monkeypatch.setattr(train, "SHORT_RUN", 4)


def by_contender(result: SuiteResult) -> dict[tuple[str, str], dict[str, object]]:
    return {(m.work, m.contender): dict(m.facts) for m in result.measurements}


def test_tracking_contenders_measure_the_same(no_real_data: None, tiny_encoder_dir: Path) -> None:
    result = tracking.run(model=str(tiny_encoder_dir), items=40, rounds=2, device="cpu")
    facts = by_contender(result)
    assert result.setting["data"] == "simulated panel"
    ours = facts["tracking pass", tracking.FP32]
    assert ours["max_loss_difference"] < 1e-5
    assert ours["loss_rank_correlation"] > 0.9999
    assert 0 < facts["tracking pass", tracking.BF16]["max_loss_difference"] < 0.2
    assert {m.reference for m in result.measurements[1:]} == {tracking.REFERENCE}
    shares = [ours[f"{k}_share"] for k in ("padding", "kernel", "overhead")]
    assert sum(shares) + ours["efficiency"] == pytest.approx(1, abs=2e-3)


def test_training_contenders_take_the_same_steps(
    no_real_data: None, few_steps: None, tiny_encoder_dir: Path
) -> None:
    result = train.run(model=str(tiny_encoder_dir), items=48, rounds=1, device="cpu")
    facts = by_contender(result)
    for work in ("lora-r8 step of 32", "full step of 32"):
        assert facts[work, "dissensus"]["max_loss_difference"] < 1e-5
    json.dumps(result.to_json(), allow_nan=False)


def test_a_grid_is_timed_from_start_to_curves(no_real_data: None, tiny_encoder_dir: Path) -> None:
    result = grid.run(
        model=str(tiny_encoder_dir),
        items=30,
        steps=2,
        points=2,
        seeds=1,
        ranks=(2, 4),
        rounds=1,
        device="cpu",
    )
    assert [m.contender for m in result.measurements] == [grid.REFERENCE, grid.FP32, grid.BF16]
    assert result.measurements[2].facts["max_aulc_difference"] < 0.2
    assert result.setting["cells"] == 2


def test_flops_are_counted_as_the_formula_says(tiny_encoder_dir: Path, no_real_data: None) -> None:
    work = Work.load(str(tiny_encoder_dir), 20, device="cpu", data_dir=None)
    model = work.scoring_model(LORA)
    costs = Costs.of(model.module)
    # The tiny BERT: 2 layers of 4 x 32 x 32 for attention and 2 x 32 x 64 for the feed-forward block.
    weights = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert sum(n * a * b for (a, b), n in costs.shapes.items()) == weights
    # Rank 8 on query and value: A is 8 x 32, B is 32 x 8.
    assert costs.adapter_weights == 2 * 2 * (8 * 32 + 32 * 8)
    lengths = np.array([5, 7])
    forward = 2 * weights * 12 + 4 * 2 * 32 * (25 + 49)
    assert costs.forward(lengths) == forward
    assert costs.step(lengths, full=True) == 3 * forward
    assert costs.step(lengths, full=False) == 2 * forward + 6 * costs.adapter_weights * 12
    x, w = torch.ones(3, 4), torch.ones(5, 4)
    assert computed(lambda: torch.nn.functional.linear(x, w)) == 2 * 3 * 4 * 5


def test_contenders_run_in_turn() -> None:
    order: list[str] = []
    timed = interleave({n: lambda n=n: order.append(n) for n in "abc"}, rounds=2, warmup=1)
    assert order == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert all(len(spread.values) == 2 for spread in timed.values())
    ratio = speedup(Spread((2.0, 6.0, 9.0)), Spread((1.0, 2.0, 9.0)))
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 1.0, 3.0)
    with pytest.raises(SpecError, match="at least one"):
        interleave({}, rounds=1)


def test_the_command_keeps_what_it_prints(
    no_real_data: None, few_steps: None, tiny_encoder_dir: Path, tmp_path: Path
) -> None:
    call = ["--suite", "train", "--rounds", "1", "--device", "cpu", "--model", str(tiny_encoder_dir)]
    done = CliRunner().invoke(app, [*call, "--out", str(tmp_path / "kept")])
    assert done.exit_code == 0, done.output
    assert "PEFT, padded batches" in done.output
    kept = json.loads((tmp_path / "kept" / "train.json").read_text())
    assert kept["measurements"][1]["speedup_median"] > 0
    with pytest.raises(SpecError, match="unknown suite 'speed'"):
        run_suite("speed")
