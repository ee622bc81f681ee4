"""A small `Trainer` on the tiny encoder, for the tests of what goes into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

from dissensus import AnnotatedDataset

Make = Callable[..., Trainer]


@pytest.fixture
def make(tiny_encoder_dir: Path, tiny_dataset: AnnotatedDataset, tmp_path: Path) -> Make:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder_dir)
    pairs = tokenizer([e.text["premise"] for e in tiny_dataset], [e.text["hypothesis"] for e in tiny_dataset])
    rows = {**pairs, "labels": tiny_dataset.gold.tolist(), "id": list(tiny_dataset.ids)}

    def make_trainer(
        *, lora: bool = False, out: str = "trainer", callbacks: Any = (), **options: Any
    ) -> Trainer:
        set_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(tiny_encoder_dir, num_labels=3)
        if lora:
            model = get_peft_model(
                model, LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"])
            )
        options = {"max_steps": 7, "save_strategy": "no", "logging_steps": 2, "report_to": "none", **options}
        arguments = TrainingArguments(
            tmp_path / out,
            per_device_train_batch_size=5,
            learning_rate=1e-2,
            use_cpu=True,
            disable_tqdm=True,
            **options,
        )
        return Trainer(
            model, arguments, train_dataset=Dataset.from_dict(rows), eval_dataset=Dataset.from_dict(rows),
            processing_class=tokenizer, data_collator=DataCollatorWithPadding(tokenizer), callbacks=list(callbacks),
        )  # fmt: skip

    return make_trainer
