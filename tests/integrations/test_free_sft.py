"""The free mode with language models: TRL's SFT trainer and the plain one, against a spy on the model's body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    DataCollatorWithFlattening,
    Trainer,
    TrainingArguments,
    set_seed,
)

from dissensus import AnnotatedDataset, load_curves
from dissensus.errors import ModelError
from dissensus.integrations.free import record_free

FIELDS = TrainingArguments.__dataclass_fields__
CHECKPOINTING = (
    "activation_checkpointing" if "activation_checkpointing" in FIELDS else "gradient_checkpointing"
)

trl = pytest.importorskip("trl")
WORDS = {"entailment": " yes", "neutral": " maybe yes", "contradiction": " no"}


@pytest.fixture
def rows(tiny_dataset: AnnotatedDataset) -> list[dict[str, Any]]:
    return [
        {"id": e.id, "prompt": f"premise {e.text['premise']} question {e.text['hypothesis']} answer",
         "completion": WORDS[tiny_dataset.labels[e.gold or 0]]}
        for e in tiny_dataset
    ]  # fmt: skip


def sft(folder: Path, rows: list[dict[str, Any]], out: Path, more: Any = None, **options: Any) -> Any:
    set_seed(0)
    options = {
        "num_train_epochs": 2, "per_device_train_batch_size": 5, "use_cpu": True, "learning_rate": 1e-2, "bf16": False,
        "report_to": "none", "save_strategy": "no", "logging_steps": 2, "max_length": 64, "disable_tqdm": True,
        **options,
    }  # fmt: skip
    return trl.SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder),
        args=trl.SFTConfig(output_dir=str(out), **options),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=4, lora_dropout=0.2, target_modules=["q_proj", "v_proj"]
        ),
        **(more or {}),
    )


@contextmanager
def spied_lm(trainer: Any) -> Iterator[dict[tuple[int, tuple[int, ...]], float]]:
    """(step, tokens) -> -log p of the labelled tokens in the training forward, from the body's own hidden states."""
    found: dict[tuple[int, tuple[int, ...]], float] = {}
    own = {tuple(r["input_ids"]): r["labels"] for r in trainer.train_dataset}
    base = trainer.model.get_base_model() if hasattr(trainer.model, "get_base_model") else trainer.model

    def look(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
        if not torch.is_grad_enabled():
            return
        logits = (outputs.last_hidden_state.detach() @ base.lm_head.weight.detach().T).double()
        for ids, mask, said in zip(kwargs["input_ids"], kwargs["attention_mask"], logits, strict=True):
            tokens = tuple(ids[mask.bool()].tolist())
            labels = own[tokens]
            log_probs = torch.log_softmax(said, dim=-1)
            loss = -sum(float(log_probs[at - 1, t]) for at, t in enumerate(labels) if at and t != -100)
            assert (trainer.state.global_step, tokens) not in found
            found[trainer.state.global_step, tokens] = loss

    hook = base.model.register_forward_hook(look, with_kwargs=True)
    yield found
    hook.remove()


def check_lm(path: Path, trainer: Any, spy: dict[tuple[int, tuple[int, ...]], float]) -> None:
    curves = load_curves(path)
    tokens = {r["id"]: tuple(r["input_ids"]) for r in trainer.train_dataset}
    seen = 0
    for row, example_id in enumerate(curves.ids):
        for t in range(len(curves.steps)):
            step = curves.values["seen_step"][row, t]
            if np.isfinite(step):
                expected = spy[int(step), tokens[example_id]]
                assert curves.losses[row, t] == pytest.approx(expected, rel=1e-4)
                seen += 1
    assert seen


def lm_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
    return cross_entropy(outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("how", ["fused", "chunked", "compute_loss_func", "label_smoothing", CHECKPOINTING])
def test_sft(
    tiny_decoder_dir: Path, rows: list[dict[str, Any]], tiny_dataset: AnnotatedDataset, tmp_path: Path, how: str
) -> None:  # fmt: skip
    options: dict[str, Any] = {
        "fused": {}, "chunked": {"loss_type": "chunked_nll", "gradient_accumulation_steps": 2},
        "compute_loss_func": {"more": {"compute_loss_func": lm_loss}},
        "label_smoothing": {"label_smoothing_factor": 0.1}, CHECKPOINTING: {CHECKPOINTING: True},
    }[how]  # fmt: skip
    options.setdefault(CHECKPOINTING, False)
    trainer = sft(tiny_decoder_dir, rows, tmp_path / "t", **options)
    record_free(trainer, tmp_path / "run", tiny_dataset)
    if how == CHECKPOINTING:
        trainer.train()  # the body runs again in the backward pass, which the spy would count
        assert np.isfinite(load_curves(tmp_path / "run").losses).all()
        said = load_curves(tmp_path / "run").provenance["epochs"]
        assert [(s["seen"], s["seen_more_than_once"]) for s in said] == [(24, 0), (24, 0)]
        return
    with spied_lm(trainer) as spy:
        trainer.train()
    check_lm(tmp_path / "run", trainer, spy)
    assert np.isfinite(load_curves(tmp_path / "run").losses).all()


@pytest.mark.filterwarnings("default")
def test_sft_trains_the_same_and_refuses_packing(
    tiny_decoder_dir: Path, rows: list[dict[str, Any]], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    plain, recorded = (sft(tiny_decoder_dir, rows, tmp_path / n) for n in "ab")
    record_free(recorded, tmp_path / "run", tiny_dataset)
    for trainer in (plain, recorded):
        set_seed(1)
        trainer.train()
    for a, b in zip(plain.model.parameters(), recorded.model.parameters(), strict=True):
        assert torch.equal(a, b)
    keys = ("loss", "entropy", "mean_token_accuracy", "num_tokens", "step")
    logs = [[{k: e[k] for k in keys if k in e} for e in t.state.log_history] for t in (plain, recorded)]
    assert logs[0] == logs[1]
    with pytest.raises(ModelError, match="packs several examples into a row"):
        record_free(sft(tiny_decoder_dir, rows, tmp_path / "p", packing=True), tmp_path / "p", tiny_dataset)


@pytest.mark.filterwarnings("default")
def test_a_completion_that_was_cut_off_is_not_a_loss_of_zero(
    tiny_decoder_dir: Path, rows: list[dict[str, Any]], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_decoder_dir)
    long = max(rows, key=lambda r: len(tokenizer(r["prompt"])["input_ids"]))
    length = len(tokenizer(long["prompt"])["input_ids"])
    trainer = sft(tiny_decoder_dir, rows, tmp_path / "t", max_length=length)
    record_free(trainer, tmp_path / "run", tiny_dataset)
    with spied_lm(trainer) as spy:
        trainer.train()
    check_lm(tmp_path / "run", trainer, spy)
    curves = load_curves(tmp_path / "run")
    assert np.isnan(curves.losses[curves.ids.index(long["id"])]).all()
    assert (curves.losses[np.isfinite(curves.losses)] > 0).all()
    assert 0 < curves.provenance["never_seen"] < 24


@pytest.mark.parametrize("flat", [False, True])
def test_a_language_model_in_the_plain_trainer(
    tiny_decoder_dir: Path, rows: list[dict[str, Any]], tiny_dataset: AnnotatedDataset, tmp_path: Path, flat: bool
) -> None:  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(tiny_decoder_dir)
    made = []
    for row in rows:
        prompt, whole = (
            tokenizer(t)["input_ids"] for t in (row["prompt"], row["prompt"] + row["completion"])
        )
        made.append(
            {"id": row["id"], "input_ids": whole, "labels": [-100] * len(prompt) + whole[len(prompt) :]}
        )
    set_seed(0)
    trainer = Trainer(
        AutoModelForCausalLM.from_pretrained(tiny_decoder_dir),
        TrainingArguments(tmp_path / "t", per_device_train_batch_size=5, use_cpu=True, report_to="none", max_steps=5,
                          save_strategy="no", disable_tqdm=True),
        train_dataset=Dataset.from_list(made),
        data_collator=DataCollatorWithFlattening() if flat else DataCollatorForSeq2Seq(tokenizer),
    )  # fmt: skip
    record_free(trainer, tmp_path / "run", tiny_dataset)
    if flat:
        with pytest.raises(ModelError, match=r"the batch has 1 row\(s\) for 5 example\(s\): it is packed"):
            trainer.train()
        return
    with spied_lm(trainer) as spy:
        trainer.train()
    check_lm(tmp_path / "run", trainer, spy)


@pytest.mark.filterwarnings("default")
def test_a_trainer_of_pairs_is_refused(
    tiny_decoder_dir: Path, rows: list[dict[str, Any]], tiny_dataset: AnnotatedDataset, tmp_path: Path
) -> None:
    pairs = [{"id": r["id"], "prompt": r["prompt"], "chosen": " true", "rejected": " false"} for r in rows]
    trainer = trl.RewardTrainer(
        model=AutoModelForSequenceClassification.from_pretrained(tiny_decoder_dir, num_labels=1),
        args=trl.RewardConfig(output_dir=str(tmp_path / "t"), use_cpu=True, bf16=False, report_to="none", max_steps=1,
                              per_device_train_batch_size=5, disable_tqdm=True),
        train_dataset=Dataset.from_list(pairs),
        processing_class=AutoTokenizer.from_pretrained(tiny_decoder_dir),
    )  # fmt: skip
    record_free(trainer, tmp_path / "run", tiny_dataset)
    with pytest.raises(ModelError, match=r"row\(s\) for 5 example\(s\)|rows of outputs for 5 examples"):
        trainer.train()
