"""The examples of a cell with label noise in groups, and how near one group's learning is to another's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.config import AnalysisSpec
from dissensus.curves import Curves, FloatArray
from dissensus.errors import DataError
from dissensus.measures import annotation_entropy
from dissensus.stats import entropy_groups
from dissensus.stats.groups import CONTESTED, SETTLED, UNGROUPED
from dissensus.study.cell_tables import condition_columns
from dissensus.study.evidence import Cell, Evidence

FLIPPED, PLAIN = "flipped", "plain"


@dataclass(frozen=True)
class NoisyCell:
    """The n tracked examples of a cell that were trained on, some of them with a flipped label.

    Attributes:
        cell: the whole cell.
        curves: of these examples, on the true label.
        given: the labels trained on, shape (n,).
        flipped: which of them were flipped, shape (n,).
        entropy_group: contested, middle or settled among all that the cell tracks, shape (n,); '' without annotations.
        clusters: what is resampled together, shape (n,).
    """

    cell: Cell
    curves: Curves
    given: NDArray[np.int64]
    flipped: NDArray[np.bool_]
    entropy_group: NDArray[np.str_]
    clusters: NDArray[np.str_]

    @property
    def groups(self) -> NDArray[np.str_]:
        """'flipped', 'contested' or 'plain' for each example, '' for the unflipped ones between; shape (n,)."""
        names = np.full(len(self.curves), UNGROUPED, dtype="<U9")
        names[self.entropy_group == CONTESTED] = CONTESTED
        names[self.entropy_group == SETTLED] = PLAIN
        names[self.flipped] = FLIPPED
        return names

    @property
    def clean_groups(self) -> NDArray[np.str_]:
        """The same with no more flipped examples than those of the settled group."""
        unclean = self.flipped & (self.entropy_group != SETTLED)
        return np.where(unclean, UNGROUPED, self.groups)

    def losses(self, label: str) -> FloatArray:
        """Loss on the label 'given' or 'true', nats, shape (n, T)."""
        return self.curves.losses_on(self.given) if label == "given" else self.curves.losses

    @property
    def identity(self) -> dict[str, Any]:
        """The columns that name the cell and its noise."""
        spec = self.cell.spec
        noise = spec.training.noise
        return {
            "cell": self.cell.name,
            **condition_columns(spec),
            "seed": spec.seed,
            "noise": noise.kind if noise else None,
            "rate": noise.rate if noise else None,
        }


def noisy_cells(evidence: Evidence) -> Iterator[NoisyCell]:
    """The cells in which a tracked example was trained on with a flipped label."""
    for cell in evidence.cells:
        if cell.given is not None and cell.given.flipped.any():
            yield noisy_cell(cell, evidence.study.analysis)


def noisy_cell(cell: Cell, settings: AnalysisSpec) -> NoisyCell:
    """The trained-on examples of a cell with label noise; `DataError` for a cell without."""
    if cell.given is None:
        raise DataError(f"cell {cell.name} was trained without label noise; expected one with training.noise")
    curves, trained = cell.curves, cell.curves.regime == "trained_on"
    entropy = annotation_entropy(curves.counts, estimator=settings.entropy)
    groups = entropy_groups(entropy, share=settings.contested_share, cuts=settings.cuts)
    return NoisyCell(
        cell=cell,
        curves=curves.subset(trained),
        given=cell.given.labels[trained],
        flipped=cell.given.flipped[trained],
        entropy_group=groups[trained],
        clusters=cell.clusters[trained],
    )


def likeness(losses: ArrayLike, groups: ArrayLike, weights: ArrayLike) -> FloatArray:
    """How much nearer flipped examples' learning is to contested than to plain examples', in each of b resamples.

    With c_g(u) the mean over group g of l(u) - l(0), and RMS the root mean square over the tracking points after the
    first: RMS(c_flipped - c_plain) - RMS(c_flipped - c_contested).

    Unit: nats. Any sign; above 0: flipped examples move more like contested ones. Noise of the three means adds to
    both distances, more so for the smaller of the two groups.

    Degenerate cases: an example whose loss is not finite at every point is left out. NaN where a group has no example
    in a resample, or there is but one tracking point.

    Args:
        losses: shape (n, T), the first point before training.
        groups: 'flipped', 'contested', 'plain' or another name, shape (n,).
        weights: how often each example was drawn, shape (b, n).

    Returns:
        Shape (b,).

    Raises:
        DataError: the shapes do not fit.
    """
    plain, contested = distances(losses, groups, weights)
    return plain - contested


def distances(losses: ArrayLike, groups: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The two distances of `likeness`, from plain and from contested examples, nats, each of shape (b,)."""
    values, names = np.asarray(losses, dtype=np.float64), np.asarray(groups, dtype=np.str_)
    drawn = np.asarray(weights, dtype=np.float64)
    n = len(names)
    if values.ndim != 2 or len(values) != n or drawn.ndim != 2 or drawn.shape[1] != n:
        raise DataError(
            f"losses have shape {values.shape}, groups {names.shape} and weights {drawn.shape}; expected (n, T), (n,) "
            "and (b, n)"
        )
    known = np.isfinite(values).all(axis=1)
    changes = {}
    for group in (FLIPPED, CONTESTED, PLAIN):
        member = known & (names == group)
        own = drawn[:, member]
        total = own.sum(axis=1, keepdims=True)
        mean = np.full((len(drawn), max(values.shape[1] - 1, 0)), np.nan)
        np.divide(own @ (values[member, 1:] - values[member, :1]), total, out=mean, where=total > 0)
        changes[group] = mean
    if values.shape[1] < 2:
        return np.full(len(drawn), np.nan), np.full(len(drawn), np.nan)
    plain, contested = (
        np.sqrt(np.mean((changes[FLIPPED] - changes[group]) ** 2, axis=1)) for group in (PLAIN, CONTESTED)
    )
    return plain, contested
