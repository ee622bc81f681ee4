"""The tracked set of a model from somebody's own script: packed where that gives what the model itself gives.

A sequence classifier straight from transformers, adapted by PEFT or not, can be read in packed rows like the models
that we load. A class of somebody's own, a wrapper or a prefix in front of the text may do anything in between. So the
first pass asks the model about a few examples both ways, and packs only if the answers agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dissensus.errors import DataError
from dissensus.models.encoding import Encoded
from dissensus.train.tracking import PackedSet, PaddedSet, TrackedSet

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dissensus.train.ranks import Ranks

PROBES = 4
"""Examples that are asked about both ways: the shortest, the longest, and some in between."""

AGREES = 1e-4
"""Largest difference of logits, as a share of the largest logit, that counts as the same answer in fp32."""


class OwnModelSet:
    """See `tracking.TrackedSet`.

    Args:
        encoded: the examples.
        pad_id: padding token id.
        token_budget: tokens a batch, at most (a longer example goes alone).
        labels: the data set's, to be held against the model's.
    """

    def __init__(
        self, encoded: Encoded, *, pad_id: int, token_budget: int, labels: Sequence[str] = ()
    ) -> None:
        self._encoded = encoded
        self._pad_id = pad_id
        self._labels = tuple(labels)
        self._token_budget = token_budget
        self._model: nn.Module | None = None
        self._set: TrackedSet | None = None

    def scores(
        self, model: nn.Module, *, untrained: bool, ranks: Ranks
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """See `TrackedSet`."""
        if self._set is None or self._model is not model:
            self._model, self._set = model, self._chosen(model)
        return self._set.scores(model, untrained=untrained, ranks=ranks)

    def _chosen(self, model: nn.Module) -> TrackedSet:
        from dissensus.models.scoring import scoring_view

        config: Any = getattr(model, "config", None)
        same_order(self._labels, getattr(config, "id2label", None))
        # A decoder's classifier looks for the last token by this id, and would take another padding for text.
        own_pad = getattr(config, "pad_token_id", None)
        self._pad_id = self._pad_id if own_pad is None else int(own_pad)
        view = scoring_view(model, self._pad_id)
        if view is not None:
            packed = PackedSet(self._encoded, view, token_budget=self._token_budget)
            if self._agrees(model, packed):
                return packed
        return PaddedSet(self._encoded, own_logits, pad_id=self._pad_id, token_budget=self._token_budget)

    def _agrees(self, model: nn.Module, packed: PackedSet) -> bool:
        """Whether the model's own forward pass and the packed one give a few examples the same logits."""
        order = np.argsort(self._encoded.lengths, kind="stable")
        rows = order[np.unique(np.linspace(0, len(order) - 1, PROBES).round().astype(np.int64))]
        device = next(model.parameters()).device
        batch = {k: v.to(device) for k, v in self._encoded.batch(rows.tolist(), self._pad_id).items()}
        try:
            own = own_logits(model, batch).float()
            taken, found = packed.some(rows)
        except (TypeError, ValueError, AttributeError, RuntimeError):
            return False  # it is not built as its class says; its own forward pass is what counts
        if found.shape != own.shape:
            return False
        place = {int(row): at for at, row in enumerate(taken)}
        difference = (found.float()[[place[int(row)] for row in rows]] - own).abs().max()
        return bool(difference <= AGREES * own.abs().max().clamp(min=1.0))


def own_logits(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """What a transformers sequence classifier gives: `model(**batch).logits`, (b, K)."""
    logits: Tensor = model(**batch).logits
    return logits


def same_order(labels: Sequence[str], id2label: Mapping[int, str] | None) -> None:
    """Hold the data set's labels against the names that a classifier gives its outputs (`config.id2label`).

    Raises:
        DataError: they are the same names in another order, so that every loss would be of another label's.
    """
    names = [str(name).casefold() for _, name in sorted((id2label or {}).items())]
    own = [label.casefold() for label in labels]
    if names != own and sorted(names) == sorted(own):
        raise DataError(
            f"the data set's labels are {list(labels)}, and the model's outputs are {names} (config.id2label): the "
            "same in another order. Give the data set's labels in the model's order"
        )
