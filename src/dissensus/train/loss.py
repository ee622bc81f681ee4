"""The training loss of a batch: cross-entropy on labels, with class weights, or against annotators' label shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dissensus.errors import DataError
from dissensus.models.encoding import Encoded


@dataclass(frozen=True)
class TrainingSet:
    """What is trained on.

    Attributes:
        encoded: token ids, n examples.
        labels: label indices as given to the model (noise included), shape (n,).
        class_weights: what a label weighs in the loss, shape (K,); None: all the same.
        targets: annotators' label shares of the examples that learn them in place of their label, shape (n, K), rows
            of NaN for the others; None: no example does.
    """

    encoded: Encoded
    labels: NDArray[np.int64]
    class_weights: NDArray[np.float64] | None = None
    targets: NDArray[np.float64] | None = None


def inverse_frequency(labels: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.float64]:
    """Class weights w_c = K (1 / n_c) / sum_j (1 / n_j), shape (K,): 1 on average over the K labels.

    Args:
        labels: label indices of the training examples, shape (n,).
        names: the K labels.

    Raises:
        DataError: no training example has one of the labels, which would weigh infinitely much.
    """
    counts = np.bincount(labels, minlength=len(names))
    if not counts.all():
        raise DataError(
            f"class_weights: inverse divides by the number of training examples of each label, and none has the label "
            f"{names[int(np.argmin(counts))]!r}; train on more examples, or leave class_weights out"
        )
    inverse = 1.0 / counts
    return np.asarray(len(names) * inverse / inverse.sum(), dtype=np.float64)


class BatchLoss:
    """The loss of one batch, given part by part: the parts add up to it, however the batch is cut.

    With labels alone it is the mean cross-entropy; with class weights the mean weighted by each example's label. Where
    some examples learn annotators' shares, it is their mean KL divergence and the others' (weighted) mean, each by its
    share of the batch.

    Args:
        data: what is trained on.
        rows: the whole batch.
    """

    def __init__(self, data: TrainingSet, rows: NDArray[np.int64]) -> None:
        self._data, self._size = data, len(rows)
        self._plain = data.class_weights is None and data.targets is None
        hard = rows if data.targets is None else rows[np.isnan(data.targets[rows, 0])]
        weights = data.class_weights
        total = len(hard) if weights is None else weights[data.labels[hard]].sum()
        # What an example's cross-entropy is multiplied by, save for its label's weight.
        self._per_label = len(hard) / (total * self._size) if len(hard) else 0.0

    def part(self, logits: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """What the examples `rows` add to the loss, nats, shape (); `logits` are theirs, shape (b, K)."""
        data = self._data
        labels = torch.from_numpy(data.labels[rows]).to(logits.device)
        if self._plain:
            return nn.functional.cross_entropy(logits, labels, reduction="sum") / self._size
        losses = nn.functional.cross_entropy(logits, labels, reduction="none")
        of_label = np.ones(len(rows)) if data.class_weights is None else data.class_weights[data.labels[rows]]
        scale = self._per_label * of_label
        if data.targets is not None:
            shares = data.targets[rows]
            soft = ~np.isnan(shares[:, 0])
            aim = torch.from_numpy(np.where(soft[:, None], shares, 0.0)).to(logits)
            divergence = nn.functional.kl_div(torch.log_softmax(logits, dim=-1), aim, reduction="none").sum(
                -1
            )
            losses = torch.where(torch.from_numpy(soft).to(logits.device), divergence, losses)
            scale = np.where(soft, 1.0 / self._size, scale)
        return (losses * torch.from_numpy(scale).to(losses)).sum()
