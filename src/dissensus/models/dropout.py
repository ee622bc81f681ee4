"""Dropout whose mask belongs to the token, not to the batch that it happens to sit in.

torch draws a mask for whatever tensor comes, so the same example gets other masks in another batch, behind
other padding, or beside another run's examples. Here the mask of one activation follows from (seed, step,
example, position, site, channel) alone. The padded and the packed layout of a batch, its cut into
micro-batches, and several runs in one batch then train on the same numbers.

Each token has a 32-bit key x, mixed from seed, step, example and position; each site (a place in the model)
has for every channel c an odd multiplier a_c and an offset b_c. The activation is kept if a_c x + b_c modulo
2^32 is below (1 - p) 2^32: multiply-add hashing (Dietzfelbinger et al., 1997), uniform for each activation and
nearly independent for two. It costs an integer multiply-add and a comparison, fewer than torch's generator.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dissensus.models.packing import PackedBatch

_MASK64 = (1 << 64) - 1

Keys = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Keys of tokens, label tokens and examples, as `DropoutKeys` holds them."""


class DropoutKeys:
    """The tokens of the batch that a model is about to read; one object for all sites of the model."""

    def __init__(self) -> None:
        self.tokens: Tensor | None = None
        self.labels: Tensor | None = None
        self.examples: Tensor | None = None

    def packed(self, keys: NDArray[np.int32], batch: PackedBatch, label_at: Tensor) -> None:
        """Set the keys of a packed batch.

        Args:
            keys: one per token, shape (N,).
            batch: the batch.
            label_at: index of each example's label token, shape (b,).
        """
        self.tokens = torch.from_numpy(keys)[None].to(batch.input_ids.device)
        self.labels = self.tokens[:, label_at]
        self.examples = self.tokens[0, batch.first]

    def padded(self, keys: NDArray[np.int32], device: torch.device) -> None:
        """Set the keys of a padded batch: shape (b, longest)."""
        self.tokens = torch.from_numpy(keys).to(device)
        self.labels = None
        self.examples = self.tokens[:, 0]

    def clear(self) -> None:
        """Forget the batch: sites then draw from torch's generator, as plain dropout does."""
        self.tokens = self.labels = self.examples = None

    @contextlib.contextmanager
    def joined(self, several: Sequence[DropoutKeys]) -> Iterator[None]:
        """While this lasts, the keys of several packed batches, one after the other, in the place of its own."""
        parts = [k.held() for k in several]
        tokens, labels, examples = (
            [part for part in kind if part is not None] for kind in zip(*parts, strict=True)
        )
        with self.holding((torch.cat(tokens, dim=1), torch.cat(labels, dim=1), torch.cat(examples))):
            yield

    def held(self) -> Keys:
        """The keys as they are now."""
        return self.tokens, self.labels, self.examples

    @contextlib.contextmanager
    def holding(self, keys: Keys) -> Iterator[None]:
        """While this lasts, `keys` in the place of its own."""
        before = self.held()
        self.tokens, self.labels, self.examples = keys
        try:
            yield
        finally:
            self.tokens, self.labels, self.examples = before

    def of(self, x: Tensor) -> Tensor | None:
        """The keys that fit an activation: tokens (.., T, d), label tokens, or examples (b, d); else None."""
        shape = tuple(x.shape[:-1])
        fitting = (self.tokens, self.labels) if x.ndim == 3 else (self.examples,)
        return next((k for k in fitting if k is not None and tuple(k.shape) == shape), None)


class KeyedDropout(nn.Dropout):
    """A drop-in for `nn.Dropout` at one site of a model. Without keys for its input it is plain dropout."""

    def __init__(self, p: float, site: str, keys: DropoutKeys) -> None:
        super().__init__(p)
        self._keys = keys
        self._site = site
        self._channels: dict[tuple[torch.device, tuple[int, ...]], tuple[Tensor, Tensor]] = {}

    def forward(self, input: Tensor) -> Tensor:
        """Activations (.., T, d), one key per token; or (b, d), one key per example."""
        if not self.training or self.p == 0:
            return input
        keys = self._keys.of(input)
        if keys is None:
            return super().forward(input)
        multiplier, offset = self._tables(input.shape[-1:], input.device)
        return input * _kept(keys[..., None], multiplier, offset, self.p, input.dtype)

    def attention(self, weights: Tensor, keys: Tensor, p: float) -> Tensor:
        """Dropout of attention weights (b, H, T, S), see `kept_weights`."""
        return weights * self.kept_weights(keys, weights.shape[1], weights.shape[3], p, weights.dtype)

    def kept_weights(self, keys: Tensor, heads: int, span: int, p: float, dtype: torch.dtype) -> Tensor:
        """Factors of attention weights, shape (b, H, T, S): 1 / (1 - p) where one stays, 0 where it goes.

        The key is that of the query's token; (head, place of the key) is the channel.

        Args:
            keys: keys of the query tokens, shape (b, T).
            heads: H.
            span: S.
            p: share to drop.
            dtype: of the factors.
        """
        # Tables in steps of 64 places: a prefix does not depend on how long the table is.
        multiplier, offset = self._tables((-(-span // 64) * 64, heads), keys.device)
        a, b = (table[None, :, None, :span] for table in (multiplier, offset))
        return _kept(keys[:, None, :, None], a, b, p, dtype)

    def _tables(self, shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
        tables = self._channels.get((device, tuple(shape)))
        if tables is None:
            built = []
            for kind in ("multiplier", "offset"):
                digest = hashlib.sha256(f"{self._site}/{kind}".encode()).digest()
                rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
                values = rng.integers(0, 1 << 32, size=tuple(shape), dtype=np.uint32)
                if kind == "multiplier":
                    values |= np.uint32(1)
                # Attention's are drawn place by place, so that a prefix is the same, and laid out head by head.
                table = values.T if values.ndim == 2 else values
                built.append(torch.from_numpy(np.ascontiguousarray(table).view(np.int32)).to(device))
            tables = (built[0], built[1])
            self._channels[device, tuple(shape)] = tables
        return tables


def install_keyed_dropout(module: nn.Module) -> DropoutKeys:
    """Replace every `nn.Dropout` in `module` by a keyed one, and give each attention module a site, in place."""
    keys = DropoutKeys()
    for name, parent in list(module.named_modules()):
        for child, layer in list(parent.named_children()):
            if type(layer) is nn.Dropout:
                keyed = KeyedDropout(layer.p, f"{name}.{child}", keys)
                keyed.training = layer.training
                setattr(parent, child, keyed)
        if hasattr(parent, "is_causal") and hasattr(parent, "config"):
            # In a tuple, so that it is no child module: the tree of modules stays what its owner made.
            parent.keyed_attention = (KeyedDropout(0.0, f"{name}.attention", keys), keys)
    return keys


def token_keys(
    stream: int, rows: NDArray[np.int64], positions: NDArray[np.int64] | NDArray[np.int32]
) -> NDArray[np.int32]:
    """A key for each token.

    Args:
        stream: the run's dropout stream at this step (`stream_seed(seed, "dropout", step)`).
        rows: which example each token belongs to.
        positions: its place in the example; broadcast against `rows`.

    Returns:
        The shape of both, broadcast.
    """
    base = np.uint64(_mixed_int(stream & _MASK64))
    with np.errstate(over="ignore"):
        example = _mixed(base + np.asarray(rows).astype(np.uint64))
        token = _mixed(example + np.asarray(positions).astype(np.uint64))
    return (token >> np.uint64(32)).astype(np.uint32).view(np.int32)


def _kept(keys: Tensor, multiplier: Tensor, offset: Tensor, p: float, dtype: torch.dtype) -> Tensor:
    """1 / (1 - p) where an activation stays, 0 where it goes."""
    threshold = round((1 - p) * 2**32) - 2**31
    return (torch.addcmul(offset, keys, multiplier) < threshold).to(dtype).mul_(1 / (1 - p))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function (Steele, Lea and Flood, 2014): each input bit reaches each output bit."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _mixed_int(value: int) -> int:
    with np.errstate(over="ignore"):
        return int(_mixed(np.array([value], dtype=np.uint64))[0])
