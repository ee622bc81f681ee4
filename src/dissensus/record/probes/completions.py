"""The completions probe: what a language model gives to the text that should follow each prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.data.annotations import NO_GOLD, AnnotatedDataset, Example
from dissensus.errors import DataError
from dissensus.record.probes.base import Floats, MeasuredPoint
from dissensus.record.probes.scored_tokens import ScoredTokens
from dissensus.record.probes.sequences import (
    Asked,
    Sequences,
    Text,
    Truncation,
    chat_arguments,
    from_texts,
    from_tokens,
    is_blank,
    joined,
    text_of,
)
from dissensus.record.tracking import TrackedSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Places = NDArray[np.int64]


class CompletionProbe:
    """The log-probability of each example's completion, summed over its tokens: the loss is its negative.

    Stored as the log-probability of the gold label; labels whose completion was not scored have NaN. The covariate
    `completion_tokens` turns the loss into one per token. Log-probabilities are of whole completions and not normalised
    over the labels: where several are scored, they need not sum to 1. A completion without any words has NaN, whatever
    a model gives the end-of-sequence token.

    See `base.Probe` for the rest. Made by `from_texts`, `from_tokens` or `over_labels`.

    Args:
        dataset: the tracked examples.
        sequences: rows of tokens.
        example: of each row, the place of its example, shape (rows,).
        label: of each row, the label that its completion stands for, shape (rows,).
        pad_id: padding token id.
        token_losses: keep the losses of the gold completion's single tokens as well.
        blank: of each row, whether its completion has no words, shape (rows,).
    """

    values: tuple[str, ...] = ()

    def __init__(
        self,
        dataset: AnnotatedDataset,
        sequences: Sequences,
        *,
        example: Places,
        label: Places,
        pad_id: int = 0,
        token_losses: bool = False,
        blank: NDArray[np.bool_] | None = None,
    ) -> None:
        blank = np.zeros(len(sequences), dtype=bool) if blank is None else blank
        if blank.all():
            raise DataError(f"no completion of {dataset.name!r} has any words; there is nothing to score")
        nothing = np.flatnonzero((sequences.scored == 0) & ~blank)
        if len(nothing):
            ids = [dataset.ids[example[row]] for row in nothing]
            raise DataError(
                f"{len(ids)} example(s) have no token to score, e.g. {ids[0]!r}: the prompt alone fills the row. Raise "
                "max_length, keep the end (truncation='keep_end'), or leave them out of the tracked set"
            )
        self.dataset = dataset
        self.rows = len(sequences)
        self.token_losses = token_losses
        self._sequences, self._example, self._label, self._pad_id = sequences, example, label, pad_id
        self._blank = blank
        self._gold_rows = np.flatnonzero(label == dataset.gold[example])
        self._gold_rows = self._gold_rows[np.argsort(example[self._gold_rows], kind="stable")]

    @classmethod
    def from_texts(
        cls,
        dataset: AnnotatedDataset,
        tokenizer: PreTrainedTokenizerBase,
        *,
        prompt: str | Callable[[Example], Text],
        completion: str | Callable[[Example], Text],
        max_length: int = 1024,
        truncation: Truncation = "keep_start",
        add_eos: bool = True,
        encoder_decoder: bool = False,
        token_losses: bool = False,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        tools: list[Any] | None = None,
    ) -> CompletionProbe:
        """From texts, tokenised as TRL's trainers do; see `sequences.from_texts`.

        Args:
            dataset: the tracked examples; each needs a gold label, which its completion stands for.
            tokenizer: of the model.
            prompt: a template with the text fields' names in braces, or a function of the example that gives a text or
                the messages of a conversation.
            completion: the same.
            max_length: tokens per row.
            truncation: which end of a longer row is kept.
            add_eos: end a completion that is a text with the end-of-sequence token.
            encoder_decoder: the prompt is the source and the completion the target.
            token_losses: keep the losses of single tokens as well.
            chat_template_kwargs: of conversations: arguments of the chat template, for rows that bring none.
            tools: the same, of the tools that it names.

        Raises:
            DataError: an example has no gold label, or no token is left to score.
        """
        gold = _gold(dataset)  # before any text is made of it
        texts = [Asked(text_of(e, prompt), (text_of(e, completion),), e.chat) for e in dataset]
        sequences = from_texts(
            texts,
            tokenizer,
            max_length=max_length,
            truncation=truncation,
            add_eos=add_eos,
            encoder_decoder=encoder_decoder,
            chat=chat_arguments(chat_template_kwargs, tools),
        )
        return cls(
            dataset,
            sequences,
            example=np.arange(len(dataset)),
            label=gold,
            pad_id=_pad_id(tokenizer),
            token_losses=token_losses,
            blank=np.array([is_blank(one.completions[0]) for one in texts]),
        )

    @classmethod
    def from_tokens(
        cls,
        dataset: AnnotatedDataset,
        rows: Iterable[Mapping[str, Any]],
        *,
        id: str = "id",
        pad_id: int = 0,
        encoder_decoder: bool = False,
        token_losses: bool = False,
    ) -> CompletionProbe:
        """From rows that somebody tokenised (a trainer's own prepared data set, say), joined by id.

        Args:
            dataset: the tracked examples.
            rows: each with an id, `input_ids` and `labels` (or a `completion_mask`); see `sequences.from_tokens`. Rows
                of other examples are left aside.
            id: the id's column.
            pad_id: padding token id.
            encoder_decoder: `input_ids` are the source and `labels` the target.
            token_losses: keep the losses of single tokens as well.

        Raises:
            DataError: a row has no id, an id comes twice, or a tracked example is not among the rows.
        """
        return cls(
            dataset,
            from_tokens(joined(dataset, rows, id), encoder_decoder=encoder_decoder),
            example=np.arange(len(dataset)),
            label=_gold(dataset),
            pad_id=pad_id,
            token_losses=token_losses,
        )

    @classmethod
    def over_labels(
        cls,
        dataset: AnnotatedDataset,
        tokenizer: PreTrainedTokenizerBase,
        *,
        prompt: str | Callable[[Example], str],
        words: Mapping[str, str],
        max_length: int = 1024,
        truncation: Truncation = "keep_end",
        add_eos: bool = True,
        encoder_decoder: bool = False,
        token_losses: bool = False,
    ) -> CompletionProbe:
        """The completions of all labels, K rows per example: margins and soft losses are then defined as well.

        Args:
            dataset: the tracked examples.
            tokenizer: of the model.
            prompt: see `from_texts`.
            words: label name -> its completion, whitespace included.
            max_length: tokens per row.
            truncation: which end of a longer row is kept.
            add_eos: end completions with the end-of-sequence token.
            encoder_decoder: the prompt is the source and the completion the target.
            token_losses: keep the losses of the gold completion's single tokens as well.

        Raises:
            DataError: `words` are not the data set's labels.
        """
        if set(words) != set(dataset.labels):
            raise DataError(
                f"words are given for {sorted(words)}; expected one for each of {list(dataset.labels)}"
            )
        silent = [label for label, completion in words.items() if is_blank(completion)]
        if silent:
            raise DataError(
                f"the completion of the label {silent[0]!r} is {words[silent[0]]!r}; expected words"
            )
        n, k = len(dataset), len(dataset.labels)
        texts = (Asked(text_of(e, prompt), (words[label],)) for e in dataset for label in dataset.labels)
        sequences = from_texts(
            texts,
            tokenizer,
            max_length=max_length,
            truncation=truncation,
            add_eos=add_eos,
            encoder_decoder=encoder_decoder,
        )
        return cls(
            dataset,
            sequences,
            example=np.repeat(np.arange(n), k),
            label=np.tile(np.arange(k), n),
            pad_id=_pad_id(tokenizer),
            token_losses=token_losses,
        )

    @property
    def covariates(self) -> Mapping[str, FloatArray]:
        """Tokens of each example's gold row, and those of them that are scored; NaN without a gold label."""
        columns = {name: np.full(len(self.dataset), np.nan) for name in ("token_count", "completion_tokens")}
        at = self._example[self._gold_rows]
        columns["token_count"][at] = self._sequences.lengths[self._gold_rows]
        columns["completion_tokens"][at] = self._sequences.scored[self._gold_rows]
        return columns

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `base.Probe`."""
        facts = {"probe": "completions", "truncated_examples": self._sequences.truncated}
        return {**facts, "empty_examples": int(self._blank.sum())} if self._blank.any() else facts

    def tracked(self, token_budget: int) -> TrackedSet:
        """See `base.Probe`."""
        return ScoredTokens(
            self._sequences, pad_id=self._pad_id, token_budget=token_budget, single=self.token_losses
        )

    def measured(self, scores: Floats) -> MeasuredPoint:
        """See `base.Probe`."""
        log_probs = np.full((len(self.dataset), len(self.dataset.labels)), np.nan, dtype=np.float32)
        log_probs[self._example, self._label] = np.where(self._blank, np.float32(np.nan), scores[:, 0])
        if not self.token_losses:
            return MeasuredPoint(log_probs)
        none = np.empty(0, dtype=np.float32)
        tokens = [none] * len(self.dataset)
        for row in self._gold_rows[~self._blank[self._gold_rows]]:
            tokens[self._example[row]] = -scores[row, 1 : 1 + self._sequences.scored[row]]
        return MeasuredPoint(log_probs, token_losses=tokens)

    def resume(self, stored: Callable[[str], Floats] | None) -> None:
        """See `base.Probe`."""


def _gold(dataset: AnnotatedDataset) -> Places:
    lacking = [e.id for e in dataset if e.gold is None]
    if lacking:
        raise DataError(
            f"{len(lacking)} example(s) have no gold label, e.g. {lacking[0]!r}; a completion stands for the gold label"
        )
    return np.where(dataset.gold == NO_GOLD, 0, dataset.gold)


def _pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    return int(tokenizer.pad_token_id or 0)  # masked whatever it is
