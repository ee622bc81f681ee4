"""Deciding: the kind of each example from the posterior of its votes and the verdict of its curves, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.triage.evidence import CurveEvidence
from dissensus.analysis.triage.kinds import (
    CONTESTED,
    FORGOTTEN,
    HARD,
    MISLABELLED,
    NOT_TOLD,
    SETTLED,
    Triaged,
)
from dissensus.curves import FloatArray
from dissensus.data.annotations import NO_GOLD
from dissensus.stats.label_posterior import LabelPosterior
from dissensus.wording import number

SURE = 0.5
"""Probability that a claim must reach to be made."""
SURE_ALONE = 2 / 3
"""The same for "people agree" and "people divide" where nobody voted: curves tell little of either, and most labels are
agreed on, so that half says nothing."""


@dataclass(frozen=True)
class Run:
    """The curves of one run of a data set, brought to the places of all its n examples.

    Attributes:
        condition: the run's condition, '' for a single recording.
        method: 'lora', 'full' and so on, '' where it is not known.
        evidence: of its curves; NaN for examples that it did not track.
    """

    condition: str
    method: str
    evidence: CurveEvidence


@dataclass(frozen=True)
class Votes:
    """The votes on the n examples of a data set.

    Attributes:
        ids: of the examples.
        labels: label names, length K.
        counts: annotators per label, shape (n, K).
        given: the label in question, shape (n,); -1 where there is none.
        posterior: what the votes say.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    counts: FloatArray
    given: NDArray[np.int64]
    posterior: LabelPosterior


def decide(
    dataset: str, regime: str, votes: Votes, probabilities: FloatArray, runs: tuple[Run, ...], silence: str
) -> tuple[Triaged, ...]:
    """The kind of each example.

    Mislabelled, contested or agreed is what is most probable, if its probability is `SURE` at least (or `SURE_ALONE`).
    Of the agreed, by the answers of more than half of the runs: forgotten, if the label was answered at two points or
    more and is not at the last; hard, if it is wrong at the last point or right at fewer than half of the points;
    settled otherwise.

    Args:
        dataset: name of the data set.
        regime: of the examples.
        votes: of the n examples.
        probabilities: of mislabelled, contested and agreed, shape (n, 3).
        runs: those whose curves tell.
        silence: why there is none, where there is none.
    """
    answers = _Answers.of(runs, len(votes.ids))
    asked = votes.counts.sum(axis=1)
    silent = silence or "the curves lack probabilities here"
    triaged = []
    for place, example in enumerate(votes.ids):
        chances = probabilities[place]
        kind, score, instead, why = NOT_TOLD, float("nan"), None, ""
        if votes.given[place] == NO_GOLD:
            why = "It has no label to judge."
        elif np.isnan(chances).any():
            why = f"Nobody voted, and {silent}."
        elif chances.max() < SURE or (not asked[place] and chances[0] < chances.max() < SURE_ALONE):
            says = ", ".join(
                f"{name} {number(p)}"
                for name, p in zip(("mislabelled", "contested", "agreed"), chances, strict=True)
            )
            why = f"The evidence is divided ({says}). {_votes_in_words(votes, place)}{answers.in_words(votes, place)}"
        else:
            first = int(chances.argmax())
            kind = (MISLABELLED, CONTESTED, answers.kind(place))[first]
            score = float("nan") if kind == NOT_TOLD else float(chances[first])
            if kind == MISLABELLED:
                instead = _instead(votes, answers, place)
            why = f"{_votes_in_words(votes, place)}{answers.in_words(votes, place)}"
            if kind == NOT_TOLD:
                why += f"People agree, but {silent}, so nobody can say whether it is learned."
        suspicion = float(chances[0]) if votes.given[place] != NO_GOLD else float("nan")
        triaged.append(Triaged(example, dataset, regime, kind, score, instead, why.strip(), suspicion))
    return tuple(triaged)


@dataclass(frozen=True)
class _Answers:
    """What the runs answered, of n examples. NaN where no run tells.

    Attributes:
        probabilities: mean over runs and points, shape (n, K).
        wrong_at_end: share of the runs that end on another label, shape (n,).
        right: mean share of points at which the label is answered, shape (n,).
        forgotten: share of the runs that forgot it, shape (n,).
        rise: mean rise of the loss, nats, shape (n,).
        fits_in_full_only: whether full fine-tuning ends on the label and LoRA on another, shape (n,).
        runs: how many runs tell of an example, shape (n,).
    """

    probabilities: FloatArray
    wrong_at_end: FloatArray
    right: FloatArray
    forgotten: FloatArray
    rise: FloatArray
    fits_in_full_only: NDArray[np.bool_]
    runs: NDArray[np.int64]

    @classmethod
    def of(cls, runs: tuple[Run, ...], n: int) -> _Answers:
        nothing = np.full(n, np.nan)
        if not runs:
            none, no_runs = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.int64)
            return cls(np.full((n, 1), np.nan), nothing, nothing, nothing, nothing, none, no_runs)
        evidence = [run.evidence for run in runs]
        ends = [
            mean_over_runs([run.evidence.end_margin for run in runs if run.method == method])
            if any(run.method == method for run in runs)
            else nothing
            for method in ("full", "lora")
        ]
        return cls(
            probabilities=mean_over_runs([own.probabilities for own in evidence]),
            wrong_at_end=1 - mean_over_runs([own.right_at_end for own in evidence]),
            right=mean_over_runs([own.right for own in evidence]),
            forgotten=mean_over_runs([own.forgotten for own in evidence]),
            rise=mean_over_runs([own.rise for own in evidence]),
            fits_in_full_only=(ends[0] > 0) & (ends[1] < 0),
            runs=np.sum([own.known for own in evidence], axis=0),
        )

    def kind(self, place: int) -> str:
        """Of an example on whose label people agree."""
        if not self.runs[place]:
            return NOT_TOLD
        if self.forgotten[place] > 0.5:
            return FORGOTTEN
        return HARD if self.wrong_at_end[place] > 0.5 or self.right[place] < 0.5 else SETTLED

    def in_words(self, votes: Votes, place: int) -> str:
        """What the curves did, in a sentence; '' where they are silent."""
        total = int(self.runs[place])
        if not total:
            return ""
        given, shares = int(votes.given[place]), self.probabilities[place]
        top = int(shares.argmax())
        which = f"{total} runs" if total > 1 else "The model"
        gave = "give" if total > 1 else "gives"
        text = f"{which} {gave} {votes.labels[given]!r} a probability of {number(shares[given])} on average"
        if top != given:
            text += f" and {votes.labels[top]!r} {number(shares[top])}"
        if self.forgotten[place] > 0.5:
            text += "; it was answered during training and no longer at the end"
        elif np.isfinite(self.rise[place]) and self.rise[place] > 0.1:
            text += f"; the loss rose by {number(float(self.rise[place]))} nats"
        elif self.right[place] < 0.5 and self.wrong_at_end[place] <= 0.5:
            text += "; it is learned late"
        if self.fits_in_full_only[place]:
            text += "; full fine-tuning fits the label in the end, LoRA does not"
        return f"{text}."


def mean_over_runs(columns: list[FloatArray]) -> FloatArray:
    """Mean over the runs that have a finite value, NaN where none has; arrays of one shape."""
    values = np.stack(columns)
    known = np.isfinite(values)
    mean = np.full(values.shape[1:], np.nan)
    np.divide(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0), out=mean, where=known.any(axis=0))
    return mean


def _instead(votes: Votes, answers: _Answers, place: int) -> str | None:
    """The label to look at instead: what most people would choose, else what the models answer."""
    given = int(votes.given[place])
    if votes.counts[place].sum():
        shares = votes.posterior.leading[place].copy()
        if answers.runs[place]:
            shares = shares * answers.probabilities[place]
    else:
        shares = answers.probabilities[place].copy()
    shares[given] = -1.0
    best = int(shares.argmax())
    return votes.labels[best] if np.isfinite(shares[best]) else None


def _votes_in_words(votes: Votes, place: int) -> str:
    counts, given = votes.counts[place], int(votes.given[place])
    total = counts.sum()
    if not total:
        return ""
    text = f"{counts[given]:g} of {total:g} votes are for the label {votes.labels[given]!r}"
    others = counts.copy()
    others[given] = 0
    if others.any():
        text += f", {others.max():g} for {votes.labels[int(others.argmax())]!r}"
    return f"{text}. "
