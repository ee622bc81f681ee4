"""Bases in bf16 and in 4 bits: heads and adapters in fp32 that other cells share, log-probabilities in fp32."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dissensus.config import Execution, MethodSpec, ModelSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import MissingDependencyError, ModelError, SpecError
from dissensus.models.attention import packed_attention, padded_attention
from dissensus.models.loading import _fingerprint, load_scoring_model
from dissensus.models.packing import Layout, Run
from dissensus.models.scoring import ScoringModel
from dissensus.record.tracking import tracked_set, tracking_pass
from dissensus.run.cell import run_cell
from dissensus.store import load_curves
from dissensus.train.loss import TrainingSet
from dissensus.train.methods import apply_method
from run.processes_script import Scenario, spec
from tiny import make_tiny

NF4 = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
BASES = [
    pytest.param({"dtype": "bf16"}, id="bf16"),
    pytest.param({"dtype": "fp16"}, id="fp16"),
    pytest.param({"quantization": "nf4"}, id="nf4", marks=NF4),
    pytest.param({"quantization": "nf4", "dtype": "bf16"}, id="nf4-bf16", marks=NF4),
]
WORDS = {"head": "verbalizer", "label_words": ("dog", "bird", "no")}


def load(folder: Path, dataset: AnnotatedDataset, **settings: Any) -> ScoringModel:
    given = ModelSpec(name=str(folder), max_length=120, **settings)
    return load_scoring_model(given, dataset.labels, dataset.fields, head_seed=3)


def tracked(model: ScoringModel, dataset: AnnotatedDataset) -> np.ndarray:
    rows = tracked_set(model.encode(dataset), model, token_budget=128)
    return tracking_pass(model.module, rows, len(dataset))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("arch", ["bert", "deberta-v2", "llama", "modernbert", "gpt2", "distilbert"])
def test_the_head_is_that_over_an_fp32_base(
    tmp_path: Path, tiny_dataset: AnnotatedDataset, arch: str, base: dict[str, Any]
) -> None:
    folder = make_tiny(arch, tmp_path / arch)
    whole, low = load(folder, tiny_dataset), load(folder, tiny_dataset, **base)
    assert low.fresh == whole.fresh != ()
    for name in whole.fresh:
        theirs = dict(whole.module.get_submodule(name).named_parameters())
        for inner, parameter in low.module.get_submodule(name).named_parameters():
            assert parameter.dtype == torch.float32
            assert torch.equal(parameter, theirs[inner])
    assert low.fingerprint != whole.fingerprint
    assert low.fingerprint == load(folder, tiny_dataset, **base).fingerprint
    found, exact = tracked(low, tiny_dataset), tracked(whole, tiny_dataset)
    assert found.dtype == np.float32
    difference = np.abs(found - exact).max()
    assert 0 < difference < (1.0 if "quantization" in base else 0.05)
    # Rounded to bf16, 24 x 3 numbers of this size would have two decimals, and repeat.
    assert len(np.unique(found)) > 0.9 * found.size


@pytest.mark.parametrize("base", BASES)
def test_label_words_are_scored_in_full_precision(
    tmp_path: Path, tiny_dataset: AnnotatedDataset, base: dict[str, Any]
) -> None:
    model = load(make_tiny("llama", tmp_path / "llama"), tiny_dataset, **WORDS, **base)
    rows = model.encode(tiny_dataset)
    with torch.no_grad():
        _, logits = model.score_rows(rows, range(24))
    assert logits.dtype == torch.float32
    rounded = logits.half() if base.get("dtype") == "fp16" else logits.bfloat16()
    assert not torch.equal(logits, rounded.float())


def test_attention_over_half_precision_rounds_its_result_only() -> None:
    """Scores of some hundreds have no decimals in bf16; what comes out is as exact as bf16 is."""
    torch.manual_seed(0)
    layout = Layout((Run(0, 2, 5), Run(10, 1, 7)))
    query, key, value = (torch.randn(1, 2, 17, 8).mul(scale).bfloat16() for scale in (12.0, 12.0, 1.0))
    found, _ = packed_attention(torch.nn.Module(), query, key, value, None, layout=layout)
    wide = (part.double() for part in (query, key, value))
    exact, _ = packed_attention(torch.nn.Module(), *wide, None, layout=layout)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=1e-4)
    mask = torch.zeros(1, 1, 17, 17, dtype=torch.bfloat16)
    found, _ = padded_attention(torch.nn.Module(), query, key, value, mask)
    wide = (part.double() for part in (query, key, value, mask))
    exact, _ = padded_attention(torch.nn.Module(), *wide)
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=1e-4)


@NF4
def test_the_scales_of_4_bit_weights_are_part_of_the_fingerprint(
    tmp_path: Path, tiny_dataset: AnnotatedDataset
) -> None:
    model = load(make_tiny("bert", tmp_path / "bert"), tiny_dataset, quantization="nf4")
    missing = {n for n, _ in model.module.named_parameters() if n.startswith(model.fresh)}
    assert _fingerprint(model.module, missing) == model.fingerprint
    layer = next(m for m in model.module.modules() if type(m).__name__ == "Linear4bit")
    layer.weight.quant_state.absmax.mul_(2)
    assert _fingerprint(model.module, missing) != model.fingerprint


@pytest.mark.parametrize("base", BASES)
def test_packed_and_padded_rows_agree(
    tmp_path: Path, tiny_dataset: AnnotatedDataset, base: dict[str, Any]
) -> None:
    model = load(make_tiny("llama", tmp_path / "llama"), tiny_dataset, **base)
    packed = tracked(model, tiny_dataset)
    model.packs = False
    # A layout gives bf16 states another last digit here and there.
    np.testing.assert_allclose(tracked(model, tiny_dataset), packed, atol=2e-2 if "dtype" in base else 1e-4)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_adapters_train_in_fp32(
    tmp_path: Path, tiny_dataset: AnnotatedDataset, base: dict[str, Any], method: str
) -> None:
    model = load(make_tiny("llama", tmp_path / "llama"), tiny_dataset, **base)
    rank = {"rank": 2} if method == "lora" else {}
    apply_method(
        model, MethodSpec.parse({"name": method, "learning_rate": 1e-3, **rank}, "t"), adapter_seed=1
    )
    trained = [p for p in model.module.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {torch.float32}
    data = TrainingSet(model.encode(tiny_dataset), tiny_dataset.gold)
    _, logits = model.score_rows(data.encoded, range(8), stream=1)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)


@pytest.mark.parametrize(
    ("arch", "method", "base"),
    [
        ("bert", "ia3", {"dtype": "bf16"}),
        ("bert", "ia3", {"dtype": "fp16"}),
        ("llama", "lora", {"dtype": "fp16"}),
        ("distilbert", "lora", {"dtype": "fp16"}),
        pytest.param("bert", "lora", {"quantization": "nf4"}, marks=NF4),
        pytest.param("llama", "ia3", {"quantization": "nf4", "dtype": "bf16"}, marks=NF4),
    ],
)
def test_a_cell_with_such_a_base_trains(tmp_path: Path, arch: str, method: str, base: dict[str, Any]) -> None:
    make_tiny(arch, tmp_path / arch)
    how = Execution(gradient_checkpointing=True)
    found = []
    for name, settings in (("low", base), ("whole", {})):
        cell = spec(tmp_path, Scenario(arch, method, settings={"model": settings}))
        run_cell(cell, tmp_path / name, threads=1, device="cpu", execution=how)
        found.append(load_curves(tmp_path / name).losses)
    assert np.abs(found[0][:, -1] - found[0][:, 0]).max() > 0.05
    assert 0 < np.abs(found[0] - found[1]).max() < (0.3 if "quantization" in base else 0.01)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dtype": "bf16"}, "full fine-tuning in dtype: bf16 would lose .* keep dtype: fp32"),
        ({"dtype": "fp16"}, "full fine-tuning in dtype: fp16 would lose .* keep dtype: fp32"),
        ({"quantization": "nf4"}, "4 bits, which cannot be trained; use lora or ia3"),
    ],
)
def test_full_fine_tuning_of_it_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        spec(Path("/models"), Scenario("bert", "full", settings={"model": settings}))


def test_weights_beyond_fp16_are_refused_in_words(tmp_path: Path, tiny_dataset: AnnotatedDataset) -> None:
    """1e5 is more than its largest number, 65,504; bf16 holds it."""
    folder = make_tiny("bert", tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    weights["bert.encoder.layer.0.output.dense.bias"][0] = 1e5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"not finite in dtype: fp16.* Use dtype: bf16 or fp32"):
        load(folder, tiny_dataset, dtype="fp16")
    load(folder, tiny_dataset, dtype="bf16")


def test_what_exists_keeps_its_name() -> None:
    """The settings are new; a cell that does not use them is the same cell."""
    plain = spec(Path("/models"), Scenario("bert", "lora"))
    said = spec(
        Path("/models"), Scenario("bert", "lora", settings={"model": {"dtype": "fp32", "quantization": None}})
    )
    assert said.digest() == plain.digest()
    assert "dtype" not in plain.canonical()
    low = spec(Path("/models"), Scenario("bert", "lora", settings={"model": {"dtype": "bf16"}}))
    assert low.digest() != plain.digest()


def test_without_bitsandbytes_the_extra_is_named(
    tmp_path: Path, tiny_dataset: AnnotatedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingDependencyError, match=r"dissensus\[quantization\]"):
        load(make_tiny("bert", tmp_path / "bert"), tiny_dataset, quantization="nf4")
