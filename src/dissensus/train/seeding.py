"""One seed, many independent streams.

Data order, head, adapter and dropout each draw from a stream of their own, so that cells of one seed share
data order and head across methods and ranks, and so that a resumed run needs no saved generator state: each
step's dropout is keyed by the step.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Stream = Literal["sample", "order", "head", "adapter", "dropout", "noise"]


def stream_seed(seed: int, stream: Stream, *keys: int) -> int:
    """A 63-bit seed for one stream of a run, e.g. `stream_seed(0, "dropout", step)`."""
    text = "/".join([str(seed), stream, *map(str, keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
