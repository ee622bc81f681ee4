"""Settings of TRL's preference trainers: beta, truncation, and the reference model of a pair's margin."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from torch import nn

from dissensus.errors import SpecError
from dissensus.models.wrappers import bare_module
from dissensus.record.probes.preferences import PreferenceProbe
from dissensus.record.probes.reference import Reference, Settings

log = logging.getLogger("dissensus")


def follow_trainer(probe: PreferenceProbe, trainer: Any, args: Any, model: nn.Module) -> None:
    """Let a probe measure the margin that its trainer trains, where it was not told otherwise.

    Args:
        probe: of preferences.
        trainer: the trainer, or None where a callback does not know it.
        args: its arguments.
        model: the model that is trained.

    Raises:
        SpecError: the probe was given another beta, or the trainer's margin is one that is not computed here.
    """
    if not hasattr(args, "beta") or probe.how != "dpo":
        return
    if getattr(args, "ld_alpha", None) is not None:
        raise SpecError(
            f"the trainer has ld_alpha={args.ld_alpha}: the tokens by which an answer is longer weigh less in its "
            "margin, and a dpo probe sums all alike. Record with how='likelihood', or train without ld_alpha"
        )
    known = hasattr(args, "truncation_mode") and hasattr(args, "max_length")
    settings = Settings(
        beta=float(args.beta),
        max_length=getattr(args, "max_length", None),
        truncation=getattr(args, "truncation_mode", None),
        known=known,
    )
    probe.follow(settings, _reference(trainer, args, model))
    losses = getattr(args, "loss_type", "sigmoid")
    losses = [losses] if isinstance(losses, str) else list(losses or ())
    divergence = getattr(args, "f_divergence_type", "reverse_kl")
    if (
        any(loss != "sigmoid" for loss in losses)
        or str(getattr(divergence, "value", divergence)) != "reverse_kl"
    ):
        log.warning(
            "the trainer's loss is %s (f_divergence_type %s); what is recorded is -log sigmoid of the margin of its "
            "rewards, DPO's own loss",
            ", ".join(losses), getattr(divergence, "value", divergence),
        )  # fmt: skip


def _reference(trainer: Any, args: Any, model: nn.Module) -> Reference | None:
    """What the trainer compares with; None: the model at the start."""
    other = getattr(trainer, "ref_model", None)
    if other is not None:
        moves = bool(getattr(args, "sync_ref_model", False))
        return Reference.model(other, "the trainer's ref_model", moves=moves)
    bare = bare_module(model)
    if hasattr(bare, "disable_adapter"):
        has_ref = "ref" in getattr(bare, "peft_config", {})
        return Reference(
            "the trainer's adapter 'ref'" if has_ref else "the model without its adapters",
            _with_adapter if has_ref else _without_adapters,
        )
    if trainer is None and not getattr(args, "precompute_ref_log_probs", False):
        log.warning(
            "a dpo probe under callbacks=[...] does not see the trainer's ref_model, and compares with the model at "
            "the start. Where that is another one: dissensus.integrations.transformers.record(trainer, ...)"
        )
    return None


@contextlib.contextmanager
def _without_adapters(model: nn.Module) -> Iterator[nn.Module]:
    bare: Any = bare_module(model)
    with _gradients_kept(bare), bare.disable_adapter():
        yield model


@contextlib.contextmanager
def _with_adapter(model: nn.Module) -> Iterator[nn.Module]:
    bare: Any = bare_module(model)
    before = bare.active_adapter
    with _gradients_kept(bare):
        bare.set_adapter("ref")
        try:
            yield model
        finally:
            bare.set_adapter(before)


@contextlib.contextmanager
def _gradients_kept(model: nn.Module) -> Iterator[None]:
    """Which parameters are trained comes back as it was: PEFT sets it for whichever adapter is active."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, trained in before:
            parameter.requires_grad_(trained)
