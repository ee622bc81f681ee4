"""Memory: gradient checkpointing, out-of-memory errors among other failures, and held memory given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dissensus.errors import ModelError

if TYPE_CHECKING:
    from dissensus.models.scoring import ScoringModel


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's own, torch's, or a backend's in words."""
    return isinstance(error, MemoryError) or "out of memory" in str(error).casefold()


def free_memory() -> None:
    """Give back what torch keeps for later and nobody uses; call it when the failed call's frames are gone."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


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
