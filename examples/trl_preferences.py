"""DPO and reward modelling with TRL on pairs of answers that several people voted on, recorded in two lines.

    python examples/trl_preferences.py --how dpo --model HuggingFaceTB/SmolLM2-135M-Instruct --out runs/dpo

The pairs are made of the simulated panel: the label that most annotators chose against the one that fewest did.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

from dissensus import load_curves
from dissensus.data.sources import load_source
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.integrations.transformers import record
from dissensus.record.probes.preferences import PreferenceProbe


def pairs(size: int) -> list[dict[str, Any]]:
    """Pairs of answers with their votes."""
    panel = load_source(SimulatedSource(size=size))
    found = []
    for e in panel:
        order = sorted(range(len(panel.labels)), key=lambda k: e.counts[k])
        worst, best = order[0], order[-1]
        found.append(
            {
                "id": e.id,
                "prompt": f"{e.text['premise']}\nQuestion: does this follow? {e.text['hypothesis']}\nAnswer:",
                "chosen": f" {panel.labels[best]}",
                "rejected": f" {panel.labels[worst]}",
                "votes": (e.counts[best], e.counts[worst]),
            }
        )
    return found


def main(arguments: list[str] | None = None) -> None:
    """Train, and say what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--how", choices=("dpo", "reward"), default="dpo")
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--out", default="runs/preferences")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args(arguments)

    rows = pairs(args.examples)
    common: dict[str, Any] = {
        "output_dir": f"{args.out}-trainer", "max_steps": args.steps, "per_device_train_batch_size": 8,
        "learning_rate": 5e-4, "report_to": "none", "save_strategy": "no",
        "bf16": torch.cuda.is_available(),
    }  # fmt: skip
    data = Dataset.from_list([{k: r[k] for k in ("prompt", "chosen", "rejected")} for r in rows])
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    lora = {"r": 8, "target_modules": ["q_proj", "v_proj"]}
    if args.how == "dpo":
        trainer: Any = DPOTrainer(
            AutoModelForCausalLM.from_pretrained(args.model), args=DPOConfig(**common), train_dataset=data,
            processing_class=tokenizer, peft_config=LoraConfig(task_type="CAUSAL_LM", **lora),
        )  # fmt: skip
    else:
        model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=1)
        trainer = RewardTrainer(
            model, args=RewardConfig(**common), train_dataset=data, processing_class=tokenizer,
            peft_config=LoraConfig(task_type="SEQ_CLS", modules_to_save=["score"], **lora),
        )  # fmt: skip

    tracked = PreferenceProbe.pairs(rows)
    record(trainer, args.out, lambda t: PreferenceProbe.from_texts(tracked, t, how=args.how), points=6)
    trainer.train()

    curves = load_curves(args.out)
    print("steps", curves.steps.tolist())
    print("mean preference loss", [round(float(x), 3) for x in curves.losses.mean(axis=0)])
    print("mean margin", [round(float(x), 3) for x in curves.values["margin"].mean(axis=0)])


if __name__ == "__main__":
    main()
