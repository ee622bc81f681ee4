"""Progress of a cell, phase by phase and step by step. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dissensus.record.recorder import CurveRecorder


@dataclass(frozen=True, slots=True)
class CellProgress:
    """How far a cell is.

    Attributes:
        step: optimiser steps taken.
        total_steps: of the run.
        tracking_points_done: stored so far.
        tracking_points: in all.
        loss: training loss of the last step, nats; NaN before the first.
        phase: what it does now: loading data, loading model, encoding texts, waiting (for the cells that it trains
            with), measuring, training or saving. In the first ones the numbers are not known yet, and are 0.
    """

    step: int
    total_steps: int
    tracking_points_done: int
    tracking_points: int
    loss: float
    phase: str = "training"


class ProgressReporter:
    """Reports how far a cell is; reports nothing without a callback."""

    def __init__(self, on_progress: Callable[[CellProgress], None] | None) -> None:
        self._on_progress = on_progress
        self._now = CellProgress(0, 0, 0, 0, float("nan"))
        self._recorder: CurveRecorder | None = None

    def set_totals(self, recorder: CurveRecorder, total_steps: int) -> None:
        """From here on the numbers are known."""
        self._recorder = recorder
        self._now = replace(self._now, total_steps=total_steps)

    def begin_phase(self, phase: str, step: int | None = None) -> None:
        """Another phase begins, after so many steps."""
        self._send(phase, **({} if step is None else {"step": step}))

    def step(self, step: int, loss: float) -> None:
        """A step was taken; its training loss in nats."""
        self._send("training", step=step, loss=loss)

    def _send(self, phase: str, **news: float) -> None:
        if self._on_progress is None:
            return
        if self._recorder is not None:
            news |= {
                "tracking_points_done": len(self._recorder.steps),
                "tracking_points": len(self._recorder.points),
            }
        self._now = replace(self._now, phase=phase, **news)  # type: ignore[arg-type]
        self._on_progress(self._now)
