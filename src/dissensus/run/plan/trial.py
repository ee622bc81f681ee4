"""Trial: a few steps and tracking passes of a cell, timed in a worker process, and the tokens of cells counted.

`trial` and `count_only` have the signature of `fused_cells.run_cells`, so that a worker runs them as it runs a job:
in a process of the same kind, with the same threads, on the same device. What they find is left in each cell's folder
(`facts.TrialResult`). The plan's workers are offline, so nothing is downloaded.
"""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dissensus.config import RunSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.assembly import CellData, assemble
from dissensus.record.precision import PrecisionTrial, try_precisions
from dissensus.run.allocation import on_gpu
from dissensus.run.plan.facts import Timing, TokenFacts, TrialResult, Weights
from dissensus.seeds import stream_seed

if TYPE_CHECKING:
    from dissensus.models.encoding import Encoded
    from dissensus.train.loop import TrainingRun

T = TypeVar("T")

Clock = Callable[[], float]

SAMPLE = 2000
"""Training examples that are tokenised; of a larger set so many are drawn at random."""

STEP_SECONDS = 5.0
TRACKING_SECONDS = 4.0
"""Measuring goes on for so long, with at least `FEWEST` and at most `MOST` repetitions."""

FEWEST, MOST = 3, 20

PASS_SECONDS = 1.5
"""What a tracking pass over the sample should take; the sample's size follows."""

_FIRST_PASS_TOKENS = 256
_ENDLESS = 1e6  # epochs: the measured steps are all in the warm-up, at rates so small that none diverges


@dataclass(frozen=True)
class _SetUp:
    """A cell that is set up and warmed up.

    Attributes:
        run: what takes its steps.
        clock: what tells the seconds.
        sample: tracked examples of about `PASS_SECONDS`.
        gold: their gold labels, shape (examples,).
        seconds: that it took to set the cell up.
        shares_start: see `Timing`.
    """

    run: TrainingRun
    clock: Clock
    sample: Encoded
    gold: NDArray[np.int64]
    seconds: float
    shares_start: bool


def trial(
    cells: Sequence[tuple[RunSpec, Path]],
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    on_end: Callable[[int, Exception | None], None],
    **_: Any,
) -> None:
    """Time the first cell, and count the tokens of each with its model.

    Raises:
        Exception: whatever keeps the first cell from being set up.
    """
    _look_at(cells, data_dir, threads, device, on_end, timed=True)


def count_only(
    cells: Sequence[tuple[RunSpec, Path]],
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    on_end: Callable[[int, Exception | None], None],
    **_: Any,
) -> None:
    """Count the tokens of each cell with the first one's model; see `trial`."""
    _look_at(cells, data_dir, threads, device, on_end, timed=False)


def _look_at(
    cells: Sequence[tuple[RunSpec, Path]],
    data_dir: Path | None,
    threads: int | None,
    device: str | None,
    on_end: Callable[[int, Exception | None], None],
    *,
    timed: bool,
) -> None:
    spec, folder = cells[0]
    data: dict[tuple[str, str], CellData] = {}
    ready = set_up(spec, folder, data_dir=data_dir, threads=threads, device=device)
    timing = timing_of(spec, ready) if timed else None
    model = ready.run.model
    weights, where = _weights_of(ready.run, spec.method.rank), _device_of(ready.run)
    for place, (cell, cell_folder) in enumerate(cells):
        try:
            key = (cell.dataset.canonical(), cell.regime)
            if key not in data:
                data[key] = assembled(cell, data_dir)
            tokens = count_tokens(data[key].tracked, data[key].train, model.encode)
            TrialResult(tokens, weights, where, timing).write(cell_folder)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cells can still be looked at
            on_end(place, error)
        else:
            on_end(place, None)


def set_up(
    spec: RunSpec, folder: Path, *, data_dir: Path | None, threads: int | None, device: str | None
) -> _SetUp:
    """Set a cell up as a run does, and warm it up.

    Raises:
        Exception: whatever keeps the cell from being set up.
    """
    # Libraries are loaded once per worker, not once per cell: that stays out of the set-up.
    for library in ("torch", "transformers") + (() if spec.method.name == "full" else ("peft",)):
        importlib.import_module(library)
    from dissensus.models.shared_states import SharedStates
    from dissensus.run.cell import prepare_cell
    from dissensus.train.loop import TrainingRun

    clock = _clock(device, threads)
    begin = clock()
    cell = prepare_cell(spec, folder / "cell", data_dir=data_dir, threads=threads, device=device)
    assert cell is not None  # the folder is new
    seconds = clock() - begin
    model = cell.run.model
    run = TrainingRun(
        model,
        cell.run.data,
        spec.training.model_copy(update={"epochs": _ENDLESS}),
        learning_rate=spec.method.learning_rate,
        seed=spec.seed,
    )
    run.begin()
    _step(run, clock)
    tracked = assembled(spec, data_dir).tracked
    first = model.encode(_some_tokens(tracked, model.encode, _FIRST_PASS_TOKENS))
    _pass(spec, run, clock, first)
    rate = _pass(spec, run, clock, first) / int(first.lengths.sum())
    target = min(PASS_SECONDS / rate, 2 * spec.tracking.token_budget)
    examples = _some_tokens(tracked, model.encode, max(_FIRST_PASS_TOKENS, int(target)))
    sample = model.encode(examples)
    shared = SharedStates.of(
        folder,
        model,
        sample,
        method=spec.method.name,
        token_budget=spec.tracking.token_budget,
        precision=spec.tracking.precision,
    )
    return _SetUp(run, clock, sample, examples.gold, seconds, model.packs and shared is not None)


def count_tokens(
    tracked: AnnotatedDataset, train: AnnotatedDataset, encode: Callable[[AnnotatedDataset], Encoded]
) -> TokenFacts:
    """Tokens of a tracked set, and of a training set or a sample of it."""
    sample = train
    if len(sample) > SAMPLE:
        rows = np.random.default_rng(0).choice(len(sample), size=SAMPLE, replace=False)
        sample = sample.subset([sample.ids[i] for i in sorted(rows.tolist())])
    tracked_tokens = encode(tracked)
    sample_tokens = tracked_tokens if sample is tracked else encode(sample)
    return TokenFacts(float(sample_tokens.lengths.mean()), int(tracked_tokens.lengths.sum()))


def timing_of(spec: RunSpec, ready: _SetUp) -> Timing:
    """Seconds of a cell that is set up: of a few steps and passes."""
    run, clock = ready.run, ready.clock
    begin, processor = time.perf_counter(), time.process_time()
    steps = _repeated(lambda: _step(run, clock), STEP_SECONDS)
    tokens = int(ready.sample.lengths.sum())
    passes = _repeated(lambda: _pass(spec, run, clock, ready.sample) / tokens, TRACKING_SECONDS)
    share = (time.process_time() - processor) / (time.perf_counter() - begin)
    gradient = statistics.median(g for g, _ in steps)
    return Timing(
        setup=ready.seconds,
        gradient=gradient,
        update=statistics.median(u for _, u in steps),
        tracking=statistics.median(passes),
        steps=len(steps),
        passes=len(passes),
        low=min(g for g, _ in steps) / gradient,
        high=max(g for g, _ in steps) / gradient,
        shares_start=ready.shares_start,
        undisturbed=clock is time.process_time,
        share=share,
        bf16=_try_bf16(spec, ready),
    )


def _try_bf16(spec: RunSpec, ready: _SetUp) -> PrecisionTrial | None:
    """Tracking in bf16 beside fp32; None where it is bf16 already, or the model itself is of another precision."""
    if spec.tracking.precision == "bf16" or spec.model.dtype != "fp32" or spec.model.quantization is not None:
        return None
    return try_precisions(
        ready.run.model,
        ready.sample,
        ready.gold,
        rounds=2,
        token_budget=spec.tracking.token_budget,
        clock=ready.clock,
    )


def _weights_of(run: TrainingRun, rank: int | None) -> Weights:
    named = dict(run.model.module.named_parameters())
    return Weights(
        parameters=sum(p.numel() for p in named.values()),
        trainable=sum(p.numel() for p in named.values() if p.requires_grad),
        adapters=sum(p.numel() for name, p in named.items() if ".lora_" in name),
        rank=rank or 1,
    )


def _device_of(run: TrainingRun) -> str:
    """What it computes on: the GPU's name, or CPU."""
    import torch

    device = next(run.model.module.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def _step(run: TrainingRun, clock: Clock) -> tuple[float, float]:
    """One optimiser step: seconds per token of its gradient, and seconds of the update."""
    from dissensus.train.loop import accumulate

    rows = run.batch_rows()
    begin = clock()
    loss = accumulate(
        run.model, run.data, rows, run.spec, seed=run.seed, step=run.taken + 1, device=run.device
    )
    between = clock()
    run.update(loss, float(run.clip()))
    end = clock()
    return (between - begin) / int(run.data.encoded.lengths[rows].sum()), end - between


def _pass(spec: RunSpec, run: TrainingRun, clock: Clock, sample: Encoded) -> float:
    """Seconds of a tracking pass over a sample."""
    from dissensus.record.tracking import tracked_set, tracking_pass

    tracked = tracked_set(sample, run.model, token_budget=spec.tracking.token_budget)
    begin = clock()
    tracking_pass(run.model.module, tracked, len(sample), precision=spec.tracking.precision)
    return clock() - begin


def _repeated(take: Callable[[], T], seconds: float) -> list[T]:
    """Results of `take`, again and again for about so long; a slow one is cut short at two."""
    begin, results = time.perf_counter(), []
    while True:
        results.append(take())
        spent = time.perf_counter() - begin
        enough = spent > seconds and len(results) >= FEWEST
        if enough or len(results) >= MOST or (spent > 2 * seconds and len(results) >= 2):
            return results


def _clock(device: str | None, threads: int | None) -> Clock:
    """What tells the seconds of work on a device; see `Timing`."""
    if on_gpu(device):
        return _when_the_gpu_is_done
    return time.process_time if threads == 1 else time.perf_counter


def _when_the_gpu_is_done() -> float:
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def _some_tokens(
    dataset: AnnotatedDataset, encode: Callable[[AnnotatedDataset], Encoded], tokens: int
) -> AnnotatedDataset:
    """Examples at random, about so many tokens of them; fewer where the data set ends."""
    order = np.random.default_rng(0).permutation(len(dataset)).tolist()
    probe = encode(dataset.subset([dataset.ids[i] for i in order[:50]]))
    n = max(2, round(tokens / float(probe.lengths.mean())))
    return dataset.subset([dataset.ids[i] for i in sorted(order[:n])])


def assembled(spec: RunSpec, data_dir: Path | None) -> CellData:
    """The data of a cell; of several seeds the first stands for all."""
    seed = stream_seed(spec.seed, "sample")
    return assemble(spec.dataset, spec.regime, sample_seed=seed, data_dir=data_dir)
