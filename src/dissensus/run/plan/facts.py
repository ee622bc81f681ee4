"""Facts of a plan: sizes of data, tokens, seconds, checkpoints; which cells are alike. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dissensus.config import RunSpec
from dissensus.record.precision import PrecisionTrial, averaged

Key = tuple[str, ...]


@dataclass(frozen=True)
class DataFacts:
    """Sizes of one cell's data.

    Attributes:
        train: training examples.
        tracked: tracked examples.
        labels: how many labels there are.
        id_bytes: the tracked ids, end to end.
        text_bytes: the tracked texts, as the store keeps them.
    """

    train: int
    tracked: int
    labels: int
    id_bytes: int
    text_bytes: int


@dataclass(frozen=True)
class TokenFacts:
    """Real tokens, special ones included, after truncation; no padding.

    Attributes:
        per_train_example: mean over the training set, or over a sample of it.
        tracked: of the whole tracked set, in one pass.
    """

    per_train_example: float
    tracked: int


@dataclass(frozen=True)
class Timing:
    """Seconds on this machine.

    They are processor time where a process computes in one thread on a CPU, since that hardly depends on what else
    the machine is doing meanwhile; else they are wall-clock time.

    Attributes:
        setup: from a cell's specification to its first step: data, weights, adapters, token ids.
        gradient: forward and backward, a training token.
        update: clipping and the optimiser, a step.
        tracking: of a tracking pass, a token.
        steps: optimiser steps that were timed.
        passes: tracking passes that were timed.
        low: seconds per token of the quickest timed step, as a share of the median one.
        high: of the slowest.
        undisturbed: whether the seconds are processor time.
        share: processor time over wall-clock time while measuring: 1 for one thread that nothing else disturbs.
        bf16: the tracking pass in bf16 beside fp32; None where it was not tried.
    """

    setup: float
    gradient: float
    update: float
    tracking: float
    steps: int
    passes: int
    low: float
    high: float
    undisturbed: bool
    share: float
    bf16: PrecisionTrial | None = None


def combined(timings: Sequence[Timing]) -> Timing:
    """One timing of those that processes measured side by side: means, and sums of what was timed."""
    means = {
        name: statistics.fmean(getattr(timing, name) for timing in timings)
        for name in ("setup", "gradient", "update", "tracking", "share")
    }
    return Timing(
        **means,
        steps=sum(timing.steps for timing in timings),
        passes=sum(timing.passes for timing in timings),
        low=min(timing.low for timing in timings),
        high=max(timing.high for timing in timings),
        undisturbed=all(timing.undisturbed for timing in timings),
        bf16=averaged([timing.bf16 for timing in timings if timing.bf16 is not None]),
    )


@dataclass(frozen=True)
class TrialResult:
    """What a worker found out in a short trial.

    Attributes:
        tokens: of the cell.
        fixed: weights that training changes in the model that was set up, without those of LoRA's adapters.
        per_rank: those of the adapters, of each rank; 0 without LoRA.
        device: what it computed on: a GPU's name, or CPU.
        timing: None where only tokens were counted.
    """

    tokens: TokenFacts
    fixed: int
    per_rank: int
    device: str
    timing: Timing | None = None

    def checkpoint_bytes(self, rank: int | None) -> int:
        """Bytes of a checkpoint of a cell of that rank: weight and AdamW's two moments, in float32."""
        return 3 * 4 * (self.fixed + self.per_rank * (rank or 0))


@dataclass(frozen=True)
class CellFacts:
    """What could be found out about one cell before it runs.

    Attributes:
        data: sizes of its data; None where they could not be loaded.
        tokens: None where the model, too, could not be loaded.
        timing: of its kind of cell, from a trial.
        whole: seconds that a cell like it took from start to end; they go before a trial.
        checkpoint_bytes: of its checkpoint; None where the model could not be loaded.
        reason: why something is missing, in one line; "" where nothing is.
    """

    data: DataFacts | None = None
    tokens: TokenFacts | None = None
    timing: Timing | None = None
    whole: float | None = None
    checkpoint_bytes: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Measured:
    """How one kind of cell was timed.

    Attributes:
        model: its model's name, as the cell's.
        method: full, lora or ia3.
        precision: of training.
        cell: id of the cell that was timed.
        workers: processes that timed it at the same time.
        timing: what they found.
        device: what it computed on: a GPU's name, or CPU.
        threads: of each process.
    """

    model: str
    method: str
    precision: str
    cell: str
    workers: int
    timing: Timing
    device: str
    threads: int


@dataclass(frozen=True)
class StudyFacts:
    """What is known of a study's cells.

    Attributes:
        cells: by cell id.
        measured: what was timed.
    """

    cells: Mapping[str, CellFacts] = field(default_factory=dict)
    measured: tuple[Measured, ...] = ()


def data_key(cell: RunSpec) -> Key:
    """What the sizes of a cell's data depend on; of several seeds the first stands for all."""
    return cell.dataset.canonical(), cell.regime


def kind_key(cell: RunSpec) -> Key:
    """What the seconds of a token depend on: the model and how it reads text, the method, the precisions."""
    model = cell.model.model_copy(update={"tag": None, "dropout": None}).canonical()
    return model, cell.method.name, cell.training.precision, cell.tracking.precision


def likeness(cell: RunSpec) -> str:
    """What cells have in common that take as long as each other: all but seed and learning rate."""
    method = cell.method.model_copy(update={"learning_rate": 1.0})
    return cell.model_copy(update={"seed": 0, "method": method}).digest()
