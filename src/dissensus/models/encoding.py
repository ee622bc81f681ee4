"""Tokenisation: examples to token ids, once, before training; token ids to padded batches."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class FlatTokens:
    """The same tokens as `Encoded`, end to end.

    Attributes:
        input_ids: every example's token ids, shape (N,).
        token_type_ids: their segment ids, shape (N,), or None.
        starts: index of each example's first token, shape (n,).
        lengths: tokens of each example, shape (n,).
    """

    input_ids: NDArray[np.int32]
    token_type_ids: NDArray[np.int32] | None
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class Encoded:
    """Token ids of a data set, ragged, in its order.

    Attributes:
        ids: example ids.
        input_ids: token ids, special tokens included.
        token_type_ids: segment ids where the model takes them, else None.
        truncated: how many examples lost tokens to `max_length`.
    """

    ids: tuple[str, ...]
    input_ids: tuple[tuple[int, ...], ...]
    token_type_ids: tuple[tuple[int, ...], ...] | None
    truncated: int

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example, shape (n,)."""
        return np.array([len(row) for row in self.input_ids], dtype=np.int64)

    @cached_property
    def flat(self) -> FlatTokens:
        """The tokens end to end, from which packed batches are cut without a loop over examples."""
        return FlatTokens(
            input_ids=_end_to_end(self.input_ids),
            token_type_ids=None if self.token_type_ids is None else _end_to_end(self.token_type_ids),
            starts=np.cumsum(self.lengths) - self.lengths,
            lengths=self.lengths,
        )

    def batch(self, rows: Sequence[int], pad_id: int) -> dict[str, torch.Tensor]:
        """The given rows as tensors (b, longest), padded on the right."""
        import torch

        width = max(len(self.input_ids[r]) for r in rows)
        input_ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        out = {"input_ids": input_ids, "attention_mask": mask}
        if self.token_type_ids is not None:
            out["token_type_ids"] = torch.zeros((len(rows), width), dtype=torch.long)
        for i, r in enumerate(rows):
            length = len(self.input_ids[r])
            input_ids[i, :length] = torch.tensor(self.input_ids[r])
            mask[i, :length] = 1
            if self.token_type_ids is not None:
                out["token_type_ids"][i, :length] = torch.tensor(self.token_type_ids[r])
        return out


def _end_to_end(rows: tuple[tuple[int, ...], ...]) -> NDArray[np.int32]:
    return np.fromiter(chain.from_iterable(rows), dtype=np.int32)


# Not str.format: a column may bear any name, and nothing but a field's text is to be reached.
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def encode(
    dataset: AnnotatedDataset,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    template: str | None = None,
    pairs: bool = True,
    segments: bool = True,
    cut_at_end: bool = False,
) -> Encoded:
    """Tokenise every example.

    Args:
        dataset: what to encode.
        tokenizer: a fast or slow Hugging Face tokenizer.
        max_length: longest row in tokens, special tokens included.
        template: text with the fields' names in braces; the fields are shortened, longest first, until the
            filled template fits, so that the template's own words survive. Without one, fields are encoded
            as a sentence (pair).
        pairs: without a template, encode two fields as a pair of segments (encoders).
        segments: keep the segment ids of a pair; without, the model takes every token for the first text's.
        cut_at_end: cut a filled template that is too long at its end, and shorten no field.

    Raises:
        ModelError: the template names a field that the data lack, or leaves no room for the text.
        DataError: a field holds a conversation.
    """
    talks = next(((e.id, name) for e in dataset for name in e.messages), None)
    if talks is not None:
        raise DataError(
            f"the field {talks[1]!r} of example {talks[0]!r} holds messages of a conversation, and labels are asked of "
            "texts. Give the recorder `encoded=`, token ids made with the tokenizer's chat template, or records whose "
            "fields are texts"
        )
    if template is not None:
        return _encode_template(dataset, tokenizer, max_length, template, cut_at_end=cut_at_end)
    fields = dataset.fields
    first = [e.text[fields[0]] for e in dataset]
    rest: list[str] | None = None
    if len(fields) > 1:
        # More than two fields: the first is one segment, the others the second, kept apart by the separator.
        joint = f" {tokenizer.sep_token} " if tokenizer.sep_token else "\n"
        rest = [joint.join(e.text[f] for f in fields[1:]) for e in dataset]
    if rest is not None and not pairs:
        first, rest = [f"{a}\n{b}" for a, b in zip(first, rest, strict=True)], None
    tokenized = tokenizer(first, rest, truncation="longest_first", max_length=max_length)
    lengths = [len(row) for row in tokenizer(first, rest, truncation=False, verbose=False)["input_ids"]]
    types = tokenized.get("token_type_ids") if segments else None
    return Encoded(
        ids=dataset.ids,
        input_ids=tuple(tuple(row) for row in tokenized["input_ids"]),
        token_type_ids=None if types is None else tuple(tuple(row) for row in types),
        truncated=sum(n > max_length for n in lengths),
    )


def plain_template(fields: Sequence[str]) -> str:
    """Fields as `Name: text` lines; what decoder-only models read under a classifier head."""
    if len(fields) == 1:
        return "{" + fields[0] + "}"
    return "\n".join(f"{name.replace('_', ' ').capitalize()}: {{{name}}}" for name in fields)


def answer_template(fields: Sequence[str], words: Sequence[str]) -> str:
    """The fields, the label words to choose from, and the answer position at the end."""
    return f"{plain_template(fields)}\nAnswer with one of: {', '.join(words)}.\nAnswer:"


def lexical_overlap(dataset: AnnotatedDataset) -> NDArray[np.float64] | None:
    """Share of the last field's word types that occur in the first field, shape (n,); None for one field."""
    if len(dataset.fields) < 2:
        return None
    shares = []
    for example in dataset:
        texts = list(example.text.values())
        first, last = (_words(texts[0]), _words(texts[-1]))
        shares.append(len(first & last) / len(last) if last else np.nan)
    return np.array(shares, dtype=np.float64)


def _words(text: str) -> set[str]:
    return set("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def _encode_template(
    dataset: AnnotatedDataset,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    template: str,
    *,
    cut_at_end: bool,
) -> Encoded:
    rows: list[tuple[int, ...]] = []
    truncated = 0
    for example in dataset:
        row = _filled(tokenizer, template, example.text)
        if len(row) > max_length:
            truncated += 1
            if cut_at_end:
                row = tokenizer(
                    fill_template(template, example.text), truncation=True, max_length=max_length
                )["input_ids"]
            else:
                row = _shortened(tokenizer, template, dict(example.text), max_length, example.id)
        rows.append(tuple(row))
    return Encoded(dataset.ids, tuple(rows), None, truncated)


def fill_template(template: str, text: Mapping[str, str]) -> str:
    """A template with fields' names in braces, filled with their texts; a doubled brace stands for itself.

    Raises:
        ModelError: it names a field that the text lacks.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if match[1] not in text:
            raise ModelError(
                f"the prompt {template!r} names {{{match[1]}}}; the text fields are: {', '.join(text)} "
                "(a brace that is meant as one is written twice)"
            )
        return text[match[1]]

    return _PLACE.sub(value, template)


def _filled(tokenizer: Any, template: str, text: Mapping[str, str]) -> list[int]:
    ids: list[int] = tokenizer(fill_template(template, text), verbose=False)["input_ids"]
    return ids


def _shortened(
    tokenizer: Any, template: str, text: dict[str, str], max_length: int, example_id: str
) -> list[int]:
    row = _filled(tokenizer, template, text)
    while len(row) > max_length:
        sizes = {
            name: len(tokenizer(value, add_special_tokens=False)["input_ids"]) for name, value in text.items()
        }
        longest = max(sizes, key=lambda name: (sizes[name], name))
        keep = sizes[longest] - max(1, len(row) - max_length)
        if keep <= 0:
            raise ModelError(
                f"example {example_id!r} does not fit into max_length={max_length} tokens: the prompt alone nearly "
                "fills it; raise model.max_length"
            )
        first_tokens = tokenizer(text[longest], add_special_tokens=False)["input_ids"][:keep]
        shorter = tokenizer.decode(first_tokens, skip_special_tokens=True)
        # Decoding may not shorten the text where one character spans tokens: then cut characters.
        text[longest] = (
            shorter if len(shorter) < len(text[longest]) else text[longest][: len(text[longest]) - 1]
        )
        row = _filled(tokenizer, template, text)
    return row
