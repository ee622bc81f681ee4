"""From a model's name to tokenizer, weights and a scoring head, for encoders and decoder-only models."""

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
