"""Published sizes of the built-in models, held against transformers' configurations and the benchmark's counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from benchmarks.flops import Costs, computed
from dissensus.config import MethodSpec
from dissensus.models.registry import BUILTIN
from dissensus.models.scoring import ScoringModel
from dissensus.models.shapes import Shape
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
}


def shape_of(name: str) -> Shape:
    shape = BUILTIN[name].shape
    assert shape is not None
    return shape


def on_meta(name: str, auto: Any = transformers.AutoModel) -> Any:
    model_type, settings = CONFIGS[name]
    with torch.device("meta"):
        return auto.from_config(transformers.AutoConfig.for_model(model_type, num_labels=3, **settings))


def test_every_built_in_model_has_one() -> None:
    assert set(CONFIGS) == set(BUILTIN)
    assert all(card.shape for card in BUILTIN.values())


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_and_operations_are_the_model_s(name: str) -> None:
    module, shape = on_meta(name), shape_of(name)
    costs = Costs.of(module)
    assert shape.parameters == sum(p.numel() for p in module.parameters())
    assert shape.vocabulary == module.config.vocab_size
    assert (shape.layers, shape.hidden) == (costs.layers, costs.width)
    assert shape.linear_weights == sum(n * rows * columns for (rows, columns), n in costs.shapes.items())
    # 10 examples of 30 tokens.
    lengths = np.full(10, 30, dtype=np.int64)
    assert 300 * shape.forward_operations(30) == pytest.approx(costs.forward(lengths))
    assert 300 * shape.step_operations(30, full=True) == pytest.approx(costs.step(lengths, full=True))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_adapters_are_those_that_peft_adds(name: str, method: str) -> None:
    import peft

    module, shape = on_meta(name, transformers.AutoModelForSequenceClassification), shape_of(name)
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
    rank = {"rank": 8} if method == "lora" else {}
    config = peft_config(model, MethodSpec(name=method, learning_rate=1e-3, **rank), peft)
    with torch.device("meta"):
        adapted = peft.get_peft_model(module, config)
    weights = sum(p.numel() for n, p in adapted.named_parameters() if f".{method}_" in n)
    assert weights == (shape.lora_weights(8) if method == "lora" else shape.ia3_weights)
    if method == "lora":
        lengths = np.full(10, 30, dtype=np.int64)
        ours = 300 * shape.step_operations(30, full=False, adapter_weights=weights)
        assert ours == pytest.approx(Costs.of(adapted).step(lengths, full=False))


def test_torch_counts_the_same_operations() -> None:
    # Four examples of 32 tokens, no padding. Beside the body torch counts the pooler: 4 x 2 d d.
    module, shape = on_meta("minilm-l6"), shape_of("minilm-l6")
    ids = torch.zeros((4, 32), dtype=torch.long, device="meta")
    module.eval()
    with torch.no_grad():
        counted = computed(lambda: module(input_ids=ids))
    ours = 4 * 32 * shape.forward_operations(32) + 4 * 2 * shape.hidden**2
    assert counted == pytest.approx(ours, rel=0.01)
