"""Supervised fine-tuning with TRL on answers to questions that people disagree on, recorded in two lines.

    python examples/trl_sft.py --model HuggingFaceTB/SmolLM2-135M-Instruct --out runs/sft

The data are the simulated panel: its sentence pairs as prompts, the gold label's word as the completion.
"""

from __future__ import annotations

import argparse

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from dissensus import load_curves
from dissensus.data.sources import load_source
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.integrations.transformers import record
from dissensus.record.probes.completions import CompletionProbe

PROMPT = "{premise}\nQuestion: does this follow? {hypothesis}\nAnswer:"


def main(arguments: list[str] | None = None) -> None:
    """Train, and say what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--out", default="runs/sft")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args(arguments)

    tracked = load_source(SimulatedSource(size=args.examples))
    rows = [
        {"prompt": PROMPT.format(**e.text), "completion": f" {tracked.labels[e.gold]}"}
        for e in tracked
        if e.gold is not None
    ]
    trainer = SFTTrainer(
        AutoModelForCausalLM.from_pretrained(args.model),
        SFTConfig(
            output_dir=f"{args.out}-trainer",
            max_steps=args.steps,
            per_device_train_batch_size=8,
            learning_rate=1e-3,
            report_to="none",
            save_strategy="no",
            bf16=torch.cuda.is_available(),
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(args.model),
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=8, target_modules=["q_proj", "v_proj"]),
    )

    def probe(tokenizer: AutoTokenizer) -> CompletionProbe:
        return CompletionProbe.from_texts(
            tracked, tokenizer, prompt=PROMPT, completion=lambda e: f" {tracked.labels[e.gold or 0]}"
        )

    record(trainer, args.out, probe, points=6, regime="trained_on")
    trainer.train()

    curves = load_curves(args.out)
    print("steps", curves.steps.tolist())
    print("mean loss per token", [round(float(x), 3) for x in curves.per_token().losses.mean(axis=0)])


if __name__ == "__main__":
    main()
