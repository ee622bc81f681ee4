"""The preference probe: which of two answers a model prefers, and by how much, for each pair that people voted on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.errors import DataError, SpecError
from dissensus.record.probes.base import Floats, MeasuredPoint
from dissensus.record.probes.pairs import SIDES, pairs_of
from dissensus.record.probes.reference import Reference, Settings
from dissensus.record.probes.scored_rows import ScoredRows
from dissensus.record.probes.scored_tokens import ScoredTokens
from dissensus.record.probes.sequences import (
    IGNORED,
    Asked,
    Sequences,
    Text,
    Truncation,
    chat_arguments,
    from_texts,
    is_blank,
    joined,
    text_of,
)
from dissensus.record.tracking import TrackedSet

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

AT_THE_START = "the model at the start"
DEFAULT_BETA, DEFAULT_LENGTH = 0.1, 1024


class PreferenceProbe:
    """A pair of answers as a question of two labels: 'chosen' is the better one, or 'rejected' is.

    With the preference margin m, in nats, the probability of 'chosen' is sigmoid(m), so that a pair's loss is the
    preference loss -log sigmoid(m), and annotators' votes are label counts like any others. `how` says what m is:

    - 'reward': r(chosen) - r(rejected), of a reward model with one output.
    - 'dpo': beta times (log p(chosen) - log p(rejected)), minus the same under the reference model, each summed over
      the answer's tokens. The reference is `reference`, or what is measured at step 0: in DPO training mostly starts
      from it. Under TRL's trainer, `record` reads reference, beta and truncation from there.
    - 'likelihood': beta times (log p(chosen) - log p(rejected)), with no reference.

    Beside it are stored `margin` and, of either answer, `chosen_reward` and `rejected_reward`, or `chosen_log_prob` and
    `rejected_log_prob`. A pair with an answer that has no words has NaN.

    See `base.Probe` for the rest. Made by `from_texts` or `from_tokens`.

    Args:
        dataset: the pairs, over the labels `chosen` and `rejected` in this order; counts are votes.
        sequences: 2n rows: a pair's chosen answer, then its rejected one.
        how: what the margin is.
        beta: its scale, for 'dpo' and 'likelihood'; None: the trainer's, or 0.1 where none says.
        pad_id: padding token id.
        reference: of 'dpo': the model that is compared with, or a `Reference`; None: the trainer's, or the model at the
            start.
        max_length: tokens per row; None: the trainer's, or 1024 where none says.
        truncation: which end of a longer row is kept; None: the trainer's, or 'keep_start'.
        blank: of each row, whether its answer has no words, shape (2n,).

    Raises:
        DataError: the data set's labels are others, or an answer has no token to score.
        SpecError: `how` or `beta` is not one that there is.
    """

    token_losses = False

    def __init__(
        self,
        dataset: AnnotatedDataset,
        sequences: Sequences,
        *,
        how: Literal["reward", "dpo", "likelihood"],
        beta: float | None = None,
        pad_id: int = 0,
        reference: nn.Module | Reference | None = None,
        max_length: int | None = None,
        truncation: Truncation | None = None,
        blank: NDArray[np.bool_] | None = None,
    ) -> None:
        if dataset.labels != SIDES:
            raise DataError(f"the labels are {list(dataset.labels)}; pairs have {list(SIDES)}, in this order")
        if len(sequences) != 2 * len(dataset):
            raise DataError(f"{len(sequences)} rows for {len(dataset)} pairs; expected two each")
        if how not in ("reward", "dpo", "likelihood"):
            raise SpecError(f"how is {how!r}; expected 'reward', 'dpo' or 'likelihood'")
        if beta is not None and not (math.isfinite(beta) and beta > 0):
            raise SpecError(f"beta is {beta!r}; expected a number above 0")
        if reference is not None and how != "dpo":
            raise SpecError(f"a reference model is compared with in how='dpo'; how is {how!r}")
        self.dataset = dataset
        self.rows = len(sequences)
        self._how: Literal["reward", "dpo", "likelihood"] = how
        self._pad_id = pad_id
        self._whole = sequences
        self._settings = Settings(beta, max_length, truncation)
        self._beta = DEFAULT_BETA if beta is None else beta
        of_rows = np.zeros(len(sequences), dtype=bool) if blank is None else blank
        self._blank: NDArray[np.bool_] = np.asarray(of_rows.reshape(-1, 2).any(axis=1))
        if self._blank.all():
            raise DataError(
                f"every pair of {dataset.name!r} has an answer without words; there is nothing to score"
            )
        self._sequences = self._cut(max_length, truncation)
        self._what = "reward" if how == "reward" else "log_prob"
        self.values = ("margin", *(f"{side}_{self._what}" for side in SIDES))
        named = reference is None or isinstance(reference, Reference)
        self._other: Any = reference if named else Reference.model(cast("nn.Module", reference))
        self.reference: NDArray[np.float64] | None = None
        self._budget = 4096

    @classmethod
    def from_texts(
        cls,
        dataset: AnnotatedDataset,
        tokenizer: PreTrainedTokenizerBase,
        *,
        how: Literal["reward", "dpo", "likelihood"],
        prompt: str | Callable[[Example], Text] = "{prompt}",
        chosen: str | Callable[[Example], Text] = "{chosen}",
        rejected: str | Callable[[Example], Text] = "{rejected}",
        beta: float | None = None,
        max_length: int | None = None,
        truncation: Truncation | None = None,
        add_eos: bool = True,
        reference: nn.Module | Reference | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        tools: list[Any] | None = None,
    ) -> PreferenceProbe:
        """From texts or conversations, tokenised as TRL's trainers do; see `sequences.from_texts`.

        Args:
            dataset: the pairs.
            tokenizer: of the model.
            how: what the margin is.
            prompt: a template with the text fields' names in braces, or a function of the pair that gives a text or
                the messages of a conversation.
            chosen: the same, for the chosen answer.
            rejected: the same, for the rejected one.
            beta: see the class, as are the next two.
            max_length: see there.
            truncation: see there.
            add_eos: end answers that are texts with the end-of-sequence token.
            reference: see the class.
            chat_template_kwargs: of conversations: arguments of the chat template, for pairs that bring none.
            tools: the same, of the tools that it names.
        """
        texts = [
            Asked(text_of(e, prompt), (text_of(e, chosen), text_of(e, rejected)), e.chat) for e in dataset
        ]
        sequences = from_texts(
            texts,
            tokenizer,
            max_length=None,
            add_eos=add_eos,
            chat=chat_arguments(chat_template_kwargs, tools),
        )
        return cls(
            dataset,
            sequences,
            how=how,
            beta=beta,
            pad_id=int(tokenizer.pad_token_id or 0),
            reference=reference,
            max_length=max_length,
            truncation=truncation,
            blank=np.array([is_blank(answer) for one in texts for answer in one.completions]),
        )

    @classmethod
    def from_tokens(
        cls,
        dataset: AnnotatedDataset,
        rows: Iterable[Mapping[str, Any]],
        *,
        how: Literal["reward", "dpo", "likelihood"],
        id: str = "id",
        beta: float | None = None,
        pad_id: int = 0,
        reference: nn.Module | Reference | None = None,
        max_length: int | None = None,
        truncation: Truncation | None = None,
    ) -> PreferenceProbe:
        """From rows that a trainer tokenised (`trainer.train_dataset` of TRL's DPO or reward trainer), joined by id.

        Args:
            dataset: the pairs.
            rows: each with an id, `chosen_ids` and `rejected_ids`, and `prompt_ids` where they go before both. Rows of
                other pairs are left aside.
            how: what the margin is.
            id: the id's column.
            beta: see the class, as are the rest.
            pad_id: see there.
            reference: see there.
            max_length: see there.
            truncation: see there.

        Raises:
            DataError: a row has no id or no tokens, an id comes twice, or a pair is not among the rows.
        """
        in_order = joined(dataset, rows, id)
        ids: list[tuple[int, ...]] = []
        labels: list[tuple[int, ...]] = []
        for row in in_order:
            before = tuple(map(int, row.get("prompt_ids") or ()))
            for side in SIDES:
                if row.get(f"{side}_ids") is None:
                    raise DataError(
                        f"a row has no '{side}_ids'; it has: {', '.join(map(str, row))}. Give the data set that the "
                        "trainer prepared (trainer.train_dataset), or make the probe from texts"
                    )
                answer = tuple(map(int, row[f"{side}_ids"]))
                ids.append(before + answer)
                labels.append((IGNORED,) * len(before) + answer)
        return cls(
            dataset, Sequences(tuple(ids), tuple(labels)), how=how, beta=beta, pad_id=pad_id, reference=reference,
            max_length=max_length, truncation=truncation,
        )  # fmt: skip

    @staticmethod
    def pairs(
        rows: Iterable[Mapping[str, Any]],
        *,
        text: tuple[str, ...] = ("prompt", "chosen", "rejected"),
        id: str = "id",
        votes: str | None = "votes",
        name: str = "pairs",
    ) -> AnnotatedDataset:
        """The data set of some pairs; see `pairs.pairs_of`."""
        return pairs_of(rows, text=text, id=id, votes=votes, name=name)

    def follow(self, settings: Settings, reference: Reference | None) -> None:
        """Take what a trainer says for what was left open: beta, truncation, reference.

        Raises:
            SpecError: the probe was given another beta than the trainer has.
        """
        current = self._settings
        if current.beta is not None and settings.beta is not None and current.beta != settings.beta:
            raise SpecError(
                f"the probe's beta is {current.beta}, and the trainer's is {settings.beta}: its margins would be on "
                "another scale than those that are trained on. Leave beta out, and the trainer's is taken"
            )
        if current.beta is None and settings.beta is not None:
            self._beta = settings.beta
        if self._other is None and self._how == "dpo":
            self._other = reference
        if current.max_length is None and current.truncation is None and settings.known:
            length = (
                len(max(self._whole.input_ids, key=len))
                if settings.max_length is None
                else settings.max_length
            )
            self._sequences = self._cut(length, settings.truncation)

    def _cut(self, max_length: int | None, truncation: Truncation | None) -> Sequences:
        cut = self._whole.cut(
            DEFAULT_LENGTH if max_length is None else max_length, truncation or "keep_start"
        )
        nothing = np.flatnonzero((cut.scored == 0) & ~np.repeat(self._blank, 2))
        if self._how != "reward" and len(nothing):
            raise DataError(
                f"{len(nothing)} answer(s) have no token to score, e.g. of {self.dataset.ids[nothing[0] // 2]!r}: the "
                "prompt alone fills the row. Raise max_length, or keep the end (truncation='keep_end')"
            )
        return cut

    @property
    def how(self) -> str:
        """What the margin is."""
        return self._how

    @property
    def covariates(self) -> Mapping[str, FloatArray]:
        """Tokens of the two answers together, and how many more the chosen one has."""
        scored = self._sequences.scored.reshape(-1, 2).astype(np.float64)
        return {"token_count": scored.sum(axis=1), "length_difference": scored[:, 0] - scored[:, 1]}

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `base.Probe`."""
        facts: dict[str, Any] = {
            "probe": f"preferences: {self._how}",
            "truncated_examples": self._sequences.truncated,
        }
        if self._blank.any():
            facts["empty_examples"] = int(self._blank.sum())
        if self._how == "dpo":
            facts["reference"] = self._other.name if self._other else AT_THE_START
        return facts if self._how == "reward" else {**facts, "beta": self._beta}

    def compare(self, model: nn.Module, measure: Callable[[nn.Module, TrackedSet], Floats]) -> None:
        """See `base.Compares`: the reference is passed over before the first point, or before each if it moves."""
        if self._other is None or (self.reference is not None and not self._other.moves):
            return
        with self._other.of(model) as reference:
            scores = measure(reference, self.tracked(self._budget))
        self.reference = _gap(scores[:, 0].reshape(-1, 2))

    def tracked(self, token_budget: int) -> TrackedSet:
        """See `base.Probe`."""
        self._budget = token_budget
        kind = ScoredRows if self._how == "reward" else ScoredTokens
        return kind(self._sequences, pad_id=self._pad_id, token_budget=token_budget)

    def measured(self, scores: Floats) -> MeasuredPoint:
        """See `base.Probe`."""
        of_sides = scores[:, 0].reshape(-1, 2)
        if self._blank.any():
            of_sides = of_sides.copy()
            of_sides[self._blank] = np.nan
        margin = _gap(of_sides)
        if self._how == "dpo":
            if self.reference is None:
                self.reference = margin
            margin = margin - self.reference
        if self._how != "reward":
            margin = margin * self._beta
        # log sigmoid(m) = -log(1 + e^-m), without overflow.
        with np.errstate(invalid="ignore"):  # of a pair without a margin
            log_probs = np.stack([-np.logaddexp(0, -margin), -np.logaddexp(0, margin)], axis=1)
        values = {f"{side}_{self._what}": of_sides[:, at].copy() for at, side in enumerate(SIDES)}
        return MeasuredPoint(log_probs.astype(np.float32), {"margin": margin.astype(np.float32), **values})

    def resume(self, stored: Callable[[str], Floats] | None) -> None:
        """See `base.Probe`."""
        self.reference = None
        if stored is not None and self._how == "dpo":
            # margin = beta (gap - reference's gap): what the first point was compared with, whatever that was.
            gap = _gap(np.stack([stored(f"{side}_{self._what}") for side in SIDES], axis=1))
            self.reference = gap - stored("margin").astype(np.float64) / self._beta


def _gap(of_sides: NDArray[Any]) -> NDArray[np.float64]:
    wide = of_sides.astype(np.float64)
    return np.asarray(wide[:, 0] - wide[:, 1])
