"""Two real runs, and what recording them cost: the figures of results/in-trainers.

    python examples/real_runs.py sft --data-dir DATA
    python examples/real_runs.py classify --data-dir DATA

`sft`: SmolLM2-135M with LoRA under TRL's SFT trainer, on ChaosNLI items whose gold label is put into words. `classify`:
MiniLM-L6 under `Trainer`, on tweets of MD-Agreement with five named annotators each. Both are trained twice, with and
without recording; the losses recorded last are computed once more, one text at a time. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

from dissensus import AnnotatedDataset, annotation_entropy, aulc, load_curves, spearman
from dissensus.data.sources import load_source
from dissensus.data.sources.chaosnli import ChaosNLISource
from dissensus.data.sources.lewidi import LeWiDiSource
from dissensus.integrations.transformers import record
from dissensus.models.resolve import resolve_model
from dissensus.record.probes.completions import CompletionProbe

PROMPT = "{premise}\nQuestion: {hypothesis} True, false or neither?\nAnswer:"
WORDS = {"entailment": " true", "neutral": " neither", "contradiction": " false"}


def some(dataset: AnnotatedDataset, n: int) -> AnnotatedDataset:
    """n examples, evenly spread over annotation entropy."""
    order = np.argsort(annotation_entropy(dataset.counts), kind="stable")
    return dataset.subset(
        dataset.ids[i] for i in order[np.linspace(0, len(order) - 1, n).round().astype(int)]
    )


def settings(folder: Path, steps: int, batch: int, rate: float) -> dict[str, Any]:
    """What both trainers are told."""
    return {
        "output_dir": str(folder), "max_steps": steps, "per_device_train_batch_size": batch, "learning_rate": rate,
        "report_to": "none", "save_strategy": "no", "use_cpu": not torch.cuda.is_available(), "disable_tqdm": True,
        "bf16": False,
    }  # fmt: skip


def sft(data_dir: Path, tracked: int, steps: int) -> tuple[Callable[[Path], Any], AnnotatedDataset, Any, Any]:
    """A trainer's maker, the tracked items, what is asked of them, and one text's loss by itself."""
    from trl import SFTConfig, SFTTrainer

    found = resolve_model("smollm2-135m")
    where: dict[str, Any] = {"gguf_file": found.gguf_file} if found.gguf_file else {}
    tokenizer = AutoTokenizer.from_pretrained(found.location, **where)
    items = some(load_source(ChaosNLISource(), data_dir=data_dir), tracked)
    texts = [(PROMPT.format(**e.text), WORDS[items.labels[e.gold or 0]]) for e in items]

    def make(folder: Path) -> Any:
        set_seed(0)
        model = AutoModelForCausalLM.from_pretrained(found.location, dtype=torch.float32, **where)
        model.is_quantized = False  # the package's 4-bit weights were dequantised in loading
        return SFTTrainer(
            model,
            SFTConfig(**settings(folder, steps, 4, 5e-4)),
            train_dataset=Dataset.from_list([{"prompt": p, "completion": c} for p, c in texts]),
            processing_class=tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM", r=8, target_modules=["q_proj", "v_proj"]),
        )

    def one(model: Any, row: int) -> float:
        prompt, completion = texts[row]
        begin = len(tokenizer(prompt)["input_ids"])
        ids = tokenizer(prompt + completion + tokenizer.eos_token, return_tensors="pt")["input_ids"].to(
            model.device
        )
        log_probs = torch.log_softmax(model(input_ids=ids).logits[0], dim=-1)
        return -float(sum(log_probs[at - 1, ids[0, at]] for at in range(begin, ids.shape[1])))

    def probe(t: Any) -> CompletionProbe:
        return CompletionProbe.from_texts(
            items, t, prompt=PROMPT, completion=lambda e: WORDS[items.labels[e.gold or 0]]
        )

    return make, items, probe, one


def classify(
    data_dir: Path, tracked: int, steps: int
) -> tuple[Callable[[Path], Any], AnnotatedDataset, Any, Any]:
    """The same for a classifier."""
    found = resolve_model("minilm-l6")
    tokenizer = AutoTokenizer.from_pretrained(found.location)
    tweets = load_source(LeWiDiSource(dataset="MD-Agreement"), data_dir=data_dir)
    items = some(tweets, tracked)
    encoded = tokenizer([e.text["text"] for e in tweets], truncation=True, max_length=128)
    rows = Dataset.from_dict({**encoded, "labels": tweets.gold.tolist(), "id": list(tweets.ids)})

    def make(folder: Path) -> Trainer:
        set_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(
            found.location, num_labels=len(tweets.labels)
        )
        return Trainer(
            model, TrainingArguments(**settings(folder, steps, 16, 1e-4)), train_dataset=rows,
            processing_class=tokenizer, data_collator=DataCollatorWithPadding(tokenizer),
        )  # fmt: skip

    def one(model: Any, row: int) -> float:
        e = items.examples[row]
        inputs = tokenizer(e.text["text"], truncation=True, max_length=128, return_tensors="pt").to(
            model.device
        )
        return -float(torch.log_softmax(model(**inputs).logits[0], dim=-1)[e.gold or 0])

    return make, items, items, one


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("sft", "classify"))
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--tracked", type=int, default=100)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--max-overhead", type=float, default=0.1)
    args = parser.parse_args()
    make, items, probe, one = (sft if args.which == "sft" else classify)(
        args.data_dir, args.tracked, args.steps
    )
    folder = Path(tempfile.mkdtemp())
    plain, recorded = make(folder / "a"), make(folder / "b")
    set_seed(1)
    begin = time.perf_counter()
    plain.train()
    without = time.perf_counter() - begin
    callback = record(
        recorded,
        folder / "run",
        probe,
        points=args.points,
        max_overhead=args.max_overhead,
        regime="trained_on",
    )
    set_seed(1)
    begin = time.perf_counter()
    recorded.train()
    with_ = time.perf_counter() - begin
    same = all(
        torch.equal(a, b) for a, b in zip(plain.model.parameters(), recorded.model.parameters(), strict=True)
    )
    curves = load_curves(folder / "run")
    recorded.model.eval()
    with torch.no_grad():
        naive = np.array([one(recorded.model, row) for row in range(len(items))])
        exact = np.array([one(recorded.model.double(), row) for row in range(len(items))])
        double = callback.recorder.look(recorded.model)
    last = curves.losses[:, -1]
    rho = spearman(annotation_entropy(curves.counts), aulc(curves), resamples=1000, rng=0)
    print(json.dumps({
        "run": args.which, "tracked": len(items), "steps": args.steps, "points": curves.steps.tolist(),
        "largest_difference_from_one_by_one": float(np.abs(last - naive).max()),
        "largest_difference_from_one_by_one_in_float64": float(np.abs(last - exact).max()),
        "the_same_with_both_in_float64": float(np.abs(double - exact).max()),
        "of_one_by_one_in_float32_from_float64": float(np.abs(naive - exact).max()),
        "same_weights_with_and_without": same,
        "overhead": callback.recorder.timing.overhead, "seconds_without": without, "seconds_with": with_,
        "mean_loss": [float(x) for x in curves.losses.mean(axis=0)],
        "rho_entropy_aulc": [rho.rho, rho.low, rho.high],
        "device": str(recorded.model.device), "threads": torch.get_num_threads(),
    }, indent=1))  # fmt: skip
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
