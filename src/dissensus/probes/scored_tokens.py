"""Log-probabilities of scored tokens under a language model, row by row, without holding a batch's logits.

A vocabulary of 150,000 words makes the logits the largest thing in a pass, by far. Only scored positions meet the
head, some at a time, where the model can be taken apart into body and head; whether that gives what the model itself
gives is asked of it first, about a few rows. If not (scaled or capped logits, a class of somebody's own), the model's
own logits are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dissensus.errors import ModelError
from dissensus.probes.sequences import IGNORED, Sequences
from dissensus.train.ranks import Ranks
from dissensus.train.tracking import length_sorted_batches, over_labels

LOGITS = 2**25
"""Numbers of logits held at once, in fp32: 128 MiB."""

AGREES = 1e-4
"""Largest difference of log-probabilities, as a share of the largest, that counts as the same answer in fp32; in half
precision a hundred times that."""


class Padded(NamedTuple):
    """A batch of rows: what the model reads, and the scored places with their tokens, row by row."""

    inputs: dict[str, Tensor]
    row: Tensor
    place: Tensor
    token: Tensor


class ScoredTokens:
    """See `tracking.TrackedSet`: of each row the sum over its scored tokens, then on request one column a token.

    Args:
        sequences: the rows.
        pad_id: padding token id.
        token_budget: padded tokens a batch, at most (a longer row goes alone).
        single: give the single tokens' log-probabilities as well, 0 beyond a row's last.
    """

    def __init__(self, sequences: Sequences, *, pad_id: int, token_budget: int, single: bool = False) -> None:
        self._sequences = sequences
        self._pad_id = pad_id
        self._single = single
        self._batches = length_sorted_batches(sequences.lengths, token_budget)
        self._model: nn.Module | None = None
        self._apart = False

    def scores(
        self,
        model: nn.Module,
        *,
        untrained: bool,  # noqa: ARG002 - nothing is shared
        ranks: Ranks,
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """See `tracking.TrackedSet`."""
        if self._model is not model:
            self._model, self._apart = model, self._can_be_taken_apart(model)
        for rows in ranks.share(self._batches):
            batch = self._padded(rows, next(model.parameters()).device)
            yield np.array(rows, dtype=np.int64), self._table(batch, self._log_probs(model, batch), len(rows))

    def _log_probs(self, model: Any, batch: Padded) -> Tensor:
        """Of each scored token, in the batch's order."""
        if not self._apart:
            logits = own_logits(model, batch.inputs)
            found = []
            for part in range(0, len(batch.row), max(1, LOGITS // logits.shape[-1])):
                at = slice(part, part + max(1, LOGITS // logits.shape[-1]))
                found.append(_of_tokens(logits[batch.row[at], batch.place[at]], batch.token[at]))
            return torch.cat(found)
        body, head = parts_of(model)
        states = body(**batch.inputs, use_cache=False).last_hidden_state[batch.row, batch.place]
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

    def _can_be_taken_apart(self, model: Any) -> bool:
        config = getattr(model, "config", None)
        is_encoder_decoder = bool(getattr(config, "is_encoder_decoder", False))
        if is_encoder_decoder != self._sequences.encoder_decoder:
            raise ModelError(
                f"the model is {'an encoder-decoder' if is_encoder_decoder else 'a decoder-only'} one, and the tracked "
                f"completions were made for the other kind; pass encoder_decoder={is_encoder_decoder} to the probe"
            )
        if is_encoder_decoder:
            return False
        shortest = [batch[-1] for batch in self._batches[-3:]]  # the shortest rows of the last batches
        batch = self._padded(shortest, next(model.parameters()).device)
        self._apart = False
        own = self._log_probs(model, batch)
        self._apart = True
        try:
            found = self._log_probs(model, batch)
        except (TypeError, ValueError, AttributeError, RuntimeError, IndexError):
            return False  # it is not built as its class says; its own forward pass is what counts
        close = AGREES if next(model.parameters()).dtype in (torch.float32, torch.float64) else 100 * AGREES
        return bool((found - own).abs().max() <= close * own.abs().max().clamp(min=1.0))


def own_logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """The logits that a language model's forward pass gives, (b, L, V).

    Raises:
        ModelError: it gives none.
    """
    logits = getattr(model(**inputs), "logits", None)
    if logits is None:
        raise ModelError(
            f"the forward pass of {type(model).__name__} gives no logits: a fused loss kernel (Liger's fused linear "
            "cross-entropy, for one) may have replaced it. Switch that off, or record with `score=` and a function of "
            "your own"
        )
    found: Tensor = logits
    virtual = 0 if "labels" in inputs else found.shape[1] - inputs["input_ids"].shape[1]
    return found[:, virtual:] if virtual > 0 else found  # prompt tuning puts tokens of its own in front


def parts_of(model: Any) -> tuple[Any, Any]:
    """Body and head of a decoder-only transformers model, PEFT-adapted or not; AttributeError for others."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    body, head = getattr(base, base.base_model_prefix), base.get_output_embeddings()
    if body is base or head is None:
        raise AttributeError("it has no body and head of its own")
    return body, head


def _of_tokens(logits: Tensor, token: Tensor) -> Tensor:
    return over_labels(logits).gather(1, token[:, None])[:, 0]


def _pad(rows: list[tuple[int, ...]], value: int) -> Tensor:
    out = torch.full((len(rows), max(map(len, rows))), value, dtype=torch.long)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row)
    return out
