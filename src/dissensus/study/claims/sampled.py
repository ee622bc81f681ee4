"""Numbers with what they would have been on other examples and other seeds.

All cells of one data set are resampled by the same draws of premise clusters, and all conditions by the same picks
of seeds. So a difference of two cells is a difference of their resampled values: what they share cancels out, as
it should between cells that track the same examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.stats.bootstrap import drawn_units, times_drawn
from dissensus.stats.draws import Draws, Units
from dissensus.study.named_generators import named_generator

ROWS = 256
"""Resamples of a chunk; each chunk has a generator of its own, so that it can be drawn again instead of kept."""
KEPT = 30_000_000
"""Numbers (resamples x examples) of drawn chunks that are kept for the next cell with the same examples."""


@dataclass(frozen=True)
class Sampled:
    """A statistic and its resampled values.

    Attributes:
        value: of the data as they are.
        examples: with other examples, the same seeds: shape (B,).
        both: with other examples and other seeds: shape (B,).
        seeds: how many seeds stand behind it; with one, `both` is `examples`.
    """

    value: float
    examples: FloatArray
    both: FloatArray
    seeds: int

    @classmethod
    def mean(cls, several: Sequence[Sampled]) -> Self:
        """The mean of several statistics; of none, NaN."""
        if not several:
            empty = np.empty(0)
            return cls(float("nan"), empty, empty, 0)
        return cls(
            float(np.mean([one.value for one in several])),
            np.mean([one.examples for one in several], axis=0),
            np.mean([one.both for one in several], axis=0),
            min(one.seeds for one in several),
        )


class Resampler:
    """Draws of premise clusters, the same for every cell of a data set, and picks of seeds, the same for all.

    Args:
        clusters: data set -> the clusters that any of its cells tracks, in any order, repeats allowed.
        resamples: B.
        seed: what is drawn is a function of this, the data set's name and the number of the resample alone.
    """

    def __init__(self, clusters: Mapping[str, Sequence[str]], resamples: int, seed: int) -> None:
        self.resamples = resamples
        self._seed = seed
        self._names = {dataset: np.unique(np.asarray(names)) for dataset, names in clusters.items()}
        self._kept: dict[str, list[Draws]] = {}

    def over(
        self, dataset: str, clusters: NDArray[np.str_], statistic: Callable[[Draws], FloatArray]
    ) -> FloatArray:
        """A statistic in each resample, shape (B, ...).

        Args:
            dataset: whose draws.
            clusters: of the statistic's examples, shape (n,).
            statistic: from a chunk of b resamples of these examples to b values (or rows).
        """
        return np.concatenate([statistic(draws) for draws in self._draws(dataset, clusters)])

    def units(self, clusters: NDArray[np.str_]) -> Units:
        """The units among a statistic's examples, in the order in which `over` counts their draws."""
        return Units.among(len(clusters), clusters)

    def over_seeds(self, values: Sequence[float], resampled: Sequence[FloatArray]) -> Sampled:
        """The mean over the seeds of one condition.

        A pick of S seeds with replacement has a mean whose variance is (S - 1) / S of what a new set of S seeds
        would have; the seeds' deviations are stretched by sqrt(S / (S - 1)) to make up for it.

        Args:
            values: the statistic, one a seed.
            resampled: its values on other examples, one array of shape (B,) a seed.
        """
        seeds = len(values)
        examples = np.mean(resampled, axis=0)
        if seeds < 2:
            return Sampled(float(values[0]), examples, examples, seeds)
        point = np.asarray(values, dtype=np.float64)
        deviations = (point - point.mean()) * np.sqrt(seeds / (seeds - 1))
        # The same picks wherever there are as many seeds.
        rng = named_generator(self._seed, "claims", f"{seeds} seeds")
        moved = deviations[rng.integers(0, seeds, size=(self.resamples, seeds))].mean(axis=1)
        return Sampled(float(point.mean()), examples, examples + moved, seeds)

    def _draws(self, dataset: str, clusters: NDArray[np.str_]) -> list[Draws]:
        key = hashlib.sha256("\x1f".join([dataset, *clusters.tolist()]).encode()).hexdigest()
        if key in self._kept:
            return self._kept[key]
        units = self.units(clusters)
        names = self._names[dataset]
        # Where each unit of these examples stands among the data set's; `Units` numbers them in sorted order.
        place = np.searchsorted(names, np.unique(clusters))
        drawn = []
        for number, start in enumerate(range(0, self.resamples, ROWS)):
            rows = min(ROWS, self.resamples - start)
            rng = named_generator(self._seed, "claims", dataset, str(number))
            picks = next(drawn_units(len(names), rows, rng, rows=rows))
            drawn.append(Draws.of(np.ascontiguousarray(times_drawn(picks)[:, place]), units))
        if self.resamples * len(clusters) <= KEPT:
            held = sum(d.weights.size for chunks in self._kept.values() for d in chunks)
            if held + self.resamples * len(clusters) > KEPT:
                self._kept.clear()
            self._kept[key] = drawn
        return drawn
