"""A model from somebody's own script, called as itself: what it takes, what it gives, words where that does not fit."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from dissensus.errors import ModelError

SCORE = (
    "Give the recorder `score=`, a function (model, batch) -> logits (examples, labels) that calls it its way"
)
"""The way out for classifiers."""

COMPLETIONS = (
    "Give a transformers language model (AutoModelForCausalLM, AutoModelForSeq2SeqLM), or track labels "
    "with `score=`"
)
"""The way out for probes of language models."""


def takes_mask(model: nn.Module) -> bool:
    """Whether the model's forward pass takes an attention mask; one that does not can be given no padding."""
    names, any_name = _parameters(model)
    return any_name or "attention_mask" in names


def pads_by_id(model: nn.Module) -> tuple[bool, int | None]:
    """Whether the model's configuration has a padding id at all, and which one it is."""
    config: Any = getattr(model, "config", None)
    own: Any = config.get_text_config() if hasattr(config, "get_text_config") else config
    found = getattr(own, "pad_token_id", None)
    return hasattr(own, "pad_token_id"), None if found is None else int(found)


def reads_last_token(model: nn.Module) -> bool:
    """Whether it is a decoder's sequence classifier, which looks for each row's last token by the padding id."""
    base = base_of(model)
    return type(base).__name__.endswith("ForSequenceClassification") and hasattr(base, "score")


def own_output(model: nn.Module, inputs: Mapping[str, Tensor], *, instead: str) -> Any:
    """What `model(**inputs)` gives; inputs that its forward pass has no name for (segment ids, a mask) are left out.

    Args:
        model: any module.
        inputs: `input_ids` and what goes with them.
        instead: what to do where it cannot be called so.

    Raises:
        ModelError: the forward pass takes other inputs.
    """
    names, any_name = _parameters(model)
    given = {k: v for k, v in inputs.items() if any_name or k in names or k == "input_ids"}
    for _ in range(2):
        try:
            return model(**given)
        except TypeError as error:
            words = str(error)
            if "unexpected keyword argument 'token_type_ids'" in words and "token_type_ids" in given:
                given.pop("token_type_ids")  # deeper inside, past a **kwargs
                continue
            if "unexpected keyword argument" in words or "required positional argument" in words:
                raise ModelError(
                    f"{type(model).__name__} cannot be called as model({', '.join(f'{k}=...' for k in given)}): "
                    f"{words}. {instead}"
                ) from None
            raise
    raise AssertionError("unreachable")


def logits_of(output: Any) -> Tensor | None:
    """The logits in what a forward pass without labels gives: an output with `logits`, a tuple, or a bare tensor."""
    if isinstance(output, Tensor):
        return output
    # The attribute first: where it was set to None, a transformers output keeps the old entry under its key.
    plain = isinstance(output, Mapping) and not hasattr(output, "logits")
    found = output.get("logits") if plain else getattr(output, "logits", None)
    if found is None and isinstance(output, tuple) and not hasattr(output, "_fields"):
        found = next((part for part in output if isinstance(part, Tensor) and part.ndim >= 2), None)
    return found if isinstance(found, Tensor) else None


def base_of(model: Any) -> Any:
    """The model inside PEFT's wrapper, or itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _parameters(model: nn.Module) -> tuple[set[str], bool]:
    """Names of the inputs of the model's forward pass, PEFT's wrapper left aside; and whether it takes any name."""
    base = base_of(model)
    try:
        parameters = inspect.signature(base.forward).parameters.values()
    except (TypeError, ValueError):
        return set(), True
    return {p.name for p in parameters}, any(p.kind is p.VAR_KEYWORD for p in parameters)
