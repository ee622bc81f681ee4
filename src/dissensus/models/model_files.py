"""A model's files and what transformers is to make of them: configuration, tokenizer, kind, words for its errors."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import transformers
from safetensors import SafetensorError

from dissensus.config import ModelSpec
from dissensus.errors import MissingDependencyError, ModelError
from dissensus.models.insides import present
from dissensus.models.registry import ARCHITECTURES
from dissensus.models.repair import Repair
from dissensus.models.resolve import ResolvedModel, resolve_model
from dissensus.models.stored_weights import hub_file
from dissensus.wording import first_line

_LEFT_OF_NOTHING = 2
"""Tokens beside the special ones that a tokenizer of some kinds has without any file (the sign of a space, for one)."""


@dataclass(frozen=True)
class ModelFiles:
    """A model's files, and what transformers is to make of them.

    Attributes:
        resolved: where they are.
        where: how transformers is told.
        config: the configuration as stored.
        adjusted: the same with what the specification changes.
        changed: what that is.
        kind: 'encoder' or 'decoder'.
        tokenizer: the model's.
        factory: what builds the model.
    """

    resolved: ResolvedModel
    where: dict[str, Any]
    config: Any
    adjusted: Any
    changed: dict[str, Any]
    kind: str
    tokenizer: Any
    factory: Any


def model_files(spec: ModelSpec, labels: int) -> ModelFiles:
    """Find a model's files, and read everything but the weights.

    Args:
        spec: which model, head and dropout.
        labels: how many the head is to have.

    Raises:
        ModelError: there is no such model, it has no tokenizer, or it does not go with the head or the dropout.
        MissingDependencyError: the files' format needs a package that is not installed.
    """
    resolved = resolve_model(spec.name, spec.revision)
    where: dict[str, Any] = {"revision": resolved.revision} if resolved.revision else {}
    where["trust_remote_code"] = False  # code that comes with weights is never run, nor asked about
    if resolved.gguf_file:
        _need_gguf(resolved)
        where["gguf_file"] = resolved.gguf_file
    _refuse_adapter(spec.name, resolved)
    config = transformers.AutoConfig.from_pretrained(resolved.location, **where)
    kind = _kind(config.model_type)
    if spec.head == "verbalizer" and kind == "encoder":
        raise ModelError(
            f"model {spec.name!r} is an encoder ({config.model_type}); the verbalizer head needs a decoder-only "
            "model. Use head: classifier."
        )
    tokenizer = transformers.AutoTokenizer.from_pretrained(resolved.location, **where)
    _refuse_empty_tokenizer(spec.name, tokenizer)
    if spec.head == "verbalizer":
        factory: Any = transformers.AutoModelForCausalLM
        changed: dict[str, Any] = {}
    else:
        factory, changed = transformers.AutoModelForSequenceClassification, {"num_labels": labels}
    changed |= _dropout_settings(config, spec)
    adjusted = transformers.AutoConfig.from_pretrained(resolved.location, **where, **changed)
    return ModelFiles(resolved, where, config, adjusted, changed, kind, tokenizer, factory)


def build_model(files: ModelFiles, repaired: Repair | None, options: dict[str, Any]) -> Any:
    """The model, and what transformers says of loading it."""
    if repaired is not None:
        return repaired.made_by.from_pretrained(
            None, config=files.adjusted, state_dict=repaired.tensors, **options
        )
    safe = None if files.resolved.gguf_file else True
    return files.factory.from_pretrained(
        files.resolved.location, use_safetensors=safe, **files.where, **options, **files.changed
    )


def _refuse_adapter(name: str, resolved: ResolvedModel) -> None:
    """A folder that holds an adapter: transformers would load the adapter's base from elsewhere, and it."""
    if resolved.gguf_file or hub_file(resolved.location, "adapter_config.json", resolved.revision) is None:
        return
    raise ModelError(
        f"{name!r} holds a PEFT adapter (adapter_config.json). Methods are applied to a whole model: merge the "
        "adapter into its base with peft (model.merge_and_unload()), save that with save_pretrained, and give that "
        "folder; or give the base itself."
    )


def _refuse_empty_tokenizer(name: str, tokenizer: Any) -> None:
    """Without a tokenizer's files transformers makes one that knows its special tokens alone: no text is left."""
    words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    if len(words) <= _LEFT_OF_NOTHING:
        raise ModelError(
            f"model {name!r} comes without a tokenizer (no tokenizer.json, and no vocabulary of an older form), so no "
            "text could be read. Save it beside the weights: tokenizer.save_pretrained(FOLDER), with the tokenizer "
            "that the model was trained with."
        )


def _kind(model_type: str) -> str:
    if model_type in ARCHITECTURES:
        return ARCHITECTURES[model_type].kind
    if present("mapping names"):
        from transformers.models.auto import modeling_auto

        causal = model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        masked = model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    else:
        masked = causal = False  # then only the architectures of the registry are known
    if causal and not masked:
        return "decoder"
    if masked:
        return "encoder"
    raise ModelError(
        f"model type {model_type!r} is neither an encoder nor a decoder-only language model that transformers knows; "
        f"tested: {', '.join(sorted(ARCHITECTURES))}"
    )


def _dropout_settings(config: Any, spec: ModelSpec) -> dict[str, float]:
    """The settings of a model's configuration that are a rate of dropout, at the rate that was asked for."""
    if spec.dropout is None:
        return {}
    rates = [
        name for name, value in vars(config).items() if _is_dropout(name) and isinstance(value, float | int)
    ]
    if not rates:
        raise ModelError(
            f"model {spec.name!r} ({config.model_type}) has no dropout to set to {spec.dropout}; leave 'dropout' out"
        )
    return dict.fromkeys(rates, spec.dropout)


def _is_dropout(name: str) -> bool:
    # GPT-2's are called resid_pdrop, embd_pdrop and attn_pdrop.
    return "dropout" in name or name.endswith("_pdrop")


def _need_gguf(resolved: ResolvedModel) -> None:
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise MissingDependencyError("gguf", "gguf", f"reading {resolved.gguf_file}") from None


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Make a `ModelError` of what transformers and safetensors raise about a model's files."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"could not load model {name!r}: {first_line(error)}") from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no report of the head's missing weights, which are expected here."""
    before = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
        if bars:
            transformers.logging.enable_progress_bar()
