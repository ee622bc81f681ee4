"""The validation set of a cell: examples held back, scored at step 0 and at the end of each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import StoreError
from dissensus.record.processes import ProcessGroup
from dissensus.record.schedule import warn_of_lost_points
from dissensus.record.tracking import TrackedSet, tracking_pass
from dissensus.store.validation import ValidationScores, load_validation, save_validation

if TYPE_CHECKING:
    from torch import nn


class Validation:
    """Scores the examples that are held back; the file of their scores grows by a point each time.

    Args:
        path: the file.
        dataset: the examples.
        rows: the same, as the model reads them.
        steps: when they are scored, rising.
        group: the processes of the run; all call this, and the first one writes.
    """

    def __init__(
        self,
        path: Path,
        dataset: AnnotatedDataset,
        rows: TrackedSet,
        *,
        steps: Sequence[int],
        group: ProcessGroup,
    ) -> None:
        self._path, self._dataset, self._rows, self._group = path, dataset, rows, group
        self._wanted = frozenset(steps)
        self._points: dict[int, NDArray[np.float32]] = {}

    def rewind(self, step: int) -> None:
        """Resume from what an interrupted run left, without the points later than `step`; -1 forgets all.

        Raises:
            StoreError: the file holds the scores of other examples, or cannot be read.
        """
        stored = load_validation(self._path) if step >= 0 and self._path.exists() else None
        if stored is not None and stored.ids != self._dataset.ids:
            raise StoreError(
                f"{self._path} holds the scores of other examples than those that are held back now: the files behind "
                "the study have changed. Delete the cell's folder to start it anew."
            )
        points = stored.points() if stored is not None else {}
        self._points = {at: values for at, values in points.items() if at <= step}
        if self._group.first:
            warn_of_lost_points(self._path, self._wanted, self._points, step)

    def step(self, model: nn.Module, step: int) -> None:
        """Score the examples if `step` (optimiser steps taken so far) is one of the steps, and they were not yet."""
        if step not in self._wanted or step in self._points:
            return
        self._points[step] = tracking_pass(model, self._rows, len(self._dataset))
        if self._group.first:
            steps = sorted(self._points)
            log_probs = np.stack([self._points[at] for at in steps], axis=1)
            save_validation(
                self._path,
                ValidationScores(self._dataset.ids, self._dataset.gold, tuple(steps), log_probs),
            )
