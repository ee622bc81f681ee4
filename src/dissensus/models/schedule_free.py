"""Weights to evaluate with, where a schedule-free optimiser trains with others.

Schedule-free optimisers (Defazio et al., "The Road Less Scheduled", 2024; the package `schedulefree`) keep in the model
the point y at which gradients are taken, and evaluate at the average x. Their `eval()` puts x into the model and their
`train()` puts y back, each by interpolation, so that y comes back with another rounding. A tracking pass that relied on
them alone would change training; so the weights are kept, and put back bit for bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from dissensus.errors import SpecError


def schedule_free(optimizers: Any) -> tuple[Any, ...]:
    """The optimisers among `optimizers` (one, several or None) that have weights of their own to evaluate with.

    What Accelerate or Lightning put around an optimiser is taken off first: their wrappers have `train` and `eval`
    whatever they hold.

    Raises:
        SpecError: one of them is no optimiser.
    """
    bare_optimizers = []
    for one in (
        optimizers if isinstance(optimizers, Sequence) else () if optimizers is None else (optimizers,)
    ):
        bare = one
        while (inner := getattr(bare, "optimizer", None)) is not None and inner is not bare:
            bare = inner
        if not hasattr(bare, "param_groups"):
            raise SpecError(
                f"optimizer is {type(one).__name__}; expected the torch optimiser of the training, or several"
            )
        if callable(getattr(bare, "train", None)) and callable(getattr(bare, "eval", None)):
            bare_optimizers.append(bare)
    return tuple(bare_optimizers)


@contextlib.contextmanager
def evaluation_weights(optimizers: Sequence[Any]) -> Iterator[None]:
    """While this lasts, the model has the weights that these optimisers evaluate with; then its own, bit for bit.

    Takes a copy of the trained weights meanwhile. An optimiser that is in its evaluation mode already is left alone.

    Args:
        optimizers: from `schedule_free`.
    """
    import torch

    training_weights: list[tuple[Any, list[tuple[torch.Tensor, torch.Tensor]]]] = []
    try:
        for optimizer in optimizers:
            if _trains(optimizer):
                weights = [p for group in optimizer.param_groups for p in group["params"]]
                training_weights.append((optimizer, [(p, p.detach().clone()) for p in weights]))
                optimizer.eval()
        yield
    finally:
        for optimizer, before in training_weights:
            optimizer.train()
            with torch.no_grad():
                for weight, value in before:
                    weight.copy_(value)


def _trains(optimizer: Any) -> bool:
    """Whether it is in its training mode: the package keeps that in each group, or in the optimiser."""
    groups = [group["train_mode"] for group in optimizer.param_groups if "train_mode" in group]
    return any(groups) if groups else bool(getattr(optimizer, "train_mode", True))
