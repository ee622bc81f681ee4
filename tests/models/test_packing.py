"""Packed rows against padded batches: the same logits and gradients, with dropout and without, in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from dissensus.config import MethodSpec, ModelSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.models import attention
from dissensus.models.encoding import Encoded
from dissensus.models.loading import load_scoring_model
from dissensus.models.packing import batches_by_tokens, pack
from dissensus.models.registry import ARCHITECTURES as REGISTERED
from dissensus.models.scoring import ScoringModel
from dissensus.train.methods import apply_method
from tiny import ARCHITECTURES, HEADS, HIDDEN, INTERMEDIATE, LAYERS, POSITIONS, make_tiny, make_tokenizer

PACKING = [arch for arch in ARCHITECTURES if arch != "deberta-v2"]
METHODS = {
    "full": MethodSpec(name="full", learning_rate=1e-3),
    "lora": MethodSpec(name="lora", rank=4, learning_rate=1e-3),
    "ia3": MethodSpec(name="ia3", learning_rate=1e-3),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("packing")
    return {arch: make_tiny(arch, root / arch) for arch in ARCHITECTURES}


RELATIVES = {"electra": "bert", "mistral": "llama", "qwen3": "llama"}
"""Model types that the registry says can be packed, and the tiny one whose tokenizer they take."""


def make_relative(model_type: str, folder: Path) -> Path:
    tokenizer = make_tokenizer(RELATIVES[model_type])
    config = AutoConfig.for_model(
        model_type,
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=2,
        head_dim=HIDDEN // HEADS,
        intermediate_size=INTERMEDIATE,
        embedding_size=HIDDEN // 2,
        max_position_embeddings=POSITIONS,
        pad_token_id=tokenizer.pad_token_id,
    )
    auto: Any = AutoModelForMaskedLM if model_type == "electra" else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = auto.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(5.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("model_type", RELATIVES)
def test_relatives_of_the_tiny_models_pack_too(
    model_type: str, tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    model = loaded(make_relative(model_type, tmp_path), tiny_dataset, "lora")
    assert model.packs
    encoded = model.encode(tiny_dataset)
    packed, padded = (
        logits_and_gradients(model, encoded, [1, 4, 9, 20], packs=packs, stream=5) for packs in (True, False)
    )
    torch.testing.assert_close(packed[0], padded[0], atol=1e-10, rtol=0)
    for name, gradient in padded[1].items():
        torch.testing.assert_close(packed[1][name], gradient, atol=1e-10, rtol=1e-9)
    model.module.eval()
    with torch.no_grad():
        batch = encoded.batch([3], model.pad_id)
        torch.testing.assert_close(model.logits(batch), model.module(**batch).logits, atol=1e-9, rtol=0)


def test_every_model_type_that_is_packed_is_tested() -> None:
    packed = {name for name, architecture in REGISTERED.items() if architecture.packs}
    assert packed == {*PACKING, *RELATIVES}


def loaded(
    folder: Path, dataset: AnnotatedDataset, method: str, *, head: str = "classifier", dropout: float = 0.1
) -> ScoringModel:
    """A model in float64, with dropout everywhere and adapters that do something."""
    spec = ModelSpec(name=str(folder), head=head, max_length=96, label_words=("yes", "maybe", "no"))
    model = load_scoring_model(spec, dataset.labels, dataset.fields, head_seed=1)
    config: Any = model.module.config
    for key in ("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop"):
        if hasattr(config, key):
            setattr(config, key, dropout)
    for module in model.module.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = dropout
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    apply_method(model, METHODS[method], adapter_seed=2)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        for name, parameter in model.module.named_parameters():
            if "lora_B" in name or "ia3_l" in name:  # fresh adapters change nothing; these do
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.module.double()
    return model


def logits_and_gradients(
    model: ScoringModel, encoded: Encoded, rows: list[int], *, packs: bool, stream: int | None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.packs = packs
    torch.manual_seed(0)
    order, logits = model.score_rows(encoded, rows, stream=stream)
    back = np.argsort(order)
    assert np.sort(order).tolist() == sorted(rows)
    in_order = logits[torch.from_numpy(back)]
    (in_order * torch.arange(1.0, in_order.numel() + 1).view_as(in_order).sin()).sum().backward()
    named = {n: p.grad.clone() for n, p in model.module.named_parameters() if p.grad is not None}
    model.module.zero_grad(set_to_none=True)
    return in_order.detach(), named


@pytest.mark.parametrize("within", ["by run", "one rectangle"])
@pytest.mark.parametrize("train", [False, True], ids=["eval", "dropout"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("arch", PACKING)
def test_a_packed_row_is_the_padded_batch(
    arch: str,
    method: str,
    train: bool,
    within: str,
    folders: dict[str, Path],
    tiny_dataset: AnnotatedDataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if within == "one rectangle":  # what a GPU does
        monkeypatch.setattr(attention, "attention_by_run", attention.attention_in_one_rectangle)
    model = loaded(folders[arch], tiny_dataset, method)
    assert model.packs
    encoded = model.encode(tiny_dataset)
    rows = [5, 0, 17, 3, 11, 22, 8, 14]
    assert len(set(encoded.lengths[rows].tolist())) > 3
    model.module.train(train)
    stream = 77 if train else None
    packed, packed_grads = logits_and_gradients(model, encoded, rows, packs=True, stream=stream)
    padded, padded_grads = logits_and_gradients(model, encoded, rows, packs=False, stream=stream)
    torch.testing.assert_close(packed, padded, atol=1e-10, rtol=0)
    assert packed_grads.keys() == padded_grads.keys()
    for name, gradient in padded_grads.items():
        torch.testing.assert_close(packed_grads[name], gradient, atol=1e-10, rtol=1e-9)
    if train:  # dropout did something, and depends on the stream
        other, _ = logits_and_gradients(model, encoded, rows, packs=True, stream=78)
        assert (other - packed).abs().max() > 1e-3


@pytest.mark.parametrize("arch", ["gpt2", "llama", "qwen2"])
def test_a_packed_verbalizer_is_the_padded_one(
    arch: str, folders: dict[str, Path], tiny_dataset: AnnotatedDataset
) -> None:
    model = loaded(folders[arch], tiny_dataset, "lora", head="verbalizer")
    encoded = model.encode(tiny_dataset)
    results = [
        logits_and_gradients(model, encoded, [1, 4, 9, 20], packs=packs, stream=5) for packs in (True, False)
    ]
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-10, rtol=0)
    for name, gradient in results[1][1].items():
        torch.testing.assert_close(results[0][1][name], gradient, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_padded_logits_are_those_of_transformers(
    arch: str, folders: dict[str, Path], tiny_dataset: AnnotatedDataset
) -> None:
    """The attention that is plugged in, against the one that the model came with, one example at a time."""
    model = loaded(folders[arch], tiny_dataset, "full")
    encoded = model.encode(tiny_dataset)
    model.module.eval()
    with torch.no_grad():
        for row in (0, 7, 16):
            batch = encoded.batch([row], model.pad_id)
            own = model.logits(batch)
            theirs = model.module(**batch).logits
            torch.testing.assert_close(own, theirs, atol=1e-9, rtol=0)


def test_a_mean_over_tokens_is_pooled_within_each_example(
    folders: dict[str, Path], tiny_dataset: AnnotatedDataset
) -> None:
    results = []
    for packs in (True, False):
        model = loaded(folders["modernbert"], tiny_dataset, "full")
        model.module.config.classifier_pooling = "mean"
        results.append(
            logits_and_gradients(model, model.encode(tiny_dataset), [2, 6, 13], packs=packs, stream=9)
        )
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-10, rtol=0)
    cls = loaded(folders["modernbert"], tiny_dataset, "full")
    by_cls, _ = logits_and_gradients(cls, cls.encode(tiny_dataset), [2, 6, 13], packs=True, stream=9)
    assert (by_cls - results[0][0]).abs().max() > 1e-3


@given(st.lists(st.integers(1, 12), min_size=1, max_size=30), st.integers(1, 40))
def test_packing_keeps_every_token_in_its_place(lengths: list[int], budget: int) -> None:
    tokens = tuple(tuple(100 * row + place for place in range(n)) for row, n in enumerate(lengths))
    encoded = Encoded(tuple(map(str, range(len(lengths)))), tokens, tokens, 0)
    batches = batches_by_tokens(encoded.lengths, budget)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for rows in batches:
        batch = pack(encoded, rows)
        assert len(rows) == 1 or int(batch.lengths.sum()) <= budget
        begin = 0
        for row, n in zip(batch.rows.tolist(), batch.lengths.tolist(), strict=True):
            assert tuple(batch.input_ids[0, begin : begin + n].tolist()) == tokens[row]
            assert batch.position_ids[0, begin : begin + n].tolist() == list(range(n))
            begin += n
        assert batch.input_ids[0, batch.first].tolist() == [100 * r for r in batch.rows.tolist()]
        assert batch.input_ids[0, batch.last].tolist() == [tokens[r][-1] for r in batch.rows.tolist()]
        assert sum(run.tokens for run in batch.layout.runs) == begin
        assert len({run.length for run in batch.layout.runs}) == len(batch.layout.runs)
        assert batch.token_type_ids is not None
        assert torch.equal(batch.token_type_ids, batch.input_ids)
