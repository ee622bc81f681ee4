"""Losses of one epoch from the training's own forward passes, joined over the processes."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import NO_GOLD, AnnotatedDataset
from dissensus.errors import DataError, SpecError, StoreError
from dissensus.files import write_atomic
from dissensus.record.processes import ProcessGroup, process_group

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class SeenExamples:
    """What is known of n examples after a part of an epoch.

    Attributes:
        log_probs: float32, shape (n, K); NaN for examples that were not seen, and labels that were not scored.
        step: float32, shape (n,): optimiser steps taken at the look that was kept; NaN for examples not seen.
        looks: float32, shape (n,): how often each was seen.
    """

    log_probs: Floats
    step: Floats
    looks: Floats

    @property
    def any(self) -> NDArray[np.bool_]:
        """Which examples were seen, shape (n,)."""
        return np.isfinite(self.step)

    def save(self, path: Path, *, point: int, steps_taken: int) -> None:
        """Write it, with the epoch's tracking point and the steps taken so far."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            log_probs=self.log_probs,
            step=self.step,
            looks=self.looks,
            at=np.array([point, steps_taken]),
        )
        write_atomic(path, buffer.getvalue())

    @staticmethod
    def load(path: Path) -> tuple[SeenExamples, int, int] | None:
        """What `save` wrote, with the epoch's point and the steps taken; None without a file.

        Raises `StoreError` if the file is damaged.
        """
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                point, steps_taken = map(int, stored["at"])
                return SeenExamples(stored["log_probs"], stored["step"], stored["looks"]), point, steps_taken
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it cannot be read
            raise StoreError(
                f"{path} is damaged ({error}); delete it: the epoch that was cut is then partly unseen"
            ) from None


@dataclass(frozen=True)
class Places:
    """Places of examples in the data set, where that is what a loop has instead of ids.

    Attributes:
        rows: whole numbers, shape (b,), torch or NumPy; -1 for an example that is not recorded.
    """

    rows: Any

    def __len__(self) -> int:
        return len(self.rows)


class Epoch:
    """Collects what one process sees in one epoch. The first look at an example is kept.

    Args:
        dataset: the examples.
        processes: the run's processes.
        seen: what was seen before an interruption.
    """

    def __init__(
        self, dataset: AnnotatedDataset, processes: ProcessGroup, seen: SeenExamples | None = None
    ) -> None:
        n = len(dataset)
        self._dataset, self._gold, self._processes = dataset, dataset.gold, processes
        self._seen = seen or SeenExamples(
            np.full((n, len(dataset.labels)), np.nan, dtype=np.float32),
            np.full(n, np.nan, dtype=np.float32),
            np.zeros(n, dtype=np.float32),
        )
        self._pending: list[tuple[int, Any, Any]] = []

    def keep(self, step: int, rows: Any, log_probs: Any) -> None:
        """Keep a batch: rows of shape (b,), -1 to leave one aside; log-probabilities (b, K), or of gold, (b,).

        Tensors stay where they are until `together`, so that no forward pass waits for a GPU.
        """
        self._pending.append((step, rows, log_probs))

    def drain(self) -> None:
        """Put what was kept where it belongs: once per optimiser step, as a GPU has to be waited for.

        Raises `DataError` for rows that are none of the data set's, and a loss on a gold label that is not there.
        """
        pending, self._pending = self._pending, []
        seen = self._seen
        for step, batch_rows, values in pending:
            rows, log_probs = on_host(batch_rows), on_host(values)
            integral = rows.dtype.kind in "iu"
            if not integral or (rows.size and not -1 <= rows.min() <= rows.max() < len(self._gold)):
                raise DataError(
                    f"row numbers {rows.tolist()[:3]}...; expected whole numbers from 0 to {len(self._gold) - 1}, or "
                    "-1 for an example that is not recorded. FreeRecorder.rows makes them from ids"
                )
            rows, log_probs = rows[rows >= 0], log_probs[rows >= 0]
            np.add.at(seen.looks, rows, 1)
            first, at = np.unique(rows, return_index=True)
            new = np.isnan(seen.step[first])
            first, at = first[new], at[new]
            seen.step[first] = step
            if log_probs.ndim == 2:
                seen.log_probs[first] = log_probs[at]
                continue
            gold = self._gold[first]
            if (gold == NO_GOLD).any():
                lacking = self._dataset.ids[int(first[gold == NO_GOLD][0])]
                raise DataError(
                    f"{lacking!r} has no gold label, and a loss stands for the gold label. Give it one, or leave it "
                    "out of the examples to record"
                )
            seen.log_probs[first, gold] = log_probs[at]

    def together(self) -> SeenExamples:
        """What all processes have seen, each example as the lowest rank saw it. Called by all of them.

        The log-probabilities are the first process' to use; the others get the same.
        """
        self.drain()
        if processes().world_size != self._processes.world_size:
            raise SpecError(
                "torch.distributed was started after FreeRecorder was made; make the recorder after "
                "init_process_group (Accelerator() and Trainer do that), so that the processes share the work"
            )
        seen = self._seen
        if self._processes.world_size == 1:
            return seen
        where = device()
        mine = _mine(seen.any, self._processes, where)
        columns = np.column_stack([seen.log_probs, seen.step, np.ones_like(seen.step)])
        columns[~mine] = 0  # a number and zeros: their sum over the processes is exact
        totals = self._processes.all_reduce(columns, where)
        looks = self._processes.all_reduce(seen.looks.copy(), where)
        totals[totals[:, -1] == 0] = np.nan
        return SeenExamples(np.ascontiguousarray(totals[:, :-2]), totals[:, -2].copy(), looks)


def processes() -> ProcessGroup:
    """The run's processes; where nobody has imported torch there is one."""
    return process_group() if "torch" in sys.modules else ProcessGroup()


def log_softmax(logits: Any) -> Any:
    """Log-probabilities over the last axis, float32; a tensor's stay where it is, free of its graph."""
    if hasattr(logits, "detach"):
        return logits.detach().float().log_softmax(dim=-1)
    values = np.asarray(logits, dtype=np.float64)
    shifted = values - values.max(axis=-1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))).astype(np.float32)


def copied(values: Any) -> Any:
    """A float32 copy; a tensor's stays where it is, free of its graph."""
    if hasattr(values, "detach"):
        return values.detach().float().clone()
    return np.array(values, dtype=np.float32)


def on_host(values: Any) -> NDArray[Any]:
    """A tensor or an array, as an array."""
    return np.asarray(values.detach().cpu().numpy() if hasattr(values, "detach") else values)


def device() -> torch.device:
    """Where this process' tensors are, for a backend that exchanges nothing else."""
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return torch.device("cpu")
    return torch.device(accelerator.type, torch.accelerator.current_device_index())


def _mine(seen: NDArray[np.bool_], group: ProcessGroup, device: torch.device) -> NDArray[np.bool_]:
    """Which examples this process is the lowest to have seen, shape (n,)."""
    seen_before, mine = np.zeros(len(seen), dtype=np.bool_), np.zeros(len(seen), dtype=np.bool_)
    for rank in range(group.world_size):
        newly_seen = (seen & ~seen_before if rank == group.rank else np.zeros_like(seen)).astype(np.float32)
        seen_by_rank = group.all_reduce(newly_seen, device) > 0
        if rank == group.rank:
            mine = seen_by_rank
        seen_before |= seen_by_rank
    return mine
