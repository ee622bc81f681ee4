"""Random streams: independent ones of a run's seed, and generators by name for the analysis.

Data order, head, adapter and dropout each draw from a stream of their own, so that cells of one seed share
data order and head across methods and ranks, and so that a resumed run needs no saved generator state: each
step's dropout is keyed by the step. A named generator draws the same numbers whatever else is drawn: what one quantity
draws depends on no other quantity, cell or condition.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np

Stream = Literal["sample", "order", "head", "adapter", "dropout", "noise", "gradients"]


def stream_seed(seed: int, stream: Stream, *keys: int) -> int:
    """A 63-bit seed for one stream of a run, e.g. `stream_seed(0, "dropout", step)`."""
    text = "/".join([str(seed), stream, *map(str, keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def named_generator(seed: int, *names: str) -> np.random.Generator:
    """A generator that is a function of the study's analysis seed and the names alone."""
    digest = hashlib.sha256("\x1f".join(names).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
