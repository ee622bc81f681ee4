"""What the tables of a cell are made from: its curves in memory, or, where they are too many, its store read by blocks.

Both give the same numbers: metrics, correlations and counts to the bit, mean losses and their bands to rounding (with
more than some thousand clusters the bands of a streamed cell are estimated from buckets of them: `stats.running`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dissensus.analysis.clusters import Clusters, clusters_of, stored_clusters
from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.data.annotations import NO_GOLD
from dissensus.metrics import ExampleMetrics, example_metrics, gold_margins
from dissensus.metrics.learning import answers_of
from dissensus.stats import GroupCurve, group_curves, stored_group_curves
from dissensus.store import StoredCurves
from dissensus.store.files import ROW_GROUP


class CellSource(Protocol):
    """The n examples of a cell as columns, and what is computed from their curves.

    Attributes:
        labels: label names.
        steps: of the tracking points, shape (T,).
        progress: the same in [0, 1].
        total_steps: of the run.
        ids: Arrow strings.
        gold: label indices, shape (n,); -1 without one.
        counts: annotators a label, shape (n, K).
        regime: Arrow strings.
        covariates: name -> shape (n,).
        clusters: what is resampled together.
    """

    labels: tuple[str, ...]
    steps: NDArray[np.int64]
    progress: FloatArray
    total_steps: int
    ids: Any
    gold: NDArray[np.int64]
    counts: FloatArray
    regime: Any
    covariates: Mapping[str, FloatArray]
    clusters: Clusters

    def __len__(self) -> int: ...
    def metrics(self, noise_floor: float) -> ExampleMetrics:
        """All metrics of every example."""

    def margins(self) -> FloatArray:
        """Gold margins at least at the first and the last point, those in the first and the last column."""

    def answers(self) -> NDArray[np.int64]:
        """The most probable label (see `answers_of`) at the first and the last point, shape (n, 2)."""

    def means(self, groups: NDArray[np.str_]) -> dict[str, FloatArray]:
        """Mean of the finite gold losses of each group that has an example, shape (T,); NaN where there is none."""

    def bands(self, groups: NDArray[np.str_], options: Mapping[str, Any]) -> dict[str, GroupCurve]:
        """Mean curve of each group with its band."""


class InMemory:
    """Curves that are in memory; see `CellSource`.

    Args:
        curves: the cell's.
        cluster_field: the text field that clusters; see `cluster_by`.
    """

    def __init__(self, curves: Curves, cluster_field: str | None = None) -> None:
        self.labels, self.steps, self.progress = curves.labels, curves.steps, curves.progress
        self.total_steps = curves.total_steps
        self.covariates: Mapping[str, FloatArray] = curves.covariates
        self.ids, self.regime = (
            pa.array(curves.ids, pa.string()),
            pa.array(curves.regime.tolist(), pa.string()),
        )
        self.gold, self.counts = curves.gold, curves.counts
        self.clusters = clusters_of(curves, cluster_field)
        self._curves = curves

    def __len__(self) -> int:
        return len(self._curves)

    def metrics(self, noise_floor: float) -> ExampleMetrics:
        """All metrics of every example."""
        return example_metrics(self._curves, noise_floor=noise_floor)

    def margins(self) -> FloatArray:
        """Gold margins, shape (n, T)."""
        return gold_margins(self._curves)

    def answers(self) -> NDArray[np.int64]:
        """The most probable label at the first and the last point, shape (n, 2)."""
        log_probs = self._curves.log_probs
        return np.stack([answers_of(log_probs[:, place]) for place in (0, -1)], axis=1)

    def means(self, groups: NDArray[np.str_]) -> dict[str, FloatArray]:
        """Mean of the finite gold losses of each group."""
        return {
            name: mean_known(self._curves.losses[groups == name]) for name in sorted(set(groups.tolist()))
        }

    def bands(self, groups: NDArray[np.str_], options: Mapping[str, Any]) -> dict[str, GroupCurve]:
        """Mean curve of each group with its band."""
        return group_curves(self._curves.losses, groups, **options)


class Streamed:
    """Curves that stay in their store; see `CellSource`.

    Args:
        stored: the store.
        gold: label indices to read the loss on, shape (n,); default: the stored ones.
        cluster_field: the text field that clusters; see `cluster_by`.
    """

    def __init__(
        self,
        stored: StoredCurves,
        gold: NDArray[np.int64] | None = None,
        cluster_field: str | None = None,
    ) -> None:
        self.labels, self.steps, self.progress = stored.labels, stored.steps, stored.progress
        self.total_steps = stored.total_steps
        self.ids, self.regime = stored.column("id"), stored.column("regime")
        self.gold = stored.gold if gold is None else gold
        self.counts = stored.counts
        self.covariates: Mapping[str, FloatArray] = {
            name: stored.column(name).to_numpy() for name in stored.covariates
        }
        self.clusters = stored_clusters(stored, cluster_field)
        self._stored = stored
        self._curves: CurveSource = stored if gold is None else _OnGold(stored, gold)

    def __len__(self) -> int:
        return len(self._stored)

    def metrics(self, noise_floor: float) -> ExampleMetrics:
        """All metrics of every example, in one walk through the store."""
        return example_metrics(self._curves, noise_floor=noise_floor)

    def margins(self) -> FloatArray:
        """Gold margins at the first and the last point, shape (n, 2), or (n, 1) where that is one."""
        ends = self._stored.at(sorted({0, len(self.steps) - 1}))
        return gold_margins(_OnGold(ends, self.gold))

    def answers(self) -> NDArray[np.int64]:
        """The most probable label at the first and the last point, shape (n, 2)."""
        found = np.empty((len(self), 2), dtype=np.int64)
        for column, place in enumerate((0, len(self.steps) - 1)):
            point = self._stored.at([place])
            for begin in range(0, len(self), ROW_GROUP):
                rows = slice(begin, min(len(self), begin + ROW_GROUP))
                found[rows, column] = answers_of(point.read(rows.start, rows.stop).log_probs[:, 0])
        return found

    def means(self, groups: NDArray[np.str_]) -> dict[str, FloatArray]:
        """Mean of the finite gold losses of each group."""
        return {name: curve.mean for name, curve in self.bands(groups, {"confidence": 0.95}).items()}

    def bands(self, groups: NDArray[np.str_], options: Mapping[str, Any]) -> dict[str, GroupCurve]:
        """Mean curve of each group with its band; the store is walked through once for all calls of one confidence."""
        key = (options["confidence"], hashlib.sha256(groups.tobytes()).hexdigest())
        if key not in self._known:
            self._known[key] = stored_group_curves(
                self._curves, groups, confidence=options["confidence"], clusters=self._numbered
            )
        return self._known[key]

    @cached_property
    def _known(self) -> dict[tuple[float, str], dict[str, GroupCurve]]:
        return {}

    @cached_property
    def _numbered(self) -> NDArray[np.int64] | None:
        """Clusters by number from 0."""
        if self.clusters.labels is None:
            return None
        return np.asarray(np.unique(self.clusters.labels, return_inverse=True)[1], dtype=np.int64)


class _OnGold:
    """A store's curves with other gold labels."""

    def __init__(self, stored: StoredCurves, gold: NDArray[np.int64]) -> None:
        self.steps, self.total_steps, self.progress = stored.steps, stored.total_steps, stored.progress
        self._stored, self._gold = stored, gold

    def __len__(self) -> int:
        return len(self._stored)

    def read(self, begin: int, end: int) -> Curves:
        """A block, on these labels."""
        return self._stored.read(begin, end).on(self._gold[begin:end])


def mean_known(losses: FloatArray) -> FloatArray:
    """Mean over the finite values of each column, shape (T,); NaN where there is none."""
    known = np.isfinite(losses)
    mean = np.full(losses.shape[1], np.nan)
    np.divide(np.where(known, losses, 0.0).sum(axis=0), known.sum(axis=0), out=mean, where=known.any(axis=0))
    return mean


def majority_gold(counts: FloatArray) -> NDArray[np.int64]:
    """The most frequent label of each example, shape (n,), the first of equals; -1 where nobody was asked."""
    return np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), NO_GOLD).astype(np.int64)
