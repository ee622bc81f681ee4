"""The examples of a cell with label noise in groups, and how near one group's learning is to another's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.analysis.cell_tables import condition_columns
from dissensus.analysis.clusters import fewest_clusters
from dissensus.analysis.reading import CellReading
from dissensus.analysis.study_reading import StudyReading
from dissensus.curves import Curves, FloatArray
from dissensus.errors import DataError
from dissensus.stats.groups import CONTESTED, SETTLED, UNGROUPED

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
        backed: whether most annotators chose the true label, shape (n,).
        clusters: what is resampled together, shape (n,).
    """

    cell: CellReading
    curves: Curves
    given: NDArray[np.int64]
    flipped: NDArray[np.bool_]
    entropy_group: NDArray[np.str_]
    backed: NDArray[np.bool_]
    clusters: NDArray[np.str_]

    @property
    def groups(self) -> NDArray[np.str_]:
        """'flipped', 'contested' or 'plain' for each example, '' for the other unflipped ones; shape (n,).

        Plain ones are settled on their true label: settled on another one, the true label is as wrong as a flipped one.
        """
        names = np.full(len(self.curves), UNGROUPED, dtype="<U9")
        names[self.entropy_group == CONTESTED] = CONTESTED
        names[(self.entropy_group == SETTLED) & self.backed] = PLAIN
        names[self.flipped] = FLIPPED
        return names

    @property
    def clean_groups(self) -> NDArray[np.str_]:
        """The same with no more flipped examples than those that would be plain."""
        unclean = self.flipped & ~((self.entropy_group == SETTLED) & self.backed)
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


def noisy_cells(reading: StudyReading) -> Iterator[NoisyCell]:
    """The cells in which a tracked example was trained on with a flipped label."""
    for cell in reading.cells:
        if cell.given is not None and cell.given.flipped.any():
            yield noisy_cell(cell)


def noisy_cell(cell: CellReading) -> NoisyCell:
    """The trained-on examples of a cell with label noise; `DataError` for a cell without."""
    if cell.given is None:
        raise DataError(f"cell {cell.name} was trained without label noise; expected one with training.noise")
    curves, trained = cell.curves, cell.curves.regime == "trained_on"
    return NoisyCell(
        cell=cell,
        curves=curves.subset(trained),
        given=cell.given.labels[trained],
        flipped=cell.given.flipped[trained],
        entropy_group=cell.group[trained],
        backed=cell.backed[trained],
        clusters=cell.cluster_names[trained],
    )


@dataclass(frozen=True)
class Distances:
    """How far apart the mean changes of loss of three groups are, in nats, each of shape (b,).

    Attributes:
        from_plain: flipped from plain examples.
        from_contested: flipped from contested examples.
        contested_from_plain: contested from plain examples.
    """

    from_plain: FloatArray
    from_contested: FloatArray
    contested_from_plain: FloatArray

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(field.name for field in fields(self))

    @property
    def columns(self) -> tuple[FloatArray, ...]:
        """The three, in the order of `names`."""
        return self.from_plain, self.from_contested, self.contested_from_plain

    @property
    def likeness(self) -> FloatArray:
        """How much nearer flipped examples' learning is to contested than to plain examples', nats, any sign."""
        return self.from_plain - self.from_contested

    @property
    def equivalence(self) -> FloatArray:
        """How much nearer flipped and contested examples are than contested and plain ones, nats, any sign.

        `likeness` is above 0 as well for flipped examples that lie far beyond contested ones; this is not.
        """
        return self.contested_from_plain - self.from_contested


def behind_distances(losses: FloatArray, groups: NDArray[np.str_], clusters: NDArray[np.str_]) -> int:
    """Clusters behind `distances`: of the smallest of the three groups, examples that it leaves out aside."""
    known = np.isfinite(losses).all(axis=1)
    return fewest_clusters(clusters, [known & (groups == group) for group in (FLIPPED, CONTESTED, PLAIN)])


def distances(losses: ArrayLike, groups: ArrayLike, weights: ArrayLike) -> Distances:
    """Distances between the groups' learning, in each of b resamples.

    With c_g(u) the mean over group g of l(u) - l(0): the root mean square over the tracking points after the first of
    c_g - c_h. Noise of the two means adds to a distance, more so for small groups.

    Degenerate cases: an example whose loss is not finite at every point is left out. NaN where a group has no example
    in a resample, or there is but one tracking point.

    Args:
        losses: shape (n, T), the first point before training.
        groups: 'flipped', 'contested', 'plain' or another name, shape (n,).
        weights: how often each example was drawn, shape (b, n).

    Raises:
        DataError: the shapes do not fit.
    """
    values, names = np.asarray(losses, dtype=np.float64), np.asarray(groups, dtype=np.str_)
    drawn = np.asarray(weights, dtype=np.float64)
    n = len(names)
    if values.ndim != 2 or len(values) != n or drawn.ndim != 2 or drawn.shape[1] != n:
        raise DataError(
            f"losses have shape {values.shape}, groups {names.shape} and weights {drawn.shape}; expected (n, T), (n,) "
            "and (b, n)"
        )
    if values.shape[1] < 2:
        nothing = np.full(len(drawn), np.nan)
        return Distances(nothing, nothing, nothing)
    known = np.isfinite(values).all(axis=1)
    changes = {}
    for group in (FLIPPED, CONTESTED, PLAIN):
        member = known & (names == group)
        group_weights = drawn[:, member]
        total = group_weights.sum(axis=1, keepdims=True)
        mean = np.full((len(drawn), values.shape[1] - 1), np.nan)
        np.divide(group_weights @ (values[member, 1:] - values[member, :1]), total, out=mean, where=total > 0)
        changes[group] = mean

    def apart(first: str, second: str) -> FloatArray:
        return np.asarray(np.sqrt(np.mean((changes[first] - changes[second]) ** 2, axis=1)))

    return Distances(apart(FLIPPED, PLAIN), apart(FLIPPED, CONTESTED), apart(CONTESTED, PLAIN))
