"""The preference probe: which of two answers a model prefers, and by how much, for each pair that people voted on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dissensus.curves import FloatArray
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.errors import DataError, SpecError
from dissensus.probes.base import Floats, Measured
from dissensus.probes.scored_rows import ScoredRows
from dissensus.probes.scored_tokens import ScoredTokens
from dissensus.probes.sequences import Sequences, Text, Truncation, from_texts, text_of
from dissensus.train.tracking import TrackedSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SIDES = ("chosen", "rejected")


class PreferenceProbe:
    """A pair of answers as a question of two labels: 'chosen' is the better one, or 'rejected' is.

    With the preference margin m, in nats, the probability of 'chosen' is sigmoid(m), so that a pair's loss is the
    preference loss -log sigmoid(m), and annotators' votes are label counts like any others. `how` says what m is:

    - 'reward': r(chosen) - r(rejected), of a reward model with one output.
    - 'dpo': beta times (log p(chosen) - log p(rejected)), less the same under the reference model, each summed over the
      answer's tokens. The reference is what is measured at step 0: in DPO training starts from it.
    - 'likelihood': beta times (log p(chosen) - log p(rejected)), with no reference.

    Beside it are stored `margin` and, of either answer, `chosen_reward` and `rejected_reward`, or `chosen_log_prob` and
    `rejected_log_prob`.

    See `base.Probe` for the rest. Made by `from_texts`.

    Args:
        dataset: the pairs, over the labels `chosen` and `rejected` in this order; counts are votes.
        sequences: 2n rows: a pair's chosen answer, then its rejected one.
        how: what the margin is.
        beta: its scale, for 'dpo' and 'likelihood'.
        pad_id: padding token id.

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
        beta: float = 0.1,
        pad_id: int = 0,
    ) -> None:
        if dataset.labels != SIDES:
            raise DataError(f"the labels are {list(dataset.labels)}; pairs have {list(SIDES)}, in this order")
        if len(sequences) != 2 * len(dataset):
            raise DataError(f"{len(sequences)} rows for {len(dataset)} pairs; expected two each")
        if how not in ("reward", "dpo", "likelihood"):
            raise SpecError(f"how is {how!r}; expected 'reward', 'dpo' or 'likelihood'")
        if not (math.isfinite(beta) and beta > 0):
            raise SpecError(f"beta is {beta!r}; expected a number above 0")
        nothing = np.flatnonzero(sequences.scored == 0)
        if how != "reward" and len(nothing):
            raise DataError(
                f"{len(nothing)} answer(s) have no token to score, e.g. of {dataset.ids[nothing[0] // 2]!r}: the "
                "prompt alone fills the row. Raise max_length, or keep the end (truncation='keep_end')"
            )
        self.dataset = dataset
        self.rows = len(sequences)
        self._sequences, self._how, self._beta, self._pad_id = sequences, how, beta, pad_id
        self._what = "reward" if how == "reward" else "log_prob"
        self.values = ("margin", *(f"{side}_{self._what}" for side in SIDES))
        self._reference: Floats | None = None

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
        beta: float = 0.1,
        max_length: int = 1024,
        truncation: Truncation = "keep_start",
        add_eos: bool = True,
    ) -> PreferenceProbe:
        """From texts, tokenised as TRL's trainers do; see `sequences.from_texts`.

        Args:
            dataset: the pairs.
            tokenizer: of the model.
            how: what the margin is.
            prompt: a template with the text fields' names in braces, or a function of the pair.
            chosen: the same, for the chosen answer.
            rejected: the same, for the rejected one.
            beta: the margin's scale.
            max_length: tokens a row.
            truncation: which end of a longer row is kept.
            add_eos: end answers that are texts with the end-of-sequence token.
        """
        pairs = ((text_of(e, prompt), text_of(e, side)) for e in dataset for side in (chosen, rejected))
        sequences = from_texts(
            pairs, tokenizer, max_length=max_length, truncation=truncation, add_eos=add_eos
        )
        return cls(dataset, sequences, how=how, beta=beta, pad_id=int(tokenizer.pad_token_id or 0))

    @staticmethod
    def pairs(
        rows: list[Mapping[str, Any]],
        *,
        text: tuple[str, ...] = ("prompt", "chosen", "rejected"),
        id: str = "id",
        votes: str | None = "votes",
        name: str = "pairs",
    ) -> AnnotatedDataset:
        """The data set of some pairs: rows with an id, the texts, and the votes (for chosen, for rejected).

        Args:
            rows: one mapping a pair.
            text: keys of the text fields.
            id: key of the id.
            votes: key of the votes: two numbers, or a mapping from 'chosen' and 'rejected'; None where there are none.
            name: of the data set.
        """
        lacking = [row for row in rows if votes is not None and votes not in row]
        if lacking:
            raise DataError(
                f"a pair has no {votes!r}; it has: {', '.join(map(str, lacking[0]))}. Name the votes' key, or pass "
                "votes=None where nobody was asked"
            )
        nobody = {"chosen": 0, "rejected": 0}
        records = [{**row, "gold": SIDES[0], "counts": row[votes] if votes else nobody} for row in rows]
        return AnnotatedDataset.from_records(records, labels=SIDES, text=text, id=id, name=name)

    @property
    def covariates(self) -> Mapping[str, FloatArray]:
        """Tokens of the two answers together, and how many more the chosen one has."""
        scored = self._sequences.scored.reshape(-1, 2).astype(np.float64)
        return {"token_count": scored.sum(axis=1), "length_difference": scored[:, 0] - scored[:, 1]}

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `base.Probe`."""
        facts = {"probe": f"preferences: {self._how}", "truncated_examples": self._sequences.truncated}
        return facts if self._how == "reward" else {**facts, "beta": self._beta}

    def tracked(self, token_budget: int) -> TrackedSet:
        """See `base.Probe`."""
        kind = ScoredRows if self._how == "reward" else ScoredTokens
        return kind(self._sequences, pad_id=self._pad_id, token_budget=token_budget)

    def measured(self, found: Floats) -> Measured:
        """See `base.Probe`."""
        of_sides = found[:, 0].reshape(-1, 2)
        margin = (of_sides[:, 0] - of_sides[:, 1]).astype(np.float64)
        if self._how == "dpo":
            if self._reference is None:
                self._reference = of_sides
            margin = margin - (self._reference[:, 0] - self._reference[:, 1])
        if self._how != "reward":
            margin = margin * self._beta
        # log sigmoid(m) = -log(1 + e^-m), without overflow.
        log_probs = np.stack([-np.logaddexp(0, -margin), -np.logaddexp(0, margin)], axis=1)
        values = {f"{side}_{self._what}": of_sides[:, at].copy() for at, side in enumerate(SIDES)}
        return Measured(log_probs.astype(np.float32), {"margin": margin.astype(np.float32), **values})

    def resume(self, stored: Callable[[str], Floats] | None) -> None:
        """See `base.Probe`."""
        self._reference = None
        if stored is not None and self._how == "dpo":
            self._reference = np.stack([stored(f"{side}_{self._what}") for side in SIDES], axis=1)
