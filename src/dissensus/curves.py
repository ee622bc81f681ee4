"""Learning curves in memory: what training leaves and analysis reads. Their store is `store/`. Imports no torch."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import NO_GOLD
from dissensus.errors import StoreError

FloatArray = NDArray[np.float64]


class CurveSource(Protocol):
    """Curves that may be too many for memory, read a block of examples at a time; `open_curves` gives one."""

    @property
    def steps(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def total_steps(self) -> int: ...  # noqa: D102
    @property
    def progress(self) -> FloatArray: ...  # noqa: D102
    def __len__(self) -> int: ...
    def read(self, begin: int, end: int) -> Curves:
        """The curves of the examples from place `begin` to before `end`; called in several threads."""


@dataclass(frozen=True)
class Curves:
    """Log-probabilities of n tracked examples over K labels at T tracking points.

    Attributes:
        ids: example ids, length n.
        labels: label names, length K.
        steps: optimiser steps of the tracking points, shape (T,), rising; 0 is before training.
        total_steps: steps of the whole run; progress u = step / total_steps.
        log_probs: natural-log probabilities, float32, shape (n, T, K); NaN for a label that was not scored.
        gold: label indices, shape (n,); -1 where there is none.
        counts: annotators per label, shape (n, K).
        regime: 'held_out' or 'trained_on' for each example, shape (n,).
        covariates: name -> array of shape (n,).
        text: the text fields of each example, length n (may be empty mappings).
        provenance: what the manifest says of the run.
        values: what else was measured of each example: name -> float32 array of shape (n, T). Of preference pairs
            the log-probabilities of both answers, for one; which names there are depends on the probe.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    steps: NDArray[np.int64]
    total_steps: int
    log_probs: NDArray[np.float32]
    gold: NDArray[np.int64]
    counts: FloatArray
    regime: NDArray[np.str_]
    covariates: Mapping[str, FloatArray] = field(default_factory=dict)
    text: tuple[Mapping[str, str], ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, t, k = len(self.ids), len(self.steps), len(self.labels)
        expected = {
            "log_probs": (self.log_probs.shape, (n, t, k)),
            "gold": (self.gold.shape, (n,)),
            "counts": (self.counts.shape, (n, k)),
            "regime": (self.regime.shape, (n,)),
            **{f"covariate {c!r}": (v.shape, (n,)) for c, v in self.covariates.items()},
            **{f"value {name!r}": (v.shape, (n, t)) for name, v in self.values.items()},
        }
        for name, (shape, wanted) in expected.items():
            if shape != wanted:
                raise StoreError(f"{name} has shape {shape}; expected {wanted} (n={n}, T={t}, K={k})")
        if len(set(self.ids)) < n:
            raise StoreError("curves hold an example id twice; ids must be unique")
        if t and (np.any(np.diff(self.steps) <= 0) or self.steps[0] < 0 or self.steps[-1] > self.total_steps):
            raise StoreError(f"steps must rise within 0 to {self.total_steps}; given: {self.steps.tolist()}")

    def __len__(self) -> int:
        return len(self.ids)

    def on(self, gold: NDArray[np.int64]) -> Curves:
        """The same with other gold labels, shape (n,)."""
        return replace(self, gold=gold)

    def triage(self) -> tuple[Any, ...]:
        """Which examples are mislabelled, contested, hard or forgotten: a `dissensus.analysis.triage.Triaged` each."""
        triage_curves = pkgutil.resolve_name(
            "dissensus.analysis.triage:triage_curves"
        )  # it stands above: by name
        return cast(tuple[Any, ...], triage_curves(self))

    def read(self, begin: int, end: int) -> Curves:
        """The examples from place `begin` to before `end`; their arrays are views of these."""
        rows = slice(begin, end)
        return replace(
            self,
            ids=self.ids[rows],
            log_probs=self.log_probs[rows],
            gold=self.gold[rows],
            counts=self.counts[rows],
            regime=self.regime[rows],
            covariates={name: column[rows] for name, column in self.covariates.items()},
            text=self.text[rows],
            values={name: column[rows] for name, column in self.values.items()},
        )

    @property
    def progress(self) -> FloatArray:
        """u = step / total steps, in [0, 1], shape (T,)."""
        return self.steps / max(self.total_steps, 1)

    @cached_property
    def losses(self) -> FloatArray:
        """Loss on the gold label in nats, shape (n, T); NaN where there is no gold label."""
        return self.losses_on(self.gold)

    def losses_on(self, labels: NDArray[np.int64]) -> FloatArray:
        """-log p(label) in nats for one label index an example (shape (n,)), shape (n, T); NaN for -1."""
        picked = np.take_along_axis(self.log_probs, np.maximum(labels, 0)[:, None, None], axis=2)[:, :, 0]
        losses = -picked.astype(np.float64)
        losses[labels == NO_GOLD] = np.nan
        return losses

    @cached_property
    def soft_losses(self) -> FloatArray:
        """Cross-entropy against the annotators' distribution in nats, shape (n, T); NaN without annotations."""
        totals = self.counts.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = self.counts / totals
            # 0 x -inf is 0 here: a label that nobody chose does not count, however improbable the model finds it.
            weighted = np.where(shares[:, None, :] == 0, 0.0, shares[:, None, :] * self.log_probs)
        return np.asarray(-weighted.sum(axis=2), dtype=np.float64)

    def per_token(self) -> Curves:
        """The same with log-probabilities, and so losses, divided by the number of tokens of the gold completion.

        Other labels' completions have lengths of their own, which are not kept: theirs become NaN.

        Raises `StoreError` where no completions were recorded (there is no covariate `completion_tokens`).
        """
        tokens = self.covariates.get("completion_tokens")
        if tokens is None:
            raise StoreError(
                "these curves have no covariate 'completion_tokens': losses a token are those of recorded completions; "
                f"the covariates here are: {', '.join(self.covariates) or 'none'}"
            )
        is_gold = np.arange(len(self.labels)) == self.gold[:, None]
        log_probs = np.where(is_gold[:, None, :], self.log_probs / tokens[:, None, None], np.nan)
        return replace(self, log_probs=log_probs.astype(np.float32))

    def subset(self, keep: NDArray[np.bool_]) -> Curves:
        """The examples where `keep`, shape (n,), is true."""
        index = np.flatnonzero(keep)
        return Curves(
            ids=tuple(self.ids[i] for i in index),
            labels=self.labels,
            steps=self.steps,
            total_steps=self.total_steps,
            log_probs=self.log_probs[index],
            gold=self.gold[index],
            counts=self.counts[index],
            regime=self.regime[index],
            covariates={c: v[index] for c, v in self.covariates.items()},
            text=tuple(self.text[i] for i in index) if self.text else (),
            provenance=self.provenance,
            values={name: v[index] for name, v in self.values.items()},
        )
