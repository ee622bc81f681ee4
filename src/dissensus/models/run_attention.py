"""Attention over the runs of a packed row on a CPU, with its gradient written out.

A shuffled training batch has almost as many runs as examples. Left to autograd, each of them costs a dozen
small views, copies and sums in either direction, which is more time than the attention itself; here each run
writes its part of one result, and of one gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dissensus.models.insides import present
from dissensus.models.packing import Layout, Run

Mask = Callable[[int], Tensor | None]
"""Tokens of an example -> which key each query sees, (T, T), or None for all."""
Kept = Callable[[Run], Tensor | None]
"""Run -> factors of its attention weights, (examples, H, T, T): 0, or 1 / (1 - p); None without dropout."""


@dataclass(frozen=True)
class Rules:
    """How to attend.

    Attributes:
        scale: of the scores.
        mask: see `Mask`.
        kept: see `Kept`.
    """

    scale: float
    mask: Mask
    kept: Kept


def run_attention(query: Tensor, key: Tensor, value: Tensor, layout: Layout, rules: Rules) -> Tensor:
    """softmax(scale QK' + mask) V within each example; all of shape (N, H, d)."""
    apply: Any = _RunAttention.apply
    out: Tensor = apply(query, key, value, layout, rules)
    return out


class _RunAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: Layout, rules: Rules) -> Tensor:
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        ctx.layout, ctx.rules, ctx.runs = layout, rules, []
        ctx.save_for_backward(query, key, value)
        training = any(ctx.needs_input_grad[:3])
        for run in layout.runs:
            q, k, v = (_by_head(part, run) for part in (query, key, value))
            scores = _product(q, k.transpose(1, 2), rules.scale)
            mask = rules.mask(run.length)
            if mask is not None:
                scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
            weights = scores.softmax(-1)
            dropout = rules.kept(run)
            dropout = None if dropout is None else dropout.view_as(weights)
            dropped = weights if dropout is None else weights * dropout
            _write(dropped, v, 1.0, out, run)
            if training:
                ctx.runs.append((weights, dropout, dropped))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        rules = ctx.rules
        into = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in (query, key, value)]
        for run, (weights, dropout, dropped) in zip(ctx.layout.runs, ctx.runs, strict=True):
            q, k, v, g = (_by_head(part, run) for part in (query, key, value, gradients[0]))
            towards = torch.bmm(g, v.transpose(1, 2))
            if dropout is not None:
                towards.mul_(dropout)
            scores = _softmax_gradient(towards, weights)
            _write(scores, k, rules.scale, into[0], run)
            _write(scores.transpose(1, 2), q, rules.scale, into[1], run)
            _write(dropped.transpose(1, 2), g, 1.0, into[2], run)
        return *into, None, None


def _softmax_gradient(towards: Tensor, weights: Tensor) -> Tensor:
    """Of a softmax P over the last axis: dS = P (dP - sum of dP P), in one kernel where torch has it."""
    if present("softmax backward"):
        return torch._softmax_backward_data(towards, weights, -1, weights.dtype)
    return weights * (towards - (towards * weights).sum(-1, keepdim=True))


def _by_head(part: Tensor, run: Run) -> Tensor:
    """The tokens of a run, of (N, H, d), as (examples x H, length, d); a view where the run is one example."""
    rows = part[run.start : run.start + run.tokens]
    if run.examples == 1:
        return rows.transpose(0, 1)
    return rows.view(run.examples, run.length, *part.shape[1:]).transpose(1, 2).flatten(0, 1)


def _write(weights: Tensor, values: Tensor, scale: float, out: Tensor, run: Run) -> None:
    """scale x weights @ values, (examples x H, length, d), to the run's place in `out` (N, H, d)."""
    rows = out[run.start : run.start + run.tokens]
    # Not `out=`: into memory that is not contiguous torch multiplies matrix by matrix.
    weighted = _product(weights, values, scale).view(run.examples, -1, run.length, out.shape[2])
    rows.view(run.examples, run.length, *out.shape[1:]).copy_(weighted.transpose(1, 2))


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    return torch.baddbmm(a.new_empty(()), a, b, beta=0, alpha=scale)
