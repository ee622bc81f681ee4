"""Words for NaN and infinity in a run: whether the weights hold them, or only what was computed with them."""

from __future__ import annotations

from torch import nn

from dissensus.models.fitting import not_finite

_SHOWN = 3


def broken_weights(module: nn.Module, *, frozen: bool = False) -> str:
    """The weights that are NaN or infinite, in words; '' where all are finite. `frozen`: of those that are frozen."""
    broken = [
        f"{name} ({words})"
        for name, weight in module.named_parameters()
        if not (frozen and weight.requires_grad) and (words := not_finite(weight))
    ]
    more = f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
    return ", ".join(broken[:_SHOWN]) + more


def why_training_stopped(
    module: nn.Module, *, step: int, steps: int, loss: float, norm: float, learning_rate: float
) -> str:
    """The message about a training loss or a gradient that is not finite.

    No step before the first has changed a weight, and none changes a frozen one: what is broken there was broken
    before, and the learning rate has no part in it.

    Args:
        module: what is trained, as it was when the loss was computed.
        step: that was to be taken, from 1.
        steps: of the run.
        loss: of the step's batch, nats.
        norm: of its gradient.
        learning_rate: the peak.
    """
    event = f"at step {step} of {steps} the training loss is {loss:g} and its gradient's norm {norm:g}"
    broken = broken_weights(module, frozen=step > 1)
    if broken:
        return (
            f"{event}: the weights that the run began with are damaged, {broken}. No learning rate mends that; take "
            "another checkpoint."
        )
    if step == 1:
        return (
            f"{event}, although the weights are finite and no step was taken yet: something overflows as it is "
            "computed. Compute in fp32 (training: {precision: fp32}, model: {dtype: fp32}), or look at the model's "
            "own code."
        )
    return (
        f"the run diverged: {event}; the weights that it began with were finite. Lower the learning rate (now "
        f"{learning_rate:g})."
    )


def why_not_measured(module: nn.Module, *, step: int, undefined: int, known: int) -> str:
    """The warning about losses of tracked examples that are not finite.

    '' where only some are and the weights are finite: a probe leaves examples out whose answer did not fit.

    Args:
        module: what was measured.
        step: at which.
        undefined: examples whose loss on the gold label is not finite.
        known: examples that have a gold label.
    """
    event = f"at step {step} the loss of {undefined} of {known} tracked examples is not finite"
    broken = broken_weights(module)
    if broken:
        return f"{event}: the model's weights are damaged, {broken}"
    if undefined < known:
        return ""
    return (
        f"{event}, although the weights are finite: the logits are not; something overflows as it is computed"
    )
