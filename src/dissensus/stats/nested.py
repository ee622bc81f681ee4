"""Several sets of covariates held fixed for one pair of columns: their partial correlations from one Gram matrix.

Each covariate is a block of columns. Sums of products of two blocks are made once in each resample, whichever sets
hold both, and kept with the draws: cells that share examples share all blocks but those of their own losses. A set's
Gram matrix and right-hand side follow from the blocks' by a change of basis, so that what is solved is the system
that `RankDesign` would make of the set alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dissensus.stats.bootstrap import FloatArray
from dissensus.stats.design import (
    RIDGE,
    RankDesign,
    pair_correlation,
    product,
    share_left,
    side_by_side,
)
from dissensus.stats.draws import Draws
from dissensus.stats.ranks import centred_ranks

STEEP = 1e3
"""Norm of a change of basis above which rounding would show: the covariates are nearly collinear."""


@dataclass(frozen=True, eq=False)
class DesignBlock:
    """Columns of one covariate, or the intercept.

    Attributes:
        columns: of unit variance and uncorrelated, shape (n, k).
    """

    columns: FloatArray

    @classmethod
    def intercept(cls, n: int) -> DesignBlock:
        """A column of ones."""
        return cls(np.ones((n, 1)))

    @classmethod
    def of(cls, basis: FloatArray) -> DesignBlock:
        """The block of an orthonormal, centred basis of shape (n, k)."""
        return cls(basis * np.sqrt(len(basis)))


@dataclass(frozen=True, eq=False)
class NestedDesigns:
    """Designs of the same x and y that hold sets of the same covariates fixed.

    Attributes:
        first: any of the designs: x, y, their order and units are the same in all.
        blocks: the intercept, then those of every covariate of any set.
        changes: of each set, what makes its columns of those of its blocks, and which columns of all blocks these are.
    """

    first: RankDesign
    blocks: tuple[DesignBlock, ...]
    changes: tuple[tuple[FloatArray, FloatArray], ...]
    _products: dict[tuple[int, ...], FloatArray] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls,
        designs: Sequence[RankDesign],
        sets: Sequence[Sequence[int]],
        blocks: Sequence[DesignBlock],
    ) -> NestedDesigns | None:
        """Join designs; None where the blocks of a set are so nearly collinear that it must be computed alone.

        Args:
            designs: one a set, of the same x, y and units.
            sets: places among `blocks` of the covariates of each.
            blocks: the intercept first.
        """
        ends = np.cumsum([0, *(block.columns.shape[1] for block in blocks)])
        changes = []
        for design, members in zip(designs, sets, strict=True):
            columns = np.concatenate([np.arange(ends[i], ends[i + 1]) for i in (0, *members)])
            joined = np.concatenate([blocks[i].columns for i in members], axis=1) if members else None
            change = np.zeros((len(columns), 1 + design.basis.shape[1]))
            change[0, 0] = 1.0
            if joined is not None:
                wanted = design.basis * np.sqrt(len(design.basis))
                change[1:, 1:] = np.linalg.lstsq(joined.T @ joined, joined.T @ wanted, rcond=1e-12)[0]
                apart = np.abs(joined @ change[1:, 1:] - wanted).max(initial=0.0)
                if np.linalg.norm(change) > STEEP or apart > 1e-9:
                    return None
            changes.append((change, columns))
        return cls(designs[0], tuple(blocks), tuple(changes))

    def correlations(self, draws: Draws) -> FloatArray:
        """The partial correlation in each resample under each set, shape (b, sets); see `RankDesign.correlations`."""
        x, y = (centred_ranks(own, draws) for own in (self.first.x, self.first.y))
        total = draws.totals
        raw = np.empty((len(total), 2, 2))
        raw[:, 0, 0], raw[:, 1, 1] = x.squares, y.squares
        raw[:, 0, 1] = raw[:, 1, 0] = np.einsum("nb,nb->b", x.weighted, y.ranks)
        sides = np.stack(
            [
                self._sides(draws, own, ranked.weighted)
                for own, ranked in ((self.first.x, x), (self.first.y, y))
            ],
            axis=1,
        )
        gram = self._gram(draws)
        whole = np.where(np.einsum("bjj->bj", raw) > 1e-11 * total[:, None] ** 3, 1.0, 0.0)
        found = np.empty((len(total), len(self.changes)))
        for place, (change, columns) in enumerate(self.changes):
            k = change.shape[1]
            if k == 1:
                found[:, place] = pair_correlation(raw, whole)
                continue
            # Gram matrices are symmetric: both factors can be multiplied from the right, all resamples at once.
            half = _rows_times(gram[:, columns[:, None], columns], change)
            own = _rows_times(half.swapaxes(1, 2), change)
            diagonal = np.arange(k)
            own[:, diagonal, diagonal] += RIDGE * total[:, None]
            side = _rows_times(sides[:, :, columns], change)
            left = raw - side @ np.linalg.solve(own, side.swapaxes(1, 2))
            found[:, place] = pair_correlation(left, whole * share_left(raw, left))
        return found

    def _gram(self, draws: Draws) -> FloatArray:
        """Sums of products of all columns in each resample, shape (b, columns, columns)."""
        sizes = [block.columns.shape[1] for block in self.blocks]
        ends = np.cumsum([0, *sizes])
        pairs = [(i, j) for i in range(len(sizes)) for j in range(i, len(sizes))]
        sums: dict[tuple[int, int], Any] = {
            pair: None if draws.pairs is None else draws.pairs.known("gram", self._objects(pair))
            for pair in pairs
        }
        missing = [pair for pair in pairs if sums[pair] is None]
        if missing:
            key = tuple(i * len(sizes) + j for i, j in missing)
            if key not in self._products:
                self._products[key] = np.concatenate([self._of_units(i, j) for i, j in missing], axis=1)
            made = product(draws.counts.astype(np.float64), self._products[key])
            begin = 0
            for i, j in missing:
                end = begin + sizes[i] * sizes[j]
                own = np.ascontiguousarray(made[:, begin:end]).reshape(len(made), sizes[i], sizes[j])
                sums[i, j] = own
                begin = end
                if draws.pairs is not None:
                    draws.pairs.keep("gram", self._objects((i, j)), own)
        gram = np.empty((len(draws.totals), ends[-1], ends[-1]))
        for (i, j), piece in sums.items():
            rows, columns = slice(ends[i], ends[i + 1]), slice(ends[j], ends[j + 1])
            gram[:, rows, columns] = piece
            gram[:, columns, rows] = np.swapaxes(piece, 1, 2)
        return gram

    def _sides(self, draws: Draws, column: object, weighted: FloatArray) -> FloatArray:
        """Sums of products of all columns with x or y in each resample, shape (b, columns)."""
        sums = [
            None if draws.pairs is None else draws.pairs.known("side", (block, column))
            for block in self.blocks
        ]
        missing = [i for i, own in enumerate(sums) if own is None]
        if missing:
            made = side_by_side(np.concatenate([self.blocks[i].columns for i in missing], axis=1), weighted)
            widths = [self.blocks[i].columns.shape[1] for i in missing]
            for i, own in zip(missing, np.split(made, np.cumsum(widths)[:-1], axis=1), strict=True):
                sums[i] = np.ascontiguousarray(own)
                if draws.pairs is not None:
                    draws.pairs.keep("side", (self.blocks[i], column), sums[i])
        return np.concatenate([own for own in sums if own is not None], axis=1)

    def _objects(self, pair: tuple[int, int]) -> tuple[object, ...]:
        return self.blocks[pair[0]], self.blocks[pair[1]]

    def _of_units(self, i: int, j: int) -> FloatArray:
        """Products of the columns of two blocks, summed over each unit, shape (units, columns x columns)."""
        a, b = self.blocks[i].columns, self.blocks[j].columns
        units, order, width = self.first.units, self.first.order, a.shape[1] * b.shape[1]
        if units is None:
            return np.asarray((a[:, :, None] * b[:, None, :]).reshape(len(a), width))
        starts = np.flatnonzero(np.diff(units[order], prepend=-1))
        every = (a[order][:, :, None] * b[order][:, None, :]).reshape(len(a), width)
        return np.asarray(np.add.reduceat(every, starts, axis=0), dtype=np.float64)


def _rows_times(matrices: FloatArray, factor: FloatArray) -> FloatArray:
    """Each of b matrices times one factor, as one product: shapes (b, r, k) and (k, m) to (b, r, m)."""
    b, r, k = matrices.shape
    return (matrices.reshape(b * r, k) @ factor).reshape(b, r, factor.shape[1])
