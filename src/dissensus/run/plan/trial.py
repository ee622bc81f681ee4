"""Trial: a few steps and tracking passes of a cell, timed in a worker process, and its tokens counted.

A trial has the signature of `cell.run_cell`, so that a worker runs it as it runs a job: in a process of the
same kind, with the same threads, on the same device. What it finds is left in the cell's folder. The plan's workers
are offline, so nothing is downloaded.
"""

from __future__ import annotations

import importlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from pydantic import TypeAdapter

from dissensus.config import RunSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.assembly import CellData
from dissensus.record.precision import PrecisionTrial, try_precisions
from dissensus.run.allocation import on_gpu
from dissensus.run.cell_data import assembled_data
from dissensus.run.plan.facts import Trial

if TYPE_CHECKING:
    from dissensus.models.encoding import Encoded
    from dissensus.train.loop import TrainingRun

T = TypeVar("T")

Clock = Callable[[], float]

SAMPLE = 2000
"""Examples that are tokenised; of a larger set so many are drawn at random."""

STEP_SECONDS = 5.0
TRACKING_SECONDS = 4.0
PROBE_SECONDS = 2.0
"""Measuring goes on for so long, with at least `FEWEST` and at most `MOST` repetitions."""

NORM_EXAMPLES = 8
"""Examples whose own gradient norms are timed."""

FEWEST, MOST = 3, 20

PASS_SECONDS = 1.5
"""What a tracking pass over the sample should take; the sample's size follows."""

_FIRST_PASS_TOKENS = 256
_ENDLESS = 1e6  # epochs: the measured steps are all in the warm-up, at rates so small that none diverges
_RESULT = "trial.json"


def trial(
    spec: RunSpec,
    folder: Path,
    *,
    data_dir: Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    **_: Any,
) -> None:
    """Set a cell up, time it, count its tokens, and leave what was found in its folder.

    Raises:
        Exception: whatever keeps the cell from being set up.
    """
    clock = _clock(device, threads)
    run, setup = _set_up(spec, folder / "cell", clock, data_dir=data_dir, threads=threads, device=device)
    data = assembled_data(spec, data_dir)
    result = _timed(spec, run, data, clock, setup)
    (folder / _RESULT).write_text(json.dumps(asdict(result)), encoding="utf-8")


def read_trial(folder: Path) -> Trial:
    """What a trial has left in a cell's folder."""
    return TypeAdapter(Trial).validate_json((folder / _RESULT).read_bytes())


def text_bytes(dataset: AnnotatedDataset) -> int:
    """Bytes of a data set's texts, as the store keeps them."""
    return sum(len(json.dumps(dict(e.text), ensure_ascii=False).encode()) for e in dataset)


def tokens_per_byte(dataset: AnnotatedDataset, encode: Callable[[AnnotatedDataset], Encoded]) -> float:
    """Real tokens per byte of a data set's texts, or of a sample of it."""
    sample = dataset if len(dataset) <= SAMPLE else _some(dataset, SAMPLE)
    return int(encode(sample).lengths.sum()) / text_bytes(sample)


def _set_up(
    spec: RunSpec,
    folder: Path,
    clock: Clock,
    *,
    data_dir: Path | None,
    threads: int | None,
    device: str | None,
) -> tuple[TrainingRun, float]:
    """A cell that is set up as in a run, and the seconds that it took; raises what keeps it from being so."""
    # Libraries are loaded once per worker, not once per cell: that stays out of the set-up.
    for library in ("torch", "transformers") + (() if spec.method.name == "full" else ("peft",)):
        importlib.import_module(library)
    from dissensus.run.cell import prepare_cell
    from dissensus.train.loop import TrainingRun

    begin = clock()
    cell = prepare_cell(spec, folder, data_dir=data_dir, threads=threads, device=device)
    assert cell is not None  # the folder is new
    seconds = clock() - begin
    endless = spec.training.model_copy(update={"epochs": _ENDLESS})
    rate, seed = spec.method.learning_rate, spec.seed
    return TrainingRun(cell.run.model, cell.run.data, endless, learning_rate=rate, seed=seed), seconds


def _timed(spec: RunSpec, run: TrainingRun, data: CellData, clock: Clock, setup: float) -> Trial:
    """The trial of a cell that is set up: a few steps and passes, after one of each that is not counted."""
    run.begin()
    _step(run, clock)
    model, tracked = run.model, data.tracked
    first = model.encode(_some_tokens(tracked, model.encode, _FIRST_PASS_TOKENS))
    _pass(spec, run, clock, first)
    rate = _pass(spec, run, clock, first) / int(first.lengths.sum())
    target = min(PASS_SECONDS / rate, 2 * spec.tracking.token_budget)
    examples = _some_tokens(tracked, model.encode, max(_FIRST_PASS_TOKENS, int(target)))
    sample = model.encode(examples)
    begin, processor = time.perf_counter(), time.process_time()
    steps = _repeated(lambda: _step(run, clock), STEP_SECONDS)
    passes = _repeated(lambda: _pass(spec, run, clock, sample), TRACKING_SECONDS)
    share = (time.process_time() - processor) / (time.perf_counter() - begin)
    gradients = [gradient for gradient, _ in steps]
    typical = statistics.median(gradients)
    bf16: PrecisionTrial | None = None
    if "bf16" not in (spec.tracking.precision, spec.model.dtype) and spec.model.quantization is None:
        budget = spec.tracking.token_budget
        bf16 = try_precisions(model, sample, examples.gold, rounds=2, token_budget=budget, clock=clock)
    group_gradients, example_norms = _probed(spec, run, tracked, clock)
    named = [(name, p.numel()) for name, p in model.module.named_parameters() if p.requires_grad]
    adapters = sum(count for name, count in named if ".lora_" in name)
    return Trial(
        setup=setup,
        gradient=typical,
        update=statistics.median(update for _, update in steps),
        tracking=statistics.median(passes) / int(sample.lengths.sum()),
        steps=len(steps),
        passes=len(passes),
        low=min(gradients) / typical,
        high=max(gradients) / typical,
        undisturbed=clock is time.process_time,
        share=share,
        train_tokens=tokens_per_byte(data.train, model.encode),
        tracked_tokens=tokens_per_byte(tracked, model.encode),
        weights=sum(count for _, count in named) - adapters,
        weights_per_rank=adapters // (spec.method.rank or 1),
        device=_device_of(run),
        bf16=bf16,
        group_gradients=group_gradients,
        example_norms=example_norms,
    )


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


def _probed(
    spec: RunSpec, run: TrainingRun, tracked: AnnotatedDataset, clock: Clock
) -> tuple[float | None, float | None]:
    """Seconds of the gradient probe: of mean gradients, a token of one batch, and of norms, an example of a few."""
    from dissensus.record.gradients import GradientProbe
    from dissensus.record.processes import ProcessGroup

    wanted = spec.tracking.gradients
    if wanted is None:
        return None, None

    def seconds(examples: AnnotatedDataset, sample: Encoded, norms: Literal["all"] | None) -> float:
        """Of one point, all examples in one group, after one that is not counted."""
        name = wanted.groups[0]
        measured = wanted.model_copy(update={"groups": (name,), "norms": norms})
        with tempfile.TemporaryDirectory() as scratch:
            probe = GradientProbe(
                Path(scratch),
                run.model,
                examples,
                sample,
                np.full(len(examples), name),
                measured,
                steps=range(MOST + 2),
                seed=run.seed,
                group=ProcessGroup(),
            )
            points = iter(range(MOST + 2))

            def point() -> float:
                begin = clock()
                probe.step(next(points))
                return clock() - begin

            point()
            return statistics.median(_repeated(point, PROBE_SECONDS))

    batch = _some(tracked, wanted.batch_size)
    encoded = run.model.encode(batch)
    means = seconds(batch, encoded, None) / int(encoded.lengths.sum())
    if wanted.norms is None:
        return means, None
    few = _some(tracked, NORM_EXAMPLES)
    encoded = run.model.encode(few)
    both, without = seconds(few, encoded, "all"), seconds(few, encoded, None)
    return means, max(both - without, 0.0) / len(few)


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
    """What tells the seconds of work on a device; see `Trial`."""
    if on_gpu(device):
        return _when_the_gpu_is_done
    return time.process_time if threads == 1 else time.perf_counter


def _when_the_gpu_is_done() -> float:
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def _device_of(run: TrainingRun) -> str:
    """What it computes on: the GPU's name, or CPU."""
    import torch

    return torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else run.device.type.upper()


def _some_tokens(
    dataset: AnnotatedDataset, encode: Callable[[AnnotatedDataset], Encoded], tokens: int
) -> AnnotatedDataset:
    """Examples at random, about so many tokens of them; fewer where the data set ends."""
    probe = encode(_some(dataset, 50))
    return _some(dataset, max(2, round(tokens / float(probe.lengths.mean()))))


def _some(dataset: AnnotatedDataset, count: int) -> AnnotatedDataset:
    """So many examples at random, in their order."""
    order = np.random.default_rng(0).permutation(len(dataset))[:count].tolist()
    return dataset.subset([dataset.ids[place] for place in sorted(order)])
