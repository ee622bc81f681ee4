"""Language models from a user's own script: token logits, body and head apart, and models that read ahead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dissensus.errors import ModelError
from dissensus.models.user_model import COMPLETIONS, base_of, logits_of, own_output

PERTURBED = 4.0
"""How much larger than they are the states are made when body and head are asked about other activations."""


def token_logits(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """The logits that a language model's forward pass gives, (b, L, V).

    Raises:
        ModelError: it gives none, or is a classifier.
    """
    output = own_output(model, inputs, instead=COMPLETIONS)
    logits = logits_of(output)
    if logits is None and isinstance(output, tuple) and "labels" in inputs:
        logits = next((part for part in output if isinstance(part, Tensor) and part.ndim == 3), None)
    if logits is None:
        raise ModelError(
            f"the forward pass of {type(model).__name__} gives no logits: a fused loss kernel (Liger's fused linear "
            "cross-entropy, for one) may have replaced it. Switch that off (use_liger_kernel=False, or "
            "liger_kernel_config={'fused_linear_cross_entropy': False})"
        )
    if logits.ndim != 3:
        raise ModelError(
            f"{type(model).__name__} gives logits of shape {tuple(logits.shape)}, none for single tokens: it is a "
            f"classifier, which writes no completions. Track its labels (pass the data set itself). {COMPLETIONS}"
        )
    virtual = 0 if "labels" in inputs else logits.shape[1] - inputs["input_ids"].shape[1]
    return logits[:, virtual:] if virtual > 0 else logits  # prompt tuning puts tokens of its own in front


def refuse_a_model_that_reads_ahead(model: nn.Module, inputs: dict[str, Tensor]) -> None:
    """Raise `ModelError` where a token's logits depend on the tokens after it: a masked language model.

    Asked of one row, whose last token is replaced; by the name as well, for a head of zeros gives no sign.
    """
    name = type(base_of(model)).__name__
    ids = inputs["input_ids"][:1, : int(inputs["attention_mask"][0].sum())]
    ahead = "ForMaskedLM" in name
    if not ahead and ids.shape[1] > 1:
        mask = torch.ones_like(ids)
        other = ids.clone()
        first, last = int(ids[0, 0]), int(ids[0, -1])
        other[0, -1] = first if first != last else (last - 1 if last else 1)
        logits, of_other = (
            token_logits(model, {"input_ids": i, "attention_mask": mask})[0, :-1] for i in (ids, other)
        )
        difference, size = (logits - of_other).abs().max(), logits.abs().max().clamp(min=1.0)
        # An exact model differs by rounding; one that reads ahead by as much as its logits.
        ahead = bool(difference > (0.02 if logits.dtype in (torch.float32, torch.float64) else 0.2) * size)
    if ahead:
        raise ModelError(
            f"{name} reads a text in both directions: what it gives for a token knows the tokens after it, and no "
            f"product of that is the probability of a completion. {COMPLETIONS}"
        )


def parts_of(model: Any) -> tuple[Any, Any]:
    """Body and head of a decoder-only transformers model, PEFT-adapted or not; AttributeError for others."""
    base = base_of(model)
    body, head = getattr(base, base.base_model_prefix), base.get_output_embeddings()
    if body is base or head is None:
        raise AttributeError("it has no body and head of its own")
    return body, head


@contextlib.contextmanager
def perturbed(model: Any) -> Iterator[None]:
    """While this lasts, the body gives other, larger states, and the head adds something of them to its logits."""
    body, head = parts_of(model)
    generator = torch.Generator().manual_seed(0)

    noises: dict[tuple[int, ...], Tensor] = {}

    def noise(like: Tensor, *shape: int) -> Tensor:
        if shape not in noises:  # the same for both ways
            noises[shape] = torch.randn(shape, generator=generator)
        return noises[shape].to(like)

    def states(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        last = last_states(output)
        other = last * PERTURBED + noise(last, *last.shape)
        return type(output)(last_hidden_state=other) if hasattr(output, "keys") else (other, *output[1:])

    def logits(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        read = inputs[0]
        share = (read @ noise(read, read.shape[-1])) / read.shape[-1] ** 0.5
        louder: Tensor = output + share[..., None].to(output.dtype) * noise(output, output.shape[-1])
        return louder

    hooks = [body.register_forward_hook(states), head.register_forward_hook(logits)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def last_states(output: Any) -> Tensor:
    """The last layer's states in what a body gives, (b, L, d)."""
    states: Tensor = output.last_hidden_state if hasattr(output, "last_hidden_state") else output[0]
    return states


def vocabulary_of(model: Any) -> int:
    """How many logits the model gives a token; 1 where that cannot be seen."""
    head = getattr(base_of(model), "get_output_embeddings", lambda: None)()
    weight = getattr(head, "weight", None)
    return 1 if weight is None else int(weight.shape[0])


def writes_from_a_source(model: Any) -> bool:
    """Whether it is an encoder-decoder model."""
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
