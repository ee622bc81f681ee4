"""Resuming a free-mode recording that was cut: the epochs before, and the one under way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.errors import StoreError
from dissensus.record.free_epoch import SeenExamples
from dissensus.store import CurvesWriter

SEEN = "seen_step"
"""The value beside the log-probabilities: optimiser steps taken when the example was seen."""
UNFINISHED = "unfinished-epoch.npz"
"""What an epoch that is under way has seen, beside the store while the run lasts."""


@dataclass(frozen=True)
class ResumePoint:
    """Where a recording continues.

    Attributes:
        ever: which examples were seen in the epochs before, shape (n,).
        seen: of the epoch that was cut, what had been seen before the step that training resumes from.
        lost: whether that is not the whole of it.
    """

    ever: NDArray[np.bool_]
    seen: SeenExamples | None = None
    lost: bool = False


def point_of(step: int, steps_per_epoch: int, total_steps: int) -> int:
    """The tracking point of the epoch that the forward after `step` steps belongs to: where it ends."""
    return min((step // steps_per_epoch + 1) * steps_per_epoch, total_steps)


def resume_from(writer: CurvesWriter, step: int, *, steps_per_epoch: int, total_steps: int) -> ResumePoint:
    """Keep what had been seen within the first `step` optimiser steps, and drop the rest from the store.

    Raises `StoreError` if an epoch that had ended by then is not stored.
    """
    epochs_end = step if step == total_steps else step // steps_per_epoch * steps_per_epoch
    ended = [*range(steps_per_epoch, epochs_end, steps_per_epoch), *([epochs_end] if epochs_end else [])]
    missing = [p for p in ended if p not in writer.steps]
    if missing:
        raise StoreError(
            f"the training resumes at step {step}, and {writer.path} holds no point of the epoch that ended at "
            f"step {missing[0]}: the run was begun without recording, or into another folder. Name that folder, "
            "or begin anew"
        )
    ever = np.zeros(len(writer.ids), dtype=np.bool_)
    for point in ended:
        ever |= np.isfinite(writer.read(point, SEEN))
    seen, lost = None, False
    if step > epochs_end:
        seen, lost = _cut(writer, step, epochs_end, point_of(step, steps_per_epoch, total_steps))
    writer.drop_after(epochs_end)
    writer.note(epochs=[facts for facts in writer.provenance["epochs"] if facts["step"] <= epochs_end])
    return ResumePoint(ever, seen, lost)


def _cut(writer: CurvesWriter, step: int, epochs_end: int, point: int) -> tuple[SeenExamples | None, bool]:
    """What the epoch from `epochs_end` to `point` had seen by `step`, and whether some of that is lost.

    If the epoch continued to its end before the interruption the store has it; else the last flush does.
    """
    path = writer.path / UNFINISHED
    # Of an epoch in which the run was to end, and which now continues, the point stands before the epoch's end.
    cut = [p for p in writer.steps if epochs_end < p <= point]
    if cut:
        at = writer.read(cut[-1], SEEN).copy()
        seen, steps_taken = (
            SeenExamples(writer.log_probs(cut[-1]).copy(), at, np.isfinite(at).astype(np.float32)),
            step,
        )
    else:
        flushed = SeenExamples.load(path)
        if flushed is None or flushed[1] != point:
            return None, True
        seen, steps_taken = flushed[0], flushed[2]
    seen_later = ~(seen.step < step)  # after the state that training resumes from, so it is seen once more
    seen.log_probs[seen_later], seen.step[seen_later], seen.looks[seen_later] = np.nan, np.nan, 0
    seen.save(path, point=point, steps_taken=min(steps_taken, step))  # before the store forgets it
    return seen, steps_taken < step
