"""Suite `train`: shuffled training steps of 32 examples, beside PEFT's and plain PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import peers
from benchmarks.efficiency import Efficiency
from benchmarks.flops import Costs
from benchmarks.result import Measurement, SuiteResult, Value
from benchmarks.timing import interleave, speedup
from benchmarks.work import FULL, LORA, Work
from dissensus.config import MethodSpec, TrainingSpec
from dissensus.models.encoding import Encoded
from dissensus.models.scoring import ScoringModel
from dissensus.record.schedule import learning_rate_factor
from dissensus.train import loop
from dissensus.train.loss import TrainingSet
from dissensus.train.methods import trainable_parameters

STEPS = 8
SHORT_RUN = 20


def run(
    *,
    model: str = "minilm-l6",
    items: int = 512,
    rounds: int = 5,
    device: str | None = None,
    data_dir: Path | None = None,
) -> SuiteResult:
    """Time the same shuffled steps by each contender, in turn: forward, backward, clipping and AdamW."""
    work = Work.load(model, items, device=device, data_dir=data_dir)
    measurements: list[Measurement] = []
    rate: Value = None
    share: Value = None
    for method, reference, target in (
        (LORA, "PEFT, padded batches", None if work.device.type == "cuda" else 2.1),
        (FULL, "plain PyTorch, padded batches", None if work.device.type == "cuda" else 1.6),
    ):
        ours, theirs = work.scoring_model(method), peers.plain_model(work, method)
        encoded = ours.encode(work.dataset)
        batches = work.batches(encoded, STEPS)
        labels = np.maximum(work.dataset.gold, 0)
        contenders: dict[str, Callable[[], object]] = {
            reference: peers.plain_step(theirs, encoded, labels, batches, method.learning_rate),
            "dissensus": _steps(ours, encoded, labels, batches, method),
        }
        costs = Costs.of(ours.module)
        tokens = [int(encoded.lengths[rows].sum()) for rows in batches]
        linear, linear_flops = costs.linear_pass(round(np.mean(tokens)), work.device, torch.float32)
        name = f"{method.label} step of {len(batches[0])}"
        timed = interleave(
            {n: work.waiting(c) for n, c in {**contenders, "rate": linear}.items()}, rounds=rounds
        )
        useful = sum(costs.step(encoded.lengths[rows], full=method.name == "full") for rows in batches)
        rate = round(linear_flops / timed["rate"].median / 1e9, 1)
        share = round(sum(len(r) * int(encoded.lengths[r].max()) for r in batches) / sum(tokens), 2)
        for contender in contenders:
            facts: dict[str, Value] = {
                "seconds_a_step": round(timed[contender].median / STEPS, 4),
                **Efficiency.of(
                    contenders[contender], timed[contender], useful, linear_flops, timed["rate"], work
                ).facts(),
            }
            if contender == "dissensus":
                facts["max_loss_difference"] = short_run_difference(work, method)
            measurements.append(
                Measurement(
                    work=name,
                    contender=contender,
                    seconds=timed[contender],
                    speedup=None if contender == reference else speedup(timed[reference], timed[contender]),
                    reference=None if contender == reference else reference,
                    target=None if contender == reference else target,
                    facts=facts,
                )
            )
    setting = {
        **work.setting(),
        "steps": STEPS,
        "padded_tokens_a_real_one": share,
        "linear_gflops": rate,
        "rounds": rounds,
    }
    return SuiteResult("train", setting, tuple(measurements))


def _steps(
    model: ScoringModel,
    encoded: Encoded,
    labels: NDArray[np.int64],
    batches: list[NDArray[np.int64]],
    method: MethodSpec,
) -> Callable[[], list[float]]:
    """The steps as `train.loop.train` takes them."""
    data = TrainingSet(encoded, labels)
    parameters = trainable_parameters(model.module)
    spec = TrainingSpec()
    optimizer = torch.optim.AdamW(
        loop.parameter_groups(parameters, spec), lr=method.learning_rate, fused=True
    )
    device = next(model.module.parameters()).device

    def take() -> list[float]:
        model.module.train()
        losses = []
        for step, rows in enumerate(batches, 1):
            losses.append(loop.accumulate(model, data, rows, spec, seed=0, step=step, device=device))
            nn.utils.clip_grad_norm_(parameters.values(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return losses

    return take


def short_run_difference(work: Work, method: MethodSpec, steps: int = SHORT_RUN) -> float:
    """Largest difference, in nats, of the training losses of two short runs: ours, and the peer's.

    Same weights, batches, optimiser settings and learning rates; without dropout, whose random numbers differ.
    """
    ours, theirs = work.scoring_model(method), peers.plain_model(work, method)
    for model in (ours, theirs):
        for module in model.module.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    with torch.no_grad():
        mine = dict(ours.module.named_parameters())
        for name, parameter in theirs.module.named_parameters():
            parameter.copy_(mine[name])
    encoded = ours.encode(work.dataset)
    labels = np.maximum(work.dataset.gold, 0)
    data = TrainingSet(encoded, labels)
    spec = TrainingSpec()

    def our_loss(rows: NDArray[np.int64], step: int) -> float:
        return loop.accumulate(ours, data, rows, spec, seed=0, step=step, device=work.device)

    def their_loss(rows: NDArray[np.int64], _step: int) -> float:
        return peers.backward(theirs, encoded, labels, rows)

    losses = []
    for model, loss_of in ((ours, our_loss), (theirs, their_loss)):
        parameters = trainable_parameters(model.module)
        optimizer = torch.optim.AdamW(loop.parameter_groups(parameters, spec), lr=method.learning_rate)
        model.module.train()
        found = []
        for step, rows in enumerate(work.batches(encoded, steps), 1):
            for group in optimizer.param_groups:
                group["lr"] = method.learning_rate * learning_rate_factor(step, steps, spec)
            found.append(loss_of(rows, step))
            nn.utils.clip_grad_norm_(parameters.values(), spec.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(np.array(found))
    return float(np.abs(losses[0] - losses[1]).max())
