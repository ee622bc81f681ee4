"""Opening a curves store at a path or a URL: what `dissensus.load_curves` and `dissensus.open_curves` are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus import store
from dissensus.curves import Curves
from dissensus.errors import StoreError
from dissensus.store import StoredCurves

__all__ = ["load_curves", "load_token_losses", "open_curves"]

NAMED = 20
"""Cells of a study that an error names."""


def load_curves(path: str | os.PathLike[str], *, partial: bool = False, verify: bool = True) -> Curves:
    """Open a curves store and read all of it. Needs no torch. For what does not fit into memory see `open_curves`.

    Args:
        path: a cell's folder (the one with `manifest.json`), or its URL.
        partial: accept a run that has not ended.
        verify: check every file against its SHA-256.

    Raises:
        StoreError: nothing is stored there (of a study's folder its cells are named), the run has not ended, or a file
            is missing or damaged.
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
        _refuse_study(Path(text))
        return Path(text)
    from dissensus.remote import fetch_store

    return fetch_store(text)


def _refuse_study(folder: Path) -> None:
    """Of a study's folder, which holds a store per cell, name the cells."""
    cells = folder / "cells"
    if (folder / "manifest.json").exists() or not cells.is_dir():
        return
    stores = sorted(cell.name for cell in cells.iterdir() if (cell / "manifest.json").is_file())
    more = f"\n  and {len(stores) - NAMED} more in {cells}" if len(stores) > NAMED else ""
    listed = "".join(f"\n  {cells / name}" for name in stores[:NAMED])
    raise StoreError(
        f"{folder} is a study's folder, and curves are stored per cell. "
        + (f"Give one of these:{listed}{more}" if stores else "No cell has stored curves yet")
        + "\nOne table of all cells: dissensus.load_results"
        + f"({str(folder)!r})"
    )
