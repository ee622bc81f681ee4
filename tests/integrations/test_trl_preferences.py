"""Preference pairs under TRL: the rows, the margins and the references are the trainer's own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, set_seed

from dissensus import CurveRecorder, load_curves
from dissensus.errors import SpecError
from dissensus.integrations.transformers import CurveCallback, record
from dissensus.record.probes.completions import CompletionProbe
from dissensus.record.probes.preferences import PreferenceProbe
from dissensus.record.probes.sequences import IGNORED
from tiny import make_tiny

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

pytestmark = [pytest.mark.filterwarnings("default")]  # theirs to settle

TEMPLATE = (
    "{% if tools %}tools {{ tools | length }} {% endif %}"
    "{% for m in messages %}{{ m['role'] }} {{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if loud %}loud {% endif %}{% if add_generation_prompt %}assistant {% endif %}"
)
BETA = 0.25
# In the tiny tokenizer " warm" is one token and " 7" is two: after a prompt that ends in a space, the first answer
# takes the space with it and the second does not.
MERGING = [
    {"id": f"p{i}", "prompt": f"the {word} is ", "chosen": "warm", "rejected": "7 and not warm"}
    for i, word in enumerate(["dog", "red apple", "old bird", "cold water", "big box"])
]


def say(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


TALKS: list[dict[str, Any]] = [
    {
        "id": f"p{i}",
        "prompt": [say("user", f"the {word}")],
        "chosen": [say("assistant", "is very warm")],
        "rejected": [say("assistant", "not"), say("user", "why"), say("assistant", "it was cold")][: 1 + 2 * (i % 2)],
        "tools": '[{"name": "look"}]' if i == 2 else None,
        "chat_template_kwargs": {"loud": i == 1},
    }
    for i, word in enumerate(["dog", "red apple", "old bird", "cold water", "big box"])
]  # fmt: skip
IMPLICIT = [
    {
        "id": row["id"],
        "chosen": row["prompt"] + row["chosen"],
        "rejected": row["prompt"] + row["rejected"],
    }
    for row in TALKS
]
IMPLICIT_TEXTS = [
    {"id": "a", "chosen": "the dog is warm", "rejected": "the dog is very cold"},
    {"id": "b", "chosen": "an old bird sits", "rejected": "an old bird runs and runs"},
]


@pytest.fixture
def tokenizer(tiny_decoder_dir: Path) -> Any:
    found = AutoTokenizer.from_pretrained(tiny_decoder_dir)
    found.chat_template = TEMPLATE
    return found


def options(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "trainer"), "max_steps": 4, "per_device_train_batch_size": 5, "use_cpu": True,
        "per_device_eval_batch_size": 24, "learning_rate": 1e-2, "report_to": "none", "save_strategy": "no",
        "disable_tqdm": True, "bf16": False, **more,
    }  # fmt: skip


def dpo(folder: Path, rows: list[dict[str, Any]], tokenizer: Any, tmp_path: Path, **more: Any) -> Any:
    given = {name: more.pop(name) for name in ("ref_model", "peft_config", "model") if name in more}
    set_seed(0)
    given.setdefault("model", AutoModelForCausalLM.from_pretrained(folder))
    return trl.DPOTrainer(
        args=trl.DPOConfig(**options(tmp_path, beta=BETA, **more)),
        train_dataset=datasets.Dataset.from_list(rows),
        eval_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        **given,
    )


def probe_of(rows: list[dict[str, Any]], tokenizer: Any, **more: Any) -> PreferenceProbe:
    return PreferenceProbe.from_texts(
        PreferenceProbe.pairs(rows, votes=None), tokenizer, **{"how": "dpo", **more}
    )


@pytest.mark.parametrize(
    "rows", [MERGING, TALKS, IMPLICIT, IMPLICIT_TEXTS], ids=["merging", "talks", "implicit", "implicit texts"]
)
def test_rows_are_those_of_the_dpo_trainer(
    rows: list[dict[str, Any]], tiny_decoder_dir: Path, tokenizer: Any, tmp_path: Path
) -> None:
    trainer = dpo(tiny_decoder_dir, rows, tokenizer, tmp_path)
    found = probe_of(rows, tokenizer)._sequences
    prepared = {row["id"]: row for row in trainer.train_dataset}
    for at, row in enumerate(rows):
        own = prepared[row["id"]]
        for side, name in enumerate(("chosen", "rejected")):
            before, answer = own["prompt_ids"], own[f"{name}_ids"]
            assert list(found.input_ids[2 * at + side]) == before + answer
            assert list(found.labels[2 * at + side]) == [IGNORED] * len(before) + answer
    tokens = PreferenceProbe.from_tokens(
        PreferenceProbe.pairs(rows, votes=None), trainer.train_dataset, how="dpo"
    )
    assert tokens._sequences == found


def test_a_token_that_grows_over_the_boundary_is_in_either_answer(tokenizer: Any) -> None:
    """Else 'chosen' would be scored from the space on, and 'rejected' from after it."""
    found = probe_of(MERGING, tokenizer)._sequences
    begin = [next(at for at, token in enumerate(row) if token != IGNORED) for row in found.labels]
    assert begin[0::2] == begin[1::2]
    prompts = [tokenizer(row["prompt"])["input_ids"] for row in MERGING]
    assert [at < len(ids) for at, ids in zip(begin[0::2], prompts, strict=True)] == [True] * 5
    alone = [
        tokenizer(row["prompt"] + row["rejected"])["input_ids"][: len(ids)] == ids
        for row, ids in zip(MERGING, prompts, strict=True)
    ]
    assert all(alone)  # by itself the rejected answer would begin later


@pytest.mark.parametrize("rows", [TALKS, IMPLICIT], ids=["prompt", "implicit"])
def test_rows_are_those_of_the_reward_trainer(
    rows: list[dict[str, Any]], tiny_decoder_dir: Path, tokenizer: Any, tmp_path: Path
) -> None:
    trainer = trl.RewardTrainer(
        model=AutoModelForSequenceClassification.from_pretrained(tiny_decoder_dir, num_labels=1),
        args=trl.RewardConfig(**options(tmp_path)),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    found = probe_of(rows, tokenizer, how="reward")._sequences
    for at, own in enumerate(trainer.train_dataset):
        assert list(found.input_ids[2 * at]) == own["chosen_ids"]
        assert list(found.input_ids[2 * at + 1]) == own["rejected_ids"]


def test_rows_are_those_of_the_sft_trainer(tiny_decoder_dir: Path, tokenizer: Any, tmp_path: Path) -> None:
    rows = [
        {
            **{k: row[k] for k in ("id", "prompt", "tools", "chat_template_kwargs")},
            "completion": row["chosen"],
        }
        for row in TALKS
    ]
    trainer = trl.SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_decoder_dir),
        args=trl.SFTConfig(**options(tmp_path)),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    from dissensus import AnnotatedDataset

    data = AnnotatedDataset.from_records(
        [{**row, "gold": "x", "counts": [1, 0]} for row in rows], labels=["x", "y"], text=["prompt", "completion"]
    )  # fmt: skip
    assert data.examples[0].text == {"prompt": "user: the dog", "completion": "assistant: is very warm"}
    found = CompletionProbe.from_texts(data, tokenizer, prompt="{prompt}", completion="{completion}")
    assert found._sequences == CompletionProbe.from_tokens(data, trainer.train_dataset)._sequences
    plain = [{k: row[k] for k in ("id", "prompt", "completion")} for row in rows]
    bare = AnnotatedDataset.from_records(
        [{**row, "gold": "x", "counts": [1, 0]} for row in plain], labels=["x", "y"], text=["prompt", "completion"]
    )  # fmt: skip
    loud = CompletionProbe.from_texts(
        bare, tokenizer, prompt="{prompt}", completion="{completion}", chat_template_kwargs={"loud": True}
    )
    tooled = CompletionProbe.from_texts(
        bare, tokenizer, prompt="{prompt}", completion="{completion}", tools=[{"name": "look"}]
    )
    assert loud._sequences.input_ids[1] == found._sequences.input_ids[1] != loud._sequences.input_ids[0]
    assert tooled._sequences.input_ids[2] == found._sequences.input_ids[2]


def held(trainer: Any, path: Path, rows: list[dict[str, Any]], **more: Any) -> Any:
    """Record, train, and hold first and last margins against those that the trainer itself reports."""
    first = trainer.evaluate()
    record(trainer, path, lambda t: probe_of(rows, t, **more), points=3)
    trainer.train()
    last = trainer.evaluate()
    curves = load_curves(path)
    margin = curves.values["margin"].astype(np.float64).mean(axis=0)
    assert margin[0] == pytest.approx(first["eval_rewards/margins"], rel=1e-4, abs=1e-5)
    assert margin[-1] == pytest.approx(last["eval_rewards/margins"], rel=1e-4, abs=1e-5)
    assert curves.losses[:, -1].mean() == pytest.approx(last["eval_loss"], rel=1e-4)
    return curves


def test_another_reference_model(tiny_decoder_dir: Path, tokenizer: Any, tmp_path: Path) -> None:
    other = AutoModelForCausalLM.from_pretrained(make_tiny("llama", tmp_path / "other", seed=1))
    trainer = dpo(tiny_decoder_dir, MERGING, tokenizer, tmp_path, ref_model=other)
    curves = held(trainer, tmp_path / "run", MERGING)
    assert np.abs(curves.values["margin"][:, 0]).max() > 0.1  # the model at the start is not the reference
    assert curves.provenance["reference"] == "the trainer's ref_model"
    assert curves.provenance["beta"] == BETA
    # A loop of one's own says it itself.
    probe = probe_of(MERGING, tokenizer, beta=BETA, reference=other)
    recorder = CurveRecorder(tmp_path / "own", probe, total_steps=1)
    recorder.step(AutoModelForCausalLM.from_pretrained(tiny_decoder_dir), 0)
    recorder.flush()
    np.testing.assert_allclose(recorder.writer.read(0, "margin"), curves.values["margin"][:, 0], rtol=1e-5)


def test_a_moving_reference(tiny_decoder_dir: Path, tokenizer: Any, tmp_path: Path) -> None:
    trainer = dpo(
        tiny_decoder_dir, MERGING, tokenizer, tmp_path, sync_ref_model=True, ref_model_sync_steps=3,
        ref_model_mixup_alpha=0.5,
    )  # fmt: skip
    held(trainer, tmp_path / "run", MERGING)


@pytest.mark.parametrize("kind", ["new adapter", "trained adapter", "precomputed"])
def test_references_without_a_model_of_their_own(
    kind: str, tiny_decoder_dir: Path, tokenizer: Any, tmp_path: Path
) -> None:
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"], init_lora_weights=False)
    more: dict[str, Any] = {"precompute_ref_log_probs": True}
    if kind == "new adapter":
        more = {"peft_config": lora}
    elif kind == "trained adapter":
        torch.manual_seed(3)
        more = {"model": get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_decoder_dir), lora)}
    trainer = dpo(tiny_decoder_dir, TALKS, tokenizer, tmp_path, **more)
    curves = held(trainer, tmp_path / "run", TALKS)
    begins_apart = np.abs(curves.values["margin"][:, 0]).max() > 1e-3
    assert begins_apart == (
        kind == "new adapter"
    )  # its weights are not zero, and the reference is without it
    names = {
        "new adapter": "the model without its adapters",
        "trained adapter": "the trainer's adapter 'ref'",
    }
    assert curves.provenance["reference"] == names.get(kind, "the model at the start")


@pytest.mark.parametrize("kind", ["new adapter", "trained adapter"])
def test_training_is_the_same_with_and_without(
    kind: str, tiny_decoder_dir: Path, tokenizer: Any, tmp_path: Path
) -> None:
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"], init_lora_weights=False)
    trainers = []
    for _ in range(2):
        more: dict[str, Any] = {"peft_config": lora}
        if kind == "trained adapter":
            torch.manual_seed(3)
            more = {"model": get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_decoder_dir), lora)}
        trainers.append(dpo(tiny_decoder_dir, TALKS, tokenizer, tmp_path, **more))
    record(trainers[1], tmp_path / "run", lambda t: probe_of(TALKS, t), points=5)
    for trainer in trainers:
        set_seed(1)
        trainer.train()
    plain, recorded = (trainer.model for trainer in trainers)
    for a, b in zip(plain.parameters(), recorded.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.requires_grad == b.requires_grad


def test_the_trainers_truncation(tiny_decoder_dir: Path, tokenizer: Any, tmp_path: Path) -> None:
    trainer = dpo(tiny_decoder_dir, TALKS, tokenizer, tmp_path, max_length=7, truncation_mode="keep_end")
    curves = held(trainer, tmp_path / "run", TALKS)
    assert curves.provenance["truncated_examples"] > 0


def test_another_beta_is_refused_and_another_loss_is_said(
    tiny_decoder_dir: Path, tokenizer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = dpo(tiny_decoder_dir, MERGING, tokenizer, tmp_path, loss_type=["ipo"])
    record(trainer, tmp_path / "run", lambda t: probe_of(MERGING, t, beta=0.1))
    with pytest.raises(SpecError, match=r"beta is 0\.1, and the trainer's is 0\.25"):
        trainer.train()
    given = CurveCallback(tmp_path / "given", lambda t: probe_of(MERGING, t), points=2)
    again = dpo(tiny_decoder_dir, MERGING, tokenizer, tmp_path, loss_type=["ipo"])
    again.add_callback(given)
    with caplog.at_level(logging.WARNING, "dissensus"):
        again.train()
    assert "the trainer's loss is ipo" in caplog.text
    assert "does not see the trainer's ref_model" in caplog.text
    assert load_curves(tmp_path / "given").provenance["beta"] == BETA
    longer = dpo(tiny_decoder_dir, MERGING, tokenizer, tmp_path, ld_alpha=0.5)
    record(longer, tmp_path / "longer", lambda t: probe_of(MERGING, t))
    with pytest.raises(SpecError, match=r"ld_alpha=0\.5"):
        longer.train()


def test_a_resumed_run_keeps_its_reference(tiny_decoder_dir: Path, tokenizer: Any, tmp_path: Path) -> None:
    """The reference comes back from the store: here one that is not the model at the start, and is gone."""
    other = AutoModelForCausalLM.from_pretrained(make_tiny("llama", tmp_path / "other", seed=1))
    model = AutoModelForCausalLM.from_pretrained(tiny_decoder_dir)
    begun = CurveRecorder(
        tmp_path / "run", probe_of(MERGING, tokenizer, reference=other), total_steps=2, points=3
    )
    begun.step(model, 0)
    with torch.no_grad():
        model.lm_head.weight.mul_(1.5)
    begun.step(model, 1)
    begun.flush()
    expected = begun.writer.read(1, "margin")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    again = CurveRecorder(
        tmp_path / "run", probe_of(MERGING, tokenizer, reference=other), total_steps=2, points=3, resume=True
    )
    again.rewind(0)
    again.step(model, 1)
    again.flush()
    np.testing.assert_allclose(again.writer.read(1, "margin"), expected, atol=1e-5)
