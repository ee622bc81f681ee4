"""The tiny models behave like the published ones in what a loader relies on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tiny import ARCHITECTURES, DECODERS, make_tiny


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_tiny_model_loads_and_tells_texts_apart(arch: str, tmp_path: Path) -> None:
    make_tiny(arch, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    if tokenizer.pad_token is None:
        assert arch == "gpt2"
        tokenizer.pad_token = tokenizer.eos_token
    batch = tokenizer(
        ["the dog runs", "a heavy box"], ["no apples", "it is zürich"], padding=True, return_tensors="pt"
    )
    assert batch["input_ids"].shape[0] == 2
    # Every word of WORDS is one token; only "zürich" is spelt out.
    assert tokenizer.tokenize("the dog") == tokenizer.tokenize("the") + tokenizer.tokenize(" dog")
    assert len(tokenizer.tokenize("the dog")) == 2

    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3).eval()
    assert model.config.model_type == arch
    assert model.config.num_hidden_layers == 2
    assert model.config.hidden_size == 32
    model.config.pad_token_id = tokenizer.pad_token_id
    with torch.no_grad():
        logits = model(**batch).logits
    assert logits.shape == (2, 3)
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize("arch", DECODERS)
def test_tiny_decoders_have_weights_for_language_modelling(arch: str, tmp_path: Path) -> None:
    make_tiny(arch, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = AutoTokenizer.from_pretrained(tmp_path)("the dog is near", return_tensors="pt")["input_ids"]
    assert model(ids).logits.shape == (1, ids.shape[1], model.config.vocab_size)


def test_one_seed_makes_the_same_files_and_leaves_the_random_stream_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, second, other = (
        make_tiny("bert", tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (first, second, other)]
    assert weights[0] == weights[1] != weights[2]
    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()
