"""The last layer computed for the label tokens alone.

What the head reads is one token of each example. Its last state needs the keys and values of every token of
the last layer, but that layer's output projection and feed-forward block for itself only: of a model of six
layers that is an eighth of the work, forward and backward, and the numbers stay the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from dissensus.models.registry import ARCHITECTURES


@contextlib.contextmanager
def label_tokens_only(base: Any, at: Tensor) -> Iterator[bool]:
    """For a packed forward pass, let the last layer's blocks see the tokens `at` alone.

    Done for models in which those blocks are modules that take all they need as arguments (the BERT family, by
    `Architecture.label_block`); decoders have so many layers that the last one matters little.

    Args:
        base: a transformers model with its head.
        at: index of each example's label token in the row, shape (b,).

    Yields:
        Whether the model's last states are those of the label tokens, shape (1, b, d), instead of every
        token's.
    """
    architecture = ARCHITECTURES.get(base.config.model_type)
    if architecture is None or not architecture.label_block:
        yield False
        return
    try:
        last = str(base.config.num_hidden_layers - 1)
        block = getattr(base, base.base_model_prefix).get_submodule(
            architecture.label_block.replace("-1", last)
        )
    except AttributeError:  # laid out otherwise: the last layer computes every token
        yield False
        return

    def keep_label_tokens(_module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(states.index_select(1, at) for states in inputs)

    handle = block.register_forward_pre_hook(keep_label_tokens)
    try:
        yield True
    finally:
        handle.remove()
