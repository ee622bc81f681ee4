"""What a plan measures, inside a worker process: sizes of data, tokens, seconds of a step and of a tracking pass.

Each step here has the signature of `cell.run_cell`, so that a worker may call it as it calls a cell: in a process of
the same kind, with the same threads, on the same device. What it found is left as JSON in the folder that it is
given. Nothing is downloaded: the hub counts as out of reach. `tasks.py` takes the steps together in one call.
"""

from __future__ import annotations

import importlib
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dissensus.config import RunSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.assembly import CellData, assemble
from dissensus.run.allocation import on_gpu
from dissensus.run.plan.facts import DataFacts, Timing, TokenFacts, Weights
from dissensus.run.plan.presence import refuse_missing, stay_offline
from dissensus.seeds import stream_seed

if TYPE_CHECKING:
    from dissensus.models.encoding import Encoded
    from dissensus.train.loop import TrainingRun

T = TypeVar("T")

Clock = Callable[[], float]

FOUND = "found.json"
"""Where a function leaves its findings, in the folder that it is given."""

SAMPLE = 2000
"""Training examples that are tokenised; a larger set is reckoned from so many of it, drawn at random."""

STEP_SECONDS = 5.0
TRACKING_SECONDS = 4.0
"""Measuring goes on for so long, with at least `FEWEST` and at most `MOST` repetitions."""

FEWEST, MOST = 3, 20

PASS_SECONDS = 1.5
"""What a tracking pass over the sample should take; the sample's size follows."""

_FIRST_PASS_TOKENS = 256
_ENDLESS = 1e6  # epochs: the measured steps are all in the warm-up, at rates so small that none diverges


@dataclass
class _Held:
    """A cell that `prepare` has set up and warmed up."""

    run: TrainingRun
    clock: Clock
    sample: Encoded
    setup: float
    shares_start: bool


_born = time.process_time()  # Python and this package, in a process that began with a job of ours
_loading = 0.0  # and its libraries since then
_held: list[_Held] = []  # at most one: what lies between two calls in one process
_data: dict[tuple[str, str, Path | None], CellData] = {}


def survey(spec: RunSpec, folder: Path, *, data_dir: Path | None = None, **_: Any) -> None:
    """Find the sizes of a cell's data (`DataFacts`); raises what assembling them raises."""
    _leave(folder, sizes(spec, data_dir))


def sizes(spec: RunSpec, data_dir: Path | None) -> DataFacts:
    """Sizes of a cell's data."""
    stay_offline()
    data = assembled(spec, data_dir)
    return sizes_of(data.tracked, len(data.train))


def sizes_of(tracked: AnnotatedDataset, train: int) -> DataFacts:
    """The same, of a tracked set beside so many training examples."""
    texts = (json.dumps(dict(e.text), ensure_ascii=False).encode() for e in tracked)
    return DataFacts(
        train=train,
        tracked=len(tracked),
        labels=len(tracked.labels),
        id_bytes=sum(len(i.encode()) for i in tracked.ids),
        text_bytes=sum(map(len, texts)),
    )


def find(spec: RunSpec, _folder: Path, **_: Any) -> None:
    """Raise `ModelError` for a model that a run would have to fetch first; cheap, and needs no torch."""
    stay_offline()
    refuse_missing(spec.model)


def prepare(
    spec: RunSpec,
    folder: Path,
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    **_: Any,
) -> None:
    """Set a cell up as a run does, warm it up, and keep it for `count` and `measure`.

    Raises whatever keeps the cell from being set up.
    """
    global _loading
    _held.clear()
    stay_offline()
    # Libraries are loaded once a worker, not once a cell: that stays out of the set-up.
    begin = time.process_time()
    for library in ("torch", "transformers") + (() if spec.method.name == "full" else ("peft",)):
        importlib.import_module(library)
    from dissensus.models.shared_states import SharedStates
    from dissensus.run.cell import open_cell
    from dissensus.train.loop import TrainingRun

    _loading += time.process_time() - begin
    clock = _clock(device, threads)
    begin = clock()
    cell = open_cell(spec, folder / "cell", data_dir=data_dir, threads=threads, device=device)
    assert cell is not None  # the folder is new
    setup = clock() - begin
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
    sample = model.encode(_some_tokens(tracked, model.encode, max(_FIRST_PASS_TOKENS, int(target))))
    shared = SharedStates.of(
        folder,
        model,
        sample,
        method=spec.method.name,
        token_budget=spec.tracking.token_budget,
        precision=spec.tracking.precision,
    )
    _held.append(_Held(run, clock, sample, setup, model.packs and shared is not None))


def count(spec: RunSpec, folder: Path, *, data_dir: Path | None = None, **_: Any) -> None:
    """Count a cell's tokens (`TokenFacts`) with the model that `prepare` has loaded."""
    _leave(folder, tokens_of(spec, data_dir))


def tokens_of(spec: RunSpec, data_dir: Path | None) -> TokenFacts:
    """A cell's tokens, by the model that `prepare` has loaded."""
    data = assembled(spec, data_dir)
    return count_tokens(data.tracked, data.train, _kept().run.model.encode)


def count_tokens(
    tracked: AnnotatedDataset, train: AnnotatedDataset, encode: Callable[[AnnotatedDataset], Encoded]
) -> TokenFacts:
    """Tokens of a tracked set, and of a training set or a sample of it."""
    sample = train
    if len(sample) > SAMPLE:
        rows = np.random.default_rng(0).choice(len(sample), size=SAMPLE, replace=False)
        sample = sample.subset([sample.ids[i] for i in sorted(rows.tolist())])
    whole = encode(tracked)
    some = whole if sample is tracked else encode(sample)
    return TokenFacts(float(some.lengths.mean()), int(whole.lengths.sum()))


def weights_of(spec: RunSpec) -> Weights:
    """The weights of the cell that `prepare` has set up."""
    named = dict(_kept().run.model.module.named_parameters())
    return Weights(
        parameters=sum(p.numel() for p in named.values()),
        trainable=sum(p.numel() for p in named.values() if p.requires_grad),
        adapters=sum(p.numel() for name, p in named.items() if ".lora_" in name),
        rank=spec.method.rank or 1,
    )


def device_of() -> str:
    """What the cell that `prepare` has set up computes on: the GPU's name, or CPU."""
    import torch

    device = next(_kept().run.model.module.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def measure(spec: RunSpec, folder: Path, **_: Any) -> None:
    """Time a few steps and passes (`Timing`) of the cell that `prepare` has set up; it is let go of afterwards."""
    _leave(folder, timing_of(spec))


def timing_of(spec: RunSpec) -> Timing:
    """The seconds of the cell that `prepare` has set up; it is let go of afterwards."""
    held = _kept()
    run, clock = held.run, held.clock
    begin, processor = time.perf_counter(), time.process_time()
    steps = _repeated(lambda: _step(run, clock), STEP_SECONDS)
    tokens = int(held.sample.lengths.sum())
    passes = _repeated(lambda: _pass(spec, run, clock, held.sample) / tokens, TRACKING_SECONDS)
    share = (time.process_time() - processor) / (time.perf_counter() - begin)
    _held.clear()
    gradient = statistics.median(g for g, _ in steps)
    return Timing(
        setup=held.setup,
        gradient=gradient,
        update=statistics.median(u for _, u in steps),
        tracking=statistics.median(passes),
        steps=len(steps),
        passes=len(passes),
        low=min(g for g, _ in steps) / gradient,
        high=max(g for g, _ in steps) / gradient,
        shares_start=held.shares_start,
        undisturbed=clock is time.process_time,
        share=share,
        start=_born + _loading,
    )


def _step(run: TrainingRun, clock: Clock) -> tuple[float, float]:
    """One optimiser step: seconds a token of its gradient, and seconds of the update."""
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
    begin, taken = time.perf_counter(), []
    while True:
        taken.append(take())
        spent = time.perf_counter() - begin
        enough = spent > seconds and len(taken) >= FEWEST
        if enough or len(taken) >= MOST or (spent > 2 * seconds and len(taken) >= 2):
            return taken


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
    """The data of a cell, assembled once a process; of several seeds the first stands for all."""
    key = (spec.dataset.canonical(), spec.regime, data_dir)
    if key not in _data:
        seed = stream_seed(spec.seed, "sample")
        _data[key] = assemble(spec.dataset, spec.regime, sample_seed=seed, data_dir=data_dir)
    return _data[key]


def _kept() -> _Held:
    assert _held, "prepare comes first"
    return _held[0]


def _leave(folder: Path, found: DataFacts | TokenFacts | Timing) -> None:
    (folder / FOUND).write_text(json.dumps(asdict(found)), encoding="utf-8")
