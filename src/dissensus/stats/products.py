"""A matrix product in pieces that BLAS leaves on one thread.

Resamples are shared out over threads already (`draws.over_resamples`). A large product inside one of them would be
shared out once more: on two cores such threads spent four fifths of their time waiting for each other.
"""

from __future__ import annotations

import numpy as np

from dissensus.stats.bootstrap import FloatArray

PIECE = 250_000
"""Multiplications of a piece: OpenBLAS and its like share out products from about 260,000 on."""
ROWS = 8
"""Rows of the first factor that a piece takes."""


def product(a: FloatArray, b: FloatArray) -> FloatArray:
    """`a @ b` for shapes (m, n) and (n, k)."""
    (m, n), k = a.shape, b.shape[1]
    depth = max(1, PIECE // (ROWS * max(k, 1)))
    whole = n - n % depth
    out = np.empty((m, k))
    right = b[:whole].reshape(-1, depth, k)
    for begin in range(0, m, ROWS):
        own = a[begin : begin + ROWS]
        left = own[:, :whole].reshape(len(own), -1, depth).swapaxes(0, 1)
        out[begin : begin + ROWS] = np.matmul(left, right).sum(axis=0)
        if whole < n:
            out[begin : begin + ROWS] += own[:, whole:] @ b[whole:]
    return out
