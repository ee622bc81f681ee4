"""The same in a loop that Accelerate prepares: on one process or several, in fp32 or bf16.

    accelerate launch examples/accelerate_loop.py --out runs/accelerate --bf16

Every process calls the recorder, each measures a share, and the first one writes. The curves are of the fp32 weights
whatever the training computes in. Contested and settled loss go to the tracker that `Accelerator` has.
"""

from __future__ import annotations

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dissensus import CurveRecorder, load_curves
from dissensus.data.sources import load_source
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.live import LiveCurves

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def main(arguments: list[str] | None = None) -> None:
    """Train, and say what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--out", default="runs/accelerate")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--bf16", action="store_true", help="train in bf16 mixed precision")
    parser.add_argument("--tracker", help="such as tensorboard or wandb")
    args = parser.parse_args(arguments)

    accelerator = Accelerator(
        mixed_precision="bf16" if args.bf16 else "no", log_with=args.tracker, project_dir=f"{args.out}-log"
    )
    if args.tracker:
        accelerator.init_trackers("dissensus")
    set_seed(0)
    tracked = load_source(SimulatedSource(size=200))
    training = load_source(SimulatedSource(split="train", size=16 * args.steps * accelerator.num_processes))
    tokenizer = AutoTokenizer.from_pretrained(args.model)

    def collate(rows: list) -> dict[str, torch.Tensor]:
        texts = [[e.text[field] for e in rows] for field in training.fields]
        batch = tokenizer(*texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
        return {**batch, "labels": torch.tensor([e.gold for e in rows])}

    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=len(tracked.labels))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    loader = torch.utils.data.DataLoader(list(training), batch_size=16, shuffle=True, collate_fn=collate)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    # After Accelerator(), so that the processes know of each other.
    recorder = CurveRecorder(
        args.out, tracked, tokenizer=tokenizer, total_steps=args.steps, points=6,
        watchers=[LiveCurves(lambda values, step: accelerator.log(values, step=step))],
    )  # fmt: skip
    model.train()
    with recorder:
        recorder.step(model, 0)
        for step, batch in enumerate(loader, 1):
            loss = model(**batch).loss
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            recorder.step(model, step)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        curves = load_curves(args.out)
        print("steps", curves.steps.tolist())
        print("mean loss", [round(float(x), 3) for x in curves.losses.mean(axis=0)])
    accelerator.end_training()


if __name__ == "__main__":
    main()
