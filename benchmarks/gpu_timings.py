"""Times of tracking, training steps, the fused grid and a BERT-base-sized cell of the paper, with random weights."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.exactness import lora_runs, padded_logits, take
from benchmarks.random_models import BERT_BASE, TOY, annotated, random_examples, random_model
from benchmarks.work import FULL, LORA, Work
from dissensus.config import TrainingSpec
from dissensus.models.merging import Precision
from dissensus.record.precision import try_precisions
from dissensus.record.probes.labels import LabelProbe
from dissensus.record.recorder import CurveRecorder
from dissensus.record.tracking import PackedSet, tracking_pass
from dissensus.train.loop import TrainingRun, accumulate, train
from dissensus.train.loss import TrainingSet
from dissensus.train.methods import trainable_parameters

PAPER_TRACKED, PAPER_POINTS = 1514, 20
"""A cell of the paper: ChaosNLI-SNLI's items at twenty points."""
FUSED_FROM = 2.0
"""Times as fast from which the fused grid would be on without being asked for."""


def timed(device: torch.device, *, toy: bool, until: float, model: Path | None) -> Iterator[dict[str, str]]:
    """Rows of the table; none is begun after `until` (of `time.monotonic`).

    Args:
        device: where to run.
        toy: tiny models, once each.
        until: when to stop.
        model: a folder with a small encoder's files, which is tracked in bf16 as well.
    """
    bench = _Bench(device, toy)
    parts: dict[str, Callable[[], Iterator[dict[str, str]]]] = {
        "tracking": bench.tracking,
        "steps": bench.steps,
        "fused": bench.fused,
        "cell": bench.cell,
    }
    if model is not None:
        parts[f"tracking of {model.name}"] = lambda: bench.folder(model)
    for name, part in parts.items():
        if time.monotonic() > until:
            yield _row(name, "left out", 0.0, None, "no time was left")
            continue
        yield from part()


class _Bench:
    def __init__(self, device: torch.device, toy: bool) -> None:
        self._device, self._toy = device, toy
        self._size = TOY if toy else BERT_BASE
        self._items = 48 if toy else PAPER_TRACKED
        self._encoded, self._gold = random_examples(self._items, self._size.vocabulary)

    def tracking(self) -> Iterator[dict[str, str]]:
        model = random_model("bert", self._size, LORA, device=self._device)
        packed = PackedSet(self._encoded, model, token_budget=4096)

        def plain() -> None:
            model.module.eval()
            with torch.no_grad():
                for begin in range(0, self._items, 32):
                    rows = list(range(begin, min(begin + 32, self._items)))
                    padded_logits(model, self._encoded, rows, self._device)

        def ours(precision: Precision) -> None:
            tracking_pass(model.module, packed, self._items, precision=precision)

        reference = self._seconds(plain)
        yield _row(f"tracking pass, {self._items} items", "padded batches of 32", reference, None)
        for precision in ("fp32", "bf16"):
            taken = self._seconds(lambda precision=precision: ours(precision))  # type: ignore[misc]
            yield _row(f"tracking pass, {self._items} items", f"dissensus, {precision}", taken, reference)

    def steps(self) -> Iterator[dict[str, str]]:
        data = TrainingSet(self._encoded, self._gold)
        count = 2 if self._toy else 20
        rng = np.random.default_rng(0)
        batches = [rng.permutation(self._items)[:32].astype(np.int64) for _ in range(count)]
        for method in (LORA, FULL):
            reference = None
            for contender, precision in (
                ("padded, fp32", "fp32"),
                ("dissensus, fp32", "fp32"),
                ("dissensus, bf16", "bf16"),
            ):
                model = random_model("bert", self._size, method, device=self._device)
                optimizer = torch.optim.AdamW(
                    trainable_parameters(model.module).values(), lr=1e-4, fused=True
                )
                spec = TrainingSpec(precision=precision)
                model.module.train()

                def take_steps(padded: bool = contender.startswith("padded")) -> None:
                    for step, rows in enumerate(batches, 1):
                        if padded:
                            logits = padded_logits(model, self._encoded, rows.tolist(), self._device)  # noqa: B023
                            labels = torch.from_numpy(self._gold[rows]).to(self._device)
                            nn.functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
                        else:
                            accumulate(model, data, rows, spec, seed=0, step=step, device=self._device)  # noqa: B023
                        optimizer.step()  # noqa: B023
                        optimizer.zero_grad(set_to_none=True)  # noqa: B023

                taken = self._seconds(take_steps) / count
                yield _row(f"{method.label} step of 32", contender, taken, reference)
                reference = reference or taken

    def fused(self) -> Iterator[dict[str, str]]:
        count = 2 if self._toy else 8
        data = TrainingSet(self._encoded, self._gold)
        spec = TrainingSpec(batch_size=32)
        seconds = {}
        for fused in (False, True):
            runs = lora_runs("bert", self._size, data, spec, count=count, device=self._device)
            seconds[fused] = self._once(lambda runs=runs, fused=fused: take(runs, fused=fused))  # type: ignore[misc]
        gain = seconds[False] / seconds[True]
        stays = "should be on" if gain >= FUSED_FROM else f"stays off: below {FUSED_FROM:g} times"
        yield _row(f"{count} LoRA runs, an epoch", "one after the other", seconds[False], None)
        yield _row(
            f"{count} LoRA runs, an epoch", "in one pass per step", seconds[True], seconds[False], stays
        )

    def cell(self) -> Iterator[dict[str, str]]:
        pool, labels = random_examples(64 if self._toy else 6400, self._size.vocabulary, seed=1)
        tracked = annotated(self._encoded, self._gold)
        for method in (LORA, FULL):
            model = random_model("bert", self._size, method, device=self._device)
            with tempfile.TemporaryDirectory() as folder:
                data = TrainingSet(pool, labels)
                steps = -(-len(labels) // 32)
                recorder = CurveRecorder(
                    Path(folder) / "cell", LabelProbe.of_cell(tracked, model, encoded=self._encoded), total_steps=steps,
                    points=min(PAPER_POINTS, steps + 1), quiet=True,
                )  # fmt: skip
                run = TrainingRun(
                    model, data, TrainingSpec(batch_size=32), learning_rate=2e-5, seed=0, recorder=recorder
                )
                taken = self._once(lambda run=run: train(run))  # type: ignore[misc]
                recorder.finish()
                facts = f"{steps} steps, {len(recorder.steps)} points; {recorder.seconds:.1f} s in tracking"
            yield _row("a cell of the paper", f"dissensus, {method.label}", taken, None, facts)

    def folder(self, path: Path) -> Iterator[dict[str, str]]:
        work = Work.load(str(path), 48 if self._toy else 512, device=str(self._device), data_dir=None)
        model = work.scoring_model(LORA)
        trial = try_precisions(model, model.encode(work.dataset), work.dataset.gold, examples=512)
        facts = f"largest difference {trial.largest_difference:.2g} nats"
        yield _row(
            f"tracking pass, {trial.examples} items, {path.name}", "dissensus, fp32", trial.seconds_fp32, None
        )
        yield _row(
            f"tracking pass, {trial.examples} items, {path.name}", "dissensus, bf16", trial.seconds_bf16,
            trial.seconds_fp32, facts,
        )  # fmt: skip

    def _seconds(self, run: Callable[[], object]) -> float:
        """The median of five runs after one that is not counted."""
        self._once(run)
        return statistics.median(self._once(run) for _ in range(1 if self._toy else 5))

    def _once(self, run: Callable[[], object]) -> float:
        begin = time.perf_counter()
        run()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - begin


def _row(
    work: str, contender: str, seconds: float, reference: float | None, facts: str = ""
) -> dict[str, str]:
    fast = "-" if reference is None or not seconds else f"{reference / seconds:.2f}"
    return {
        "work": work,
        "contender": contender,
        "seconds": f"{seconds:.3g}",
        "times as fast": fast,
        "facts": facts,
    }
