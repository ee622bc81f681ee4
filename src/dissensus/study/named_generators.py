"""Random numbers by name: what one quantity draws depends on no other quantity, cell or condition."""

from __future__ import annotations

import hashlib

import numpy as np


def named_generator(seed: int, *names: str) -> np.random.Generator:
    """A generator that is a function of the study's analysis seed and the names alone."""
    digest = hashlib.sha256("\x1f".join(names).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
