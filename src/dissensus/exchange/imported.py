"""Curves that another tool recorded, and the store that they are written to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dissensus.curves import Curves
from dissensus.data.annotations import NO_GOLD, AnnotatedDataset, Example
from dissensus.display import ShortRepr
from dissensus.errors import StoreError
from dissensus.files import atomic_folder
from dissensus.store import CurvesWriter

NO_TEXT = {"text": ""}
"""What stands for an example's text where the tool kept none: a store's examples have a text field at least."""


@dataclass(frozen=True, repr=False)
class Imported(ShortRepr):
    """What was read of another tool's files.

    Attributes:
        curves: of its examples, in the order in which they first appear.
        notes: what to know about them, a sentence each: what is missing, what is only a bound.
    """

    curves: Curves
    notes: tuple[str, ...]


def write_store(curves: Curves, folder: str | os.PathLike[str]) -> Path:
    """Write curves to a curves store that `load_curves` opens: the whole of it appears, or nothing.

    Args:
        curves: n examples at T tracking points.
        folder: of the store; it must not exist, or be empty.

    Returns:
        The folder, absolute.

    Raises:
        StoreError: the folder holds something, or cannot be made.
        DataError: the curves have no example, or one label only.
    """
    target = Path(folder).resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StoreError(f"{target} already holds something; choose another folder, or delete that one")
    texts = curves.text or (NO_TEXT,) * len(curves)
    examples = tuple(
        Example(i, text, None if gold == NO_GOLD else gold, tuple(counts))
        for i, text, gold, counts in zip(
            curves.ids, texts, curves.gold.tolist(), curves.counts.tolist(), strict=True
        )
    )
    dataset = AnnotatedDataset(target.name, curves.labels, examples)
    with atomic_folder(target) as beside:
        writer = CurvesWriter(
            beside,
            dataset,
            total_steps=curves.total_steps,
            regime=curves.regime.tolist(),
            covariates=curves.covariates,
            provenance=curves.provenance,
            values=tuple(curves.values),
        )
        for point, step in enumerate(curves.steps.tolist()):
            point_values = {name: value[:, point] for name, value in curves.values.items()}
            writer.write(step, writer.ids, curves.log_probs[:, point], values=point_values)
        writer.finish()
    return target
