"""The tracked set of a model from somebody's own script: packed where that gives what the model itself gives.

A sequence classifier straight from transformers, adapted by PEFT or not, can be read in packed rows like the models
that we load. A class of somebody's own, a wrapper or a prefix in front of the text may do anything in between. So such
models are read their own way, and at every point the others are asked about a few examples both ways: agreement at one
point's weights says nothing of the next one's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dissensus.models.encoding import Encoded
from dissensus.record.tracking import (
    PackedSet,
    PaddedSet,
    TrackedSet,
    equal_length_batches,
    length_sorted_batches,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dissensus.record.processes import ProcessGroup

log = logging.getLogger("dissensus")

PROBES = 4
"""Examples that are asked about both ways at the first point: the shortest, the longest, and some in between."""

LATER = 2
"""The same at later points, in turn: enough for the points of a run to get round, and little beside a pass."""

AGREES = 1e-4
"""Largest difference of logits, as a share of the largest logit, that counts as the same answer in fp32."""


class UserModelSet:
    """See `tracking.TrackedSet`.

    Args:
        encoded: the examples.
        pad_id: padding token id.
        token_budget: tokens per batch, at most (a longer example goes alone).
        labels: the data set's, to be held against the model's.

    Attributes:
        way: how the last pass read the model, in words, with the reason where it was not the quick way.
    """

    def __init__(
        self, encoded: Encoded, *, pad_id: int, token_budget: int, labels: Sequence[str] = ()
    ) -> None:
        self.way = ""
        self._encoded = encoded
        self._given_pad = self._pad_id = pad_id
        self._labels = tuple(labels)
        self._token_budget = token_budget
        self._model: nn.Module | None = None
        self._packed: PackedSet | None = None
        self._plain: PaddedSet | None = None
        self._obstacle, self._padded = "", False
        self._asked = 0

    def scores(
        self, model: nn.Module, *, untrained: bool, group: ProcessGroup
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """See `TrackedSet`."""
        from dissensus.models.user_model import refuse_other_heads

        with group.all_or_none(next(model.parameters()).device):
            if self._model is not model:
                self._set_up(model, group)
                self._model = model
            refuse_other_heads(model)
        return self._chosen(model, group).scores(model, untrained=untrained, group=group)

    def _set_up(self, model: nn.Module, group: ProcessGroup) -> None:
        """A model that was not seen before: what its configuration says of labels and padding."""
        from dissensus.models.scoring import scoring_view
        from dissensus.models.user_model import (
            check_label_order,
            classifier_logits,
            pads_by_id,
            reads_last_token,
        )

        check_label_order(self._labels, model, warn=group.first)
        # A decoder's classifier looks for the last token by this id, and would take another padding for text.
        _, own_pad = pads_by_id(model)
        self._pad_id = self._given_pad if own_pad is None else own_pad
        batches = batches_for(model, self._encoded.lengths, self._token_budget)
        self._plain = PaddedSet(
            self._encoded,
            classifier_logits,
            pad_id=self._pad_id,
            token_budget=self._token_budget,
            batches=batches,
        )
        self._packed, self._obstacle = None, "not a sequence classifier of transformers' own that packs"
        self._padded = False
        view = scoring_view(model, self._pad_id)
        if view is not None and reads_last_token(model) and self._ends_in(own_pad):
            self._obstacle = "a text ends in the padding token, and the model reads the token before it"
        elif view is not None:
            self._obstacle = ""
            self._packed = PackedSet(self._encoded, view, token_budget=self._token_budget)

    def _ends_in(self, token: int | None) -> bool:
        return token is not None and any(row[-1] == token for row in self._encoded.input_ids)

    def _chosen(self, model: nn.Module, group: ProcessGroup) -> TrackedSet:
        from dissensus.models.patched import patched
        from dissensus.record.quick_way import warn_of_plain, why_not

        assert self._plain is not None
        if self._padded:
            return self._plain
        reason = why_not(
            group, next(model.parameters()).device, lambda: self._obstacle or patched(model),
            lambda: self._agrees(model),
            "packed rows and the model's own forward pass disagree",
        )  # fmt: skip
        self._padded = bool(reason)
        warn_of_plain(model, "read in packed rows", reason, later=self.way == "packed", first=group.first)
        self.way = f"padded: {reason}" if reason else "packed"
        return self._plain if self._padded or self._packed is None else self._packed

    def _agrees(self, model: nn.Module) -> bool:
        """Whether the model's own forward pass and the packed one give a few examples the same logits."""
        assert self._packed is not None  # else there was a doubt
        rows = self._rows_to_ask()
        self._asked += 1
        device = next(model.parameters()).device
        plain = self._plain_logits(model, rows, device)
        packed_order, packed = self._packed.some(rows)
        if packed.shape != plain.shape:
            return False
        place = {int(row): at for at, row in enumerate(packed_order)}
        difference = (packed.float()[[place[int(row)] for row in rows]] - plain).abs().max()
        return bool(difference <= AGREES * plain.abs().max().clamp(min=1.0))

    def _plain_logits(self, model: nn.Module, rows: NDArray[np.int64], device: Any) -> Tensor:
        import torch

        from dissensus.models.user_model import classifier_logits, pads_by_id, reads_last_token

        together = not (reads_last_token(model) and pads_by_id(model)[1] is None)
        parts = [rows.tolist()] if together else [[row] for row in rows.tolist()]
        batches = (self._encoded.batch(part, self._pad_id) for part in parts)
        return torch.cat(
            [classifier_logits(model, {k: v.to(device) for k, v in b.items()}).float() for b in batches]
        )

    def _rows_to_ask(self) -> NDArray[np.int64]:
        order = np.argsort(self._encoded.lengths, kind="stable")
        if not self._asked:
            return order[np.unique(np.linspace(0, len(order) - 1, PROBES).round().astype(np.int64))]
        return np.unique(order[(np.arange(LATER) * (len(order) // LATER) + self._asked) % len(order)])


def batches_for(model: nn.Module, lengths: NDArray[np.int64], token_budget: int) -> list[list[int]]:
    """Rows in batches in which the model's own forward pass gives each row what it gives it alone."""
    from dissensus.models.user_model import padding_of

    padding = padding_of(model)
    if padding == "one row":
        return [[row] for row in np.argsort(-lengths, kind="stable").tolist()]
    cut = equal_length_batches if padding == "equal lengths" else length_sorted_batches
    return cut(lengths, token_budget)
