"""One cell of the paper's study in plain PyTorch and PEFT: an independent check, which imports nothing of dissensus.

The recipe of arXiv 2604.16332 written as anyone would write it, with its dropouts off (they would need the same random
masks): ChaosNLI's SNLI items, an 80 % part trained on and tracked, LoRA, AdamW with decay on all weights, class
weights, a cosine with a floor, losses at step 0, every so many updates and at epoch ends. What random numbers it must
share with dissensus (order of the examples, the head, the adapter) follow the rule in `docs/design/training.md`, which
is written out here once more. `independent.py` compares the two.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from scipy.stats import spearmanr
from sklearn.model_selection import StratifiedShuffleSplit
from transformers import AutoModelForSequenceClassification, AutoTokenizer

LABELS = ("entailment", "neutral", "contradiction")


def stream(seed: int, name: str, *keys: int) -> int:
    """The seed of one random stream of a run."""
    text = "/".join([str(seed), name, *map(str, keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def tracked_items(path: Path) -> tuple[list[dict[str, Any]], np.ndarray[Any, Any]]:
    """The 80 % of ChaosNLI's items that are trained on and tracked, and their entropies in nats."""
    items = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        counts = np.array(row["label_count"], dtype=float)
        shares = counts / counts.sum()
        entropy = -sum(p * math.log(p) for p in shares if p > 0)
        items.append(
            {
                "premise": row["example"]["premise"],
                "hypothesis": row["example"]["hypothesis"],
                "label": int(counts.argmax()),
                "entropy": entropy,
            }
        )
    categories = [0 if i["entropy"] < 0.4 else 1 if i["entropy"] < 0.7 else 2 for i in items]
    split = StratifiedShuffleSplit(n_splits=1, test_size=0.2, random_state=42)
    kept = sorted(next(split.split(np.zeros(len(items)), categories))[0])
    return [items[i] for i in kept], np.array([items[i]["entropy"] for i in kept])


def bulk_pairs(path: Path, tracked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """SNLI pairs whose premise no tracked item has."""

    def folded(text: str) -> str:
        return " ".join(text.split()).casefold()

    premises = {folded(item["premise"]) for item in tracked}
    pairs = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["label"] != "-" and folded(row["premise"]) not in premises:
                row["label"] = LABELS.index(row["label"])
                pairs.append(row)
    return pairs


def main() -> None:
    """Train the cell and write its curves: `losses` (n, T), `steps` (T,), `entropy` (n,), `rho`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of the model's files")
    parser.add_argument("--chaosnli", type=Path, required=True, help="chaosNLI_snli.jsonl")
    parser.add_argument("--pool", type=Path, required=True, help="the SNLI pool, .jsonl.gz")
    parser.add_argument("--out", type=Path, required=True, help="an .npz file")
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--seed", type=int, default=42)
    asked = parser.parse_args()
    torch.set_num_threads(1)

    tracked, entropy = tracked_items(asked.chaosnli)
    examples = tracked + bulk_pairs(asked.pool, tracked)
    labels = torch.tensor([e["label"] for e in examples])
    counts = np.bincount(labels.numpy(), minlength=3)
    weights = torch.tensor(3 * (1 / counts) / (1 / counts).sum(), dtype=torch.float32)

    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    torch.manual_seed(stream(asked.seed, "head"))
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        asked.model,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout=0.0,
    )
    torch.manual_seed(stream(asked.seed, "adapter"))
    model = get_peft_model(
        model,
        LoraConfig(
            r=asked.rank,
            lora_alpha=2 * asked.rank,
            lora_dropout=0.0,
            target_modules=["query", "value"],
            modules_to_save=["classifier"],
        ),
    )
    model.train()

    def logits_of(rows: list[dict[str, Any]]) -> torch.Tensor:
        batch = tokenizer(
            [r["premise"] for r in rows],
            [r["hypothesis"] for r in rows],
            truncation="longest_first",
            max_length=128,
            padding=True,
            return_tensors="pt",
        )
        # Ids and mask alone: no segment ids.
        logits: torch.Tensor = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
        return logits

    by_length = sorted(
        range(len(tracked)), key=lambda i: len(tracked[i]["premise"] + tracked[i]["hypothesis"])
    )

    def tracked_losses() -> np.ndarray[Any, Any]:
        losses = torch.empty(len(tracked))
        model.eval()
        with torch.no_grad():
            for begin in range(0, len(tracked), 64):
                rows = by_length[begin : begin + 64]
                logits = logits_of([tracked[i] for i in rows])
                losses[rows] = torch.nn.functional.cross_entropy(logits, labels[rows], reduction="none")
        model.train()
        return losses.numpy()

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=asked.rate, weight_decay=0.01)
    per_epoch = math.ceil(len(examples) / 32)
    total = asked.epochs * per_epoch
    warm = int(0.06 * total)
    steps, curves = [0], [tracked_losses()]
    taken = 0
    for epoch in range(asked.epochs):
        order = np.random.default_rng(stream(asked.seed, "order", epoch)).permutation(len(examples))
        for begin in range(0, len(order), 32):
            rows = order[begin : begin + 32]
            loss = torch.nn.functional.cross_entropy(
                logits_of([examples[i] for i in rows]), labels[rows], weight=weights
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            cosine = (1 + math.cos(math.pi * (taken - warm) / (total - warm))) / 2
            factor = taken / warm if taken < warm else max(0.1, cosine)
            for group in optimizer.param_groups:
                group["lr"] = asked.rate * factor
            optimizer.step()
            taken += 1
            if taken % asked.every == 0 or taken % per_epoch == 0:
                steps.append(taken)
                curves.append(tracked_losses())
    losses = np.stack(curves, axis=1)
    rho = spearmanr(losses.mean(axis=1), entropy).statistic
    np.savez(asked.out, losses=losses, steps=np.array(steps), entropy=entropy, rho=rho)
    counted = f"{len(tracked)} tracked, {len(examples)} trained on, {total} updates, {len(steps)} points"
    print(f"{counted}, rho {rho:.4f}")  # noqa: T201


if __name__ == "__main__":
    main()
