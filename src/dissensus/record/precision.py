"""Precision of tracking: would bf16 pay on this machine, and what would it change? A pass timed in both.

Imports no torch until a trial is made.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dissensus.models.encoding import Encoded
    from dissensus.models.merging import Precision
    from dissensus.models.scoring import ScoringModel

WORTH_IT = 1.2
"""Times as fast from which bf16 is advised: it rounds the curves, so a tie is no reason."""


@dataclass(frozen=True)
class PrecisionTrial:
    """Tracking a few batches in fp32 and in bf16.

    Attributes:
        examples: how many were tracked.
        seconds_fp32: of a pass over them, the median of the rounds.
        seconds_bf16: the same in bf16.
        largest_difference: of a gold loss between the two, nats.
    """

    examples: int
    seconds_fp32: float
    seconds_bf16: float
    largest_difference: float

    @property
    def times_as_fast(self) -> float:
        """How many times as fast bf16 is; below 1 it is slower."""
        return self.seconds_fp32 / self.seconds_bf16

    @property
    def pays(self) -> bool:
        """Whether bf16 is advised here."""
        return self.times_as_fast >= WORTH_IT

    def in_words(self) -> str:
        """For a plan, after the name of what was tracked."""
        return f"{self.times_as_fast:.1f} times as fast, losses differ by up to {self.largest_difference:.1g} nats"


def averaged(trials: Sequence[PrecisionTrial]) -> PrecisionTrial | None:
    """One trial of those that processes made side by side: mean seconds, the largest difference; None of none."""
    if not trials:
        return None
    return PrecisionTrial(
        trials[0].examples,
        statistics.fmean(trial.seconds_fp32 for trial in trials),
        statistics.fmean(trial.seconds_bf16 for trial in trials),
        max(trial.largest_difference for trial in trials),
    )


def try_precisions(
    model: ScoringModel,
    encoded: Encoded,
    gold: NDArray[np.int64],
    *,
    examples: int = 128,
    rounds: int = 3,
    token_budget: int = 4096,
    clock: Callable[[], float] = time.perf_counter,
) -> PrecisionTrial:
    """Track the first examples in both precisions, in turn, after a round that is not counted.

    Args:
        model: on its device; weights, modes and random state come back as they were.
        encoded: the tracked set.
        gold: gold label of each, -1 for none, shape (n,).
        examples: how many to track, at most.
        rounds: passes in each precision that are timed.
        token_budget: as the recorder has it.
        clock: what tells the seconds of a pass.
    """
    from dissensus.record.tracking import tracked_set, tracking_pass

    few = _first(encoded, examples)
    tracked = tracked_set(few, model, token_budget=token_budget)
    seconds: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
    log_probs: dict[Precision, NDArray[np.float32]] = {}
    for turn in range(rounds + 1):
        for precision, passes in seconds.items():
            gc.collect()
            begin = clock()
            log_probs[precision] = tracking_pass(model.module, tracked, len(few), precision=precision)
            if turn:
                passes.append(clock() - begin)
    at, label = np.arange(len(few)), np.maximum(gold[: len(few)], 0)
    difference = np.abs(log_probs["fp32"][at, label].astype(np.float64) - log_probs["bf16"][at, label])
    return PrecisionTrial(
        len(few),
        statistics.median(seconds["fp32"]),
        statistics.median(seconds["bf16"]),
        float(difference.max()),
    )


def _first(encoded: Encoded, count: int) -> Encoded:
    types = encoded.token_type_ids
    return type(encoded)(
        encoded.ids[:count],
        encoded.input_ids[:count],
        None if types is None else types[:count],
        encoded.truncated,
    )
