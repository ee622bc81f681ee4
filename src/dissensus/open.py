"""Opening a curves store at a path or a URL: what `dissensus.load_curves` and `dissensus.open_curves` are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus import store
from dissensus.curves import Curves
from dissensus.store import StoredCurves

__all__ = ["load_curves", "load_token_losses", "open_curves"]


def load_curves(path: str | os.PathLike[str], *, partial: bool = False, verify: bool = True) -> Curves:
    """Open a curves store and read all of it. Needs no torch. For what does not fit into memory see `open_curves`.

    Args:
        path: a cell's folder (the one with `manifest.json`), or its URL.
        partial: accept a run that has not ended.
        verify: check every file against its SHA-256.

    Raises:
        StoreError: nothing is stored there, the run has not ended, or a file is missing or damaged.
    """
    return store.load_curves(_folder(path), partial=partial, verify=verify)


def open_curves(path: str | os.PathLike[str], *, partial: bool = False, verify: bool = True) -> StoredCurves:
    """Open a curves store, whose curves are then read a block of examples at a time. Needs no torch.

    Args and errors are those of `load_curves`.
    """
    return store.open_curves(_folder(path), partial=partial, verify=verify)


def load_token_losses(
    path: str | os.PathLike[str], step: int, *, verify: bool = True
) -> dict[str, NDArray[np.float32]]:
    """`store.load_token_losses` of a store at a path or a URL."""
    return store.load_token_losses(_folder(path), step, verify=verify)


def _folder(path: str | os.PathLike[str]) -> Path:
    """Where a store lies on this machine; one at a URL is brought here first."""
    text = os.fspath(path)
    if "://" not in text:
        return Path(text)
    from dissensus.remote import fetch_store

    return fetch_store(text)
