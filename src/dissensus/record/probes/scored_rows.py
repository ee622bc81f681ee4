"""Reward models: one number per row from a sequence classifier with a single output."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dissensus.errors import ModelError
from dissensus.models.user_model import logits_of, own_output, pads_by_id
from dissensus.record.probes.sequences import Sequences
from dissensus.record.processes import ProcessGroup
from dissensus.record.user_model import batches_for

INSTEAD = "Give a sequence classifier of transformers' own with one output (num_labels=1)"


class ScoredRows:
    """See `tracking.TrackedSet`: of each row the model's one output.

    Args:
        sequences: the rows; what of them is scored does not matter.
        pad_id: padding token id; the model's own must be the same where it looks for the last token by it.
        token_budget: padded tokens per batch, at most (a longer row goes alone).
    """

    def __init__(self, sequences: Sequences, *, pad_id: int, token_budget: int) -> None:
        self._sequences = sequences
        self._pad_id = pad_id
        self._token_budget = token_budget

    def scores(
        self,
        model: nn.Module,
        *,
        untrained: bool,  # noqa: ARG002 - nothing is shared
        group: ProcessGroup,
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """See `tracking.TrackedSet`."""
        device = next(model.parameters()).device
        _, own_pad = pads_by_id(model)
        pad_id = self._pad_id if own_pad is None else own_pad
        for rows in group.share(batches_for(model, self._sequences.lengths, self._token_budget)):
            width = max(len(self._sequences.input_ids[r]) for r in rows)
            ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
            mask = torch.zeros((len(rows), width), dtype=torch.long)
            for i, r in enumerate(rows):
                row = self._sequences.input_ids[r]
                ids[i, : len(row)] = torch.tensor(row)
                mask[i, : len(row)] = 1
            batch = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
            logits = logits_of(own_output(model, batch, instead=INSTEAD))
            if logits is None or logits.ndim != 2 or logits.shape[1] != 1:
                shape = "no logits" if logits is None else f"an output of shape {tuple(logits.shape)}"
                raise ModelError(
                    f"a reward model gives one number per row; this one gives {shape} for {len(rows)} rows. Load it "
                    "with num_labels=1 (AutoModelForSequenceClassification)"
                )
            yield np.array(rows, dtype=np.int64), logits.float()
