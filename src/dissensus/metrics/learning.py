"""Learning: one cell's loss and answers against its start and against the best constant answer. Pure functions.

Un-learning is read against learning: where a model learned nothing, its losses still move (a fresh head settles on the
label shares, which raises the loss of every rarer label), and each such rise would pass for un-learning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.curves import Curves, FloatArray
from dissensus.data.annotations import NO_GOLD
from dissensus.errors import DataError
from dissensus.metrics.points import BoolArray

Learned = Literal["yes", "no", "not told"]

EXPLAINED = 0.05
"""Share of the constant answer's loss that a model must take away to have learned (McFadden's pseudo R2): .055 nats of
ln 3. Models that learned nothing take away .5% at most, the slowest that learned 13% (docs/design/learned.md); and
.05 nats is what matching two methods needs of each."""
OF_THE_START = 0.10
"""Or, of a model that knew much at its start (its loss lies below `EXPLAINED` / `OF_THE_START` of the constant
answer's): the share of its own first loss that must go."""
RECALL_GAIN = 0.10
"""By how much the mean recall must exceed a constant answer's, and rise, where the loss does not show learning. A model
that is right more often and too sure of itself (items of another domain; late in training) has learned."""
STANDARD_ERRORS = 2.0
"""A difference of losses below so many standard errors may be chance: 2.3% of chance drifts exceed it."""
RECALL_ERRORS = 3.0
"""The same for the mean recall, higher because it then decides alone."""
FEWEST = 20
"""Examples below which nothing is told: the standard error of an accuracy exceeds .11 there."""
ONE_LABEL = 0.98
"""Share of equal answers from which on a model answers one label."""
LEAST_CONSTANT = 0.10
"""Nats. Examples on which the best constant answer's loss is lower bear nearly all one label (98% of two): nothing
there tells learning from answering that label, so a wider set of examples is asked."""


@dataclass(frozen=True)
class Judged:
    """The examples that learning is judged on.

    Attributes:
        member: which of the n, shape (n,).
        words: what they are: 'settled' (settled, and most annotators back the gold label), 'backed' (whatever their
            entropy) or 'labelled' (all with a gold label); the first of these that has enough.
    """

    member: BoolArray
    words: str


@dataclass(frozen=True)
class Learning:
    """Whether one cell learned, with the numbers that say so. Numbers are of the judged examples; NaN if undefined.

    Attributes:
        learned: 'yes', 'no', or 'not told' where its curves cannot say.
        reasons: why not, or why it is not told, in words with the numbers; empty for 'yes'.
        judged_on: which examples; see `Judged`.
        n: how many of them have a loss at both ends.
        start: mean loss before training, nats.
        lowest: lowest mean loss at a tracking point, nats.
        end: mean loss at the last tracking point, nats.
        constant: loss of the best constant answer: the entropy of the gold labels' shares, nats.
        accuracy_start: share answered rightly before training.
        accuracy_end: the same at the last point.
        majority: share of the most frequent gold label, the accuracy of the best constant answer.
        recall_start: mean recall before training: the share answered rightly of each gold label, each label counted
            alike. A constant answer has 1 / K, whatever the labels' shares.
        recall_end: the same at the last point.
        top_label: the label that is answered most at the last point, of all examples; '' where nothing is answered.
        top_share: the share of all examples for which it is.
    """

    learned: Learned
    reasons: tuple[str, ...]
    judged_on: str = ""
    n: int = 0
    start: float = float("nan")
    lowest: float = float("nan")
    end: float = float("nan")
    constant: float = float("nan")
    accuracy_start: float = float("nan")
    accuracy_end: float = float("nan")
    majority: float = float("nan")
    recall_start: float = float("nan")
    recall_end: float = float("nan")
    top_label: str = ""
    top_share: float = float("nan")

    @property
    def why(self) -> str:
        """The reasons as one line; '' for 'yes'."""
        return "; ".join(self.reasons)


def examples_to_judge(gold: ArrayLike, settled: ArrayLike, backed: ArrayLike) -> Judged:
    """Choose the examples on which learning shows: those on which people agree with each other and the gold label.

    A model that learns the task learns these first and keeps them. Where there are fewer than `FEWEST`, or nearly all
    bear one label (`LEAST_CONSTANT`), all backed examples are asked, and then all with a gold label.

    Args:
        gold: label indices, shape (n,); -1 where there is none.
        settled: whether an example is settled, shape (n,).
        backed: whether most annotators chose its gold label, shape (n,).
    """
    labels = np.asarray(gold, dtype=np.int64)
    known = labels != NO_GOLD
    sides = np.asarray(settled, dtype=np.bool_), np.asarray(backed, dtype=np.bool_)
    if any(side.shape != labels.shape for side in sides):
        raise DataError(
            f"gold has shape {labels.shape}, settled and backed {[s.shape for s in sides]}; expected one"
        )
    sets = {"settled": known & sides[0] & sides[1], "backed": known & sides[1], "labelled": known}
    for words, member in sets.items():
        if member.sum() >= FEWEST and constant_loss(labels[member]) >= LEAST_CONSTANT:
            return Judged(member, words)
    return Judged(known, "labelled")


def constant_loss(gold: NDArray[np.int64]) -> float:
    """Mean loss of the best constant answer, in nats: H = -sum m_k ln m_k over the gold labels' shares m_k.

    The cross-entropy of any fixed distribution q is at least that (Gibbs), so a model below it must have looked at the
    text. It is taken from the judged examples themselves: no constant answer can do better on them, whatever it knows
    of the label shares in training. Range [0, ln K]; NaN without a label.
    """
    if not len(gold):
        return float("nan")
    share = np.unique(gold, return_counts=True)[1] / len(gold)
    return float(max(-(share * np.log(share)).sum(), 0.0))


def answers_of(log_probs: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """The most probable label of each row of (n, K) log-probabilities, shape (n,), the first of equals.

    -1 where a label has none (a completion that was not scored, a diverged run): it may have been the best.
    """
    if not log_probs.size:
        return np.full(len(log_probs), -1)
    unknown = np.isnan(log_probs).any(axis=1)
    return np.where(unknown, -1, np.where(np.isnan(log_probs), -np.inf, log_probs).argmax(axis=1)).astype(
        np.int64
    )


def learning(curves: Curves, *, settled: ArrayLike, backed: ArrayLike) -> Learning:
    """`did_it_learn` of curves in memory.

    Args:
        curves: n examples at T tracking points.
        settled: whether an example is settled, shape (n,); `stats.entropy_groups` says.
        backed: whether most annotators chose its gold label, shape (n,); `agreement.backed`.
    """
    judged = examples_to_judge(curves.gold, settled, backed)
    if not len(curves.steps) or not len(curves):
        return Learning("not told", ("there is no tracking point with an example",), judged.words)
    losses, judged_losses = curves.losses, curves.losses[judged.member]
    known = np.isfinite(judged_losses)
    curve = np.full(len(curves.steps), np.nan)
    np.divide(
        np.where(known, judged_losses, 0.0).sum(axis=0), known.sum(axis=0), out=curve, where=known.any(axis=0)
    )
    unmeasured = curves.steps[0] != 0
    return did_it_learn(
        curves.gold,
        judged,
        start=np.full(len(curves), np.nan) if unmeasured else losses[:, 0],
        end=losses[:, -1],
        answers_start=answers_of(curves.log_probs[:, 0]),
        answers_end=answers_of(curves.log_probs[:, -1]),
        labels=curves.labels,
        curve=curve,
        last_step=int(curves.steps[-1]),
    )


def did_it_learn(
    gold: ArrayLike,
    judged: Judged,
    *,
    start: ArrayLike,
    end: ArrayLike,
    answers_start: ArrayLike,
    answers_end: ArrayLike,
    labels: tuple[str, ...],
    curve: ArrayLike | None = None,
    last_step: int | None = None,
) -> Learning:
    """Judge whether a cell learned, from the two ends of its curves.

    With l the judged examples' mean loss, H their constant answer's (`constant_loss`), and r their mean recall over the
    K labels that are gold, it learned when

    - the loss shows it: l(end) <= (1 - EXPLAINED) H, and l(start) - l(end) >= min(EXPLAINED H, OF_THE_START l(start)),
      both differences by at least `STANDARD_ERRORS` standard errors (of differences per example); or
    - its answers do: r(end) >= 1 / K + max(RECALL_GAIN, `RECALL_ERRORS` standard errors), and r(end) - r(start) >=
      RECALL_GAIN. This is for a model whose loss is high because it is too sure of itself (held out and out of domain,
      or late in training), and which yet answers rightly more often than a constant. Recall and not accuracy, for the
      judged examples' labels may have other shares than those it was trained on: of ChaosNLI's settled and backed MNLI
      items 59% are entailment, and a model of balanced classes that is right half of the time on each has learned.

    A binary task of 90% one label is learned by the first, though its accuracy stays at 90% and one label is answered.
    A head that starts above ln K and falls to the constant answer has not learned. A model that learned and then
    diverged has not: what rests on its end is as worthless; the reason says that it had.

    'not told': fewer than two tracking points, or none before training; fewer than `FEWEST` judged examples; gold
    labels that are (nearly) all one; only the gold label was scored (completions), so that no answer is known, and its
    loss fell; or differences that are large enough and within `STANDARD_ERRORS`. If one label is answered to nearly all
    examples on top of that, it is 'no': all that is seen is then what a model does that learned the label shares.

    Args:
        gold: label indices of all n examples, shape (n,); -1 where there is none.
        judged: which are judged; `examples_to_judge`.
        start: gold losses before training, shape (n,), nats; NaN where they were not measured.
        end: gold losses at the last tracking point, shape (n,); equal to `start` if there is one point only.
        answers_start: index of the most probable label before training, shape (n,); -1 where not every label has a
            probability.
        answers_end: the same at the last point.
        labels: label names.
        curve: the judged examples' mean loss at each tracking point, shape (T,); says whether learning came and went.
        last_step: the step of the last tracking point; 0 says that there is none after the start.
    """
    truth = np.asarray(gold, dtype=np.int64)
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    before, after = np.asarray(answers_start, dtype=np.int64), np.asarray(answers_end, dtype=np.int64)
    if any(a.shape != truth.shape for a in (judged.member, first, last, before, after)):
        raise DataError(
            f"gold, judged, start, end and answers have shapes {truth.shape}, {judged.member.shape}, {first.shape}, "
            f"{last.shape}, {before.shape}, {after.shape}; expected one shape, (n,)"
        )
    top_label, top_share = _most_answered(after, labels)

    def decided(learned: Learned, reason: str) -> Learning:
        return Learning(learned, (reason,), judged.words, top_label=top_label, top_share=top_share)

    known = judged.member & (truth != NO_GOLD)
    if not known.any():
        return decided("not told", "no example has a gold label")
    if last_step == 0:
        return decided("not told", "there is no tracking point after the start")
    if not np.isfinite(first[known]).any():
        return decided("not told", "the loss before training was not measured")
    usable = known & ~np.isnan(first)
    lost = int((usable & ~np.isfinite(last)).sum())
    if lost > usable.sum() / 2:
        return decided(
            "no", f"{lost} of {usable.sum()} examples have no finite loss at the end: training diverged"
        )
    usable &= np.isfinite(first) & ~np.isnan(last)
    answered = usable & (before >= 0) & (after >= 0)
    only_gold = not answered.any()
    if not only_gold:
        usable = answered
    ends = (float(first[usable].mean()), float(last[usable].mean()))
    heights = np.asarray(ends if curve is None else curve, dtype=np.float64)
    lowest = np.min(heights, where=np.isfinite(heights), initial=np.inf)
    usable_gold, n = truth[usable], int(usable.sum())
    nothing = float("nan")
    measured = Learning(
        learned="not told",
        reasons=(),
        judged_on=judged.words,
        n=n,
        start=ends[0],
        lowest=float(lowest),
        end=ends[1],
        constant=nothing if only_gold else constant_loss(usable_gold),
        accuracy_start=nothing if only_gold else float((before[usable] == usable_gold).mean()),
        accuracy_end=nothing if only_gold else float((after[usable] == usable_gold).mean()),
        majority=float(np.bincount(usable_gold).max() / n),
        recall_start=nothing if only_gold else _mean_recall(before[usable], usable_gold),
        recall_end=nothing if only_gold else _mean_recall(after[usable], usable_gold),
        top_label=top_label,
        top_share=top_share,
    )
    learned, reasons = _decide(measured, usable_gold, first[usable], last[usable], tuple(labels))
    return replace(measured, learned=learned, reasons=tuple(reasons))


def _decide(
    measured: Learning, gold: NDArray[np.int64], first: FloatArray, last: FloatArray, labels: tuple[str, ...]
) -> tuple[Learned, list[str]]:
    """The answer and its reasons, of the judged examples that have what it takes."""
    name = _name(measured.judged_on)
    if measured.n < FEWEST:
        return "not told", [
            f"{measured.n} examples with a gold label and a loss are too few to tell (at least {FEWEST})"
        ]
    fall, fall_error = _mean_and_error(first - last)
    if not np.isfinite(measured.constant):
        if fall >= OF_THE_START * measured.start and fall >= STANDARD_ERRORS * fall_error:
            return "not told", [
                "only the gold label was scored, so there is no constant answer to compare with: the mean loss fell "
                f"from {measured.start:.2f} to {measured.end:.2f} nats"
            ]
        return "no", [_of_start(measured, name)]
    if measured.constant < LEAST_CONSTANT:
        share = np.bincount(gold, minlength=len(labels)) / measured.n
        return "not told", [
            f"{_percent(share.max())} of the gold labels are {labels[int(share.argmax())]!r}: nothing tells learning "
            "from answering that label"
        ]
    share = np.bincount(gold) / measured.n
    # What the best constant answer would lose on each example, against what the model loses.
    gain, gain_error = _mean_and_error(-np.log(share[gold]) - last)
    below = gain >= EXPLAINED * measured.constant
    fell = fall >= min(EXPLAINED * measured.constant, OF_THE_START * measured.start)
    sure = gain >= STANDARD_ERRORS * gain_error and fall >= STANDARD_ERRORS * fall_error
    if (below and fell and sure) or _more_often_right(measured, gold):
        return "yes", []
    chance = (
        f"{name} loss ends at {measured.end:.2f} nats, below the best constant answer's {measured.constant:.2f}, "
        f"but with {measured.n} examples that may be chance (+- {STANDARD_ERRORS * max(gain_error, fall_error):.2f})"
    )
    if below and fell and measured.top_share < ONE_LABEL:
        return "not told", [chance]
    return "no", _reasons(measured, below, fell, chance if below and fell else "")


def _more_often_right(measured: Learning, gold: NDArray[np.int64]) -> bool:
    count = np.unique(gold, return_counts=True)[1]
    # Of a mean of recalls of which each has at most variance 1/4 per example.
    error = float(np.sqrt((0.25 / count).sum()) / len(count))
    return bool(
        measured.recall_end - 1 / len(count) >= max(RECALL_GAIN, RECALL_ERRORS * error)
        and measured.recall_end - measured.recall_start >= RECALL_GAIN
    )


def _reasons(measured: Learning, below: bool, fell: bool, chance: str) -> list[str]:
    """Why it did not learn, the most telling first; `chance` says that its loss is low, and perhaps by chance."""
    reasons, name = [], _name(measured.judged_on)
    if measured.top_share >= ONE_LABEL:
        reasons.append(
            f"it answers {measured.top_label!r} for {_percent(measured.top_share)} of the examples"
        )
    if chance:
        reasons.append(chance)
    if not below:
        relation = "no better than" if measured.end >= measured.constant - 0.005 else "hardly better than"
        reasons.append(
            f"{name} loss ends at {measured.end:.2f} nats, {relation} the best constant answer's "
            f"{measured.constant:.2f}"
        )
    if not fell:
        reasons.append(_of_start(measured, name))
    if measured.lowest <= min((1 - EXPLAINED) * measured.constant, measured.start) and not below:
        reasons.append(f"it had learned and lost it again: {name} loss was down to {measured.lowest:.2f}")
    if np.isfinite(measured.accuracy_end) and measured.top_share < ONE_LABEL:
        reasons.append(
            f"{_percent(measured.accuracy_end)} of {measured.n} answers are right, where always answering the most "
            f"frequent label gives {_percent(measured.majority)}"
        )
    return reasons


def _of_start(measured: Learning, name: str) -> str:
    if measured.end >= measured.start:
        return f"{name} loss did not fall: {measured.start:.2f} nats before training, {measured.end:.2f} at the end"
    return (
        f"{name} loss hardly fell: {measured.start:.2f} nats before training, {measured.end:.2f} at the end"
    )


def _name(judged_on: str) -> str:
    return {"settled": "settled", "backed": "mean", "labelled": "mean"}[judged_on]


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _mean_and_error(values: FloatArray) -> tuple[float, float]:
    """Mean and its standard error (divisor n - 1); an infinite loss makes the error NaN, which exceeds nothing."""
    with np.errstate(invalid="ignore"):
        return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _mean_recall(answers: NDArray[np.int64], gold: NDArray[np.int64]) -> float:
    return float(np.mean([(answers[gold == label] == label).mean() for label in np.unique(gold)]))


def _most_answered(answers: NDArray[np.int64], labels: tuple[str, ...]) -> tuple[str, float]:
    known = answers[answers >= 0]
    if not len(known):
        return "", float("nan")
    count = np.bincount(known, minlength=len(labels))
    return labels[int(count.argmax())], float(count.max() / len(known))
