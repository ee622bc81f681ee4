"""The recorder inside TRL's SFT, reward and DPO trainers, against what those trainers compute themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, set_seed

from dissensus import AnnotatedDataset, load_curves
from dissensus.integrations.transformers import record
from dissensus.record.probes.completions import CompletionProbe
from dissensus.record.probes.preferences import PreferenceProbe
from dissensus.record.probes.sequences import IGNORED

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

pytestmark = [
    # Theirs to settle; our own code is run with warnings as errors elsewhere.
    pytest.mark.filterwarnings("default")
]

LORA = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"])
WORDS = {"entailment": " yes", "neutral": " maybe", "contradiction": " no"}


@pytest.fixture
def rows(tiny_dataset: AnnotatedDataset) -> list[dict[str, Any]]:
    return [
        {
            "id": e.id,
            "prompt": f"premise {e.text['premise']} question {e.text['hypothesis']} answer",
            "completion": WORDS[tiny_dataset.labels[e.gold or 0]],
        }
        for e in tiny_dataset
    ]


@pytest.fixture
def prompts(tiny_dataset: AnnotatedDataset, rows: list[dict[str, Any]]) -> AnnotatedDataset:
    records = [
        {**row, "gold": tiny_dataset.labels[e.gold or 0], "counts": e.counts}
        for row, e in zip(rows, tiny_dataset, strict=True)
    ]
    return AnnotatedDataset.from_records(records, labels=tiny_dataset.labels, text=("prompt", "completion"))


def options(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "trainer"), "max_steps": 4, "per_device_train_batch_size": 5, "use_cpu": True,
        "learning_rate": 1e-2, "report_to": "none", "save_strategy": "no", "logging_steps": 2, "max_length": 64,
        "disable_tqdm": True, "bf16": False, **more,
    }  # fmt: skip


def sft(folder: Path, rows: list[dict[str, Any]], tmp_path: Path, **more: Any) -> Any:
    set_seed(0)
    return trl.SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder),
        args=trl.SFTConfig(**options(tmp_path, **more)),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=LORA,
    )


def alone(model: Any, ids: tuple[int, ...], labels: tuple[int, ...]) -> float:
    """-log p of the labelled tokens of one row by itself, summed, in float64."""
    was = model.training
    model.eval()
    with torch.no_grad(), torch.random.fork_rng():
        log_probs = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), dim=-1)
    model.train(was)
    return -sum(float(log_probs[at - 1, t]) for at, t in enumerate(labels) if at and t != IGNORED)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"packing": True},
        # The newest loss never makes the logits of a whole sequence; its name in older configurations.
        {"gradient_accumulation_steps": 2, "loss_type": "chunked_nll"},
        {"gradient_accumulation_steps": 2, "packing": True},
    ],
    ids=["plain", "packed", "chunked-accumulated", "packed-accumulated"],
)
def test_sft(
    tiny_decoder_dir: Path,
    rows: list[dict[str, Any]],
    prompts: AnnotatedDataset,
    tmp_path: Path,
    more: dict[str, Any],
) -> None:
    """Packed in training or not: the tracked rows are measured one text at a time."""
    trainer = sft(tiny_decoder_dir, rows, tmp_path, padding_free=False, **more)
    made: list[CompletionProbe] = []

    def probe(tokenizer: Any) -> CompletionProbe:
        made.append(
            CompletionProbe.from_texts(
                prompts, tokenizer, prompt="{prompt}", completion="{completion}", max_length=64
            )
        )
        return made[0]

    record(trainer, tmp_path / "run", probe, points=3, regime="trained_on")
    trainer.train()
    curves = load_curves(tmp_path / "run")
    assert curves.steps.tolist() == [0, 2, 4]
    sequences = made[0]._sequences
    for row in range(len(prompts)):
        expected = alone(trainer.model, sequences.input_ids[row], sequences.labels[row])
        assert curves.losses[row, -1] == pytest.approx(expected, rel=1e-5)
    if not more.get(
        "packing"
    ):  # then the trainer's own rows are there to compare with; it drops the prompt's column, not the id's
        own = {r["id"]: r for r in trainer.train_dataset}
        for at, example_id in enumerate(prompts.ids):
            assert tuple(own[example_id]["input_ids"]) == sequences.input_ids[at]
            assert tuple(own[example_id]["labels"]) == sequences.labels[at]


def test_sft_trains_the_same_with_and_without(
    tiny_decoder_dir: Path, rows: list[dict[str, Any]], prompts: AnnotatedDataset, tmp_path: Path
) -> None:
    plain, recorded = (sft(tiny_decoder_dir, rows, tmp_path) for _ in range(2))
    record(
        recorded,
        tmp_path / "run",
        lambda t: CompletionProbe.from_texts(prompts, t, prompt="{prompt}", completion="{completion}"),
        points=5,
    )
    set_seed(1)
    plain.train()
    set_seed(1)
    recorded.train()
    for a, b in zip(plain.model.parameters(), recorded.model.parameters(), strict=True):
        assert torch.equal(a, b)
    keys = ("loss", "entropy", "mean_token_accuracy", "num_tokens", "step")
    logs = [[{k: e[k] for k in keys if k in e} for e in t.state.log_history] for t in (plain, recorded)]
    assert logs[0] == logs[1]
    assert any("dissensus/contested_loss" in entry for entry in recorded.state.log_history)


@pytest.fixture
def pairs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    votes = [(5, 0), (4, 1), (3, 2)]
    return [
        {"id": r["id"], "prompt": r["prompt"], "chosen": f" {r['id']} true", "rejected": " false and false",
         "votes": votes[i % 3]}
        for i, r in enumerate(rows)
    ]  # fmt: skip


def bare(pairs: list[dict[str, Any]]) -> Any:
    return datasets.Dataset.from_list([{k: v for k, v in p.items() if k != "votes"} for p in pairs])


def test_dpo(tiny_decoder_dir: Path, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    """The loss of the pairs is the trainer's own, whose reference is the model that it began with."""
    set_seed(0)
    trainer = trl.DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_decoder_dir),
        args=trl.DPOConfig(**options(tmp_path, beta=0.3, eval_strategy="no", per_device_eval_batch_size=24)),
        train_dataset=bare(pairs),
        eval_dataset=bare(pairs),
        processing_class=AutoTokenizer.from_pretrained(tiny_decoder_dir),
        peft_config=LORA,
    )
    data = PreferenceProbe.pairs(pairs)
    record(
        trainer,
        tmp_path / "run",
        lambda t: PreferenceProbe.from_texts(data, t, how="dpo", beta=0.3, max_length=64),
        points=3,
    )
    trainer.train()
    curves = load_curves(tmp_path / "run")
    np.testing.assert_allclose(curves.losses[:, 0], np.log(2), rtol=1e-6)  # the policy is its own reference
    own = trainer.evaluate()
    assert curves.losses[:, -1].mean() == pytest.approx(own["eval_loss"], rel=1e-4)
    assert 0.3 * (curves.values["chosen_log_prob"] - curves.values["chosen_log_prob"][:, :1])[
        :, -1
    ].mean() == (pytest.approx(own["eval_rewards/chosen"], rel=1e-3, abs=1e-5))
    assert curves.values["margin"][:, -1].mean() == pytest.approx(
        own["eval_rewards/margins"], rel=1e-3, abs=1e-5
    )
    assert curves.counts.tolist() == [list(map(float, p["votes"])) for p in pairs]


def test_reward(tiny_decoder_dir: Path, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    set_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_decoder_dir, num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(tiny_decoder_dir)
    trainer = trl.RewardTrainer(
        model=model,
        args=trl.RewardConfig(**options(tmp_path, per_device_eval_batch_size=24)),
        train_dataset=bare(pairs),
        eval_dataset=bare(pairs),
        processing_class=tokenizer,
    )
    data = PreferenceProbe.pairs(pairs)
    record(
        trainer,
        tmp_path / "run",
        lambda t: PreferenceProbe.from_texts(data, t, how="reward", max_length=64),
        points=3,
    )
    trainer.train()
    curves = load_curves(tmp_path / "run")
    own = trainer.evaluate()
    assert curves.losses[:, -1].mean() == pytest.approx(own["eval_loss"], rel=1e-4)
    assert curves.values["margin"][:, -1].mean() == pytest.approx(own["eval_margin"], rel=1e-3, abs=1e-5)
    margin = curves.values["chosen_reward"] - curves.values["rejected_reward"]
    np.testing.assert_allclose(curves.values["margin"], margin, atol=1e-6)
    assert curves.losses[:, -1] == pytest.approx(np.log1p(np.exp(-margin[:, -1].astype(float))), rel=1e-5)
