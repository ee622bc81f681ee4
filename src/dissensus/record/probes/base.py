"""Probe: the interface of every probe with the recorder. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.data.annotations import AnnotatedDataset

if TYPE_CHECKING:
    from torch import nn

    from dissensus.record.tracking import TrackedSet

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class MeasuredPoint:
    """One tracking point of n examples, as the store takes it.

    Attributes:
        log_probs: over the K labels, shape (n, K); NaN for a label that was not scored.
        values: what else was measured, each of shape (n,).
        token_losses: nats of each scored token, one array per example; None where they were not asked for.
    """

    log_probs: Floats
    values: Mapping[str, Floats] = field(default_factory=dict)
    token_losses: Sequence[Floats] | None = None


class Probe(Protocol):
    """The tracked examples with what is asked about them.

    Attributes:
        dataset: the examples.
        rows: how many rows the model reads for them (twice as many as examples for pairs of answers).
        covariates: name -> one number per example.
        facts: JSON values for the manifest.
        values: names of what a point holds beside log-probabilities.
        token_losses: whether a point holds the losses of single tokens.
    """

    @property
    def dataset(self) -> AnnotatedDataset: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def covariates(self) -> Mapping[str, FloatArray]: ...  # noqa: D102
    @property
    def facts(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def values(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def token_losses(self) -> bool: ...  # noqa: D102

    def tracked(self, token_budget: int) -> TrackedSet:
        """The rows, cut into batches."""

    def measured(self, scores: Floats) -> MeasuredPoint:
        """A tracking point from what the pass found, shape (rows, C)."""

    def resume(self, stored: Callable[[str], Floats] | None) -> None:
        """Begin, or resume a run whose first point is stored: `stored` reads one of its values by name."""


@runtime_checkable
class Compares(Protocol):
    """A probe whose points are compared with what another model says of the same rows, or this one said at first.

    Attributes:
        reference: what points are compared with, shape (n,); None: not measured yet. The recorder gives every process
            what the first one has: only that one reads the store.
    """

    reference: NDArray[np.float64] | None

    def compare(self, model: nn.Module, measure: Callable[[nn.Module, TrackedSet], Floats]) -> None:
        """Called before a point is made. `measure` passes over a model, which may be another one than `model`."""
