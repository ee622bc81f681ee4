"""Log-probabilities of scored tokens under a language model, row by row, without holding a batch's logits.

A vocabulary of 150,000 words makes the logits the largest thing in a pass, by far. Only scored positions meet the
head, some at a time, where a model of transformers' own can be taken apart into body and head; whether that gives what
the model itself gives is asked of it at every point, about a few rows, at first also with states and a head that are
perturbed: a head of zeros, or a cap that bites later, would agree as they are. If not (scaled or capped logits, a class
or hook of somebody's own, learned prompts), the model's own logits are taken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dissensus.errors import ModelError
from dissensus.models.language_model import (
    last_states,
    parts_of,
    perturbed,
    refuse_a_model_that_reads_ahead,
    token_logits,
    vocabulary_of,
    writes_from_a_source,
)
from dissensus.models.patched import patched
from dissensus.models.user_model import base_of
from dissensus.record.probes.sequences import IGNORED, Sequences
from dissensus.record.processes import ProcessGroup
from dissensus.record.quick_way import warn_of_plain, why_not
from dissensus.record.tracking import length_sorted_batches, over_labels

LOGITS = 2**25
"""Numbers of logits held at once, in fp32: 128 MiB."""

AGREES = 1e-4
"""Largest difference of log-probabilities, as a share of the largest, that counts as the same answer in fp32; in half
precision a hundred times that."""

ASKED = 3
"""Rows that are asked about both ways at the first point, at most; fewer where their logits would not fit `LOGITS`."""

LATER = 2
"""The same at later points, in turn."""

APART = "body and head apart"
"""The lean way, in words."""


class Padded(NamedTuple):
    """A batch of rows: what the model reads, and the scored places with their tokens, row by row."""

    inputs: dict[str, Tensor]
    row: Tensor
    place: Tensor
    token: Tensor


class ScoredTokens:
    """See `tracking.TrackedSet`: of each row the sum over its scored tokens, then on request one column per token.

    Args:
        sequences: the rows.
        pad_id: padding token id.
        token_budget: padded tokens per batch, at most (a longer row goes alone).
        single: give the single tokens' log-probabilities as well, 0 beyond a row's last.

    Attributes:
        way: how the last pass read the model, in words, with the reason where it was not the lean way.
    """

    def __init__(self, sequences: Sequences, *, pad_id: int, token_budget: int, single: bool = False) -> None:
        self.way = ""
        self._sequences = sequences
        self._pad_id = pad_id
        self._single = single
        self._batches = length_sorted_batches(sequences.lengths, token_budget)
        self._model: nn.Module | None = None
        self._plain = self._met = False
        self._asked = 0

    def scores(
        self,
        model: nn.Module,
        *,
        untrained: bool,  # noqa: ARG002 - nothing is shared
        group: ProcessGroup,
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """See `tracking.TrackedSet`."""
        if self._model is not model:
            self._model, self._plain, self._met = model, False, False
        if not self._plain:
            self._choose(model, group)
        for rows in group.share(self._batches):
            batch = self._padded(rows, next(model.parameters()).device)
            token_scores = self._whole(model, batch) if self._plain else self._apart(model, batch)
            yield np.array(rows, dtype=np.int64), self._table(batch, token_scores, len(rows))

    def _whole(self, model: Any, batch: Padded) -> Tensor:
        """Of each scored token, in the batch's order, by the model's own forward pass."""
        logits = token_logits(model, batch.inputs)
        size = max(1, LOGITS // logits.shape[-1])
        parts = []
        for part in range(0, len(batch.row), size):
            at = slice(part, part + size)
            parts.append(_of_tokens(logits[batch.row[at], batch.place[at]], batch.token[at]))
        return torch.cat(parts)

    def _apart(self, model: Any, batch: Padded) -> Tensor:
        """The same by body and head apart."""
        body, head = parts_of(model)
        states = last_states(body(**batch.inputs, use_cache=False))[batch.row, batch.place]
        size = max(1, LOGITS // head.weight.shape[0])
        pieces = zip(torch.split(states, size), torch.split(batch.token, size), strict=True)
        return torch.cat([_of_tokens(head(piece), token) for piece, token in pieces])

    def _table(self, batch: Padded, values: Tensor, rows: int) -> Tensor:
        wide = torch.float32 if values.device.type == "mps" else torch.float64  # which MPS has not
        table = torch.zeros((rows, 1), dtype=wide, device=values.device)
        table.index_add_(0, batch.row, values.to(wide)[:, None])
        if not self._single:
            return table
        counts = torch.bincount(batch.row, minlength=rows)
        within = torch.arange(len(values), device=values.device) - (counts.cumsum(0) - counts)[batch.row]
        single = torch.zeros((rows, int(self._sequences.scored.max())), dtype=wide, device=values.device)
        single[batch.row, within] = values.to(wide)
        return torch.cat([table, single], dim=1)

    def _padded(self, rows: list[int], device: torch.device) -> Padded:
        data = self._sequences
        ids = _pad([data.input_ids[r] for r in rows], self._pad_id)
        mask = _pad([(1,) * len(data.input_ids[r]) for r in rows], 0)
        labels = _pad([data.labels[r] for r in rows], IGNORED)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if data.encoder_decoder:
            inputs["labels"] = labels
            row, place = (labels != IGNORED).nonzero(as_tuple=True)
            token = labels[row, place]
        else:
            # The state at a token predicts the next one.
            row, place = (labels[:, 1:] != IGNORED).nonzero(as_tuple=True)
            token = labels[row, place + 1]
        inputs = {name: value.to(device) for name, value in inputs.items()}
        return Padded(inputs, row.to(device), place.to(device), token.to(device))

    def _refuse_other_kind(self, model: Any) -> None:
        """A model that was not seen before: is it of the kind that the rows were made for?"""
        is_encoder_decoder = writes_from_a_source(model)
        if is_encoder_decoder != self._sequences.encoder_decoder:
            raise ModelError(
                f"the model is {'an encoder-decoder' if is_encoder_decoder else 'a decoder-only'} one, and the tracked "
                f"completions were made for the other kind; pass encoder_decoder={is_encoder_decoder} to the probe"
            )
        if not is_encoder_decoder:
            refuse_a_model_that_reads_ahead(model, self._padded(self._rows_to_ask(1), _device(model)).inputs)

    def _choose(self, model: Any, group: ProcessGroup) -> None:
        """Take the model apart at this point, or from now on no more."""
        reason = why_not(
            group, _device(model), lambda: self._obstacle(model), lambda: self._agrees(model),
            "body and head apart give other numbers than the model's own forward pass",
        )  # fmt: skip
        self._plain = bool(reason)
        quick, before = "taken apart into body and head", self.way == APART
        warn_of_plain(model, quick, reason, later=before, first=group.first)
        self.way = f"whole: {reason}" if reason else APART

    def _obstacle(self, model: Any) -> str:
        """What speaks against taking it apart before anything is compared."""
        if not self._met:
            self._refuse_other_kind(model)
            self._met = True
        if self._sequences.encoder_decoder:
            return "an encoder-decoder model"
        reason = patched(model)
        if not reason and not type(base_of(model)).__module__.startswith("transformers."):
            reason = f"{type(base_of(model)).__name__} is no class of transformers' own"
        return reason

    def _agrees(self, model: Any) -> bool:
        """Whether body and head apart give what the model itself gives, about a few rows; perturbed, the first time."""
        first = not self._asked
        batch = self._padded(self._rows_to_ask(ASKED if first else LATER), _device(model))
        self._asked += 1
        # What comes after body and head does not change from point to point, so it is looked for once.
        for perturb in (False, True) if first else (False,):
            with perturbed(model) if perturb else contextlib.nullcontext():
                whole, apart = self._whole(model, batch), self._apart(model, batch)
            if not _close(whole, apart, next(model.parameters()).dtype):
                return False
        return True

    def _rows_to_ask(self, most: int) -> list[int]:
        """Rows in turn from one point to the next, the shortest first, as far as their logits are few."""
        order = np.argsort(self._sequences.lengths, kind="stable")
        picked = [int(order[self._asked % len(order)])]
        width = int(self._sequences.lengths[picked[0]])
        for turn in range(1, most):
            row = int(order[(turn * (len(order) // most) + self._asked) % len(order)])
            wider = max(width, int(self._sequences.lengths[row]))
            if row not in picked and (len(picked) + 1) * wider <= LOGITS // max(
                1, vocabulary_of(self._model)
            ):
                picked.append(row)
                width = wider
        return picked


def _close(whole: Tensor, apart: Tensor, dtype: torch.dtype) -> bool:
    close = AGREES if dtype in (torch.float32, torch.float64) else 100 * AGREES
    return bool((apart - whole).abs().max() <= close * whole.abs().max().clamp(min=1.0))


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _of_tokens(logits: Tensor, token: Tensor) -> Tensor:
    return over_labels(logits).gather(1, token[:, None])[:, 0]


def _pad(rows: list[tuple[int, ...]], value: int) -> Tensor:
    out = torch.full((len(rows), max(map(len, rows))), value, dtype=torch.long)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row)
    return out
