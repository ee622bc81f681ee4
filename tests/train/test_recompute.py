"""Activations computed again on the way back give the same gradients: the repetition is told what the pass was told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dissensus.config import MethodSpec, ModelSpec, TrainingSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import ModelError
from dissensus.models.loading import load_scoring_model
from dissensus.models.memory import recompute_activations
from dissensus.models.scoring import ScoringModel
from dissensus.train.loop import accumulate
from dissensus.train.loss import TrainingSet
from dissensus.train.methods import apply_method
from tiny import make_tiny

SPEC = TrainingSpec(batch_size=8, gradient_accumulation_steps=2)


def prepared(folder: Path, dataset: AnnotatedDataset, method: str, *, packs: bool = True) -> ScoringModel:
    spec = ModelSpec(name=str(folder), max_length=96, dropout=0.2)
    model = load_scoring_model(spec, dataset.labels, dataset.fields, head_seed=3)
    rank = {"rank": 4} if method == "lora" else {}
    apply_method(
        model, MethodSpec.parse({"name": method, "learning_rate": 1e-3, **rank}, "t"), adapter_seed=1
    )
    model.packs = model.packs and packs
    model.module.double().train()
    with torch.no_grad():  # LoRA's B begins at zero, and would hide A's gradient
        for name, parameter in model.module.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.sin(torch.arange(parameter.numel())).view_as(parameter) / 10)
    return model


def gradients(model: ScoringModel, dataset: AnnotatedDataset) -> tuple[float, dict[str, torch.Tensor]]:
    data = TrainingSet(model.encode(dataset), dataset.gold)
    rows = torch.arange(8).numpy()
    loss = accumulate(model, data, rows, SPEC, seed=5, step=3, device=torch.device("cpu"))
    return loss, {n: p.grad for n, p in model.module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("packs", [True, False], ids=["packed", "padded"])
@pytest.mark.parametrize("method", ["full", "lora", "ia3"])
@pytest.mark.parametrize("arch", ["bert", "llama"])
def test_gradients_are_the_same(
    tmp_path: Path, tiny_dataset: AnnotatedDataset, arch: str, method: str, packs: bool
) -> None:
    folder = make_tiny(arch, tmp_path / arch)
    plain = prepared(folder, tiny_dataset, method, packs=packs)
    loss, expected = gradients(plain, tiny_dataset)
    again = prepared(folder, tiny_dataset, method, packs=packs)
    recompute_activations(again)
    passes: list[int] = []
    block = again.base.base_model.layers[0] if arch == "llama" else again.base.bert.encoder.layer[0]
    normal = next(m for m in block.modules() if "Norm" in type(m).__name__)
    normal.register_forward_hook(lambda *_: passes.append(1))
    own, found = gradients(again, tiny_dataset)
    assert len(passes) == 4  # two micro-batches, twice each
    assert own == loss
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-12, rtol=1e-10, msg=name)
    assert all(key is None for key in again.dropout.held())
    assert again.base.config._attn_implementation != "dissensus_packed"


def test_half_precision_training_is_recomputed_in_it(tmp_path: Path, tiny_dataset: AnnotatedDataset) -> None:
    folder = make_tiny("llama", tmp_path / "llama")
    found = []
    for recompute in (False, True):
        model = prepared(folder, tiny_dataset, "lora")
        model.module.float()
        if recompute:
            recompute_activations(model)
        data = TrainingSet(model.encode(tiny_dataset), tiny_dataset.gold)
        spec = SPEC.model_copy(update={"precision": "bf16"})
        device = torch.device("cpu")
        accumulate(model, data, torch.arange(8).numpy(), spec, seed=5, step=3, device=device)
        found.append({n: p.grad for n, p in model.module.named_parameters() if p.grad is not None})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=0, rtol=0, msg=name)


def test_an_architecture_without_it_is_refused(
    tmp_path: Path, tiny_dataset: AnnotatedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = prepared(make_tiny("bert", tmp_path / "bert"), tiny_dataset, "full")
    monkeypatch.setattr(type(model.base), "supports_gradient_checkpointing", False)
    with pytest.raises(
        ModelError, match=r"gradient_checkpointing cannot be had for this bert model .* leave it"
    ):
        recompute_activations(model)
