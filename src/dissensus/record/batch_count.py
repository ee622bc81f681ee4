"""Optimiser steps counted from the batches that a loop takes, over all its epochs. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from dissensus.errors import SpecError
from dissensus.record.schedule import whole_number

Remainder = Literal["step", "carry", "drop"]


class BatchCount:
    """Counts; see `CurveRecorder.watch`.

    Attributes:
        steps: optimiser steps taken so far.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._batches = 0
        self._size = 1
        self._remainder: Remainder = "step"
        self._out = False

    def begin(self, size: int, remainder: Remainder, start: int | None) -> None:
        """An epoch begins.

        Args:
            size: batches an optimiser step.
            remainder: what becomes of batches that are left over at the epoch's end.
            start: optimiser steps taken so far; None: as counted.

        Raises:
            SpecError: one of them is not valid.
        """
        self.settle()
        self._size = whole_number(size, "batches_per_step")
        if remainder not in ("step", "carry", "drop"):
            raise SpecError(f"remainder is {remainder!r}; expected 'step', 'carry' or 'drop'")
        self._remainder = remainder
        if start is not None:
            self.steps, self._batches = whole_number(start, "start", least=0), 0

    @contextmanager
    def handed_out(self) -> Iterator[None]:
        """While this lasts the loop has a batch. If it never asks for the next one, `settle` counts that batch."""
        self._out = True
        yield
        self._out = False

    def take_in(self) -> bool:
        """A batch was trained on; whether that made an optimiser step."""
        self._batches += 1
        if self._batches < self._size:
            return False
        self.steps, self._batches = self.steps + 1, 0
        return True

    def settle(self) -> None:
        """Count the batch that a loop was left with (`break`): it was trained on."""
        if self._out:
            self._out = False
            self.take_in()

    def end_epoch(self) -> bool:
        """The batches are used up; whether what was left of them made a step."""
        left, self._batches = self._batches, self._batches if self._remainder == "carry" else 0
        if not left or self._remainder != "step":
            return False
        self.steps += 1
        return True
