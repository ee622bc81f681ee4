"""What a plan measures: in this process with a tiny model, then in workers. No test asserts a time."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dissensus.config import ModelSpec, RunSpec
from dissensus.data.assembly import assemble
from dissensus.errors import DataError, ModelError
from dissensus.run.plan import calibration
from dissensus.run.plan.facts import DataFacts, Timing, TokenFacts, combined
from dissensus.run.plan.measuring import measure_cells
from dissensus.run.plan.presence import refuse_missing
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
def _short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Little is measured here, and nothing is kept from test to test."""
    monkeypatch.setattr(calibration, "STEP_SECONDS", 0.4)
    monkeypatch.setattr(calibration, "TRACKING_SECONDS", 0.4)
    monkeypatch.setattr(calibration, "PASS_SECONDS", 0.01)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield
    calibration._held.clear()
    calibration._data.clear()


def found(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / calibration.FOUND).read_text())
    return values


@pytest.mark.parametrize("method", [{"name": "lora", "rank": 2}, {"name": "full"}, {"name": "ia3"}])
def test_one_cell_from_its_data_to_its_timing(
    tiny_encoder_dir: Path, tmp_path: Path, method: dict[str, Any]
) -> None:
    cell = spec(tiny_encoder_dir, method={**method, "learning_rate": 1e-3})
    for name in ("survey", "prepare", "count", "measure"):
        (tmp_path / name).mkdir()
        getattr(calibration, name)(cell, tmp_path / name, threads=1, device="cpu")
    sizes = DataFacts(**found(tmp_path / "survey"))
    assert (sizes.train, sizes.tracked, sizes.labels) == (96, 40, 3)
    timing = Timing(**found(tmp_path / "measure"))
    assert min(timing.setup, timing.gradient, timing.update, timing.tracking) > 0
    assert calibration.FEWEST <= timing.steps <= calibration.MOST
    assert timing.low <= 1 <= timing.high
    assert timing.undisturbed
    assert timing.shares_start
    assert calibration._held == []


@pytest.mark.parametrize("head", ["classifier", "verbalizer"])
def test_tokens_are_those_that_the_model_reads(tiny_decoder_dir: Path, tmp_path: Path, head: str) -> None:
    from dissensus.models.loading import load_scoring_model

    model = {"name": str(tiny_decoder_dir), "head": head, "max_length": 120}
    if head == "verbalizer":
        model["label_words"] = ["dog", "bird", "no"]
    cell = spec(tiny_decoder_dir, model=model)
    calibration.prepare(cell, tmp_path, threads=1, device="cpu")
    calibration.count(cell, tmp_path)
    data = assemble(cell.dataset, cell.regime, sample_seed=stream_seed(0, "sample"))
    own = load_scoring_model(cell.model, data.tracked.labels, data.tracked.fields, head_seed=0)
    tokens = TokenFacts(**found(tmp_path))
    assert tokens.tracked == own.encode(data.tracked).lengths.sum()
    assert tokens.per_train_example == pytest.approx(own.encode(data.train).lengths.mean())


def test_a_large_training_set_is_reckoned_from_a_sample(
    tiny_encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = spec(tiny_encoder_dir)
    calibration.prepare(cell, tmp_path, threads=1, device="cpu")
    calibration.count(cell, tmp_path)
    whole = TokenFacts(**found(tmp_path))
    monkeypatch.setattr(calibration, "SAMPLE", 30)
    calibration.count(cell, tmp_path)
    some = TokenFacts(**found(tmp_path))
    assert some.tracked == whole.tracked
    assert some.per_train_example != whole.per_train_example
    assert some.per_train_example == pytest.approx(whole.per_train_example, rel=0.15)


def test_data_are_assembled_once(
    tiny_encoder_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counting(*args: Any, **options: Any) -> Any:
        calls.append(args[1])
        return assemble(*args, **options)

    monkeypatch.setattr(calibration, "assemble", counting)
    for regime in ("held_out", "trained_on", "held_out"):
        for seed in (0, 1):
            calibration.survey(spec(tiny_encoder_dir, regime=regime, seed=seed), tmp_path)
    assert calls == ["held_out", "trained_on"]


def test_missing_data_are_an_error(tiny_encoder_dir: Path, tmp_path: Path) -> None:
    dataset = {"name": "away", "tracked": {"source": "lewidi", "path": "nowhere.json"}}
    with pytest.raises(DataError, match=r"nowhere\.json was not found"):
        calibration.survey(spec(tiny_encoder_dir, dataset=dataset, regime="trained_on"), tmp_path)


def test_the_clock_is_the_processor_s_for_one_thread_on_a_cpu() -> None:
    assert calibration._clock("cpu", 1) is time.process_time
    assert calibration._clock("cpu", 4) is time.perf_counter
    assert calibration._clock("cuda", 1) not in (time.process_time, time.perf_counter)


@pytest.mark.parametrize(
    ("each", "times"),
    [
        (0.0, calibration.MOST),  # as often as is worth while
        (1.0, 11),  # until ten seconds are over
        (4.0, calibration.FEWEST),
        (15.0, 2),  # what takes longer than twice the time allowed is cut short
    ],
)
def test_repetitions_end(each: float, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(calibration, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def take() -> None:
        now[0] += each

    assert len(calibration._repeated(take, 10.0)) == times


def test_timings_side_by_side_are_one() -> None:
    slow = Timing(1.0, 2.0, 3.0, 4.0, 5, 6, 0.9, 1.1, True, True, 0.5)
    fast = Timing(3.0, 4.0, 5.0, 6.0, 7, 8, 0.8, 1.5, True, True, 1.0)
    assert combined([slow, fast]) == Timing(2.0, 3.0, 4.0, 5.0, 12, 14, 0.8, 1.5, True, True, 0.75)


@pytest.mark.parametrize("name", ["bert-base", "minilm-l6", "some-org/some-model"])
def test_a_model_that_would_have_to_be_fetched_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=f"'{name}' is not on this machine; `dissensus models pull {name}`"):
        refuse_missing(ModelSpec(name=name))


def test_a_folder_and_a_name_that_nobody_knows_are_for_the_loader(tiny_encoder_dir: Path) -> None:
    refuse_missing(ModelSpec(name=str(tiny_encoder_dir)))
    refuse_missing(ModelSpec(name="nobody"))


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
    told: list[str] = []
    findings = measure_cells(list(cells.values()), workers=2, threads=1, device="cpu", on_note=told.append)
    known = {name: findings.known[cell.cell_id] for name, cell in cells.items()}
    lora = known["lora"]
    assert lora.timing is not None
    assert lora.tokens is not None
    assert known["rank"] == lora
    assert known["regime"].timing == lora.timing
    assert known["regime"].data is not None
    assert known["regime"].data.train == 136
    assert known["regime"].tokens != lora.tokens
    assert known["absent"].data == lora.data
    assert (known["absent"].timing, known["absent"].tokens) == (None, None)
    assert known["absent"].reason.startswith("model 'some-org/some-model' is not on this machine")
    assert known["away"].data is None
    assert "nowhere.json was not found" in known["away"].reason
    (measured,) = findings.measured
    assert (measured.method, measured.precision, measured.workers) == ("lora", "fp32", 2)
    assert measured.timing.steps >= 2 * calibration.FEWEST
    assert told[0] == "reading the data"
    assert len(told) == 3  # and the two models
    assert list(tmp_path.iterdir()) == []  # nothing is left behind
