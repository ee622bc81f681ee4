"""Token sequences of which a part is scored: prompts with their completions, however they were made. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.data.conversations import messages_of
from dissensus.errors import DataError, SpecError
from dissensus.models.encoding import fill_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""Stands among the labels where a token is not scored, as in transformers."""

Text = str | Sequence[Mapping[str, Any]]
"""A text, or the messages of a conversation."""
Truncation = Literal["keep_start", "keep_end"]


@dataclass(frozen=True)
class Sequences:
    """Rows of tokens, each with the tokens that are scored.

    Attributes:
        input_ids: what the model reads, special tokens included.
        labels: of a decoder-only model one per token of `input_ids`, the token itself or `IGNORED`; of an
            encoder-decoder model the target's tokens.
        truncated: how many rows lost tokens to the longest length.
        encoder_decoder: which of the two it is.
    """

    input_ids: tuple[tuple[int, ...], ...]
    labels: tuple[tuple[int, ...], ...]
    truncated: int = 0
    encoder_decoder: bool = False

    def __post_init__(self) -> None:
        for number, (ids, labels) in enumerate(zip(self.input_ids, self.labels, strict=True)):
            if not ids:
                raise DataError(f"row {number} of the sequences is empty; expected at least one token")
            if not self.encoder_decoder and len(ids) != len(labels):
                raise DataError(
                    f"row {number} of the sequences has {len(ids)} tokens and {len(labels)} labels; expected one each "
                    f"({IGNORED} where a token is not scored)"
                )

    def __len__(self) -> int:
        return len(self.input_ids)

    def cut(self, max_length: int, truncation: Truncation) -> Sequences:
        """The rows shortened to `max_length` tokens; of an encoder-decoder model source and target, each."""
        keep = _kept(truncation, max_length)
        longer = [max(len(r), len(t)) > max_length for r, t in zip(self.input_ids, self.labels, strict=True)]
        return Sequences(
            tuple(row[keep] for row in self.input_ids),
            tuple(row[keep] for row in self.labels),
            self.truncated + sum(longer),
            self.encoder_decoder,
        )

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens that the model reads, a row, shape (n,); of an encoder-decoder model source and target."""
        source = [len(row) for row in self.input_ids]
        target = [len(row) for row in self.labels] if self.encoder_decoder else [0] * len(source)
        return np.array(source, dtype=np.int64) + np.array(target, dtype=np.int64)

    @cached_property
    def scored(self) -> NDArray[np.int64]:
        """Tokens that are scored, a row, shape (n,). A decoder's first token is predicted from nothing, so never."""
        begin = 0 if self.encoder_decoder else 1
        return np.array([sum(t != IGNORED for t in row[begin:]) for row in self.labels], dtype=np.int64)


@dataclass(frozen=True)
class Asked:
    """A prompt with one text that may follow it, or several that are compared.

    Attributes:
        prompt: a text, or messages of a conversation.
        completions: of the same kind.
        chat: what the row says to the chat template (`tools` and the like).
    """

    prompt: Text
    completions: tuple[Text, ...]
    chat: Mapping[str, Any] = field(default_factory=dict)


def from_texts(
    asked: Iterable[Asked],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int | None,
    truncation: Truncation = "keep_start",
    add_eos: bool = True,
    encoder_decoder: bool = False,
    chat: Mapping[str, Any] | None = None,
) -> Sequences:
    """Prompts and completions, tokenised as TRL's trainers do; a row a completion.

    The completion is what follows the longest common beginning of the prompt's tokens and the whole's, so a token
    that grows over the boundary is scored. Completions that are compared begin at the same token: the earliest of
    theirs. Texts end with the end-of-sequence token; conversations go through the tokenizer's chat template.

    Args:
        asked: prompts and completions: texts, or messages of a conversation.
        tokenizer: a Hugging Face tokenizer.
        max_length: tokens per row; of an encoder-decoder model of source and target, each. None cuts nothing.
        truncation: which end of a longer row is kept.
        add_eos: end a completion that is a text with the end-of-sequence token.
        encoder_decoder: the prompt is the source and the completion the target.
        chat: arguments of the chat template for all rows; a row's own come before them.

    Raises:
        DataError: a prompt or completion is neither a text nor messages, or they are not of one kind.
    """
    eos = tokenizer.eos_token or ""
    rows: list[tuple[int, ...]] = []
    labels: list[tuple[int, ...]] = []
    for one in asked:
        if encoder_decoder:
            for completion in one.completions:
                rows.append(tuple(_plain(tokenizer, one.prompt)))
                labels.append(tuple(_plain(tokenizer, completion, "writes", "text_target")))
            continue
        prompt, *texts = (one.prompt, *one.completions)
        if isinstance(prompt, str) and all(isinstance(text, str) for text in texts):
            before = _plain(tokenizer, prompt)
            answers = [str(text) for text in texts]
            if add_eos:
                answers = [text if text.endswith(eos) else text + eos for text in answers]
            wholes = [_plain(tokenizer, prompt + text) for text in answers]
        else:
            talks = [_conversation(text) for text in (prompt, *texts)]
            arguments = {**(chat or {}), **one.chat}
            before = _chat(tokenizer, talks[0], arguments, add_generation_prompt=True)
            wholes = [
                _chat(tokenizer, [*talks[0], *answer], arguments, add_generation_prompt=False)
                for answer in talks[1:]
            ]
        same = min(common_beginning(before, whole_tokens) for whole_tokens in wholes)
        for whole_tokens in wholes:
            rows.append(tuple(whole_tokens))
            labels.append(tuple([IGNORED] * same + whole_tokens[same:]))
    whole_rows = Sequences(tuple(rows), tuple(labels), 0, encoder_decoder)
    return whole_rows if max_length is None else whole_rows.cut(max_length, truncation)


def chat_arguments(arguments: Mapping[str, Any] | None, tools: list[Any] | None) -> dict[str, Any]:
    """Arguments of the chat template for all rows."""
    return {**({} if tools is None else {"tools": tools}), **(arguments or {})}


def from_tokens(rows: Iterable[Mapping[str, Any]], *, encoder_decoder: bool = False) -> Sequences:
    """Rows that somebody tokenised: `input_ids`, with `labels`, or `completion_mask` and `assistant_masks`, or neither.

    Without any, every token is scored. Tokens that an `attention_mask` leaves out are padding, and dropped.
    """
    input_ids, labels = [], []
    for row in rows:
        ids = tuple(int(t) for t in row["input_ids"])
        if row.get("labels") is not None:
            row_labels = tuple(int(t) for t in row["labels"])
        else:
            masks = [row[m] for m in ("completion_mask", "assistant_masks") if row.get(m) is not None]
            row_labels = tuple(t if all(on) else IGNORED for t, *on in zip(ids, *masks, strict=True))
        mask = row.get("attention_mask")
        if mask is not None:
            ids = tuple(t for t, on in zip(ids, mask, strict=True) if on)
            if not encoder_decoder:
                row_labels = tuple(t for t, on in zip(row_labels, mask, strict=True) if on)
        input_ids.append(ids)
        labels.append(tuple(t for t in row_labels if t != IGNORED) if encoder_decoder else row_labels)
    return Sequences(tuple(input_ids), tuple(labels), 0, encoder_decoder)


def common_beginning(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two rows share from their start on."""
    for place, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return place
    return min(len(a), len(b))


def text_of(example: Example, source: str | Callable[[Example], Text]) -> Text:
    """A prompt or completion of an example: a template with its fields in braces, or what a function makes of it.

    A template that is one field and nothing else gives the messages of a field that holds a conversation.

    Raises:
        DataError: a template puts words around a conversation.
    """
    if not isinstance(source, str):
        return source(example)
    for name, messages in example.messages.items():
        if source == f"{{{name}}}":
            return messages
        if f"{{{name}}}" in source:
            raise DataError(
                f"the template {source!r} puts words around {{{name}}}, which holds messages of a conversation in "
                f"example {example.id!r}. Give {{{name}}} alone, or a function of the example that makes the messages"
            )
    return fill_template(source, example.text)


def is_blank(text: Text) -> bool:
    """Whether there is nothing to score in a completion: no words, in no message, and no call of a tool."""
    if isinstance(text, str):
        return not text.strip()
    return not any(str(message.get("content") or "").strip() or message.get("tool_calls") for message in text)


def _plain(tokenizer: Any, text: Text, verb: str = "reads", argument: str = "text") -> list[int]:
    if not isinstance(text, str):
        raise DataError(
            f"an encoder-decoder model {verb} texts; expected a str, not messages of a conversation"
        )
    ids: list[int] = tokenizer(**{argument: text}, verbose=False)["input_ids"]
    return ids


def _conversation(text: Text) -> list[Mapping[str, Any]]:
    messages = messages_of(text)
    if messages is None:
        raise DataError(
            f"a prompt and its completion are both texts or both lists of messages with a 'role'; here are messages "
            f"and {str(text)[:60]!r} ({type(text).__name__})"
        )
    return list(messages)


def _chat(
    tokenizer: Any,
    messages: list[Mapping[str, Any]],
    arguments: Mapping[str, Any],
    *,
    add_generation_prompt: bool,
) -> list[int]:
    if not (getattr(tokenizer, "chat_template", None) or arguments.get("chat_template")):
        raise DataError("the tokenizer has no chat template; give prompts and completions as texts")
    encoded = tokenizer.apply_chat_template(
        messages,
        **{
            "add_generation_prompt": add_generation_prompt,
            **arguments,
            "tokenize": True,
            "return_dict": True,
        },
    )
    ids: list[int] = encoded["input_ids"]
    return ids


def _kept(truncation: str, max_length: int) -> slice:
    if max_length < 1:
        raise SpecError(f"max_length is {max_length}; expected at least 1 token")
    if truncation == "keep_start":
        return slice(None, max_length)
    if truncation == "keep_end":
        return slice(-max_length, None)
    raise SpecError(f"truncation is {truncation!r}; expected 'keep_start' or 'keep_end'")


def joined(dataset: AnnotatedDataset, rows: Iterable[Mapping[str, Any]], id: str) -> list[Mapping[str, Any]]:
    """The row of each example, in the data set's order; rows of others are left aside.

    Args:
        dataset: the tracked examples.
        rows: with an id each.
        id: the id's column.

    Raises:
        DataError: a row has no id, an id comes twice, or a tracked example is not among the rows.
    """
    rows_by_id: dict[str, Mapping[str, Any]] = {}
    for number, row in enumerate(rows):
        if row.get(id) is None:
            raise DataError(
                f"row {number} has no {id!r}; it has: {', '.join(map(str, row))}. Rows are joined by id, never by "
                "position: a trainer may drop, shuffle or pack them. Keep the id's column"
            )
        key = str(row[id])
        if key in dataset:
            if key in rows_by_id:
                raise DataError(f"the id {key!r} comes twice among the rows; ids must be unique")
            rows_by_id[key] = row
    missing = [i for i in dataset.ids if i not in rows_by_id]
    if missing:
        raise DataError(
            f"{len(missing)} tracked example(s) are not among the rows, e.g. {missing[0]!r}: were they dropped by "
            "truncation? Track the others with dataset.subset(ids), or tokenise them with from_texts"
        )
    return [rows_by_id[i] for i in dataset.ids]
