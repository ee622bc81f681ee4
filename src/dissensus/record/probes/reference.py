"""Reference of a preference margin, and a trainer's settings of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from dissensus.record.probes.sequences import Truncation


@dataclass(frozen=True)
class Settings:
    """What a probe or a trainer says of pairs; None where it says nothing.

    Attributes:
        beta: scale of the margin.
        max_length: tokens per row; of a trainer, None cuts nothing.
        truncation: which end of a longer row is kept.
        known: whether the trainer says anything about truncation.
    """

    beta: float | None = None
    max_length: int | None = None
    truncation: Truncation | None = None
    known: bool = False


@dataclass(frozen=True)
class Reference:
    """What DPO compares with, where that is not the model at the start of training.

    Attributes:
        name: what it is, for the manifest.
        of: from the model that is trained to a context in which the reference can be called.
        moves: it changes during training, and is measured at every point.
    """

    name: str
    of: Callable[[nn.Module], AbstractContextManager[nn.Module]]
    moves: bool = False

    @classmethod
    def model(
        cls, reference: nn.Module, name: str = "a model of its own", *, moves: bool = False
    ) -> Reference:
        """Another model, whatever is trained."""
        return cls(name, lambda _: nullcontext(reference), moves)
