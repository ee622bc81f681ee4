"""Body and head apart only where that is what the model gives, and only language models that read forwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    Gemma2Config,
    Gemma2ForCausalLM,
)

from dissensus import AnnotatedDataset, CurveRecorder, load_curves
from dissensus.errors import DataError, ModelError
from dissensus.record.probes.completions import CompletionProbe
from dissensus.record.probes.preferences import PreferenceProbe
from dissensus.record.probes.scored_tokens import ScoredTokens
from dissensus.record.probes.sequences import IGNORED


def data(n: int = 12) -> AnnotatedDataset:
    rows = [
        {
            "id": str(i),
            "prompt": "a dog runs " * (1 + i % 3),
            "answer": " very warm" * (1 + i % 2),
            "gold": "x",
            "counts": [2, 1],
        }
        for i in range(n)
    ]
    return AnnotatedDataset.from_records(rows, labels=("x", "y"), text=("prompt", "answer"))


def probe_of(tokenizer: Any, **more: Any) -> CompletionProbe:
    return CompletionProbe.from_texts(
        data(), tokenizer, **{"prompt": "{prompt}", "completion": "{answer}", **more}
    )


def alone(model: Any, probe: CompletionProbe) -> np.ndarray:
    model.eval()
    found = []
    for ids, labels in zip(probe._sequences.input_ids, probe._sequences.labels, strict=True):
        with torch.no_grad():
            out = model(input_ids=torch.tensor([ids]))
        logits = out[0] if isinstance(out, tuple) else out.logits
        log_probs = logits[0].double().log_softmax(-1)
        scored = [(at, token) for at, token in enumerate(labels) if at and token != IGNORED]
        found.append(-sum(float(log_probs[at - 1, token]) for at, token in scored))
    return np.array(found)


@pytest.fixture
def tokenizer(tiny_decoder_dir: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_decoder_dir)


def capped(tokenizer: Any) -> Any:
    """Caps at 30 nats, which logits near 0 do not feel."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, intermediate_size=64, pad_token_id=0, tie_word_embeddings=False,
        attn_implementation="eager",
    )  # fmt: skip
    model = Gemma2ForCausalLM(config)
    assert model.config.final_logit_softcapping == 30.0
    with torch.no_grad():
        model.lm_head.weight.mul_(0.01)
    return model


def test_caps_that_only_later_bite(tokenizer: Any, tmp_path: Path) -> None:
    model, probe = capped(tokenizer), probe_of(tokenizer)
    recorder = CurveRecorder(tmp_path, probe, total_steps=1)
    recorder.step(model, 0)
    with torch.no_grad():
        model.lm_head.weight.mul_(3e4)
    recorder.step(model, 1)
    recorder.finish()
    curves = load_curves(tmp_path)
    np.testing.assert_allclose(curves.losses[:, 1], alone(model, probe), rtol=1e-5)
    # Found out at step 0, by states and a head that were perturbed.
    assert list(curves.provenance["read"]) == ["0"]
    assert curves.provenance["read"]["0"].startswith("whole: body and head apart give other numbers")


def test_no_memory_to_compare_is_no_disagreement(
    tiny_decoder_dir: Path,
    tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def apart(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(ScoredTokens, "_apart", apart)
    model, probe = AutoModelForCausalLM.from_pretrained(tiny_decoder_dir), probe_of(tokenizer)
    recorder = CurveRecorder(tmp_path, probe, total_steps=1)
    recorder.step(model, 0)
    recorder.step(model, 1)
    recorder.finish()
    curves = load_curves(tmp_path)
    np.testing.assert_allclose(curves.losses[:, 1], alone(model, probe), rtol=1e-5)
    why = "not enough memory to compare it with the model's own forward pass"
    assert curves.provenance["read"] == {"0": f"whole: {why}"}
    assert caplog.text.count(f"is not taken apart into body and head ({why})") == 1


def test_a_head_of_zeros_shows_what_comes_after_it(tokenizer: Any, tmp_path: Path) -> None:
    model, probe = capped(tokenizer), probe_of(tokenizer)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    recorder = CurveRecorder(tmp_path, probe, total_steps=1)
    recorder.step(model, 0)
    with torch.no_grad():
        model.lm_head.weight.normal_(std=5.0, generator=torch.Generator().manual_seed(0))
    recorder.step(model, 1)
    recorder.finish()
    curves = load_curves(tmp_path)
    np.testing.assert_allclose(curves.losses[:, 1], alone(model, probe), rtol=1e-5)
    assert curves.provenance["read"]["0"].startswith("whole: ")


def test_asking_leaves_nothing_behind(tokenizer: Any, tiny_decoder_dir: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_decoder_dir)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    CurveRecorder(tmp_path, probe_of(tokenizer), total_steps=1).look(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]


def test_outputs_as_tuples(tokenizer: Any, tiny_decoder_dir: Path, tmp_path: Path) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = AutoModelForCausalLM.from_pretrained(tiny_decoder_dir)

        def forward(self, input_ids: Any) -> tuple[torch.Tensor]:
            return (self.inner(input_ids=input_ids).logits,)

    model, probe = Plain(), probe_of(tokenizer)
    found = CurveRecorder(tmp_path, probe, total_steps=1).look(model)
    np.testing.assert_allclose(found, alone(model, probe), rtol=1e-5)


def test_a_model_that_reads_ahead_is_refused(tokenizer: Any, tiny_encoder_dir: Path, tmp_path: Path) -> None:
    words = AutoTokenizer.from_pretrained(tiny_encoder_dir)
    words.eos_token = "[SEP]"
    masked = AutoModelForMaskedLM.from_pretrained(tiny_encoder_dir)
    with pytest.raises(ModelError, match="BertForMaskedLM reads a text in both directions"):
        CurveRecorder(tmp_path / "a", probe_of(words), total_steps=1).step(masked, 0)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        initializer_range=0.2,
    )  # fmt: skip
    both = BertLMHeadModel(config)  # is_decoder is not set, so it attends to everything
    with pytest.raises(ModelError, match="BertLMHeadModel reads a text in both directions"):
        CurveRecorder(tmp_path / "b", probe_of(words), total_steps=1).step(both, 0)
    config.is_decoder = True
    forwards = BertLMHeadModel(config)
    probe = probe_of(words)
    found = CurveRecorder(tmp_path / "c", probe, total_steps=1).look(forwards)
    np.testing.assert_allclose(found, alone(forwards, probe), rtol=1e-5)


def test_a_classifier_writes_no_completions(tokenizer: Any, tiny_decoder_dir: Path, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_decoder_dir, num_labels=2)
    with pytest.raises(ModelError, match=r"is a classifier, which writes no completions\. Track its labels"):
        CurveRecorder(tmp_path, probe_of(tokenizer), total_steps=1).step(model, 0)

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, tokens: Any) -> Any:
            return tokens

    with pytest.raises(ModelError, match=r"Other cannot be called as model\(input_ids="):
        CurveRecorder(tmp_path / "other", probe_of(tokenizer), total_steps=1).step(Other(), 0)


def test_a_completion_without_words_has_no_loss(
    tokenizer: Any, tiny_decoder_dir: Path, tmp_path: Path
) -> None:
    """The end-of-sequence token alone would be scored."""
    model = AutoModelForCausalLM.from_pretrained(tiny_decoder_dir)
    probe = probe_of(tokenizer, completion=lambda e: " " if e.id == "3" else " warm", token_losses=True)
    recorder = CurveRecorder(tmp_path / "run", probe, total_steps=1)
    assert np.flatnonzero(np.isnan(recorder.look(model))).tolist() == [3]
    assert recorder.writer.provenance["empty_examples"] == 1
    with pytest.raises(DataError, match="no completion of 'data' has any words"):
        probe_of(tokenizer, completion="")
    with pytest.raises(DataError, match="completion of the label 'y' is ''"):
        CompletionProbe.over_labels(data(), tokenizer, prompt="{prompt}", words={"x": " yes", "y": ""})
    rows = [
        {"id": "a", "prompt": "a dog", "chosen": " warm", "rejected": ""},
        {"id": "b", "prompt": "a dog", "chosen": " warm", "rejected": " cold"},
    ]
    pairs = PreferenceProbe.from_texts(PreferenceProbe.pairs(rows, votes=None), tokenizer, how="likelihood")
    found = CurveRecorder(tmp_path / "pairs", pairs, total_steps=1).look(model)
    assert np.isnan(found).tolist() == [True, False]


def test_a_reward_model_without_padding_token(tmp_path: Path, tiny_decoder_dir: Path, tokenizer: Any) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(tiny_decoder_dir, num_labels=1)
    rows = [
        {"id": "a", "prompt": "a dog", "chosen": " warm", "rejected": " very very cold"},
        {"id": "b", "prompt": "an old dog runs", "chosen": " warm", "rejected": " cold"},
    ]
    probe = PreferenceProbe.from_texts(PreferenceProbe.pairs(rows, votes=None), tokenizer, how="reward")
    expected = CurveRecorder(tmp_path / "padded", probe, total_steps=1).look(model)
    model.config.pad_token_id = None
    found = CurveRecorder(tmp_path / "alone", probe, total_steps=1).look(model)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
