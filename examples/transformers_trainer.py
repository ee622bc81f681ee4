"""The recorder in `transformers.Trainer`, with LoRA, in one line.

    python examples/transformers_trainer.py --out runs/trainer

What is tracked is trained on as well, so that one sees what is memorised and what stays contested.
"""

from __future__ import annotations

import argparse

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

from dissensus import annotation_entropy, aulc, load_curves, spearman
from dissensus.data.sources import load_source
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.integrations.transformers import record

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def main(arguments: list[str] | None = None) -> None:
    """Train, and say what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--out", default="runs/trainer")
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args(arguments)

    set_seed(0)
    tracked = load_source(SimulatedSource(size=200))
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    texts = [[e.text[field] for e in tracked] for field in tracked.fields]
    rows = {**tokenizer(*texts, truncation=True, max_length=128), "labels": tracked.gold.tolist()}
    model = get_peft_model(
        AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=len(tracked.labels)),
        LoraConfig(task_type="SEQ_CLS", r=8, target_modules=["query", "value"]),
    )
    trainer = Trainer(
        model,
        TrainingArguments(
            output_dir=f"{args.out}-trainer",
            max_steps=args.steps,
            per_device_train_batch_size=16,
            learning_rate=1e-3,
            report_to="none",
            save_strategy="no",
        ),
        train_dataset=Dataset.from_dict(rows),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    record(trainer, args.out, tracked, points=6, regime="trained_on")
    trainer.train()

    curves = load_curves(args.out)
    print("steps", curves.steps.tolist())
    print("mean loss", [round(float(x), 3) for x in curves.losses.mean(axis=0)])
    print("rho(entropy, AULC)", round(spearman(annotation_entropy(curves.counts), aulc(curves)).rho, 3))


if __name__ == "__main__":
    main()
