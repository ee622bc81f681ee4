"""The completions probe against a one-by-one computation with nothing but the model's own loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

from dissensus import CurveRecorder, aulc, load_curves
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, ModelError, SpecError
from dissensus.record.probes.completions import CompletionProbe
from dissensus.record.probes.scored_tokens import ScoredTokens
from dissensus.record.probes.sequences import IGNORED, common_beginning
from dissensus.record.tracking import tracking_pass
from dissensus.store import load_token_losses
from tiny import make_tiny

WORDS = {"entailment": " yes", "neutral": " maybe or not", "contradiction": " no"}
PROMPT = "premise {premise} question {hypothesis} answer"


@pytest.fixture(params=["llama", "gpt2", "qwen2"])
def causal(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Any]:
    folder = make_tiny(request.param, tmp_path / "model")
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def probe_of(dataset: AnnotatedDataset, tokenizer: Any, **options: Any) -> CompletionProbe:
    return CompletionProbe.from_texts(
        dataset,
        tokenizer,
        prompt=PROMPT,
        completion=lambda e: WORDS[dataset.labels[e.gold]],
        **options,
    )


def one_by_one(model: Any, tokenizer: Any, prompt: str, completion: str) -> np.ndarray:
    """-log p of each token after the prompt, from a whole forward pass of that text alone, in float64."""
    ids = tokenizer(prompt + completion + tokenizer.eos_token)["input_ids"]
    begin = common_beginning(tokenizer(prompt)["input_ids"], ids)
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    log_probs = torch.log_softmax(logits, dim=-1)
    return np.array([-float(log_probs[at - 1, ids[at]]) for at in range(begin, len(ids))])


def texts(dataset: AnnotatedDataset) -> list[tuple[str, str]]:
    return [(PROMPT.format(**e.text), WORDS[dataset.labels[e.gold]]) for e in dataset if e.gold is not None]


def test_losses_are_those_of_each_text_by_itself(
    causal: tuple[Any, Any], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    model, tokenizer = causal
    probe = probe_of(tiny_dataset, tokenizer, token_losses=True)
    recorder = CurveRecorder(tmp_path / "run", probe, total_steps=1, token_budget=200)
    model.train()
    recorder.step(model, 0)
    recorder.step(model, 1)
    recorder.finish()
    curves = load_curves(tmp_path / "run")
    tokens = load_token_losses(tmp_path / "run", 1)
    for row, (prompt, completion) in enumerate(texts(tiny_dataset)):
        expected = one_by_one(model, tokenizer, prompt, completion)
        assert curves.losses[row] == pytest.approx([expected.sum()] * 2, rel=1e-5)
        np.testing.assert_allclose(tokens[curves.ids[row]], expected, rtol=1e-4, atol=1e-5)
        assert curves.covariates["completion_tokens"][row] == len(expected)
    # Other labels were not scored, and that is undefined rather than anything else.
    other = np.delete(curves.log_probs[0, 0], curves.gold[0])
    assert np.isnan(other).all()
    divided = curves.counts[np.arange(24), curves.gold] < curves.counts.sum(axis=1)
    assert np.isnan(curves.soft_losses).all(axis=1).tolist() == divided.tolist()
    np.testing.assert_allclose(aulc(curves), curves.losses.mean(axis=1))
    count = curves.covariates["completion_tokens"]
    np.testing.assert_allclose(aulc(curves.per_token()) * count, aulc(curves), rtol=1e-5)


def test_the_loss_is_the_models_own(causal: tuple[Any, Any], tiny_dataset: AnnotatedDataset) -> None:
    """transformers' loss of one row is the mean over its scored tokens."""
    model, tokenizer = causal
    probe = probe_of(tiny_dataset, tokenizer)
    found = tracking_pass(model, probe.tracked(300), probe.rows)[:, 0]
    rows = probe._sequences
    model.eval()
    for row in (0, 7, 23):
        with torch.no_grad():
            loss = model(
                input_ids=torch.tensor([rows.input_ids[row]]), labels=torch.tensor([rows.labels[row]])
            ).loss
        assert -found[row] / rows.scored[row] == pytest.approx(float(loss), rel=1e-5)


def test_body_and_head_apart_give_what_the_whole_gives(
    causal: tuple[Any, Any], tiny_dataset: AnnotatedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = causal
    probe = probe_of(tiny_dataset, tokenizer)
    tracked = probe.tracked(300)
    assert isinstance(tracked, ScoredTokens)
    lean = tracking_pass(model, tracked, probe.rows)
    assert tracked.way == "body and head apart"
    monkeypatch.setattr("dissensus.record.probes.scored_tokens.LOGITS", 1000)  # a few positions at a time
    np.testing.assert_allclose(tracking_pass(model, tracked, probe.rows), lean, rtol=1e-6)
    tracked._plain = True
    np.testing.assert_allclose(tracking_pass(model, tracked, probe.rows), lean, rtol=1e-5)


def test_scaled_logits_are_noticed(causal: tuple[Any, Any], tiny_dataset: AnnotatedDataset) -> None:
    model, tokenizer = causal
    plain = type(model).forward

    class Scaled(type(model)):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            out = plain(self, *args, **kwargs)
            out.logits = out.logits * 0.5
            return out

    model.__class__ = Scaled
    probe = probe_of(tiny_dataset, tokenizer)
    tracked = probe.tracked(300)
    found = tracking_pass(model, tracked, probe.rows)
    assert tracked.way == "whole: Scaled is no class of transformers' own"
    prompt, completion = texts(tiny_dataset)[3]
    assert -found[3, 0] == pytest.approx(one_by_one(model, tokenizer, prompt, completion).sum(), rel=1e-5)


def test_adapters_and_prompt_tuning(causal: tuple[Any, Any], tiny_dataset: AnnotatedDataset) -> None:
    model, tokenizer = causal
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=4,
        target_modules="all-linear",
        init_lora_weights=False,
        fan_in_fan_out=model.config.model_type == "gpt2",
    )
    adapted = get_peft_model(model, config)
    probe = probe_of(tiny_dataset, tokenizer)
    found = tracking_pass(adapted, probe.tracked(300), probe.rows)[:, 0]
    for row, (prompt, completion) in list(enumerate(texts(tiny_dataset)))[::5]:
        assert -found[row] == pytest.approx(
            one_by_one(adapted, tokenizer, prompt, completion).sum(), rel=1e-5
        )
    tuned = get_peft_model(adapted.unload(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    found = tracking_pass(tuned, probe.tracked(300), probe.rows)[:, 0]
    rows = probe._sequences
    for row in (0, 11):
        with torch.no_grad():
            loss = tuned(
                input_ids=torch.tensor([rows.input_ids[row]]),
                attention_mask=torch.ones((1, len(rows.input_ids[row])), dtype=torch.long),
                labels=torch.tensor([rows.labels[row]]),
            ).loss
        assert -found[row] / rows.scored[row] == pytest.approx(float(loss), rel=1e-4)


def test_all_labels_give_soft_losses_and_margins(
    causal: tuple[Any, Any], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    model, tokenizer = causal
    probe = CompletionProbe.over_labels(tiny_dataset, tokenizer, prompt=PROMPT, words=WORDS)
    recorder = CurveRecorder(tmp_path / "run", probe, total_steps=1)
    recorder.step(model, 0)
    recorder.step(model, 1)
    recorder.finish()
    curves = load_curves(tmp_path / "run")
    for row in (0, 9):
        prompt = PROMPT.format(**tiny_dataset.examples[row].text)
        for label, name in enumerate(tiny_dataset.labels):
            expected = one_by_one(model, tokenizer, prompt, WORDS[name]).sum()
            assert -curves.log_probs[row, 0, label] == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(curves.soft_losses).all()
    # Another label's completion has a length of its own, so a loss a token is the gold one's alone.
    assert np.isfinite(curves.per_token().log_probs).sum(axis=2).tolist() == [[1, 1]] * 24
    with pytest.raises(DataError, match="expected one for each"):
        CompletionProbe.over_labels(tiny_dataset, tokenizer, prompt=PROMPT, words={"entailment": " yes"})


def test_truncation_keeps_the_end_that_is_asked_for(
    causal: tuple[Any, Any], tiny_dataset: AnnotatedDataset
) -> None:
    _, tokenizer = causal
    whole = probe_of(tiny_dataset, tokenizer)._sequences
    short = int(whole.lengths.min()) - 1
    end = probe_of(tiny_dataset, tokenizer, max_length=short, truncation="keep_end")
    assert end.facts["truncated_examples"] == 24
    assert all(a == b[-short:] for a, b in zip(end._sequences.labels, whole.labels, strict=True))
    with pytest.raises(DataError, match=r"have no token to score, e\.g\. 'tiny-"):
        probe_of(tiny_dataset, tokenizer, max_length=5)
    with pytest.raises(SpecError, match="'keep_start' or 'keep_end'"):
        probe_of(tiny_dataset, tokenizer, truncation="middle")


def test_rows_of_a_trainer_are_joined_by_id(causal: tuple[Any, Any], tiny_dataset: AnnotatedDataset) -> None:
    _, tokenizer = causal
    made = probe_of(tiny_dataset, tokenizer)
    rows = [
        {"id": i, "input_ids": list(ids), "labels": list(labels)}
        for i, ids, labels in zip(
            tiny_dataset.ids, made._sequences.input_ids, made._sequences.labels, strict=True
        )
    ]
    shuffled = [rows[i] for i in np.random.default_rng(0).permutation(24)] + [{**rows[0], "id": "another"}]
    found = CompletionProbe.from_tokens(tiny_dataset, shuffled)
    assert found._sequences.labels == made._sequences.labels
    masked = [
        {
            "id": r["id"],
            "input_ids": r["input_ids"],
            "completion_mask": [int(t != IGNORED) for t in r["labels"]],
        }
        for r in rows
    ]
    assert CompletionProbe.from_tokens(tiny_dataset, masked)._sequences.labels == made._sequences.labels
    with pytest.raises(DataError, match=r"1 tracked example.* not among the rows, e\.g\. 'tiny-05'"):
        CompletionProbe.from_tokens(tiny_dataset, [r for r in rows if r["id"] != "tiny-05"])
    with pytest.raises(DataError, match="comes twice"):
        CompletionProbe.from_tokens(tiny_dataset, [*rows, rows[3]])
    with pytest.raises(DataError, match="row 0 has no 'id'; it has: input_ids, labels"):
        CompletionProbe.from_tokens(tiny_dataset, [{k: v for k, v in r.items() if k != "id"} for r in rows])


def test_encoder_decoder_models(tiny_dataset: AnnotatedDataset, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(make_tiny("llama", tmp_path / "model"))
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        decoder_start_token_id=0, pad_token_id=tokenizer.pad_token_id or 0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    probe = probe_of(tiny_dataset, tokenizer, encoder_decoder=True, token_losses=True)
    found = tracking_pass(model, probe.tracked(300), probe.rows)[:, 0]
    model.eval()
    for row in (0, 1, 13):
        source, target = probe._sequences.input_ids[row], probe._sequences.labels[row]
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([source]), labels=torch.tensor([target])).loss
        assert -found[row] / len(target) == pytest.approx(float(loss), rel=1e-5)
    other = probe_of(tiny_dataset, tokenizer)
    with pytest.raises(ModelError, match="pass encoder_decoder=True"):
        tracking_pass(model, other.tracked(300), other.rows)


def test_a_forward_pass_without_logits_is_refused(
    causal: tuple[Any, Any], tiny_dataset: AnnotatedDataset
) -> None:
    model, tokenizer = causal

    class Fused(type(model)):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            out = super().forward(*args, **kwargs)
            out.logits = None
            return out

    model.__class__ = Fused
    probe = probe_of(tiny_dataset, tokenizer)
    with pytest.raises(ModelError, match="gives no logits: a fused loss kernel"):
        tracking_pass(model, probe.tracked(300), probe.rows)


def test_a_probe_brings_its_own_tokens(
    causal: tuple[Any, Any], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    _, tokenizer = causal
    with pytest.raises(SpecError, match="a probe brings its tokens"):
        CurveRecorder(tmp_path, probe_of(tiny_dataset, tokenizer), total_steps=1, tokenizer=tokenizer)
