"""Keyed dropout: the right share goes, at random, and always the same for the same token."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from dissensus.models.dropout import DropoutKeys, KeyedDropout, install_keyed_dropout, token_keys

N, D, P = 2000, 128, 0.1


def mask(
    site: str = "layer.0", stream: int = 1, rows: np.ndarray | None = None, p: float = P
) -> torch.Tensor:
    """What stays of ones at a site, for one token of each of N examples."""
    keys = DropoutKeys()
    examples = np.arange(N) if rows is None else rows
    keys.padded(token_keys(stream, examples[:, None], np.zeros((1, 1), dtype=np.int64)), torch.device("cpu"))
    layer = KeyedDropout(p, site, keys)
    return layer(torch.ones(len(examples), 1, D))[:, 0]


def test_the_share_that_goes_is_p_and_the_mean_stays() -> None:
    kept = mask()
    assert set(kept.unique().tolist()) == {0.0, torch.tensor(1.0).mul(1 / (1 - P)).item()}
    # Standard error of the share over N x D draws: sqrt(0.09 / 256,000) = 0.0006.
    assert abs((kept == 0).double().mean().item() - P) < 0.003
    assert abs(kept.double().mean().item() - 1) < 0.003
    # No token and no channel is favoured: a channel's share over 2,000 tokens has a standard error of 0.0067.
    assert (kept == 0).double().mean(0).sub(P).abs().max() < 0.03
    assert (kept == 0).double().mean(1).sub(P).abs().max() < 0.13  # of 128 channels: 0.0265


def test_masks_of_other_steps_sites_tokens_and_channels_are_unrelated() -> None:
    first = (mask() == 0).double() - P
    others = [mask(stream=2), mask(site="layer.1"), mask(rows=np.arange(N) + 1), mask(rows=np.arange(N) + N)]
    for other in others:
        # Correlation of 256,000 pairs: standard error 0.002.
        assert abs((first * ((other == 0).double() - P)).mean().item()) / (P * (1 - P)) < 0.01
    channels = torch.corrcoef(first.T)
    between = channels[~torch.eye(D, dtype=torch.bool)]
    # 8,128 pairs of channels over 2,000 tokens: standard error 0.022, largest of so many about 4.2 of them.
    assert between.abs().max() < 0.15
    assert abs(between.std().item() - 0.0224) < 0.003


def test_a_token_keeps_its_mask_wherever_it_sits() -> None:
    rows = np.array([7, 3, 1999, 0])
    assert torch.equal(mask(rows=rows), mask()[rows])


def test_without_keys_and_in_eval_it_is_plain_dropout() -> None:
    layer = KeyedDropout(0.5, "a", DropoutKeys())
    x = torch.ones(4, 5, 6)
    torch.manual_seed(0)
    drawn = layer(x)
    torch.manual_seed(0)
    assert torch.equal(drawn, nn.functional.dropout(x, 0.5))
    assert layer.eval()(x) is x


def test_installing_replaces_each_dropout_and_keeps_its_mode() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.3), nn.Sequential(nn.Dropout(0.2).eval()))
    names = [n for n, _ in model.named_parameters()]
    install_keyed_dropout(model)
    layers = [m for m in model.modules() if isinstance(m, KeyedDropout)]
    assert [(m.p, m.training) for m in layers] == [(0.3, True), (0.2, False)]
    assert [n for n, _ in model.named_parameters()] == names
