"""The training loss: class weights and annotators' shares, the same however a batch is cut."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dissensus.config import TrainingSpec
from dissensus.errors import DataError
from dissensus.train import loop
from dissensus.train.loss import BatchLoss, TrainingSet, inverse_frequency

LOGITS = torch.tensor(
    [[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-1.0, 3.0, 0.0], [0.4, 0.4, 1.0]], dtype=torch.float64
)
LABELS = np.array([0, 2, 1, 2])


def whole(data: TrainingSet, cuts: tuple[int, ...] = (4,)) -> float:
    loss = BatchLoss(data, np.arange(4))
    begins = np.cumsum((0, *cuts))
    parts = [np.arange(a, b) for a, b in itertools.pairwise(begins)]
    return sum(float(loss.part(LOGITS[rows], rows)) for rows in parts)


def data_of(**more: Any) -> TrainingSet:
    encoded: Any = None  # the loss reads no text
    return TrainingSet(encoded, LABELS, **more)


def test_inverse_frequency_by_hand() -> None:
    # 2, 1 and 4 examples: 1/2, 1 and 1/4, which add up to 7/4; times 3.
    weights = inverse_frequency(np.array([0, 0, 1, 2, 2, 2, 2]), ("a", "b", "c"))
    np.testing.assert_allclose(weights, [6 / 7, 12 / 7, 3 / 7])
    with pytest.raises(DataError, match="none has the label 'b'"):
        inverse_frequency(np.array([0, 2]), ("a", "b", "c"))


@pytest.mark.parametrize("cuts", [(4,), (1, 3), (2, 1, 1)])
def test_class_weights_are_torchs_weighted_mean_of_the_whole_batch(cuts: tuple[int, ...]) -> None:
    weights = np.array([0.5, 1.0, 1.5])
    theirs = nn.functional.cross_entropy(
        LOGITS, torch.from_numpy(LABELS), weight=torch.from_numpy(weights), reduction="mean"
    )
    assert whole(data_of(class_weights=weights), cuts) == pytest.approx(float(theirs), abs=1e-12)


@pytest.mark.parametrize("cuts", [(4,), (1, 3), (2, 1, 1)])
def test_annotators_shares_and_labels_are_mixed_by_their_share_of_the_batch(cuts: tuple[int, ...]) -> None:
    nothing = [np.nan] * 3
    targets = np.array([[0.7, 0.3, 0.0], nothing, nothing, [0.0, 0.5, 0.5]])
    weights = np.array([0.5, 1.0, 1.5])
    log_probs = torch.log_softmax(LOGITS, dim=-1).numpy()
    divergence = [
        sum(p * (np.log(p) - q) for p, q in zip(targets[i], log_probs[i], strict=True) if p > 0)
        for i in (0, 3)
    ]
    labelled = -(1.5 * log_probs[1, 2] + 1.0 * log_probs[2, 1]) / 2.5
    by_hand = (2 * np.mean(divergence) + 2 * labelled) / 4
    assert whole(data_of(class_weights=weights, targets=targets), cuts) == pytest.approx(by_hand, abs=1e-12)


def test_a_batch_of_shares_alone_has_no_labels_to_weigh() -> None:
    targets = np.full((4, 3), 1 / 3)
    log_probs = torch.log_softmax(LOGITS, dim=-1).numpy()
    assert whole(data_of(targets=targets)) == pytest.approx(np.mean(np.log(1 / 3) - log_probs.mean(axis=1)))


@pytest.mark.parametrize("settings", ["class_weights", "targets"])
def test_micro_batches_give_the_whole_batchs_gradient(settings: str, build: Any) -> None:
    gradients = []
    for parts in (1, 5):
        model, plain = build("full")
        rng = np.random.default_rng(0)
        shares = rng.dirichlet(np.ones(3), size=len(plain.labels))
        shares[::2] = np.nan
        more = {"class_weights": np.array([0.2, 1.0, 1.8]), "targets": shares}
        data = replace(plain, **{settings: more[settings]})
        for module in model.module.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        model.module.double()
        rows = np.array([0, 3, 5, 8, 11, 17, 23])
        spec = TrainingSpec(gradient_accumulation_steps=parts)
        loop.accumulate(model, data, rows, spec, seed=0, step=1, device=torch.device("cpu"))
        gradients.append(
            {n: p.grad.clone() for n, p in model.module.named_parameters() if p.grad is not None}
        )
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-12, rtol=1e-9)


def test_weight_decay_on_all_spares_no_weight(build: Any) -> None:
    parameters = loop.trainable_parameters(build("ia3")[0].module)
    (group,) = loop.parameter_groups(parameters, TrainingSpec(weight_decay_on="all"))
    assert len(group["params"]) == len(parameters)  # type: ignore[arg-type]
    assert group["weight_decay"] == 0.01
