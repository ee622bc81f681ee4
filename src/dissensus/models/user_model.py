"""Models from a user's own script: what their forward pass takes and gives, and words where that does not fit."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from dissensus.errors import DataError, ModelError
from dissensus.models.patched import learns_prompts

log = logging.getLogger("dissensus")

SCORE = (
    "Track a LabelProbe (dissensus.record.probes.labels) with `score=`, a function (model, batch) -> logits (examples, "
    "labels) that calls it its way"
)
"""The way out for classifiers."""

COMPLETIONS = (
    "Give a transformers language model (AutoModelForCausalLM, AutoModelForSeq2SeqLM), or track labels, "
    "by a LabelProbe with `score=`"
)
"""The way out for probes of language models."""


def takes_mask(model: nn.Module) -> bool:
    """Whether the model's forward pass takes an attention mask; one that does not can be given no padding."""
    names, any_name = _parameters(model)
    return any_name or "attention_mask" in names


def pads_by_id(model: nn.Module) -> tuple[bool, int | None]:
    """Whether the model's configuration has a padding id at all, and which one it is."""
    config: Any = getattr(model, "config", None)
    text_config: Any = config.get_text_config() if hasattr(config, "get_text_config") else config
    pad_id = getattr(text_config, "pad_token_id", None)
    return hasattr(text_config, "pad_token_id"), None if pad_id is None else int(pad_id)


def reads_last_token(model: nn.Module) -> bool:
    """Whether it is a decoder's sequence classifier, which looks for each row's last token by the padding id."""
    base = base_of(model)
    return type(base).__name__.endswith("ForSequenceClassification") and hasattr(base, "score")


def padding_of(model: nn.Module) -> Literal["any", "equal lengths", "one row"]:
    """What batches its own forward pass reads exactly: padded ones, rows of one length, or single rows.

    A decoder's classifier looks for the last token by the padding id: without one it refuses several rows, and given
    embeddings (learned prompts) it takes the last place, padding or not.
    """
    if not takes_mask(model):
        return "equal lengths"
    if reads_last_token(model):
        has_pad, own_pad = pads_by_id(model)
        if has_pad and own_pad is None:
            return "one row"
        if learns_prompts(model):
            return "equal lengths"
    return "any"


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
    known_inputs = {k: v for k, v in inputs.items() if any_name or k in names or k == "input_ids"}
    for _ in range(2):
        try:
            return model(**known_inputs)
        except TypeError as error:
            words = str(error)
            if "unexpected keyword argument 'token_type_ids'" in words and "token_type_ids" in known_inputs:
                known_inputs.pop("token_type_ids")  # deeper inside, past a **kwargs
                continue
            if "unexpected keyword argument" in words or "required positional argument" in words:
                raise ModelError(
                    f"{type(model).__name__} cannot be called as model({', '.join(f'{k}=...' for k in known_inputs)}): "
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
    logits = output.get("logits") if plain else getattr(output, "logits", None)
    if logits is None and isinstance(output, tuple) and not hasattr(output, "_fields"):
        logits = next((part for part in output if isinstance(part, Tensor) and part.ndim >= 2), None)
    return logits if isinstance(logits, Tensor) else None


def classifier_logits(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """What a sequence classifier gives for a batch: its logits, (b, K).

    Raises:
        ModelError: it cannot be called so, gives no logits, or is a language model.
    """
    output = own_output(model, batch, instead=SCORE)
    logits = logits_of(output)
    if logits is None:
        raise ModelError(
            f"the forward pass of {type(model).__name__} gives a {type(output).__name__} without logits. {SCORE}"
        )
    rows, width = batch["input_ids"].shape
    if logits.ndim == 3 and len(logits) == rows and logits.shape[1] >= width:
        raise ModelError(
            f"{type(model).__name__} gives logits of shape {tuple(logits.shape)}, some for every token: it is a "
            "language model, which has no output for each label. Track a CompletionProbe "
            f"(dissensus.record.probes.completions), or load a sequence classifier. {SCORE}"
        )
    return logits


def refuse_other_heads(model: nn.Module) -> None:
    """Raise `ModelError` where a classifier's outputs are not one label out of K (`config.problem_type`)."""
    config = getattr(model, "config", None)
    kind = getattr(config, "problem_type", None)
    if kind in ("multi_label_classification", "regression"):
        outputs = "several labels at once" if kind == "multi_label_classification" else "numbers"
        raise ModelError(
            f"the model's config.problem_type is {kind!r}: its outputs are {outputs}, and a softmax over them is no "
            "probability of a label. With integer labels and problem_type='single_label_classification' they would "
            "be. Otherwise record by tracking passes, with a LabelProbe and its `score=`, a function that makes logits "
            "over the data set's labels of them"
        )


def check_label_order(labels: Sequence[str], model: nn.Module, *, warn: bool = True) -> None:
    """Hold the data set's labels against the names that a classifier gives its outputs (`config.id2label`).

    Where those name other things (LABEL_0, LABEL_1), the order cannot be seen, and a warning says what is assumed.

    Raises:
        DataError: they are the same names in another order, so that every loss would be of another label's.
    """
    id2label: Mapping[Any, str] = getattr(getattr(model, "config", None), "id2label", None) or {}
    names = [str(name).casefold() for _, name in sorted(id2label.items(), key=lambda at: int(at[0]))]
    data_labels = [label.casefold() for label in labels]
    if names != data_labels and sorted(names) == sorted(data_labels):
        raise DataError(
            f"the data set's labels are {list(labels)}, and the model's outputs are {names} (config.id2label): the "
            "same in another order. Give the data set's labels in the model's order"
        )
    if warn and names != data_labels and len(names) == len(data_labels):
        log.warning(
            "the model does not say which output is which label (config.id2label: %s). Assumed is the data set's "
            "order: %s. If training numbered the labels otherwise, every loss is another label's: load the model with "
            "id2label={0: %r, ...}, and an order that differs is refused",
            ", ".join(str(id2label[at]) for at in sorted(id2label)),
            ", ".join(f"output {at} is {label}" for at, label in enumerate(labels)),
            labels[0],
        )  # fmt: skip


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
