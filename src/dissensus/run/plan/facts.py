"""What a plan knows of a study's cells before they run: sizes of data, tokens, seconds. Plain data, no torch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


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
        low: seconds a token of the quickest timed step, as a share of the median one.
        high: of the slowest.
        shares_start: whether cells that begin with the same body leave each other what the head reads at step 0
            (`models/shared_states.py`), so that all but the first save a pass.
        undisturbed: whether the seconds are processor time.
        share: processor time over wall-clock time while measuring: 1 for one thread that nothing else disturbs.
        start: until a fresh worker process has loaded its libraries; a job on a cluster starts one of its own.
    """

    setup: float
    gradient: float
    update: float
    tracking: float
    steps: int
    passes: int
    low: float
    high: float
    shares_start: bool
    undisturbed: bool
    share: float
    start: float = 0.0


@dataclass(frozen=True)
class Weights:
    """How many weights a cell has.

    Attributes:
        parameters: all of the model's, adapters included.
        trainable: those that training changes.
        adapters: those of them that grow with LoRA's rank; 0 without LoRA.
        rank: LoRA's, of the cell that was looked at; 1 without.
    """

    parameters: int
    trainable: int
    adapters: int = 0
    rank: int = 1

    def checkpoint_bytes(self, rank: int | None) -> int:
        """Bytes of a checkpoint of a like cell of that rank: weight and AdamW's two moments, in float32."""
        grown = self.adapters * (rank or self.rank) // self.rank
        return 3 * 4 * (self.trainable - self.adapters + grown)


def combined(timings: Sequence[Timing]) -> Timing:
    """One timing of those that processes measured side by side: means, and sums of what was timed."""

    def mean(name: str) -> float:
        return statistics.fmean(getattr(timing, name) for timing in timings)

    return Timing(
        setup=mean("setup"),
        gradient=mean("gradient"),
        update=mean("update"),
        tracking=mean("tracking"),
        steps=sum(timing.steps for timing in timings),
        passes=sum(timing.passes for timing in timings),
        low=min(timing.low for timing in timings),
        high=max(timing.high for timing in timings),
        shares_start=all(timing.shares_start for timing in timings),
        undisturbed=all(timing.undisturbed for timing in timings),
        share=mean("share"),
        start=mean("start"),
    )
