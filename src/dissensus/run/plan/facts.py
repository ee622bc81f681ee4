"""Facts of a plan: sizes of data, a trial's seconds and tokens, and which cells are alike. Imports no torch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dissensus.config import RunSpec
from dissensus.record.precision import PrecisionTrial, averaged

Key = tuple[str, ...]


@dataclass(frozen=True)
class DataFacts:
    """Sizes of one cell's data; texts count as the store keeps them.

    Attributes:
        train: training examples.
        tracked: tracked examples.
        labels: how many labels there are.
        id_bytes: the tracked ids, end to end.
        text_bytes: the tracked texts.
        train_bytes: the training texts.
        validation: examples that are held back; 0 without a validation set.
        validation_bytes: their texts.
        class_bytes: texts of each entropy class of the tracked set, by its name; empty without entropy cuts.
    """

    train: int
    tracked: int
    labels: int
    id_bytes: int
    text_bytes: int
    train_bytes: int
    validation: int = 0
    validation_bytes: int = 0
    class_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """What a short trial of one cell found on this machine.

    Seconds are processor time where a process computes in one thread on a CPU, since that hardly depends on what else
    the machine is doing meanwhile; else they are wall-clock time. Tokens are real ones, special ones included, after
    truncation; no padding.

    Attributes:
        setup: seconds from a cell's specification to its first step: data, weights, adapters, token ids.
        gradient: of forward and backward, a training token.
        update: of clipping and the optimiser, a step.
        tracking: of a tracking pass, a token.
        steps: optimiser steps that were timed.
        passes: tracking passes that were timed.
        low: seconds per token of the quickest timed step, as a share of the median one.
        high: of the slowest.
        undisturbed: whether the seconds are processor time.
        share: processor time over wall-clock time while measuring: 1 for one thread that nothing else disturbs.
        train_tokens: per byte of the training texts.
        tracked_tokens: per byte of the tracked texts.
        weights: that training changes, without those of LoRA's adapters.
        weights_per_rank: those of the adapters, of each rank; 0 without LoRA.
        device: what it computed on: a GPU's name, or CPU.
        bf16: the tracking pass in bf16 beside fp32; None where it was not tried.
        group_gradients: seconds of the gradient probe's mean gradients, a token; None in a cell without a probe.
        example_norms: of single examples' gradient norms, an example; None where the probe measures none.
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
    train_tokens: float
    tracked_tokens: float
    weights: int
    weights_per_rank: int
    device: str
    bf16: PrecisionTrial | None = None
    group_gradients: float | None = None
    example_norms: float | None = None

    def checkpoint_bytes(self, rank: int | None) -> int:
        """Bytes of a checkpoint of a cell of that rank: weight and AdamW's two moments, in float32."""
        return 3 * 4 * (self.weights + self.weights_per_rank * (rank or 0))


def combined(trials: Sequence[Trial]) -> Trial:
    """One trial of those that processes made side by side: mean seconds, and sums of what was timed."""

    def mean(name: str) -> float:
        return statistics.fmean(getattr(trial, name) for trial in trials)

    return replace(
        trials[0],
        setup=mean("setup"),
        gradient=mean("gradient"),
        update=mean("update"),
        tracking=mean("tracking"),
        share=mean("share"),
        steps=sum(trial.steps for trial in trials),
        passes=sum(trial.passes for trial in trials),
        low=min(trial.low for trial in trials),
        high=max(trial.high for trial in trials),
        bf16=averaged([trial.bf16 for trial in trials if trial.bf16 is not None]),
        group_gradients=None if trials[0].group_gradients is None else mean("group_gradients"),
        example_norms=None if trials[0].example_norms is None else mean("example_norms"),
    )


@dataclass(frozen=True)
class CellFacts:
    """What could be found out about one cell before it runs.

    Attributes:
        data: sizes of its data; None where they could not be loaded.
        trial: of its kind of cell; None where the model could not be loaded.
        whole: seconds that a cell like it took from start to end; they go before a trial's.
        reason: why something is missing, in one line; "" where nothing is.
    """

    data: DataFacts | None = None
    trial: Trial | None = None
    whole: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Measured:
    """How one kind of cell was tried.

    Attributes:
        model: its model's name, as the cell's.
        method: full, lora or ia3.
        precision: of training.
        cell: id of the cell that was tried.
        workers: processes that tried it at the same time.
        threads: of each process.
        cells: cells whose seconds are the trial's; the others of the kind are like finished ones.
        trial: what they found.
    """

    model: str
    method: str
    precision: str
    cell: str
    workers: int
    threads: int
    cells: int
    trial: Trial


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
    """What the seconds of a token depend on: model and how it reads text, method, precisions, gradient probe."""
    model = cell.model.model_copy(update={"tag": None, "dropout": None}).canonical()
    probe = cell.tracking.gradients
    gradients = "" if probe is None else f"{probe.mode} {probe.batch_size} {probe.norms is not None}"
    return model, cell.method.name, cell.training.precision, cell.tracking.precision, gradients


def likeness(cell: RunSpec) -> str:
    """What cells have in common that take as long as each other: all but seed and learning rate."""
    method = cell.method.model_copy(update={"learning_rate": 1.0})
    return cell.model_copy(update={"seed": 0, "method": method}).digest()
