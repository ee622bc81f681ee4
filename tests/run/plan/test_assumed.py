"""Seconds by an assumed rate: the benchmark's counts over it; and what stands for a model and a pool not here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.config import RunSpec
from dissensus.errors import DataError, ModelError
from dissensus.models.registry import BUILTIN
from dissensus.models.shapes import Shape
from dissensus.run.plan import approximate as approximation
from dissensus.run.plan import calibration
from dissensus.run.plan.approximate import approximate
from dissensus.run.plan.assumed import assumed_timing, assumed_weights
from dissensus.run.plan.facts import DataFacts, TokenFacts
from dissensus.run.plan.stated import Assumption

DATA = DataFacts(train=100, tracked=10, labels=3, id_bytes=50, text_bytes=400)
TOKENS = TokenFacts(per_train_example=20.0, tracked=300)
RATE = Assumption(tflops=2.0, share=0.5, setup=7.0, step=0.25)  # 10^12 operations a second
# 2 layers of width 8, feed-forward 16: N = 2 (4 x 64 + 2 x 128) = 1024.
SMALL = Shape(layers=2, hidden=8, feed_forward=16, heads=2, vocabulary=50, parameters=2000)


def cell(method: dict[str, Any], name: str = "bert-base", **changes: Any) -> RunSpec:
    base: dict[str, Any] = {
        "dataset": {"name": "sim", "tracked": {"source": "simulated", "size": 40}},
        "model": {"name": name, "max_length": 48},
        "method": {"learning_rate": 1e-3, **method},
        "regime": "trained_on",
    }
    return RunSpec.parse({**base, **changes}, "test")


def test_full_fine_tuning_by_hand() -> None:
    # Forward, a training token of 20: 2 x 1024 + 4 x 2 x 8 x 20 = 3328; a tracked one of 30: 3968.
    timing = assumed_timing(cell({"name": "full"}), SMALL, DATA, TOKENS, RATE, gpus=1)
    assert timing.gradient == pytest.approx(3 * 3328e-12)
    assert timing.tracking == pytest.approx(3968e-12)
    assert (timing.setup, timing.update, timing.steps) == (7.0, 0.25, 0)


def test_frozen_weights_need_no_gradient() -> None:
    # LoRA of rank 2 on query and value: 2 layers x 2 x (8 + 8) x 2 = 128 weights.
    lora = assumed_timing(cell({"name": "lora", "rank": 2}), SMALL, DATA, TOKENS, RATE, gpus=1)
    assert lora.gradient == pytest.approx((2 * 3328 + 6 * 128) * 1e-12)
    ia3 = assumed_timing(cell({"name": "ia3"}), SMALL, DATA, TOKENS, RATE, gpus=1)
    assert ia3.gradient == pytest.approx(2 * 3328e-12)


@pytest.mark.parametrize(("gpus", "times"), [(0.25, 4), (1, 1), (2, 1), (0, 1)])
def test_a_part_of_a_gpu_has_that_part_of_its_rate(gpus: float, times: int) -> None:
    one, some = (
        assumed_timing(cell({"name": "full"}), SMALL, DATA, TOKENS, RATE, gpus=g) for g in (1.0, gpus)
    )
    assert some.gradient == pytest.approx(times * one.gradient)


def test_a_real_model_with_adapters_as_the_benchmark_counts_it(tiny_encoder_dir: Path) -> None:
    from benchmarks.flops import Costs
    from dissensus.models.loading import load_scoring_model
    from dissensus.train.methods import apply_method

    spec = cell({"name": "lora", "rank": 4}, str(tiny_encoder_dir))
    model = load_scoring_model(spec.model, ["a", "b", "c"], ["premise", "hypothesis"], head_seed=0)
    apply_method(model, spec.method, adapter_seed=0)
    config = model.base.config
    shape = Shape(
        config.num_hidden_layers,
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
        config.vocab_size,
        parameters=sum(p.numel() for n, p in model.module.named_parameters() if ".lora_" not in n),
    )
    costs, lengths = Costs.of(model.module), np.full(7, 20)
    timing = assumed_timing(spec, shape, DATA, TOKENS, RATE, gpus=1)
    assert 7 * 20 * timing.gradient * RATE.rate == pytest.approx(costs.step(lengths, full=False))
    assert timing.tracking * RATE.rate * 30 == pytest.approx(costs.forward(np.array([30])))
    # The head counts as one of two layers; BERT's fresh one is the smaller.
    weights = assumed_weights(spec, shape, 3)
    trainable = sum(p.numel() for p in model.module.parameters() if p.requires_grad)
    assert weights.adapters == costs.adapter_weights
    assert trainable <= weights.trainable <= trainable + shape.hidden * (shape.hidden + 1)


def test_weights_that_training_changes() -> None:
    # A head of 8 x 9 + 3 x 9 = 99; IA3 scales 2 layers x (8 + 8 + 16) = 64.
    assert assumed_weights(cell({"name": "full"}), SMALL, 3).trainable == 2099
    assert assumed_weights(cell({"name": "ia3"}), SMALL, 3).trainable == 163
    lora = assumed_weights(cell({"name": "lora", "rank": 2}), SMALL, 3)
    assert (lora.trainable, lora.adapters) == (227, 128)


@pytest.fixture
def _away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_encoder_dir: Path, tiny_decoder_dir: Path
) -> None:
    """No built-in model is here; tiny ones lend their tokenizers."""
    from huggingface_hub import constants

    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    names = {"encoder": str(tiny_encoder_dir), "decoder": str(tiny_decoder_dir)}
    monkeypatch.setattr(approximation, "STAND_INS", names)
    approximation._tokenizer.cache_clear()
    calibration._data.clear()


@pytest.mark.usefixtures("_away")
@pytest.mark.parametrize("name", ["bert-base", "gpt2"])
def test_another_tokenizer_counts_for_a_model_that_is_not_here(name: str) -> None:
    found = approximate(cell({"name": "full"}, name), None)
    assert found["data"]["train"] == found["data"]["tracked"] == 40
    assert found["tokens"]["tracked"] == pytest.approx(40 * found["tokens"]["per_train_example"])
    assert found["tokenizer"] == approximation.STAND_INS[BUILTIN[name].kind]
    assert found["train"] == ""


@pytest.mark.usefixtures("_away")
@pytest.mark.parametrize(("regime", "train"), [("held_out", 500), ("trained_on", 540)])
def test_a_pool_that_is_not_here_is_taken_to_be_like_the_tracked_set(regime: str, train: int) -> None:
    dataset = {
        "name": "sim",
        "tracked": {"source": "simulated", "size": 40},
        "train": {"source": "lewidi", "path": "nowhere.json"},
        "train_size": 500,
    }
    found = approximate(cell({"name": "full"}, dataset=dataset, regime=regime), None)
    assert (found["data"]["train"], found["data"]["tracked"]) == (train, 40)
    assert "nowhere.json" in found["train"]
    with pytest.raises(DataError, match=r"nowhere\.json"):  # nothing says how large it is
        approximate(cell({"name": "full"}, dataset={**dataset, "train_size": None}, regime=regime), None)


@pytest.mark.usefixtures("_away")
def test_what_is_not_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="the size of model 'some-org/some-model' is known for built-in"):
        approximate(cell({"name": "full"}, "some-org/some-model"), None)
    monkeypatch.setattr(approximation, "STAND_INS", {"encoder": "minilm-l6", "decoder": "smollm2-135m"})
    with pytest.raises(ModelError, match="`dissensus models pull minilm-l6` fetches the second"):
        approximate(cell({"name": "full"}), None)
