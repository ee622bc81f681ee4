"""Examples laid end to end in one row of real tokens, so that nothing is computed on padding.

A padded batch is a rectangle as wide as its longest example; a shuffled batch of short sentences is two fifths
padding. Everything in a transformer but attention treats each token by itself and does not care which example
a token belongs to. Only attention must know, and it is told by `Layout` (see `attention.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dissensus.models.encoding import Encoded

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Run:
    """Neighbouring examples of one length: their tokens are a rectangle without padding.

    Attributes:
        start: the first one's first token.
        examples: how many examples.
        length: tokens of each.
    """

    start: int
    examples: int
    length: int

    @property
    def tokens(self) -> int:
        """Tokens of the run."""
        return self.examples * self.length


@dataclass(frozen=True)
class Layout:
    """Where the examples of a packed row lie.

    Attributes:
        runs: the row from left to right, as runs of equal length.
    """

    runs: tuple[Run, ...]
    _rectangles: dict[torch.device, tuple[Tensor, Tensor]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def rectangle(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """How the row spreads into one padded rectangle (b, T), made once for all layers of a model.

        Returns:
            The place of each token in the flattened rectangle, shape (N,); and which places hold a token,
            shape (b, T).
        """
        import torch

        cached = self._rectangles.get(device)
        if cached is None:
            lengths = np.repeat([r.length for r in self.runs], [r.examples for r in self.runs])
            inside = np.arange(int(lengths.max()))[None] < lengths[:, None]
            places = torch.from_numpy(np.flatnonzero(inside)).to(device, non_blocking=True)
            cached = (places, torch.from_numpy(inside).to(device, non_blocking=True))
            self._rectangles[device] = cached
        return cached

    @property
    def sizes(self) -> list[int]:
        """Tokens of each run: what a row is split by."""
        return [run.tokens for run in self.runs]


@dataclass(frozen=True)
class PackedBatch:
    """b examples as one row of N real tokens, longest first.

    Attributes:
        rows: which example of the data set each one is, shape (b,), in packed order.
        lengths: tokens of each, shape (b,), falling.
        layout: where they lie.
        input_ids: shape (1, N).
        position_ids: shape (1, N), from 0 within each example.
        token_type_ids: shape (1, N), where the model takes them.
        first: index of each example's first token in the row, shape (b,).
        last: index of its last token, shape (b,).
    """

    rows: NDArray[np.int64]
    lengths: NDArray[np.int64]
    layout: Layout
    input_ids: Tensor
    position_ids: Tensor
    token_type_ids: Tensor | None
    first: Tensor
    last: Tensor

    def to(self, device: torch.device) -> PackedBatch:
        """The same on another device; without waiting where the memory is pinned."""
        if self.input_ids.device == device:
            return self
        types = self.token_type_ids
        return PackedBatch(
            self.rows,
            self.lengths,
            self.layout,
            self.input_ids.to(device, non_blocking=True),
            self.position_ids.to(device, non_blocking=True),
            None if types is None else types.to(device, non_blocking=True),
            self.first.to(device, non_blocking=True),
            self.last.to(device, non_blocking=True),
        )


def pack(encoded: Encoded, rows: Sequence[int] | NDArray[np.int64], *, pin: bool = False) -> PackedBatch:
    """Lay the given examples end to end, longest first (ties in the given order).

    Args:
        encoded: the data set.
        rows: which examples.
        pin: put the tensors into pinned memory, for copies to a GPU that nobody waits for.
    """
    import torch

    chosen = np.asarray(rows, dtype=np.int64)
    tokens = encoded.flat
    lengths = tokens.lengths[chosen]
    order = np.argsort(-lengths, kind="stable")
    chosen, lengths = chosen[order], lengths[order]
    ends = np.cumsum(lengths)
    begins = ends - lengths
    place = np.arange(int(ends[-1]), dtype=np.int64)
    positions = place - np.repeat(begins, lengths)
    source = positions + np.repeat(tokens.starts[chosen], lengths)

    def tensor(values: NDArray[np.int32] | NDArray[np.int64]) -> Tensor:
        on_host = torch.from_numpy(values)
        return on_host.pin_memory() if pin else on_host

    types = tokens.token_type_ids
    return PackedBatch(
        rows=chosen,
        lengths=lengths,
        layout=Layout(_runs(lengths, begins)),
        input_ids=tensor(tokens.input_ids[source][None]),
        position_ids=tensor(positions.astype(np.int32)[None]),
        token_type_ids=None if types is None else tensor(types[source][None]),
        first=tensor(begins),
        last=tensor(ends - 1),
    )


def concatenated(batches: Sequence[PackedBatch]) -> PackedBatch:
    """Several batches as one row, one after the other; their examples stay apart, and their runs too.

    `rows` are those of each batch, so they may name examples of different data sets; `lengths` fall within each
    batch only.
    """
    import torch

    sizes = [batch.input_ids.shape[1] for batch in batches]
    begins = [sum(sizes[:i]) for i in range(len(sizes))]
    types = [b.token_type_ids for b in batches if b.token_type_ids is not None]
    assert len(types) in (0, len(batches))  # one model reads them all
    placed = list(zip(begins, batches, strict=True))
    return PackedBatch(
        rows=np.concatenate([b.rows for b in batches]),
        lengths=np.concatenate([b.lengths for b in batches]),
        layout=Layout(
            tuple(Run(at + run.start, run.examples, run.length) for at, b in placed for run in b.layout.runs)
        ),
        input_ids=torch.cat([b.input_ids for b in batches], dim=1),
        position_ids=torch.cat([b.position_ids for b in batches], dim=1),
        token_type_ids=torch.cat(types, dim=1) if types else None,
        first=torch.cat([at + b.first for at, b in placed]),
        last=torch.cat([at + b.last for at, b in placed]),
    )


def batches_by_tokens(lengths: NDArray[np.int64], token_budget: int) -> list[NDArray[np.int64]]:
    """Rows in batches of at most `token_budget` real tokens, longest first; a longer example goes alone."""
    order = np.argsort(-lengths, kind="stable")
    batches: list[NDArray[np.int64]] = []
    begin, total = 0, 0
    for at, length in enumerate(lengths[order].tolist()):
        if at > begin and total + length > token_budget:
            batches.append(order[begin:at])
            begin, total = at, 0
        total += length
    if begin < len(order):
        batches.append(order[begin:])
    return batches


def _runs(lengths: NDArray[np.int64], begins: NDArray[np.int64]) -> tuple[Run, ...]:
    changes = np.flatnonzero(np.diff(lengths)) + 1
    edges = [0, *changes.tolist(), len(lengths)]
    return tuple(Run(int(begins[i]), j - i, int(lengths[i])) for i, j in pairwise(edges))
