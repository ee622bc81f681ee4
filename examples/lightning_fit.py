"""The recorder as a callback of Lightning's Trainer.

    python examples/lightning_fit.py --out runs/lightning

Contested and settled loss go to the trainer's logger, a CSV file here, beside the module's own figures.
"""

from __future__ import annotations

import argparse

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dissensus import load_curves
from dissensus.data.sources import load_source
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.integrations.lightning import CurveCallback

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


class Classifier(pl.LightningModule):
    """A transformers classifier and its tokenizer."""

    def __init__(self, name: str, labels: int) -> None:
        super().__init__()
        self.model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=labels)
        self.model.train()  # Lightning trains in the mode that it finds
        self.tokenizer = AutoTokenizer.from_pretrained(name)

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss of a batch."""
        loss = self.model(**batch).loss
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW at a constant rate."""
        return torch.optim.AdamW(self.parameters(), lr=5e-5)

    def collate(self, rows: list) -> dict[str, torch.Tensor]:
        """A padded batch of examples."""
        texts = [[e.text[field] for e in rows] for field in ("premise", "hypothesis")]
        batch = self.tokenizer(*texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
        return {**batch, "labels": torch.tensor([e.gold for e in rows])}


def main(arguments: list[str] | None = None) -> None:
    """Train, and say what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--out", default="runs/lightning")
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args(arguments)

    pl.seed_everything(0)
    tracked = load_source(SimulatedSource(size=200))
    training = load_source(SimulatedSource(split="train", size=16 * args.steps))
    module = Classifier(args.model, len(tracked.labels))
    loader = torch.utils.data.DataLoader(
        list(training), batch_size=16, shuffle=True, collate_fn=module.collate
    )
    trainer = pl.Trainer(
        max_steps=args.steps,
        callbacks=[CurveCallback(args.out, tracked, model="model", points=6)],
        logger=CSVLogger(f"{args.out}-log"),
        enable_checkpointing=False,
        log_every_n_steps=10,
    )
    trainer.fit(module, loader)

    curves = load_curves(args.out)
    print("steps", curves.steps.tolist())
    print("mean loss", [round(float(x), 3) for x in curves.losses.mean(axis=0)])


if __name__ == "__main__":
    main()
