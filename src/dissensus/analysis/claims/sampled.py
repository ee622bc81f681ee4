"""Resampled values: statistics of a cell or condition with what they would have been on other examples.

All cells of one data set are resampled by the same draws of clusters. So a difference of two cells is a difference of
their resampled values: what they share cancels out, as it should between cells that track the same examples. What other
seeds would have changed is in `seeds.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.seeds import named_generator
from dissensus.stats.bootstrap import drawn_units, times_drawn
from dissensus.stats.draws import Draws, Units

ROWS = 256
"""Resamples of a chunk; each chunk has a generator of its own, so that it can be drawn again instead of kept."""
KEPT = 12_000_000
"""Numbers (resamples x examples) of drawn chunks that are kept for the next cell with the same examples; with what is
kept of their ranks a number takes 40 bytes."""


@dataclass(frozen=True)
class CellValue:
    """A statistic of one cell, or of a pair of cells.

    Attributes:
        value: of the data as they are; NaN where it is not defined.
        resampled: on other examples, shape (B,).
        clusters: clusters behind it: of the smallest group of examples that it needs.
        least_se: what its standard error is at least, on the scale that it is judged on; see `c6_label_noise.py`.
        why: why it is not defined, in words, or ''.
        note: what a reader must know of this value, or ''.
        df: degrees of freedom that its examples leave, n - 2 - k of a correlation with k dimensions held fixed;
            infinite where only the clusters limit them.
    """

    value: float
    resampled: FloatArray
    clusters: int
    least_se: float = 0.0
    why: str = ""
    note: str = ""
    df: float = float("inf")

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return bool(np.isfinite(self.value))


@dataclass(frozen=True)
class ConditionValue:
    """A statistic of one condition, or of a pair of conditions: the mean over its seeds.

    Attributes:
        name: of the condition or the pair.
        by_seed: seed -> value; seeds without a value are left out.
        resampled: the mean over these seeds on other examples, shape (B,).
        clusters: clusters behind it, the fewest of any seed.
        cells: ids of the cells that it rests on.
        least_se: the largest of its seeds'.
        why: why no seed has a value, or ''.
        note: of its seeds' values.
        df: the fewest of its seeds'.
    """

    name: str
    by_seed: Mapping[int, float]
    resampled: FloatArray
    clusters: int
    cells: tuple[str, ...]
    least_se: float = 0.0
    why: str = ""
    note: str = ""
    df: float = float("inf")

    @classmethod
    def of(cls, name: str, values: Mapping[int, CellValue], cells: Sequence[str]) -> Self:
        """The mean over seeds of one value per seed (at least one)."""
        known = {seed: one for seed, one in values.items() if one.defined}
        reasons = dict.fromkeys(one.why for one in values.values() if not one.defined and one.why)
        notes = dict.fromkeys(one.note for one in known.values() if one.note)
        return cls(
            name,
            {seed: one.value for seed, one in known.items()},
            np.mean([one.resampled for one in known.values()], axis=0) if known else np.empty(0),
            min((one.clusters for one in (known or values).values()), default=0),
            tuple(cells),
            max((one.least_se for one in known.values()), default=0.0),
            "" if known else "; ".join(reasons),
            "; ".join(notes),
            min((one.df for one in known.values()), default=float("inf")),
        )

    @property
    def value(self) -> float:
        """The mean over its seeds; NaN without one."""
        return float(np.mean(list(self.by_seed.values()))) if self.by_seed else float("nan")

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return bool(self.by_seed)


class Resampler:
    """Draws of clusters, the same for every cell of a data set.

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
        self._units: dict[bytes, Units] = {}

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
        key = hashlib.sha256(clusters.tobytes()).digest()
        if key not in self._units:
            self._units[key] = Units.among(len(clusters), clusters)
        return self._units[key]

    def first_half(self, dataset: str, clusters: NDArray[np.str_]) -> NDArray[np.bool_]:
        """Whether each of these clusters is in the first of two halves of the data set's, drawn once, shape (n,)."""
        names = self._names[dataset]
        order = named_generator(self._seed, "claims", dataset, "halves").permutation(len(names))
        return np.asarray(order[np.searchsorted(names, clusters)] % 2 == 0, dtype=np.bool_)

    def _draws(self, dataset: str, clusters: NDArray[np.str_]) -> list[Draws]:
        key = f"{dataset} {hashlib.sha256(clusters.tobytes()).hexdigest()}"
        if key in self._kept:
            return self._kept[key]
        units = self.units(clusters)
        names = self._names[dataset]
        kept = self.resamples * len(clusters) <= KEPT
        # Where each unit of these examples stands among the data set's; `Units` numbers them in sorted order.
        place = np.searchsorted(names, np.unique(clusters))
        drawn = []
        for number, start in enumerate(range(0, self.resamples, ROWS)):
            rows = min(ROWS, self.resamples - start)
            rng = named_generator(self._seed, "claims", dataset, str(number))
            picks = next(drawn_units(len(names), rows, rng, rows=rows))
            counts = np.ascontiguousarray(times_drawn(picks)[:, place])
            drawn.append(Draws.of(counts, units, several=kept))
        if kept:
            held = sum(d.weights.size for chunks in self._kept.values() for d in chunks)
            if held + self.resamples * len(clusters) > KEPT:
                self._kept.clear()
            self._kept[key] = drawn
        return drawn
