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
    import torch
    from torch import nn


class Validation:
    """Scores the examples that are held back; the file of their scores grows by a point each time.

    Args:
        path: the file.
        dataset: the examples.
        rows: the same, as the model reads them.
        steps: when they are scored, rising.
        group: the processes of the run; all call this, and the first one reads and writes.
        device: where the model computes.
    """

    def __init__(
        self,
        path: Path,
        dataset: AnnotatedDataset,
        rows: TrackedSet,
        *,
        steps: Sequence[int],
        group: ProcessGroup,
        device: torch.device,
    ) -> None:
        self._path, self._dataset, self._rows, self._group = path, dataset, rows, group
        self._device = device
        self._wanted = frozenset(steps)
        self._scored: set[int] = set()
        self._points: dict[int, NDArray[np.float32]] = {}  # of the first process, which writes them

    def rewind(self, step: int) -> None:
        """Resume from what an interrupted run left, without the points later than `step`; -1 forgets all.

        Raises:
            StoreError: the file holds the scores of other examples, or cannot be read.
        """
        with self._group.all_or_none(self._device):
            self._points = self._stored(step) if self._group.first else {}
        self._scored = set(self._group.broadcast(sorted(self._points), self._device))

    def _stored(self, step: int) -> dict[int, NDArray[np.float32]]:
        """The file's points up to `step`; says which are lost."""
        stored = load_validation(self._path) if step >= 0 and self._path.exists() else None
        if stored is not None and stored.ids != self._dataset.ids:
            raise StoreError(
                f"{self._path} holds the scores of other examples than those that are held back now: the files behind "
                "the study have changed. Delete the cell's folder to start it anew."
            )
        points = stored.points() if stored is not None else {}
        points = {at: values for at, values in points.items() if at <= step}
        warn_of_lost_points(self._path, self._wanted, points, step)
        return points

    def step(self, model: nn.Module, step: int) -> None:
        """Score the examples if `step` (optimiser steps taken so far) is one of the steps, and they were not yet."""
        if step not in self._wanted or step in self._scored:
            return
        scores = tracking_pass(model, self._rows, len(self._dataset))
        with self._group.all_or_none(self._device):
            if self._group.first:
                self._points[step] = scores
                steps = sorted(self._points)
                log_probs = np.stack([self._points[at] for at in steps], axis=1)
                save_validation(
                    self._path,
                    ValidationScores(self._dataset.ids, self._dataset.gold, tuple(steps), log_probs),
                )
        self._scored.add(step)
