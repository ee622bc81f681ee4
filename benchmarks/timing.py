"""Timing contenders side by side: in turn, round after round, so that a machine whose speed drifts is fair to all."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dissensus.errors import SpecError


@dataclass(frozen=True)
class Spread:
    """Median and range of a quantity over rounds.

    Attributes:
        values: one a round, in the order of the rounds.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value: what is quoted."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)


def interleave(
    contenders: Mapping[str, Callable[[], object]], *, rounds: int = 5, warmup: int = 1
) -> dict[str, Spread]:
    """Wall-clock seconds of each contender, `rounds` times in turn after `warmup` rounds that are not counted.

    Each round begins with another contender, so that none always runs behind the same neighbour. Garbage is
    collected before a run and not during it.

    Raises:
        SpecError: no contender, or fewer than one round.
    """
    if not contenders or rounds < 1 or warmup < 0:
        raise SpecError(f"{len(contenders)} contenders and {rounds} rounds; expected at least one of each")
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(warmup + rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            gc.collect()
            gc.disable()
            try:
                begin = time.perf_counter()
                contenders[name]()
                taken = time.perf_counter() - begin
            finally:
                gc.enable()
            if turn >= warmup:
                seconds[name].append(taken)
    return {name: Spread(tuple(values)) for name, values in seconds.items()}


def speedup(reference: Spread, contender: Spread) -> Spread:
    """How many times as fast as the reference, round by round: the ratio of neighbours in time."""
    return Spread(tuple(r / c for r, c in zip(reference.values, contender.values, strict=True)))
