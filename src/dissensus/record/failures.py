"""Failures of a recorder: the recording stops with a warning, and the training continues. Imports no torch."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from dissensus.errors import SpecError, StoreError
from dissensus.models.memory import is_out_of_memory
from dissensus.record.observers import Notices
from dissensus.store.manifest import read_manifest

OnError = Literal["stop", "raise"]


class Failures:
    """Keeps a recorder's failures out of the training that it looks on.

    What goes wrong before training began is raised: nothing is lost yet, and the mistake can be mended. From then on
    (`began`) a failure ends the recording, not the training, unless the user asked for the contrary.

    Args:
        on_error: 'stop', or 'raise' to let every failure through.
        notices: what warns.
        folder: of the curves store.
        alone: whether this is the run's only process.

    Attributes:
        began: whether training is under way.
        reason: why the recording has stopped; None while it has not.
        pending: a failure of this process of which the others do not know yet.
        at: optimiser steps taken, as far as the recorder was told.
        wait: waits for what is still being written.
    """

    def __init__(self, on_error: OnError, notices: Notices, folder: Path, *, alone: bool) -> None:
        if on_error not in ("stop", "raise"):
            raise SpecError(
                f"on_error is {on_error!r}; expected 'stop' (a failure of the recorder ends the recording, and "
                "training continues) or 'raise'"
            )
        self.on_error = on_error
        self.began = False
        self.reason: str | None = None
        self.pending: Exception | None = None
        self.at: int | None = None
        self._notices, self._folder, self._alone = notices, folder, alone
        self.wait: Callable[[], None] = _nothing
        self._unfinished: weakref.finalize[..., Any] | None = None

    @property
    def stopped(self) -> bool:
        """Whether the recording has stopped."""
        return self.reason is not None

    @property
    def strict(self) -> bool:
        """Whether everything is raised."""
        return self.on_error == "raise"

    @contextmanager
    def contained(self, *, agreed: bool = True) -> Iterator[None]:
        """Let what fails inside end the recording instead of the training.

        Args:
            agreed: whether it fails in every process of the run alike. Otherwise the recording continues until the
                processes meet at the next tracking point (`raise_pending`): one that stopped by itself would leave the
                others waiting there.
        """
        try:
            yield
        except Exception as error:
            if self.strict or not self.began:
                raise
            if agreed or self._alone:
                self.stop(error)
            else:
                self.pending = self.pending or error

    def raise_pending(self) -> None:
        """Raise what went wrong in this process since the processes last met."""
        if self.pending is not None:
            error, self.pending = self.pending, None
            raise error

    def stop(self, error: Exception) -> None:
        """End the recording and say so."""
        if self.stopped:
            return
        self.reason = _words(error)
        self._settle()
        self.dismiss()
        where = "" if self.at is None else f" at step {self.at}"
        advice = " Track with a smaller token_budget next time." if is_out_of_memory(error) else ""
        self._notices.warn(
            f"recording has STOPPED{where}; training continues. {self.reason.rstrip('. ')}.{advice} "
            f"{kept_in(self._folder)} (on_error='raise' would have ended the training instead.)"
        )

    def start(self, owner: object) -> None:
        """Training is under way. Warn if the recorder goes away, or Python ends, before the recording is finished."""
        self.began = True
        if not self.strict and self._unfinished is None:
            self._unfinished = weakref.finalize(owner, self._left_open)

    def dismiss(self) -> None:
        """The recording has ended: there is nothing to warn of any more."""
        if self._unfinished is not None:
            self._unfinished.detach()
            self._unfinished = None

    def interrupted(self) -> None:
        """Say that the recording was left before its end."""
        if self.strict or self.stopped:
            return
        self.dismiss()
        self._settle()
        where = "before any step" if self.at is None else f"at step {self.at}"
        self._notices.warn(
            f"the recording was not finished: it was left {where}. {kept_in(self._folder)} If the training was over, "
            "call recorder.finish() after it."
        )

    def _settle(self) -> None:
        with suppress(Exception):  # it was told, or will be by what is missing on the disk
            self.wait()

    def _left_open(self) -> None:
        if self.at:
            self.interrupted()


def kept_in(folder: Path) -> str:
    """What a store that was not finished holds, and how to continue it."""
    try:
        steps = read_manifest(folder).steps
    except (StoreError, OSError):
        return f"Nothing can be read in {folder} any more."
    if not steps:
        return f"Nothing was stored in {folder} yet."
    return (
        f"Kept in {folder}: {len(steps)} tracking {'point' if len(steps) == 1 else 'points'} up to step {max(steps)}, "
        f"which load_curves({str(folder)!r}, partial=True) opens. To record the rest, resume the training from a "
        f"checkpoint of step {max(steps)} or before: in a loop of your own with resume=True and watch(..., start=...), "
        "under a trainer with its own resuming (resume_from_checkpoint=True, ckpt_path=)."
    )


def _nothing() -> None:
    """There is nothing to wait for."""


def _words(error: Exception) -> str:
    text = str(error) or "no message"
    return text if isinstance(error, StoreError) else f"{type(error).__name__}: {text}"
