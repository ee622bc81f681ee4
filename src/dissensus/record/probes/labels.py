"""The labels probe: log-probabilities over the labels of a classifier, whatever reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import FloatArray
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.ordinal import ordinal_dispersion
from dissensus.errors import DataError, SpecError
from dissensus.models.encoding import Encoded, encode, lexical_overlap
from dissensus.record.probes.base import Floats, MeasuredPoint
from dissensus.record.tracking import PaddedSet, Score, TrackedSet, tracked_set
from dissensus.record.user_model import UserModelSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from dissensus.models.scoring import ScoringModel
    from dissensus.models.shared_states import SharedStates


class LabelProbe:
    """See `base.Probe`.

    An example without any text has NaN: what a model gives for nothing is no loss of that example.

    Args:
        dataset: the tracked examples.
        tokenizer: encodes the text fields (one field, or a pair); not needed with `encoded`.
        encoded: token ids already made, in the data set's order.
        pad_id: padding token id; default: the tokenizer's.
        score: (model, padded batch) -> logits (b, K); default: `model(**batch).logits`, or the same numbers from
            rows without padding where the model can be read so.
        max_length: tokens per example.

    Raises:
        SpecError: there is nothing to encode with.
        DataError: `encoded` does not hold the tracked ids.
    """

    values: tuple[str, ...] = ()
    token_losses = False
    _pad_id: int
    _score: Score | None
    _scoring: ScoringModel | None
    _states: SharedStates | None
    _facts: dict[str, Any]

    def __init__(
        self,
        dataset: AnnotatedDataset,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        encoded: Encoded | None = None,
        pad_id: int | None = None,
        score: Score | None = None,
        max_length: int = 128,
    ) -> None:
        made_here = encoded is None
        if encoded is None:
            if tokenizer is None:
                raise SpecError(
                    "CurveRecorder needs a tokenizer, or token ids already made: LabelProbe(tracked, encoded=...)"
                )
            encoded = encode(dataset, tokenizer, max_length=max_length)
        own_pad = getattr(tokenizer, "pad_token_id", None) or 0
        self._take(dataset, encoded, own_pad if pad_id is None else pad_id)
        self._empty = (encoded.lengths == 0) | (_blank(dataset) if made_here else False)
        if self._empty.all():
            raise DataError(
                f"no tracked example of {dataset.name!r} has any text; there is nothing to ask about"
            )
        if self._empty.any():
            self._encoded = _filled(encoded, self._pad_id)
        self._score = score

    @classmethod
    def of_cell(
        cls,
        dataset: AnnotatedDataset,
        model: ScoringModel,
        *,
        encoded: Encoded | None = None,
        states: SharedStates | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> LabelProbe:
        """The probe of a study's cell, whose model was loaded here. Nothing is changed about its examples.

        Args:
            dataset: the tracked examples.
            model: from `load_scoring_model`.
            encoded: the examples' tokens, in the data set's order; None: as the model encodes them.
            states: what other cells of the study share at step 0.
            facts: JSON values for the manifest.
        """
        probe = cls.__new__(cls)
        probe._take(dataset, model.encode(dataset) if encoded is None else encoded, model.pad_id)
        probe._scoring, probe._states, probe._facts = model, states, dict(facts or {})
        return probe

    def _take(self, dataset: AnnotatedDataset, encoded: Encoded, pad_id: int) -> None:
        if encoded.ids != dataset.ids:
            raise DataError(
                "the encoded examples are not the tracked ones in the tracked order; encode that data set"
            )
        self.dataset = dataset
        self.rows = len(dataset)
        self._encoded, self._pad_id = encoded, pad_id
        self._empty = np.zeros(len(dataset), dtype=bool)
        self._score = self._scoring = self._states = None
        self._facts = {}

    @property
    def of_study(self) -> bool:
        """Whether it is the probe of a study's cell (`of_cell`)."""
        return self._scoring is not None

    @property
    def covariates(self) -> Mapping[str, FloatArray]:
        """See `base.Probe`."""
        columns = {"token_count": self._encoded.lengths.astype(np.float64)}
        if (overlap := lexical_overlap(self.dataset)) is not None:
            columns["lexical_overlap"] = overlap
        if self.dataset.scale == "ordinal":
            columns["dispersion"] = ordinal_dispersion(self.dataset.counts, self.dataset.values)
        return columns

    @property
    def facts(self) -> Mapping[str, Any]:
        """See `base.Probe`."""
        facts = {**self._facts, "truncated_examples": self._encoded.truncated}
        return {**facts, "empty_examples": int(self._empty.sum())} if self._empty.any() else facts

    def tracked(self, token_budget: int) -> TrackedSet:
        """See `base.Probe`."""
        if self._scoring is not None:
            return tracked_set(self._encoded, self._scoring, token_budget=token_budget, states=self._states)
        if self._score is not None:
            return PaddedSet(self._encoded, self._score, pad_id=self._pad_id, token_budget=token_budget)
        return UserModelSet(
            self._encoded, pad_id=self._pad_id, token_budget=token_budget, labels=self.dataset.labels
        )

    def measured(self, scores: Floats) -> MeasuredPoint:
        """See `base.Probe`."""
        k = len(self.dataset.labels)
        if scores.shape[1] != k:
            raise DataError(
                f"the model scores {scores.shape[1]} labels; the data set has {k}: {', '.join(self.dataset.labels)}"
            )
        if self._empty.any():
            scores = np.where(self._empty[:, None], np.float32(np.nan), scores)
        return MeasuredPoint(scores)

    def resume(self, stored: Callable[[str], Floats] | None) -> None:
        """See `base.Probe`."""


def _blank(dataset: AnnotatedDataset) -> NDArray[np.bool_]:
    """Which examples have no text in any field, shape (n,)."""
    return np.array([not any(text.strip() for text in e.text.values()) for e in dataset], dtype=bool)


def _filled(encoded: Encoded, pad_id: int) -> Encoded:
    """The same with one token where there was none, since a model cannot read nothing; what it gives is dropped."""
    types = encoded.token_type_ids
    return replace(
        encoded,
        input_ids=tuple(row or (pad_id,) for row in encoded.input_ids),
        token_type_ids=None if types is None else tuple(row or (0,) for row in types),
    )
