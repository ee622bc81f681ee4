"""Adapter targets on the built-in models' published configurations; operations as the benchmark counts them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from benchmarks.flops import Costs, computed
from dissensus.config import MethodSpec
from dissensus.models.registry import BUILTIN
from dissensus.models.scoring import ScoringModel
from dissensus.train.methods import peft_config

# What each published config.json says, where it differs from the defaults of transformers.
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "minilm-l6": (
        "bert",
        {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12},
    ),
    "smollm2-135m": (
        "llama",
        {
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "tie_word_embeddings": True,
        },
    ),
    "bert-base": ("bert", {}),
    "distilbert-base": ("distilbert", {}),
    "roberta-base": ("roberta", {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}),
    "deberta-v3-base": (
        "deberta-v2",
        {
            "vocab_size": 128100,
            "num_hidden_layers": 12,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 256,
            "pos_att_type": "p2c|c2p",
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
        },
    ),
    "modernbert-base": ("modernbert", {}),
    "gpt2": ("gpt2", {}),
    "qwen2.5-0.5b": (
        "qwen2",
        {
            "vocab_size": 151936,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
    ),
    "qwen2.5-1.5b": (
        "qwen2",
        {
            "vocab_size": 151936,
            "hidden_size": 1536,
            "intermediate_size": 8960,
            "num_hidden_layers": 28,
            "num_attention_heads": 12,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
    ),
    "qwen2.5-3b": (
        "qwen2",
        {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        },
    ),
}


def on_meta(name: str, auto: Any = transformers.AutoModel) -> Any:
    model_type, settings = CONFIGS[name]
    with torch.device("meta"):
        return auto.from_config(transformers.AutoConfig.for_model(model_type, num_labels=3, **settings))


def test_every_built_in_model_is_here() -> None:
    assert set(CONFIGS) == set(BUILTIN)


def adapted_on_meta(name: str, method: MethodSpec) -> Any:
    import peft

    module = on_meta(name, transformers.AutoModelForSequenceClassification)
    model = ScoringModel(
        module=module,
        tokenizer=None,
        kind=BUILTIN[name].kind,
        head="classifier",
        fresh=(),
        pad_id=0,
        template=None,
        max_length=64,
        answer_ids=None,
        fingerprint="",
        origin="",
        note="",
        packs=False,
    )
    config = peft_config(model, method, peft)
    with torch.device("meta"):
        return peft.get_peft_model(module, config)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_adapters_reach_every_layer(name: str, method: str) -> None:
    rank = {"rank": 8} if method == "lora" else {}
    adapted = adapted_on_meta(name, MethodSpec(name=method, learning_rate=1e-3, **rank))
    layers = [re.search(r"\.(\d+)\.", n) for n, _ in adapted.named_parameters() if f".{method}_" in n]
    # The same adapters in each: what is in one layer is in all.
    counted = Counter(int(layer[1]) for layer in layers if layer is not None)
    assert set(counted) == set(range(adapted.get_base_model().config.num_hidden_layers))
    assert len(set(counted.values())) == 1
    assert None not in layers


HEADS = {"roberta-base": 592_899, "distilbert-base": 592_899, "bert-base": 2_307, "deberta-v3-base": 2_307}
HEADS |= {"qwen2.5-1.5b": 4_608, "qwen2.5-3b": 6_144}
"""Weights of what is named `classifier` (its end: `pre_classifier` too), or `score`, for three labels."""


@pytest.mark.parametrize(
    ("name", "of_4", "of_16"),
    [
        ("roberta-base", 740_355, 1_182_723),
        ("bert-base", 149_763, 592_131),
        ("distilbert-base", 666_627, 887_811),
        ("deberta-v3-base", 149_763, 592_131),
        ("qwen2.5-1.5b", 544_768 + 4_608, 2_179_072 + 4_608),
        ("qwen2.5-3b", 921_600 + 6_144, 3_686_400 + 6_144),
    ],
)
def test_as_many_weights_are_trained_as_in_the_paper(name: str, of_4: int, of_16: int) -> None:
    """Query and value projections, and the head by its name: the counts of arXiv 2604.16332's public code."""
    head = "score" if name.startswith("qwen") else "classifier"
    for rank, expected in ((4, of_4), (16, of_16)):
        method = MethodSpec(name="lora", rank=rank, learning_rate=2e-5, also_train=(head,))
        trained = {
            n: p.numel() for n, p in adapted_on_meta(name, method).named_parameters() if p.requires_grad
        }
        assert sum(k for n, k in trained.items() if "lora_" not in n) == HEADS[name]
        assert sum(trained.values()) == expected


def test_ia3_has_the_papers_scales() -> None:
    """RoBERTa: 768 outputs of query and value, 768 inputs of intermediate.dense, in 12 layers."""
    method = MethodSpec(
        name="ia3",
        learning_rate=2e-5,
        targets=("query", "value", "intermediate.dense"),
        feedforward=("intermediate.dense",),
        also_train=("classifier",),
    )
    adapted = adapted_on_meta("roberta-base", method)
    trained = {n: p.numel() for n, p in adapted.named_parameters() if p.requires_grad}
    assert sum(k for n, k in trained.items() if "ia3_l" in n) == 27_648
    assert sum(trained.values()) == 27_648 + 592_899


def test_torch_counts_the_benchmark_s_operations() -> None:
    # Four examples of 32 tokens, no padding. Beside the body torch counts the pooler: 4 x 2 d d.
    module = on_meta("minilm-l6")
    ids = torch.zeros((4, 32), dtype=torch.long, device="meta")
    module.eval()
    with torch.no_grad():
        counted = computed(lambda: module(input_ids=ids))
    ours = Costs.of(module).forward(np.full(4, 32, dtype=np.int64)) + 4 * 2 * module.config.hidden_size**2
    assert counted == pytest.approx(ours, rel=0.01)
