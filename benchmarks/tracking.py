"""Suite `tracking`: one pass over the tracked set, beside what people would otherwise use."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from benchmarks import peers
from benchmarks.efficiency import Efficiency
from benchmarks.flops import Costs
from benchmarks.result import Measurement, SuiteResult, Value
from benchmarks.timing import interleave, speedup
from benchmarks.work import LORA, Work
from dissensus.models.encoding import Encoded
from dissensus.record.tracking import length_sorted_batches, tracked_set, tracking_pass
from dissensus.record.user_model import UserModelSet

TOKENS = 4096
REFERENCE = "(a) Trainer + PEFT, predict"
BARE = "bare forward, sorted by length"
FP32, BF16 = "dissensus", "dissensus, bf16"
SCRIPT = "dissensus, recorder in a script"
"""What `CurveRecorder` does in somebody's own training script: the peers' model, as transformers and PEFT have it."""
RATE = "linear layers alone"


def run(
    *,
    model: str = "minilm-l6",
    items: int = 512,
    rounds: int = 5,
    device: str | None = None,
    data_dir: Path | None = None,
) -> SuiteResult:
    """Time a pass over `items` examples by each contender, in turn.

    The weights are the same, with LoRA adapters (rank 8), except for the bare forward pass, which has none.
    """
    work = Work.load(model, items, device=device, data_dir=data_dir)
    ours = work.scoring_model(LORA)
    encoded = ours.encode(work.dataset)
    theirs, bare = peers.plain_model(work, LORA), peers.plain_model(work, None)
    _same_weights(ours.module, theirs.module)
    rows = peers.TokenRows(encoded, work.dataset.gold)
    tracked = tracked_set(encoded, ours, token_budget=TOKENS)
    script = UserModelSet(encoded, pad_id=ours.pad_id, token_budget=TOKENS)
    order = np.argsort(-encoded.lengths, kind="stable")
    in_order = peers.TokenRows(_reordered(encoded, order), work.dataset.gold[order])
    padded = [
        (batch, {k: v.to(work.device) for k, v in encoded.batch(batch, ours.pad_id).items()})
        for batch in length_sorted_batches(encoded.lengths, TOKENS)
    ]
    costs = Costs.of(ours.module)
    linear, linear_flops = costs.linear_pass(TOKENS, work.device, torch.float32)
    with tempfile.TemporaryDirectory() as name, peers.quiet():
        folder = Path(name)
        by_8 = peers.trainer(theirs, folder, rows)
        by_64 = peers.trainer(theirs, folder, rows, evaluation_batch=64)
        contenders: dict[str, Callable[[], object]] = {
            REFERENCE: lambda: peers.predicted(by_8, rows),
            "(b) the same, batches of 64": lambda: peers.predicted(by_64, rows),
            "(c) the same, sorted by length": lambda: peers.predicted(by_64, in_order),
            "(d) cartography-style log": lambda: peers.cartography_pass(
                theirs, encoded, folder / "log.jsonl", work.max_length
            ),
            BARE: lambda: peers.bare_forward(bare, padded),
            FP32: lambda: tracking_pass(ours.module, tracked, len(encoded)),
            SCRIPT: lambda: tracking_pass(theirs.module, script, len(encoded)),
            BF16: lambda: tracking_pass(ours.module, tracked, len(encoded), precision="bf16"),
            RATE: linear,
        }
        timed = interleave({n: work.waiting(c) for n, c in contenders.items()}, rounds=rounds)
        exact = _log_softmax(peers.predicted(by_8, rows))
        efficiencies = {
            n: Efficiency.of(
                contenders[n], timed[n], costs.forward(encoded.lengths), linear_flops, timed[RATE], work
            )
            for n in (BARE, FP32)
        }
    deviations = {
        FP32: _deviation(tracking_pass(ours.module, tracked, len(encoded)), exact, work.dataset.gold),
        SCRIPT: _deviation(tracking_pass(theirs.module, script, len(encoded)), exact, work.dataset.gold),
        BF16: _deviation(
            tracking_pass(ours.module, tracked, len(encoded), precision="bf16"), exact, work.dataset.gold
        ),
    }
    gpu = work.device.type == "cuda"
    targets = dict.fromkeys((FP32, SCRIPT, BF16), 15.0) if gpu else {FP32: 1.6, SCRIPT: 1.6, BF16: 2.8}
    measurements = []
    for name in contenders:
        if name == RATE:
            continue
        facts: dict[str, Value] = {
            "items_per_second": round(len(encoded) / timed[name].median, 1),
            "times_bare": round(speedup(timed[BARE], timed[name]).median, 3),
            **deviations.get(name, {}),
        }
        if name in efficiencies:
            facts |= efficiencies[name].facts()
        measurements.append(
            Measurement(
                work="tracking pass",
                contender=name,
                seconds=timed[name],
                speedup=None if name == REFERENCE else speedup(timed[REFERENCE], timed[name]),
                reference=None if name == REFERENCE else REFERENCE,
                target=targets.get(name),
                facts=facts,
            )
        )
    rate: Value = round(linear_flops / timed[RATE].median / 1e9, 1)
    setting = {
        **work.setting(),
        "tokens": int(encoded.lengths.sum()),
        "linear_gflops": rate,
        "rounds": rounds,
    }
    return SuiteResult("tracking", setting, tuple(measurements))


def _reordered(encoded: Encoded, order: NDArray[np.int64]) -> Encoded:
    types = encoded.token_type_ids
    return Encoded(
        tuple(encoded.ids[i] for i in order),
        tuple(encoded.input_ids[i] for i in order),
        None if types is None else tuple(types[i] for i in order),
        encoded.truncated,
    )


def _same_weights(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    """Adapters with something in them, and the same in both models."""
    other = dict(theirs.named_parameters())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, parameter in ours.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape))
            other[name].copy_(parameter)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=1, keepdims=True)))


def _deviation(
    got: NDArray[np.float32], exact: NDArray[np.float64], gold: NDArray[np.int64]
) -> dict[str, Value]:
    """How far the losses are from the reference's: largest and mean difference in nats, and rank correlation."""
    at = np.arange(len(gold))
    label = np.maximum(gold, 0)
    mine, true = -got[at, label].astype(np.float64), -exact[at, label]
    return {
        "max_loss_difference": float(np.abs(mine - true).max()),
        "mean_loss_difference": float(np.abs(mine - true).mean()),
        "loss_rank_correlation": round(float(stats.spearmanr(mine, true)[0]), 6),
    }
