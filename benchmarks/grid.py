"""Suite `grid`: a whole small study, four seeds x three ranks of LoRA, from its start to its stored curves."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.result import Measurement, SuiteResult, Value
from benchmarks.timing import interleave, speedup
from benchmarks.work import Work
from dissensus.config import RunSpec, StudySpec
from dissensus.data.agreement import annotation_entropy
from dissensus.data.assembly import assemble
from dissensus.data.sources import load_source
from dissensus.data.sources.chaosnli import ChaosNLISource
from dissensus.data.sources.nli import NLISource
from dissensus.data.sources.simulated import SimulatedSource
from dissensus.errors import DataError, ModelError
from dissensus.metrics import aulc
from dissensus.models.scoring import device_for
from dissensus.record.schedule import total_steps, tracking_steps
from dissensus.run.runner import run_study
from dissensus.seeds import stream_seed
from dissensus.stats import spearman
from dissensus.store import CurvesWriter, load_curves
from dissensus.study.grid import expand

REFERENCE = "(a) Trainer + PEFT, predict"
FP32, BF16 = "dissensus run", "dissensus run, bf16 tracking"
PROCESSES = "(e) four processes at a time"
"""On a GPU alone: the same cells, not fused, side by side in processes of their own."""


def run(
    *,
    model: str = "minilm-l6",
    items: int = 256,
    steps: int = 10,
    points: int = 4,
    seeds: int = 4,
    ranks: tuple[int, ...] = (4, 8, 16),
    rounds: int = 5,
    device: str | None = None,
    data_dir: Path | None = None,
) -> SuiteResult:
    """Time the grid end to end by each contender, in turn: loading, training, tracking, writing the curves.

    The peer is one process that trains cell after cell; ours is `dissensus run`, worker processes and all.
    """
    study = _study(model, items, steps, points, seeds, ranks, data_dir)
    lower = study.model_copy(update={"tracking": study.tracking.model_copy(update={"precision": "bf16"})})
    cells = expand(study)
    gpu = device_for(device).type == "cuda"
    finished: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as name, peers.quiet():
        root = Path(name)

        def ours(
            spec: StudySpec, contender: str, *, workers: int | None = None, fuse: int | None = None
        ) -> Callable[[], object]:
            def whole() -> None:
                out = Path(tempfile.mkdtemp(dir=root))
                result = run_study(spec, out, workers=workers, fuse=fuse, device=device, data_dir=data_dir)
                if result.failures:
                    raise ModelError(f"a cell of the benchmark failed: {result.failures[0].error}")
                finished[contender] = out

            return whole

        def theirs() -> None:
            out = Path(tempfile.mkdtemp(dir=root))
            for cell in cells:
                _peer_cell(cell, out / cell.cell_id, device, data_dir)
            finished[REFERENCE] = out

        contenders: dict[str, Callable[[], object]] = {
            REFERENCE: theirs,
            FP32: ours(study, FP32),
            BF16: ours(lower, BF16),
        }
        if gpu:
            contenders[PROCESSES] = ours(study, PROCESSES, workers=4, fuse=1)
        # A round takes minutes, and files and models are in the machine's memory after the first contender's start.
        timed = interleave(contenders, rounds=rounds, warmup=0)
        deviations = _deviations(finished[FP32], finished[BF16])
    targets = {FP32: 8.0 if gpu else 2.0, BF16: 8.0 if gpu else 4.0}
    measurements = [
        Measurement(
            work=f"{seeds} seeds x {len(ranks)} ranks",
            contender=contender,
            seconds=timed[contender],
            speedup=None if contender == REFERENCE else speedup(timed[REFERENCE], timed[contender]),
            reference=None if contender == REFERENCE else REFERENCE,
            target=targets.get(contender),
            facts={
                "seconds_a_cell": round(timed[contender].median / len(cells), 2),
                **(deviations if contender == BF16 else {}),
            },
        )
        for contender in contenders
    ]
    work = Work.load(model, items, device=device, data_dir=data_dir)
    setting = {
        **work.setting(),
        "steps": steps,
        "tracking_points": points,
        "cells": len(cells),
        "rounds": rounds,
    }
    return SuiteResult("grid", setting, tuple(measurements))


def _study(
    model: str, items: int, steps: int, points: int, seeds: int, ranks: tuple[int, ...], data_dir: Path | None
) -> StudySpec:
    tracked: ChaosNLISource | SimulatedSource = ChaosNLISource(part="snli")
    train: NLISource | SimulatedSource = NLISource(source="snli")
    try:
        load_source(tracked, data_dir=data_dir)
        load_source(train, data_dir=data_dir)
    except DataError:
        tracked, train = SimulatedSource(size=items), SimulatedSource(split="train", size=32 * steps)
    return StudySpec.parse(
        {
            "name": "bench-grid",
            "models": [{"name": model}],
            "datasets": [
                {
                    "name": "items",
                    "tracked": tracked.model_dump(),
                    "train": train.model_dump(),
                    "tracked_size": items,
                    "train_size": 32 * steps,
                }
            ],
            "methods": [{"name": "lora", "rank": rank, "learning_rate": 1e-3} for rank in ranks],
            "seeds": list(range(seeds)),
            "training": {"epochs": 1, "batch_size": 32},
            "tracking": {"points": points},
        },
        "the benchmark's study",
    )


def _peer_cell(cell: RunSpec, folder: Path, device: str | None, data_dir: Path | None) -> None:
    """One cell as people write it: Trainer with PEFT, and a callback that predicts at each tracking point."""
    import transformers

    data = assemble(
        cell.dataset, cell.regime, sample_seed=stream_seed(cell.seed, "sample"), data_dir=data_dir
    )
    work = Work(cell.model.name, data.tracked, "", device_for(device), cell.model.max_length)
    model = peers.plain_model(work, cell.method, head_seed=cell.seed, adapter_seed=cell.seed)
    steps = total_steps(len(data.train), cell.training)
    points = tracking_steps(steps, points=cell.tracking.points)
    tracked = peers.TokenRows(model.encode(data.tracked), np.maximum(data.tracked.gold, 0))
    writer = CurvesWriter(folder, data.tracked, total_steps=steps)
    holder: list[Any] = []

    def record(step: int) -> None:
        if step in points:
            logits = peers.predicted(holder[0], tracked).astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            values = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            writer.write(step, data.tracked.ids, values.astype(np.float32))

    class AtPoints(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            record(state.global_step)

    trained = peers.trainer(
        model,
        folder / "trainer",
        peers.TokenRows(model.encode(data.train), data.train.gold),
        learning_rate=cell.method.learning_rate,
        steps=steps,
        seed=cell.seed,
        callbacks=[AtPoints()],
    )
    holder.append(trained)
    record(0)
    trained.train()
    writer.finish()


def _deviations(exact: Path, lower: Path) -> dict[str, Value]:
    """What bf16 tracking changes, over all cells: per-example AULC, and rho of entropy with AULC."""
    areas, rhos = [], []
    pairs = zip(sorted((exact / "cells").iterdir()), sorted((lower / "cells").iterdir()), strict=True)
    for folder, other in pairs:
        first, second = load_curves(folder), load_curves(other)
        area, rounded = aulc(first), aulc(second)
        areas.append(np.abs(area - rounded).max())
        entropy: NDArray[np.float64] = annotation_entropy(first.counts)
        rhos.append(abs(spearman(entropy, area).rho - spearman(entropy, rounded).rho))
    return {"max_aulc_difference": float(np.max(areas)), "max_rho_difference": float(np.max(rhos))}
