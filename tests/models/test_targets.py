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


def on_meta(name: str, auto: Any = transformers.AutoModel) -> Any:
    model_type, settings = CONFIGS[name]
    with torch.device("meta"):
        return auto.from_config(transformers.AutoConfig.for_model(model_type, num_labels=3, **settings))


def test_every_built_in_model_is_here() -> None:
    assert set(CONFIGS) == set(BUILTIN)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_adapters_reach_every_layer(name: str, method: str) -> None:
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
    rank = {"rank": 8} if method == "lora" else {}
    config = peft_config(model, MethodSpec(name=method, learning_rate=1e-3, **rank), peft)
    with torch.device("meta"):
        adapted = peft.get_peft_model(module, config)
    layers = [re.search(r"\.(\d+)\.", n) for n, _ in adapted.named_parameters() if f".{method}_" in n]
    # The same adapters in each: what is in one layer is in all.
    counted = Counter(int(layer[1]) for layer in layers if layer is not None)
    assert set(counted) == set(range(module.config.num_hidden_layers))
    assert len(set(counted.values())) == 1
    assert None not in layers


def test_torch_counts_the_benchmark_s_operations() -> None:
    # Four examples of 32 tokens, no padding. Beside the body torch counts the pooler: 4 x 2 d d.
    module = on_meta("minilm-l6")
    ids = torch.zeros((4, 32), dtype=torch.long, device="meta")
    module.eval()
    with torch.no_grad():
        counted = computed(lambda: module(input_ids=ids))
    ours = Costs.of(module).forward(np.full(4, 32, dtype=np.int64)) + 4 * 2 * module.config.hidden_size**2
    assert counted == pytest.approx(ours, rel=0.01)
