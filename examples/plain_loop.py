"""Curves from a training loop of one's own, recorded in three lines.

    python examples/plain_loop.py --out runs/plain

A classifier is trained on pairs of the simulated panel; what is tracked are other pairs, labelled by the same people.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dissensus import AnnotatedDataset, CurveRecorder, annotation_entropy, aulc, load_curves, spearman
from dissensus.data.sources import load_source
from dissensus.data.sources.simulated import SimulatedSource

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def batches(data: AnnotatedDataset, tokenizer: AutoTokenizer, size: int) -> Iterator[dict[str, torch.Tensor]]:
    """One pass over the data in its order, which is random already."""
    examples = list(data)
    for begin in range(0, len(examples), size):
        rows = examples[begin : begin + size]
        texts = [[e.text[field] for e in rows] for field in data.fields]
        batch = tokenizer(*texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
        yield {**batch, "labels": torch.tensor([e.gold for e in rows])}


def main(arguments: list[str] | None = None) -> None:
    """Train, and say what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--out", default="runs/plain")
    parser.add_argument("--steps", type=int, default=100, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=1)
    args = parser.parse_args(arguments)

    torch.manual_seed(0)
    tracked = load_source(SimulatedSource(size=200))
    training = load_source(SimulatedSource(split="train", size=16 * args.steps))
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=len(tracked.labels))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)

    total = args.epochs * args.steps
    recorder = CurveRecorder(args.out, tracked, tokenizer=tokenizer, total_steps=total, points=6)
    for _ in range(args.epochs):
        for batch in recorder.watch(model, batches(training, tokenizer, 16)):
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    recorder.finish()

    curves = load_curves(args.out)
    print("steps", curves.steps.tolist())
    print("mean loss", [round(float(x), 3) for x in curves.losses.mean(axis=0)])
    print("rho(entropy, AULC)", round(spearman(annotation_entropy(curves.counts), aulc(curves)).rho, 3))


if __name__ == "__main__":
    main()
