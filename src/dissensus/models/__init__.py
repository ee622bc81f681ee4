"""Models: from a name to tokenizer, weights and a scoring head; and all insides of transformers, PEFT and torch."""

from dissensus.models.registry import BUILTIN, ModelCard
from dissensus.models.resolve import ModelListing, ResolvedModel, list_models, pull_model, resolve_model

__all__ = [
    "BUILTIN",
    "ModelCard",
    "ModelListing",
    "ResolvedModel",
    "list_models",
    "pull_model",
    "resolve_model",
]
