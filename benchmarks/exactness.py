"""Every fast path held against the plain one on this machine, and timed on a GPU: `benchmarks/gpu.sh`.

Weights and tokens are random, so nothing is downloaded. Without a GPU the exactness half runs on the CPU, at a small
size.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.random_models import SMALL, TOY, ModelSize, random_examples, random_model
from benchmarks.work import FULL, LORA, machine
from dissensus.config import MethodSpec, TrainingSpec
from dissensus.files import write_atomic
from dissensus.models.encoding import Encoded
from dissensus.models.merging import Precision
from dissensus.models.scoring import ScoringModel
from dissensus.models.shared_states import SharedStates
from dissensus.record.tracking import PackedSet, PaddedSet, TrackedSet, tracking_pass
from dissensus.train.fused import share_frozen_weights, train_fused
from dissensus.train.loop import TrainingRun, accumulate, train
from dissensus.train.loss import TrainingSet
from dissensus.train.methods import trainable_parameters

BUDGET = 2048
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
LIMITS = {"fp32": 1e-4, "bf16": 0.1}
"""Largest difference in nats of a loss that passes. Both sides of a bf16 check round, each in its own order."""
GRADIENT_LIMITS = {"fp32": 1e-3, "bf16": 0.1}
"""The same of a step's whole gradient: the norm of the difference, as a share of its norm."""
RUN_LIMITS = {"fp32": 1e-3, "bf16": 0.2}
"""The same in nats after a short run, whose steps carry rounding on."""


@dataclass(frozen=True)
class Check:
    """A fast path beside the plain one.

    Attributes:
        path: the fast one.
        against: the plain one.
        model: architecture.
        precision: of both.
        unit: of the difference.
        difference: the largest.
        limit: what passes.
    """

    path: str
    against: str
    model: str
    precision: str
    unit: str
    difference: float
    limit: float

    @property
    def holds(self) -> bool:
        """Whether the two agree; a difference that is not a number does not."""
        return self.difference <= self.limit


def checks(device: torch.device, size: ModelSize, examples: int) -> Iterator[Check]:
    """Every fast path, for an encoder and a decoder."""
    encoded, gold = random_examples(examples, size.vocabulary)
    for name in ("bert", "llama"):
        yield from _tracking(name, size, encoded, gold, device)
        yield from _steps(name, size, encoded, gold, device)
        yield from _fused(name, size, encoded, gold, device)


def _tracking(
    name: str, size: ModelSize, encoded: Encoded, gold: NDArray[np.int64], device: torch.device
) -> Iterator[Check]:
    model = random_model(name, size, LORA, device=device)
    packed = PackedSet(encoded, model, token_budget=BUDGET)
    padded = PaddedSet(
        encoded, lambda _module, batch: model.logits(batch), pad_id=model.pad_id, token_budget=BUDGET
    )

    def losses(tracked: TrackedSet, precision: Precision, **options: bool) -> NDArray[np.float64]:
        found = tracking_pass(model.module, tracked, len(encoded), precision=precision, **options)
        return -found[np.arange(len(gold)), gold].astype(np.float64)

    plain = _plain_losses(model, encoded, gold, device)
    found = {precision: losses(packed, precision) for precision in PRECISIONS}
    for precision in PRECISIONS:
        gap = _largest(found[precision], losses(padded, precision))
        yield Check("packed rows", "padded batches", name, precision, "nats", gap, LIMITS[precision])
    gap = _largest(found["fp32"], plain)
    yield Check(
        "tracking pass", "transformers and PEFT, by themselves", name, "fp32", "nats", gap, LIMITS["fp32"]
    )
    gap = _largest(found["bf16"], found["fp32"])
    yield Check("bf16 tracking", "fp32 tracking", name, "bf16", "nats", gap, LIMITS["bf16"])
    with tempfile.TemporaryDirectory() as folder:
        for precision in PRECISIONS:
            states = SharedStates.of(
                Path(folder), model, encoded, method="lora", token_budget=BUDGET, precision=precision
            )
            shared = PackedSet(encoded, model, token_budget=BUDGET, states=states)
            first, again = (losses(shared, precision, untrained=True) for _ in range(2))
            gap = _largest(first, again)
            yield Check("shared states", "computed states", name, precision, "nats", gap, 0.0)


def _steps(
    name: str, size: ModelSize, encoded: Encoded, gold: NDArray[np.int64], device: torch.device
) -> Iterator[Check]:
    rows = np.arange(min(32, len(gold)))
    data = TrainingSet(encoded, gold)
    for method, path in ((LORA, "LoRA step: packed, folded"), (FULL, "full step: packed")):
        for precision in PRECISIONS:
            spec = TrainingSpec(precision=precision)
            gradients = []
            for plain in (False, True):
                model = random_model(name, size, method, device=device)
                if plain:
                    model.packs = False
                    _left_to_peft(model.module)
                model.module.train()
                _no_dropout(model.module)
                accumulate(model, data, rows, spec, seed=0, step=1, device=device)
                gradients.append(_gradients(model))
            gap = _share(gradients[0], gradients[1])
            against = "padded batches, PEFT's layers" if method is LORA else "padded batches"
            yield Check(path, against, name, precision, "of the gradient", gap, GRADIENT_LIMITS[precision])


def _fused(
    name: str, size: ModelSize, encoded: Encoded, gold: NDArray[np.int64], device: torch.device
) -> Iterator[Check]:
    data = TrainingSet(encoded, gold)
    for precision in PRECISIONS:
        spec = TrainingSpec(batch_size=16, precision=precision)
        ends = []
        for fused in (True, False):
            runs = lora_runs(name, size, data, spec, count=3, device=device)
            take(runs, fused=fused)
            ends.append([_plain_losses(run.model, encoded, gold, device) for run in runs])
        gap = max(_largest(mine, theirs) for mine, theirs in zip(*ends, strict=True))
        yield Check(
            "runs in one pass", "each run alone", name, precision, "nats", gap, 10 * LIMITS[precision]
        )


def lora_runs(
    name: str, size: ModelSize, data: TrainingSet, spec: TrainingSpec, *, count: int, device: torch.device
) -> list[TrainingRun]:
    """LoRA runs over one body that differ in seed and rank."""
    models: list[ScoringModel] = []
    for seed in range(count):
        method = MethodSpec(name="lora", rank=4 + 4 * (seed % 2), learning_rate=1e-3)
        models.append(random_model(name, size, method, device=device, seed=seed))
        share_frozen_weights(models[-1], models[0])
    return [
        TrainingRun(model, data, spec, learning_rate=1e-3, seed=seed) for seed, model in enumerate(models)
    ]


def take(runs: list[TrainingRun], *, fused: bool) -> None:
    """Take every run to its end, in one pass per step or one after the other."""
    if not fused:
        for run in runs:
            train(run)
        return
    for _, error in train_fused(runs, stacked=True):  # a GPU's way; on a CPU slots are computed one by one
        if error is not None:
            raise error


def padded_logits(model: ScoringModel, encoded: Encoded, rows: list[int], device: torch.device) -> Tensor:
    """What transformers and PEFT give for a padded batch, with nothing of ours in between."""
    batch = {key: value.to(device) for key, value in encoded.batch(rows, model.pad_id).items()}
    logits: Tensor = model.module(**batch).logits
    return logits


def _plain_losses(
    model: ScoringModel, encoded: Encoded, gold: NDArray[np.int64], device: torch.device
) -> NDArray[np.float64]:
    model.module.eval()
    _left_to_peft(model.module)
    found = []
    with torch.no_grad():
        for begin in range(0, len(gold), 32):
            rows = list(range(begin, min(begin + 32, len(gold))))
            logits = padded_logits(model, encoded, rows, device).float()
            found.append(
                nn.functional.cross_entropy(logits, torch.from_numpy(gold[rows]).to(device), reduction="none")
            )
    return torch.cat(found).double().cpu().numpy()


def _left_to_peft(module: nn.Module) -> None:
    """Undo `lean_lora`: each adapted layer computes as PEFT wrote it."""
    for layer in module.modules():
        if hasattr(layer, "base_layer"):
            layer.__dict__.pop("forward", None)


def _no_dropout(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if hasattr(part, "attention_dropout"):
            setattr(part, "attention_dropout", 0.0)  # noqa: B010 - a module's own attribute, which types know not


def _gradients(model: ScoringModel) -> list[Tensor]:
    named = trainable_parameters(model.module)
    return [torch.zeros(()).double() if p.grad is None else p.grad.double().cpu() for p in named.values()]


def _share(mine: list[Tensor], theirs: list[Tensor]) -> float:
    """The norm of the difference of whole gradients, as a share of the plain one's.

    Not parameter by parameter: a key's bias has a gradient of 0 but for rounding.
    """
    apart = sum(float(((a - b) ** 2).sum()) for a, b in zip(mine, theirs, strict=True))
    return float(np.sqrt(apart / sum(float((b**2).sum()) for b in theirs)))


def _largest(mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    return float(np.abs(mine - theirs).max())


def markdown(found: list[Check], timings: list[dict[str, str]], setting: dict[str, object], note: str) -> str:
    """Both tables, for a page."""
    lines = [f"{note}\n", ", ".join(f"{k}: {v}" for k, v in setting.items() if v), ""]
    lines += [
        "| fast path | against | model | precision | largest difference | limit | holds |",
        "|" + " --- |" * 7,
    ]
    for c in found:
        gap = f"{c.difference:.2g} {c.unit}"
        cells = (c.path, c.against, c.model, c.precision, gap, f"{c.limit:g}", "yes" if c.holds else "**no**")
        lines.append("| " + " | ".join(cells) + " |")
    if timings:
        names = list(timings[0])
        lines += ["", "| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
        lines += ["| " + " | ".join(row.values()) + " |" for row in timings]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run what this machine can; 1 where a fast path does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder of the tables")
    parser.add_argument("--toy", action="store_true", help="tiny models, a few examples: seconds")
    parser.add_argument(
        "--minutes", type=float, default=7.0, help="no check and no timing is begun after so many"
    )
    parser.add_argument("--model", type=Path, help="a folder with MiniLM's files, to be tracked in bf16 too")
    chosen = parser.parse_args(arguments)
    begin, device = time.monotonic(), torch.device(chosen.device)
    gpu = device.type == "cuda"
    asked = "On the CPU, as asked" if torch.cuda.is_available() else "No GPU here"
    note = (
        "Exactness and times on a GPU."
        if gpu
        else f"{asked}: the exactness half alone, at a small size. Nothing below was measured on a GPU."
    )
    say: Callable[[str], object] = lambda line: sys.stdout.write(line + "\n")  # noqa: E731
    say(note)
    size, examples = (TOY, 24) if chosen.toy else (SMALL, 128)
    found = []
    until, every = begin + 60 * chosen.minutes, True
    for check in checks(device, size, examples):
        if time.monotonic() > until:
            say("no time was left for the other checks")
            every = False
            break
        found.append(check)
        say(
            f"{'ok ' if check.holds else 'NO '} {check.model} {check.precision} {check.path}: {check.difference:.2g}"
        )
    timings: list[dict[str, str]] = []
    if gpu or chosen.toy:
        from benchmarks.gpu_timings import timed

        for row in timed(device, toy=chosen.toy, until=until, model=chosen.model):
            timings.append(row)
            say(" | ".join(row.values()))
    setting: dict[str, object] = {
        **machine(device),
        "seconds": round(time.monotonic() - begin),
        "every_check": every,
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    kept = {
        "note": note,
        "setting": setting,
        "checks": [asdict(c) | {"holds": c.holds} for c in found],
        "timings": timings,
    }
    write_atomic(chosen.out / "gpu.json", json.dumps(kept, indent=1) + "\n")
    write_atomic(chosen.out / "gpu.md", markdown(found, timings, setting, note))
    say(f"kept in {chosen.out}/gpu.json and gpu.md")
    return 0 if all(check.holds for check in found) else 1


if __name__ == "__main__":
    sys.exit(main())
