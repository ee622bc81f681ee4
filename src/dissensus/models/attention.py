"""Attention over packed rows, through the interface by which transformers lets one be plugged in.

Two implementations are registered: `PACKED` reads a row of examples laid end to end (its layout comes as the
keyword `layout`, which every supported model hands through), `PADDED` an ordinary batch with a mask. Both are
the same mathematics as transformers' own, and both take attention dropout from keys (`dropout.py`).

On a CPU each run of equal lengths is a rectangle by itself: no mask, no padding, a view of the projections. On
a GPU the runs would be as many launches, so the row is spread into one padded rectangle for attention alone,
which is a small share of the work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dissensus.models.insides import present
from dissensus.models.packing import Layout, Run
from dissensus.models.run_attention import Rules, run_attention

PACKED = "dissensus_packed"
PADDED = "dissensus_padded"

_EXPLICIT = 128
"""Up to this many tokens, softmax(QK')V in three calls is quicker on a CPU than the fused kernel."""


@contextlib.contextmanager
def attending(config: Any, implementation: str) -> Iterator[None]:
    """Let the models that share `config` attend by one of the two implementations."""
    before = config._attn_implementation
    config._attn_implementation = implementation
    try:
        yield
    finally:
        config._attn_implementation = before


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - the interface's; a packed row needs none
    *,
    layout: Layout,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention within each example of a packed row.

    Args:
        module: the attention module; its `is_causal` and keyed dropout are used.
        query: shape (1, H, N, d).
        key: shape (1, G, N, d), where G divides H.
        value: shape (1, G, N, d).
        attention_mask: not used.
        layout: where the examples lie.
        scaling: of the scores; default d ** -0.5.
        dropout: share of attention weights to drop.
        sliding_window: tokens at a distance of this or more are not attended to.

    Returns:
        Shape (1, N, H, d), and None for the weights.
    """
    rules = _Rules.of(module, query, scaling, dropout, sliding_window)
    # (N, heads, d): as the projections wrote them, so that each run is a view.
    # Squeezed, not indexed: the gradient of an index is a tensor of zeros with the gradient copied into it.
    dtype = _of_scores(value)
    rows = [part.squeeze(0).transpose(0, 1).to(dtype) for part in (query, key, value)]
    within = attention_by_run if query.device.type == "cpu" else attention_in_one_rectangle
    return within(rows, layout, rules)[None].to(value.dtype), None


def attention_by_run(rows: list[Tensor], layout: Layout, rules: _Rules) -> Tensor:
    """Each run of equal lengths by itself; query, key and value (N, heads, d) to (N, H, d)."""
    query, key, value = rules.with_all_heads(rows[0], rows[1], rows[2], dim=1)
    if max(run.length for run in layout.runs) <= _EXPLICIT:
        return run_attention(query, key, value, layout, rules.by_run(query))
    outputs = []
    parts = [torch.split(part, layout.sizes) for part in (query, key, value)]
    for run, *of_run in zip(layout.runs, *parts, strict=True):
        mask = rules.mask(run.length, run.length, query.device)
        q, k, v = (part.view(run.examples, run.length, *part.shape[1:]).transpose(1, 2) for part in of_run)
        outputs.append(rules.attend(q, k, v, mask, rules.run_keys(run)).transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)


def attention_in_one_rectangle(rows: list[Tensor], layout: Layout, rules: _Rules) -> Tensor:
    """The row spread into one padded rectangle, attended to, and gathered again; shapes as `attention_by_run`."""
    places, inside = layout.rectangle(rows[0].device)
    query, key, value = (
        part.new_zeros(inside.numel(), *part.shape[1:])
        .index_copy(0, places, part)
        .view(*inside.shape, *part.shape[1:])
        .transpose(1, 2)
        for part in rows
    )
    mask = inside[:, None, None, :]
    between = rules.mask(inside.shape[1], inside.shape[1], inside.device)
    keys = rules.token_keys()
    if keys is not None:
        keys = keys.new_zeros(inside.numel()).index_copy(0, places, keys[0]).view(inside.shape)
    out = rules.attend(query, key, value, mask if between is None else mask & between, keys)
    return out.transpose(1, 2).flatten(0, 1).index_select(0, places)


def padded_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention over a padded batch: query (b, H, T, d), mask (b, 1, T, T) or None; out (b, T, H, d)."""
    rules = _Rules.of(module, query, scaling, dropout, sliding_window)
    mask = attention_mask
    if mask is None:
        mask = rules.mask(query.shape[2], key.shape[2], query.device)
    dtype = _of_scores(value)
    query, key, wide = query.to(dtype), key.to(dtype), value.to(dtype)
    return rules.attend(query, key, wide, mask, rules.token_keys()).transpose(1, 2).to(value.dtype), None


def _of_scores(value: Tensor) -> torch.dtype:
    """The precision to attend in: float32 where weights are in half precision, since scores that are rounded tie.

    Under autocast the precision is autocast's, and fused kernels (on a GPU) sum in float32 by themselves.
    """
    on_cpu = value.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return torch.float32 if on_cpu and value.dtype in (torch.bfloat16, torch.float16) else value.dtype


@dataclass(frozen=True)
class _Rules:
    """How one attention module attends in this call."""

    module: nn.Module
    causal: bool
    scale: float
    dropout: float
    window: int | None

    @classmethod
    def of(
        cls, module: nn.Module, query: Tensor, scaling: float | None, dropout: float, window: int | None
    ) -> _Rules:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return cls(module, bool(getattr(module, "is_causal", False)), scale, dropout, window)

    def mask(self, queries: int, keys: int, device: torch.device) -> Tensor | None:
        """Which key each query of one example sees, shape (T, S); None when it is all of them."""
        windowed = self.window is not None and self.window < max(queries, keys)
        if not self.causal and not windowed:
            return None
        distance = torch.arange(queries, device=device)[:, None] - torch.arange(keys, device=device)[None]
        seen = distance >= 0 if self.causal else torch.ones_like(distance, dtype=torch.bool)
        return seen & (distance.abs() < self.window) if self.window is not None else seen

    def token_keys(self) -> Tensor | None:
        """Keys of the tokens that are read, where dropout is on and keyed."""
        site: Any = getattr(self.module, "keyed_attention", None)
        if self.dropout == 0 or site is None:
            return None
        tokens: Tensor | None = site[1].tokens
        return tokens

    def run_keys(self, run: Run) -> Tensor | None:
        """The keys of a run's tokens, shape (examples, length); None without keyed dropout."""
        keys = self.token_keys()
        if keys is None:
            return None
        return keys[0, run.start : run.start + run.tokens].view(run.examples, run.length)

    def by_run(self, query: Tensor) -> Rules:
        """The same for `run_attention`, for a query (N, H, d)."""
        heads, dtype, device = query.shape[1], query.dtype, query.device
        site: Any = getattr(self.module, "keyed_attention", None)

        def kept(run: Run) -> Tensor | None:
            if self.dropout == 0:
                return None
            keys = self.run_keys(run)
            if keys is None:
                ones = torch.ones(run.examples, heads, run.length, run.length, dtype=dtype, device=device)
                return nn.functional.dropout(ones, self.dropout)
            factors: Tensor = site[0].kept_weights(keys, heads, run.length, self.dropout, dtype)
            return factors

        return Rules(self.scale, lambda length: self.mask(length, length, device), kept)

    def with_all_heads(self, query: Tensor, key: Tensor, value: Tensor, dim: int) -> tuple[Tensor, ...]:
        """Keys and values repeated where several query heads share them; `dim` is that of the heads."""
        groups = query.shape[dim] // key.shape[dim]
        if groups == 1:
            return query, key, value
        return query, key.repeat_interleave(groups, dim=dim), value.repeat_interleave(groups, dim=dim)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, keys: Tensor | None
    ) -> Tensor:
        """softmax(scale QK' + mask) V for rectangles (b, heads, T, d).

        `mask` is boolean (true: seen) or added to the scores; `keys` (b, T) are the query tokens'.
        """
        query, key, value = self.with_all_heads(query, key, value, dim=1)
        if self.dropout == 0 and (query.device.type != "cpu" or query.shape[2] > _EXPLICIT):
            return nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=self.scale)
        scores = (query * self.scale) @ key.transpose(2, 3)
        if mask is not None:
            # The lowest number and not -inf: a row of padding sees nothing, and shall get no NaN.
            lowest = torch.finfo(scores.dtype).min
            scores = scores.masked_fill(~mask, lowest) if mask.dtype == torch.bool else scores + mask
        weights = scores.softmax(-1)
        if self.dropout > 0:
            site: Any = getattr(self.module, "keyed_attention", None)
            if keys is None:
                weights = nn.functional.dropout(weights, self.dropout)
            else:
                weights = site[0].attention(weights, keys, self.dropout)
        return weights @ value


def _register() -> bool:
    if not present("attention interface"):
        return False
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(PACKED, packed_attention)
    AttentionInterface.register(PADDED, padded_attention)
    AttentionMaskInterface.register(PADDED, sdpa_mask)
    return True


PLUGS_IN = _register()
"""Whether transformers takes these implementations; where it does not, models attend by their own."""
