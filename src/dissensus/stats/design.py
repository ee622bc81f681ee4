"""Rank correlations, plain and partial, of two columns: in a sample, and in any resample of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np

from dissensus.stats.basis import Form, covariate_basis
from dissensus.stats.bootstrap import FloatArray, IntArray
from dissensus.stats.correlation import Correlation, pearson, resampled_spearman
from dissensus.stats.draws import Draws, Memo
from dissensus.stats.ranks import RankedSample, average_ranks, centred_ranks

Made = TypeVar("Made")
LEFT = 0.02
"""Share of a rank's variance that covariates must leave: below it they are said to determine it. What is left then is
mostly what a spline cannot follow, a function of the covariates still."""
RIDGE = 1e-10
"""Added to the diagonal of a resample's Gram matrix, whose entries are near 1. A direction that the resample lacks (the
indicator of a class that was not drawn) has zeros there and on the right-hand side; with this it can be solved for and
still takes nothing away."""
BLOCK = 2**21
"""Products of columns that are held at a time: 16 MiB."""


@dataclass(frozen=True)
class RankCorrelations:
    """Both correlations of x and y, over the same examples and the same resamples.

    Attributes:
        plain: Spearman's rho.
        partial: with the covariates held fixed.
    """

    plain: Correlation
    partial: Correlation


@dataclass(frozen=True)
class RankDesign:
    """What is needed to compute the correlations of complete columns, as they are and in any resample.

    Attributes:
        x: the first column, sorted once.
        y: the second.
        ranks: of x and y in the sample itself, shape (2, n).
        basis: what the covariates span, orthonormal and centred, shape (n, k). In a resample its rows are drawn, not
            made anew: a covariate's rank among other examples is not what is held fixed.
        units: number of the unit that each example is drawn with; None where each is its own.
        order: examples in the order of their units; of no meaning without them.
    """

    x: RankedSample
    y: RankedSample
    ranks: FloatArray
    basis: FloatArray
    units: IntArray | None = None
    order: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    _kept: list[FloatArray] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        x: FloatArray,
        y: FloatArray,
        covariates: Mapping[str, FloatArray],
        classes: Collection[str] = frozenset({"gold"}),
        units: IntArray | None = None,
        *,
        form: Form = "flexible",
        samples: tuple[RankedSample, RankedSample] | None = None,
        basis: FloatArray | None = None,
    ) -> RankDesign:
        """Sort and rank columns of shape (n,) without NaN.

        Args:
            x: one value per example.
            y: likewise.
            covariates: what is held fixed: name -> values.
            classes: names of the covariates that hold class codes.
            units: number of the unit that each example is drawn with; default: each is its own.
            form: how a numeric covariate enters; see `stats.basis`.
            samples: x and y, where another design has sorted them already.
            basis: of the covariates, where another design has made it already.
        """
        first, second = samples or (RankedSample.of(x, units), RankedSample.of(y, units))
        return cls(
            x=first,
            y=second,
            ranks=np.stack([average_ranks(x), average_ranks(y)]),
            basis=covariate_basis(covariates, classes, len(x), form) if basis is None else basis,
            units=units,
            order=np.argsort(units, kind="stable") if units is not None else np.empty(0, dtype=np.intp),
        )

    @property
    def plain(self) -> float:
        """Spearman's rho of x and y."""
        return pearson(self.ranks[0], self.ranks[1]) if self.ranks.shape[1] > 2 else float("nan")

    @property
    def partial(self) -> float:
        """Their partial correlation given the covariates; NaN where `undefined` says why."""
        return float("nan") if self.undefined else pearson(*self._residuals())

    @property
    def undefined(self) -> str:
        """Why there is no partial correlation; '' where there is."""
        n, k = self.basis.shape
        if n - 2 - k < 1:
            return f"{n} examples, and {k} dimensions are held fixed: no degree of freedom is left"
        if not np.isfinite(self.plain):
            return "one of the two does not vary"
        for name, ranks, left in zip(("first", "second"), self.ranks, self._residuals(), strict=True):
            share = float(left @ left) / float(((ranks - ranks.mean()) ** 2).sum())
            if share < LEFT:
                return (
                    f"the covariates determine the {name} of the two ({1 - share:.1%} of its ranks' variance)"
                )
        return ""

    def resampled(self, draws: Draws) -> FloatArray:
        """The partial correlation in each resample, shape (b,)."""
        return self.correlations(draws)[:, 1]

    def correlations(self, draws: Draws) -> FloatArray:
        """Spearman's rho and the partial correlation in each resample, shape (b, 2); NaN where not defined."""
        if self.basis.shape[1] == 0:
            plain = resampled_spearman(self.x, self.y, draws)
            return np.stack([plain, plain], axis=1)
        total = draws.totals
        x, y = (centred_ranks(own, draws) for own in (self.x, self.y))
        raw = np.empty((len(total), 2, 2))
        raw[:, 0, 0], raw[:, 1, 1] = x.squares, y.squares
        raw[:, 0, 1] = raw[:, 1, 0] = kept(
            draws.sums, "xy", (self.x, self.y), lambda: np.einsum("nb,nb->b", x.weighted, y.ranks)
        )
        gram = kept(draws.sums, "gram", (self.basis,), lambda: self._gram(draws))
        sides = np.stack(
            [
                kept(draws.sums, "side", (self.basis, own), partial(self._side, ranked.weighted))
                for own, ranked in ((self.x, x), (self.y, y))
            ],
            axis=2,
        )
        left = raw - sides.swapaxes(1, 2) @ np.linalg.solve(gram, sides)
        whole = np.where(np.einsum("bjj->bj", raw) > 1e-11 * total[:, None] ** 3, 1.0, 0.0)
        return np.stack(
            [pair_correlation(raw, whole), pair_correlation(left, whole * share_left(raw, left))], axis=1
        )

    def _gram(self, draws: Draws) -> FloatArray:
        """Sums of products of the intercept and the basis in each resample, shape (b, 1 + k, 1 + k).

        The basis is scaled to unit variance, so that entries are near 1 times the draws; they are divided by these.
        """
        counts = draws.counts.astype(np.float64)
        k = 1 + self.basis.shape[1]
        upper = np.triu_indices(k)
        sums = np.zeros((len(counts), len(upper[0])))
        rows = max(1, BLOCK // len(upper[0]))
        if counts.shape[1] <= rows and self._kept:
            sums += product(counts, self._kept[0])
        else:
            for begin in range(0, counts.shape[1], rows):
                own = self._products(begin, begin + rows, upper)
                if counts.shape[1] <= rows:
                    self._kept.append(own)
                sums += product(counts[:, begin : begin + rows], own)
        place = np.empty((k, k), dtype=np.intp)
        place[upper] = place.T[upper] = np.arange(len(upper[0]))
        gram = np.take(sums, place.reshape(-1), axis=1).reshape(len(counts), k, k)
        own = np.arange(k)
        gram[:, own, own] += RIDGE * draws.totals[:, None]
        return gram

    def _products(self, begin: int, end: int, upper: tuple[IntArray, IntArray]) -> FloatArray:
        """Products of pairs of columns, summed over each unit, shape (units, pairs), of the units from begin to end."""
        if self.units is None:
            own = self._columns(slice(begin, end))
            return own[:, upper[0]] * own[:, upper[1]]
        rows = self.order[slice(*np.searchsorted(self.units, [begin, end], sorter=self.order))]
        own, starts = self._columns(rows), np.flatnonzero(np.diff(self.units[rows], prepend=-1))
        return np.add.reduceat(own[:, upper[0]] * own[:, upper[1]], starts, axis=0)

    def _columns(self, rows: slice | IntArray) -> FloatArray:
        """The intercept and the basis at unit variance, shape (rows, 1 + k)."""
        basis = self.basis[rows]
        return np.column_stack([np.ones(len(basis)), basis * np.sqrt(len(self.basis))])

    def _side(self, weighted: FloatArray) -> FloatArray:
        """Sums of products of the columns with x or y, shape (b, 1 + k)."""
        return np.column_stack(
            [weighted.sum(axis=0), np.sqrt(len(self.basis)) * side_by_side(self.basis, weighted)]
        )

    def _residuals(self) -> tuple[FloatArray, FloatArray]:
        """What the covariates leave of the centred ranks of x and of y, each of shape (n,)."""
        residuals = []
        for ranks in self.ranks:
            centred = ranks - ranks.mean()
            left = centred - self.basis @ (self.basis.T @ centred)
            residuals.append(
                left - self.basis @ (self.basis.T @ left)
            )  # removes what rounding left in its directions
        return residuals[0], residuals[1]


def kept(memo: Memo | None, name: str, objects: tuple[object, ...], make: Callable[[], Made]) -> Made:
    """The result from the memo, where there is one."""
    return make() if memo is None else memo.of(name, objects, make)


def share_left(raw: FloatArray, left: FloatArray) -> FloatArray:
    """1 where a column keeps more than rounding beside the covariates, shape (b, 2)."""
    own, rest = np.einsum("bjj->bj", raw), np.einsum("bjj->bj", left)
    return np.asarray(rest > 1e-8 * own, dtype=np.float64)


def pair_correlation(products: FloatArray, usable: FloatArray) -> FloatArray:
    """The correlation in each (2, 2) matrix of sums of products, shape (b,); NaN where a column is not usable."""
    known = usable.all(axis=1)
    spread = np.sqrt(np.where(known, products[:, 0, 0] * products[:, 1, 1], 1.0))
    return np.where(known, np.clip(products[:, 0, 1] / spread, -1.0, 1.0), np.nan)


PIECE = 250_000
"""Multiplications of a piece: OpenBLAS and its like share out products from about 260,000 on."""
ROWS = 8
"""Rows of the first factor that a piece takes."""


def product(a: FloatArray, b: FloatArray) -> FloatArray:
    """`a @ b` for shapes (m, n) and (n, k), in pieces that BLAS leaves on one thread.

    Resamples are shared out over threads already (`draws.over_resamples`). A large product inside one of them would be
    shared out once more: on two cores such threads spent four fifths of their time waiting for each other.
    """
    (m, n), k = a.shape, b.shape[1]
    depth = max(1, PIECE // (ROWS * max(k, 1)))
    in_pieces = n - n % depth
    out = np.empty((m, k))
    right = b[:in_pieces].reshape(-1, depth, k)
    for begin in range(0, m, ROWS):
        rows = a[begin : begin + ROWS]
        left = rows[:, :in_pieces].reshape(len(rows), -1, depth).swapaxes(0, 1)
        out[begin : begin + ROWS] = np.matmul(left, right).sum(axis=0)
        if in_pieces < n:
            out[begin : begin + ROWS] += rows[:, in_pieces:] @ b[in_pieces:]
    return out


def side_by_side(columns: FloatArray, weighted: FloatArray) -> FloatArray:
    """`weighted.T @ columns` for shapes (n, b) and (n, k), in pieces as those of `product`, shape (b, k)."""
    (n, b), k = weighted.shape, columns.shape[1]
    depth = max(1, PIECE // max(b * k, 1))
    in_pieces = n - n % depth
    left = columns[:in_pieces].reshape(-1, depth, k).swapaxes(1, 2)
    sums = np.matmul(left, weighted[:in_pieces].reshape(-1, depth, b)).sum(axis=0)
    sums += columns[in_pieces:].T @ weighted[in_pieces:]
    return np.asarray(sums.T, dtype=np.float64)
