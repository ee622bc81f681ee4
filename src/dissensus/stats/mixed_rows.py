"""Values by items and cells in coordinates in which items no longer cross with seeds, and the random effects of cells.

Items and seeds cross, while `statsmodels.MixedLM` wants independent groups; as one group, 1,514 items in 48 cells would
ask for a covariance matrix of 72,672 rows. But every item is in every cell and has one x, so an orthogonal change of
coordinates among the items gives independent groups and leaves the likelihood as it is. In an orthonormal basis of item
space that begins with the constant and with the centred x, the values become one row a basis vector, each with an entry
a cell:

- the constant's row holds the cells' means and tells nothing else, since each cell has its own fixed mean;
- x's row holds |x| times the least-squares slope in each cell: all that there is to know of the slopes;
- each other row has mean 0 and holds intercepts by item and residuals only. Without x in it, it tells of no slope.

The rows are independent because a random intercept is an independent draw an item, which no rotation changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dissensus.stats.bootstrap import FloatArray, IntArray

NAMES = ("item", "item_condition", "slope_condition", "slope_seed", "slope_run", "residual")
"""What has a variance."""


@dataclass(frozen=True)
class Rows:
    """Values in the coordinates that the module describes, and the design of the random effects.

    Attributes:
        slopes: the row of x, shape (cells,).
        others: the rows of neither the constant nor x, shape (items - 2, cells).
        length: |x|, of the centred x.
        effects: name -> indicators of its levels, shape (cells, levels), of each effect that can be told apart.
    """

    slopes: FloatArray
    others: FloatArray
    length: float
    effects: Mapping[str, FloatArray]

    @classmethod
    def of(cls, y: FloatArray, x: FloatArray, effects: Mapping[str, FloatArray]) -> Rows:
        """Change coordinates: y of shape (items, cells), an x an item that varies, at least 3 items."""
        turned = np.concatenate([np.ones((len(x), 1)), (x - x.mean())[:, None], y], axis=1)
        # Householder's reflections: the constant onto the first axis, then x onto the second.
        for k in (0, 1):
            normal = turned[k:, k].copy()
            normal[0] += np.copysign(np.linalg.norm(normal), normal[0])
            normal /= np.linalg.norm(normal)
            turned[k:] -= 2 * np.outer(normal, normal @ turned[k:])
        along = turned[1, 1]
        return cls(turned[1, 2:] * np.sign(along), turned[2:, 2:], float(abs(along)), effects)

    @cached_property
    def shapes(self) -> dict[str, FloatArray]:
        """What a variance of 1 adds to the covariance of x's row, shape (cells, cells); a slope counts |x| times."""
        designs = {**self.effects, "residual": np.eye(len(self.slopes))}
        return {name: z @ z.T * self.scale(name) ** 2 for name, z in designs.items()}

    @cached_property
    def products(self) -> FloatArray:
        """Sums of products of the cells over the other rows, shape (cells, cells)."""
        return np.asarray(self.others.T @ self.others)

    def scale(self, name: str) -> float:
        """What an effect counts for in the row of x: |x| on the slope, 1 on the intercept."""
        return self.length if is_slope(name) else 1.0

    def precisions(self, variances: Mapping[str, float]) -> tuple[FloatArray, FloatArray]:
        """Inverse covariance of x's row, and of any other row, which holds no slope."""
        cells = len(self.slopes)
        intercepts, slopes = np.zeros((cells, cells)), np.zeros((cells, cells))
        for name, variance in variances.items():
            part = slopes if is_slope(name) else intercepts
            part += variance * self.shapes[name]
        both, alone = np.linalg.inv(intercepts + slopes), np.linalg.inv(intercepts)
        return np.asarray(both, dtype=np.float64), np.asarray(alone, dtype=np.float64)


def random_effects(condition: IntArray, seed: IntArray) -> dict[str, FloatArray]:
    """The random effects that a set of cells tells apart: name -> indicators, shape (cells, levels)."""
    cells = len(condition)
    every = np.ones((cells, 1))
    by_condition, by_seed = (
        np.asarray(codes[:, None] == np.unique(codes), dtype=np.float64) for codes in (condition, seed)
    )
    conditions, seeds = by_condition.shape[1], by_seed.shape[1]
    known = np.linalg.matrix_rank(np.hstack([every, by_condition, by_seed]))
    found: dict[str, FloatArray] = {}
    if cells > 1:
        found["item"] = every
    if 1 < conditions < cells:
        found["item_condition"] = by_condition
    if conditions > 1:
        found["slope_condition"] = by_condition
    # As many seeds as conditions, and seeds add nothing: each condition ran with one seed of its own.
    if seeds > 1 and not seeds == conditions == known:
        found["slope_seed"] = by_seed
    if known < cells:
        found["slope_run"] = np.eye(cells)
    return found


def is_slope(name: str) -> bool:
    """Whether an effect is on the slope; the others are on the intercept."""
    return name.startswith("slope_")
