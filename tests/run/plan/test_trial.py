"""Trials for a plan: in this process with a tiny model, then in workers. No test asserts a time."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dissensus.config import RunSpec
from dissensus.data.assembly import assemble
from dissensus.errors import DataError
from dissensus.run.cell_data import assembled_data
from dissensus.run.plan import measuring, trial
from dissensus.run.plan.facts import Trial, combined, kind_key, likeness
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
    monkeypatch.setattr(trial, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(trial, "PASS_SECONDS", 0.01)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def tried(cell: RunSpec, folder: Path) -> Trial:
    """What is found out about a cell."""
    trial.trial(cell, folder, threads=1, device="cpu")
    return trial.read_trial(folder)


@pytest.mark.parametrize("method", [{"name": "lora", "rank": 2}, {"name": "full"}, {"name": "ia3"}])
def test_one_cell_from_its_data_to_its_timing(
    tiny_encoder_dir: Path, tmp_path: Path, method: dict[str, Any]
) -> None:
    cell = spec(tiny_encoder_dir, method={**method, "learning_rate": 1e-3})
    sizes = data_sizes(cell, None)
    assert (sizes.train, sizes.tracked, sizes.labels) == (96, 40, 3)
    timing = tried(cell, tmp_path)
    assert min(timing.setup, timing.gradient, timing.update, timing.tracking) > 0
    assert trial.FEWEST <= timing.steps <= trial.MOST
    assert timing.bf16 is not None
    assert min(timing.bf16.seconds_fp32, timing.bf16.seconds_bf16, timing.bf16.largest_difference) > 0
    assert timing.low <= 1 <= timing.high
    assert timing.undisturbed
    assert timing.device == "CPU"
    assert timing.weights > 0
    assert (timing.weights_per_rank > 0) is (method["name"] == "lora")


def test_the_gradient_probe_is_timed_where_the_cell_has_one(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    dataset = {
        "name": "panel",
        "tracked": {"source": "simulated", "size": 40, "annotators": 20},
        "train": {"source": "simulated", "size": 96, "split": "train", "annotators": 5},
        "entropy_cuts": {"low": 0.5, "high": 1.1},
        "holdout": {"share": 0.2, "seed": 1},
    }
    plain = spec(tiny_encoder_dir)
    means = spec(tiny_encoder_dir, dataset=dataset, tracking={"points": 2, "gradients": {}})
    norms = spec(tiny_encoder_dir, dataset=dataset, tracking={"points": 2, "gradients": {"norms": "end"}})
    assert len({kind_key(cell) for cell in (plain, means, norms)}) == 3
    found = []
    for name, cell in {"plain": plain, "means": means, "norms": norms}.items():
        (tmp_path / name).mkdir()
        found.append(tried(cell, tmp_path / name))
    assert [t.group_gradients is not None and t.group_gradients > 0 for t in found] == [False, True, True]
    assert [t.example_norms is not None for t in found] == [False, False, True]
    sizes = data_sizes(means, None)
    assert sizes.validation == 8
    assert sizes.validation_bytes > 0
    assert sum(sizes.class_bytes.values()) == sizes.text_bytes  # the tracked set without what is held back
    assert set(sizes.class_bytes) == {"settled", "middle", "contested"}


@pytest.mark.parametrize("head", ["classifier", "verbalizer"])
def test_tokens_are_those_that_the_model_reads(tiny_decoder_dir: Path, tmp_path: Path, head: str) -> None:
    from dissensus.models.loading import load_scoring_model

    model = {"name": str(tiny_decoder_dir), "head": head, "max_length": 120}
    if head == "verbalizer":
        model["label_words"] = ["dog", "bird", "no"]
    cell = spec(tiny_decoder_dir, model=model)
    one = tried(cell, tmp_path)
    data = assemble(cell.dataset, cell.regime, sample_seed=stream_seed(0, "sample"))
    scoring = load_scoring_model(cell.model, data.tracked.labels, data.tracked.fields, head_seed=0)
    sizes = data_sizes(cell, None)
    tokens = scoring.encode(data.tracked).lengths.sum()
    assert one.tracked_tokens * sizes.text_bytes == pytest.approx(tokens)
    of_training = scoring.encode(data.train).lengths.sum()
    assert one.train_tokens * sizes.train_bytes == pytest.approx(of_training)


def test_tokens_of_a_large_training_set_are_those_of_a_sample(
    tiny_encoder_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dissensus.models.loading import load_scoring_model

    cell = spec(tiny_encoder_dir)
    data = assemble(cell.dataset, cell.regime, sample_seed=stream_seed(0, "sample"))
    model = load_scoring_model(cell.model, data.tracked.labels, data.tracked.fields, head_seed=0)
    whole = trial.tokens_per_byte(data.train, model.encode)
    monkeypatch.setattr(trial, "SAMPLE", 30)
    some = trial.tokens_per_byte(data.train, model.encode)
    assert some != whole
    assert some == pytest.approx(whole, rel=0.15)


def test_data_are_assembled_once(
    tiny_encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    calls: list[str] = []

    def counting(spec: RunSpec, _data_dir: Path | None) -> Any:
        calls.append(spec.regime)
        return assembled_data(spec, None)

    monkeypatch.setattr(measuring, "assembled_data", counting)
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


def test_trials_side_by_side_are_one() -> None:
    rest = (True, 0.5, 0.2, 0.3, 10, 1, "CPU", None)
    slow = Trial(1.0, 2.0, 3.0, 4.0, 5, 6, 0.9, 1.1, *rest, 0.1, 1.0)
    fast = Trial(3.0, 4.0, 5.0, 6.0, 7, 8, 0.8, 1.5, *rest, 0.3, 2.0)
    assert combined([slow, fast]) == Trial(
        2.0, 3.0, 4.0, 5.0, 12, 14, 0.8, 1.5, *rest, pytest.approx(0.2), 1.5
    )


def test_a_worker_that_cannot_try_the_cell_is_an_error_in_words(tiny_encoder_dir: Path) -> None:
    cell = spec(
        tiny_encoder_dir, model={"name": str(tiny_encoder_dir), "max_length": 48, "head": "verbalizer"}
    )
    facts = measure_cells([cell], Workers(1, 1, "cpu"), cell_seconds={}, note=lambda _line: None)
    (known,) = facts.cells.values()
    assert (known.trial, facts.measured) == (None, ())
    assert known.data is not None
    assert "head" in known.reason


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
    assert lora.trial is not None
    assert known["rank"] == lora
    # Of rank 4 in place of 2, the adapters are twice as large and the head is not.
    assert (
        lora.trial.checkpoint_bytes(2) < lora.trial.checkpoint_bytes(4) < 2 * lora.trial.checkpoint_bytes(2)
    )
    assert known["regime"].trial == lora.trial
    assert known["regime"].data is not None
    assert known["regime"].data.train == 136
    assert known["absent"].data == lora.data
    assert known["absent"].trial is None
    assert known["absent"].reason.startswith("model 'some-org/some-model' is not on this machine")
    assert known["away"].data is None
    assert "nowhere.json was not found" in known["away"].reason
    (measured,) = facts.measured
    assert (measured.method, measured.precision, measured.workers, measured.cells) == ("lora", "fp32", 2, 3)
    assert (measured.trial.device, measured.threads) == ("CPU", 1)
    assert measured.trial.steps >= 2 * trial.FEWEST
    assert notes[0] == "reading the data"
    assert len(notes) == 3  # and the two models
    assert list(tmp_path.iterdir()) == []  # nothing is left behind

    # What has a finished cell like it takes its seconds, and of the trial the tokens.
    whole = {likeness(cell): 100.0 for cell in cells.values()}
    again = measure_cells([cells["lora"]], Workers(1, 1, "cpu"), cell_seconds=whole, note=notes.append)
    (one,) = again.cells.values()
    assert one.whole == 100.0
    assert one.trial is not None
    assert one.trial.tracked_tokens == lora.trial.tracked_tokens
    assert [m.cells for m in again.measured] == [0]
