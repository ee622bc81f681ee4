"""Sizes of a model from its published configuration: weights, adapters and operations, without the model.

The counts are those of `benchmarks/flops.py`: the linear layers of the body, and attention's products. What is left out
is small (normalisation, heads), except DeBERTa's relative positions, which add a tenth or two to its operations.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's body.

    Attributes:
        layers: L.
        hidden: width d.
        feed_forward: width of the feed-forward layers.
        heads: attention heads.
        key_heads: heads of keys and values, where they are fewer.
        vocabulary: rows of the embedding.
        parameters: weights of the body, embeddings included.
        gated: the feed-forward layer has a third projection, its gate.
        fused: query, key and value are one projection.
    """

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    vocabulary: int
    parameters: int
    key_heads: int | None = None
    gated: bool = False
    fused: bool = False

    @property
    def key_width(self) -> int:
        """Width of keys and of values."""
        return self.hidden * (self.key_heads or self.heads) // self.heads

    @property
    def linear_weights(self) -> int:
        """N: weights of the linear layers."""
        attention = 2 * self.hidden * (self.hidden + self.key_width)
        return self.layers * (attention + (3 if self.gated else 2) * self.hidden * self.feed_forward)

    def lora_weights(self, rank: int) -> int:
        """Weights of LoRA on the usual targets: query and value, or the fused projection."""
        if self.fused:
            return self.layers * rank * 4 * self.hidden
        return self.layers * rank * (3 * self.hidden + self.key_width)

    @property
    def ia3_weights(self) -> int:
        """Scales of IA3 on the usual targets: keys and values, and what the second feed-forward layer reads."""
        keys = 3 * self.hidden if self.fused else 2 * self.key_width
        return self.layers * (keys + self.feed_forward)

    def head_weights(self, labels: int) -> int:
        """Weights of a fresh classification head, at most: a layer of the body's width, and the labels."""
        return self.hidden * (self.hidden + 1) + labels * (self.hidden + 1)

    def forward_operations(self, length: float) -> float:
        """Floating-point operations of a forward pass, a token of an example of so many tokens."""
        return 2 * self.linear_weights + 4 * self.layers * self.hidden * length

    def step_operations(self, length: float, *, full: bool, adapter_weights: int = 0) -> float:
        """The same of a forward and a backward pass; without `full` no gradient of a frozen weight is computed."""
        forward = self.forward_operations(length)
        return 3 * forward if full else 2 * forward + 6 * adapter_weights
