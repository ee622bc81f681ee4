"""Gradient checkpointing: activations computed again on the way back instead of kept."""

from __future__ import annotations

from dissensus.errors import ModelError
from dissensus.models.scoring import ScoringModel


def recompute_activations(model: ScoringModel) -> None:
    """Let the blocks compute their activations again on the way back instead of keeping them, in place.

    The repetition is told what the forward pass was told (`ScoringModel.recomputing`), so the gradient is the same.

    Raises:
        ModelError: the architecture does not offer it.
    """
    base = model.base
    base.config.use_cache = False  # of no use here, and at odds with it
    # transformers calls it so since 5.23; before, by the older name.
    enable = getattr(base, "activation_checkpointing_enable", None) or base.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False, "context_fn": model.recomputing})
    except ValueError as error:
        raise ModelError(
            f"gradient_checkpointing cannot be had for this {base.config.model_type} model ({error}); "
            "leave it out"
        ) from None
