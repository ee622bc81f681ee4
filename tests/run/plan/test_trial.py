"""Trials for a plan: in this process with a tiny model, then in workers. No test asserts a time."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dissensus.config import RunSpec
from dissensus.data.assembly import assemble
from dissensus.errors import DataError
from dissensus.run.plan import measuring, trial
from dissensus.run.plan.facts import Timing, TrialResult, combined, likeness
from dissensus.run.plan.measuring import Workers, data_sizes, measure_cells
from dissensus.seeds import stream_seed


def spec(folder: Path, **changes: Any) -> RunSpec:
    base: dict[str, Any] = {
        "dataset": {
            "name": "panel",
            "tracked": {"source": "simulated", "size": 40, "annotators": 20},
            "train": {"source": "simulated", "size": 96, "split": "train", "annotators": 5},
        },
        "model": {"name": str(folder), "max_length": 48},
        "method": {"name": "lora", "rank": 2, "learning_rate": 1e-3},
        "regime": "held_out",
        "training": {"batch_size": 16, "epochs": 2},
        "tracking": {"points": 5, "token_budget": 256},
    }
    return RunSpec.parse({**base, **changes}, "test")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is measured here."""
    monkeypatch.setattr(trial, "STEP_SECONDS", 0.4)
    monkeypatch.setattr(trial, "TRACKING_SECONDS", 0.4)
    monkeypatch.setattr(trial, "PASS_SECONDS", 0.01)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def look_at(cells: list[RunSpec], folder: Path, *, timed: bool = True) -> list[TrialResult | Exception]:
    """What is found out about each of some cells, or what went wrong."""
    folders = [folder / f"{'timed' if timed else 'counted'}-{number}" for number in range(len(cells))]
    for each in folders:
        each.mkdir()
    errors: dict[int, Exception | None] = {}
    function = trial.trial if timed else trial.count_only
    function(list(zip(cells, folders, strict=True)), threads=1, device="cpu", on_end=errors.__setitem__)
    return [errors[place] or trial.read_result(each) for place, each in enumerate(folders)]


@pytest.mark.parametrize("method", [{"name": "lora", "rank": 2}, {"name": "full"}, {"name": "ia3"}])
def test_one_cell_from_its_data_to_its_timing(
    tiny_encoder_dir: Path, tmp_path: Path, method: dict[str, Any]
) -> None:
    cell = spec(tiny_encoder_dir, method={**method, "learning_rate": 1e-3})
    sizes = data_sizes(cell, None)
    assert (sizes.train, sizes.tracked, sizes.labels) == (96, 40, 3)
    (found,) = look_at([cell], tmp_path)
    assert isinstance(found, TrialResult)
    timing = found.timing
    assert timing is not None
    assert min(timing.setup, timing.gradient, timing.update, timing.tracking) > 0
    assert trial.FEWEST <= timing.steps <= trial.MOST
    assert timing.bf16 is not None
    assert min(timing.bf16.seconds_fp32, timing.bf16.seconds_bf16, timing.bf16.largest_difference) > 0
    assert timing.low <= 1 <= timing.high
    assert timing.undisturbed
    assert found.device == "CPU"
    assert (found.per_rank > 0) is (method["name"] == "lora")
    assert found.fixed > 0


@pytest.mark.parametrize("head", ["classifier", "verbalizer"])
def test_tokens_are_those_that_the_model_reads(tiny_decoder_dir: Path, tmp_path: Path, head: str) -> None:
    from dissensus.models.loading import load_scoring_model

    model = {"name": str(tiny_decoder_dir), "head": head, "max_length": 120}
    if head == "verbalizer":
        model["label_words"] = ["dog", "bird", "no"]
    cell = spec(tiny_decoder_dir, model=model)
    (found,) = look_at([cell], tmp_path, timed=False)
    assert isinstance(found, TrialResult)
    assert found.timing is None
    data = assemble(cell.dataset, cell.regime, sample_seed=stream_seed(0, "sample"))
    own = load_scoring_model(cell.model, data.tracked.labels, data.tracked.fields, head_seed=0)
    assert found.tokens.tracked == own.encode(data.tracked).lengths.sum()
    assert found.tokens.per_train_example == pytest.approx(own.encode(data.train).lengths.mean())


def test_tokens_of_a_large_training_set_are_those_of_a_sample(
    tiny_encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dissensus.models.loading import load_scoring_model

    cell = spec(tiny_encoder_dir)
    data = assemble(cell.dataset, cell.regime, sample_seed=stream_seed(0, "sample"))
    model = load_scoring_model(cell.model, data.tracked.labels, data.tracked.fields, head_seed=0)
    whole = trial.count_tokens(data.tracked, data.train, model.encode)
    monkeypatch.setattr(trial, "SAMPLE", 30)
    some = trial.count_tokens(data.tracked, data.train, model.encode)
    assert some.tracked == whole.tracked
    assert some.per_train_example != whole.per_train_example
    assert some.per_train_example == pytest.approx(whole.per_train_example, rel=0.15)


def test_data_are_assembled_once(
    tiny_encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    calls: list[str] = []

    def counting(spec: RunSpec, _data_dir: Path | None) -> Any:
        calls.append(spec.regime)
        return trial.assembled(spec, None)

    monkeypatch.setattr(measuring, "assembled", counting)
    cells = [
        spec(tiny_encoder_dir, regime=regime, seed=seed)
        for regime in ("held_out", "trained_on", "held_out")
        for seed in (0, 1)
    ]
    measuring.cell_sizes(cells, None, cell_seconds={}, note=lambda _line: None)
    assert calls == ["held_out", "trained_on"]


def test_missing_data_are_an_error(tiny_encoder_dir: Path) -> None:
    dataset = {"name": "away", "tracked": {"source": "lewidi", "path": "nowhere.json"}}
    with pytest.raises(DataError, match=r"nowhere\.json was not found"):
        data_sizes(spec(tiny_encoder_dir, dataset=dataset, regime="trained_on"), None)


def test_one_cell_s_data_keep_no_other_from_being_counted(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    away = {
        "name": "away",
        "tracked": {"source": "lewidi", "path": "nowhere.json"},
        "train": {"source": "simulated"},
    }
    cells = [
        spec(tiny_encoder_dir),
        spec(tiny_encoder_dir, dataset=away),
        spec(tiny_encoder_dir, regime="trained_on"),
    ]
    first, second, third = look_at(cells, tmp_path, timed=False)
    assert isinstance(first, TrialResult)
    assert isinstance(second, DataError)
    assert isinstance(third, TrialResult)
    assert first.tokens != third.tokens


def test_the_clock_is_the_processor_s_for_one_thread_on_a_cpu() -> None:
    assert trial._clock("cpu", 1) is time.process_time
    assert trial._clock("cpu", 4) is time.perf_counter
    assert trial._clock("cuda", 1) not in (time.process_time, time.perf_counter)


@pytest.mark.parametrize(
    ("each", "times"),
    [
        (0.0, trial.MOST),  # as often as is worth while
        (1.0, 11),  # until ten seconds are over
        (4.0, trial.FEWEST),
        (15.0, 2),  # what takes longer than twice the time allowed is cut short
    ],
)
def test_repetitions_end(each: float, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(trial, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def take() -> None:
        now[0] += each

    assert len(trial._repeated(take, 10.0)) == times


def test_timings_side_by_side_are_one() -> None:
    slow = Timing(1.0, 2.0, 3.0, 4.0, 5, 6, 0.9, 1.1, True, 0.5)
    fast = Timing(3.0, 4.0, 5.0, 6.0, 7, 8, 0.8, 1.5, True, 1.0)
    assert combined([slow, fast]) == Timing(2.0, 3.0, 4.0, 5.0, 12, 14, 0.8, 1.5, True, 0.75)


def test_workers_measure_each_kind_and_say_what_is_not_here(
    tiny_encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path / "cache"))
    away = {
        "name": "away",
        "tracked": {"source": "lewidi", "path": "nowhere.json"},
        "train": {"source": "simulated"},
    }
    cells = {
        "lora": spec(tiny_encoder_dir),
        "rank": spec(tiny_encoder_dir, method={"name": "lora", "rank": 4, "learning_rate": 1e-3}),
        "regime": spec(tiny_encoder_dir, regime="trained_on"),
        "absent": spec(tiny_encoder_dir, model={"name": "some-org/some-model"}),
        "away": spec(tiny_encoder_dir, dataset=away),
    }
    notes: list[str] = []
    facts = measure_cells(list(cells.values()), Workers(2, 1, "cpu"), cell_seconds={}, note=notes.append)
    known = {name: facts.cells[cell.cell_id] for name, cell in cells.items()}
    lora = known["lora"]
    assert lora.timing is not None
    assert lora.tokens is not None
    assert lora.checkpoint_bytes is not None
    rank = known["rank"]
    assert replace(rank, checkpoint_bytes=lora.checkpoint_bytes) == lora
    # Of rank 4 in place of 2, the adapters are twice as large and the head is not.
    assert lora.checkpoint_bytes < (rank.checkpoint_bytes or 0) < 2 * lora.checkpoint_bytes
    assert known["regime"].timing == lora.timing
    assert known["regime"].data is not None
    assert known["regime"].data.train == 136
    assert known["regime"].tokens != lora.tokens
    assert known["absent"].data == lora.data
    assert (known["absent"].timing, known["absent"].tokens) == (None, None)
    assert known["absent"].reason.startswith("model 'some-org/some-model' is not on this machine")
    assert known["away"].data is None
    assert "nowhere.json was not found" in known["away"].reason
    (measured,) = facts.measured
    assert (measured.method, measured.precision, measured.workers) == ("lora", "fp32", 2)
    assert (measured.device, measured.threads) == ("CPU", 1)
    assert measured.timing.steps >= 2 * trial.FEWEST
    assert notes[0] == "reading the data"
    assert len(notes) == 3  # and the two models
    assert list(tmp_path.iterdir()) == []  # nothing is left behind

    # What has a finished cell like it is counted, and not timed.
    whole = {likeness(cell): 100.0 for cell in cells.values()}
    again = measure_cells([cells["lora"]], Workers(2, 1, "cpu"), cell_seconds=whole, note=notes.append)
    (one,) = again.cells.values()
    assert (one.whole, one.timing, one.tokens) == (100.0, None, lora.tokens)
    assert again.measured == ()
    assert notes[-1].startswith("counting tokens of ")
