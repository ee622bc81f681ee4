"""Models with random weights and examples with random tokens, from a configuration alone: nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from dissensus.config import MethodSpec
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.models.encoding import Encoded
from dissensus.models.registry import ARCHITECTURES
from dissensus.models.scoring import ScoringModel
from dissensus.train.methods import apply_method

LABELS = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class ModelSize:
    """Numbers of a configuration.

    Attributes:
        layers: blocks.
        width: of the states.
        feedforward: of the middle of a feed-forward block.
        heads: of attention.
        vocabulary: tokens.
    """

    layers: int
    width: int
    feedforward: int
    heads: int
    vocabulary: int


TOY = ModelSize(2, 32, 64, 4, 200)
SMALL = ModelSize(4, 256, 1024, 8, 8_000)
BERT_BASE = ModelSize(12, 768, 3072, 12, 30_522)


def random_model(
    architecture: str, size: ModelSize, method: MethodSpec, *, device: torch.device, seed: int = 0
) -> ScoringModel:
    """A sequence classifier of three labels, made trainable; its adapters have something in them.

    Args:
        architecture: 'bert' or 'llama'.
        size: of the model.
        method: what trains.
        device: where it computes.
        seed: of head and adapters; the body is the same for every seed.
    """
    settings = {
        "vocab_size": size.vocabulary, "hidden_size": size.width, "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads, "intermediate_size": size.feedforward, "max_position_embeddings": 256,
        "num_labels": len(LABELS), "pad_token_id": 0,
    }  # fmt: skip
    config = transformers.AutoConfig.for_model(architecture, **settings)
    head = "score" if ARCHITECTURES[architecture].kind == "decoder" else "classifier"
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module = transformers.AutoModelForSequenceClassification.from_config(config)
        # As published models are initialised, random answers would hardly differ between examples.
        for parameter in module.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(2.0)
        torch.manual_seed(seed)
        module.get_submodule(head).weight.normal_(std=0.1)
    model = ScoringModel(
        module=module, tokenizer=None, kind=ARCHITECTURES[architecture].kind, head="classifier", fresh=(head,),
        pad_id=0, template=None, max_length=256, answer_ids=None, fingerprint="random", origin="random weights",
        note="", packs=True,
    )  # fmt: skip
    apply_method(model, method, adapter_seed=seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed + 1)
        for name, parameter in model.module.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    model.module.to(device)
    return model


def random_examples(n: int, vocabulary: int, *, seed: int = 0) -> tuple[Encoded, NDArray[np.int64]]:
    """Token ids as long as ChaosNLI's pairs are (12 to 60, half of them below 27), and gold labels, shape (n,)."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(3.3, 0.3, n), 12, 60).astype(int)
    ids = tuple(tuple(rng.integers(1, vocabulary, length).tolist()) for length in lengths)
    encoded = Encoded(tuple(f"e{i}" for i in range(n)), ids, None, 0)
    return encoded, rng.integers(0, len(LABELS), n)


def annotated(encoded: Encoded, gold: NDArray[np.int64]) -> AnnotatedDataset:
    """A data set with those ids and labels, for a recorder; its texts are not what is read."""
    votes = np.random.default_rng(1).multinomial(100, [1 / 3] * 3, len(encoded)).astype(float)
    examples = tuple(
        Example(id=name, text={"text": name}, gold=int(label), counts=tuple(row))
        for name, label, row in zip(encoded.ids, gold, votes.tolist(), strict=True)
    )
    return AnnotatedDataset("random", LABELS, examples)
