"""Did it learn? Worlds of which it is known, and the numbers and words that come with the answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dissensus.curves import Curves
from dissensus.errors import DataError
from dissensus.metrics.learning import (
    Learning,
    answers_of,
    constant_loss,
    did_it_learn,
    examples_to_judge,
    learning,
)

U = np.linspace(0, 1, 8)


def curves_from(logits: NDArray[np.float64], gold: NDArray[np.int64], last: int = 400) -> Curves:
    """Curves of logits (n, T, K), of three annotators who all chose the gold label."""
    n, t, k = logits.shape
    shifted = logits - logits.max(axis=2, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    return Curves(
        ids=tuple(str(i) for i in range(n)),
        labels=("entailment", "neutral", "contradiction", "fourth")[:k],
        steps=np.linspace(0, last, t).astype(np.int64),
        total_steps=last,
        log_probs=log_probs.astype(np.float32),
        gold=gold,
        counts=3.0 * np.eye(k)[np.maximum(gold, 0)] * (gold >= 0)[:, None],
        regime=np.full(n, "held_out"),
    )


def world(name: str, seed: int, n: int = 400, points: int = 8) -> Curves:
    """A cell of which it is known whether it learned; three labels, unless the name says binary.

    A head's own bias and noise are there from the start; `signal` is how far the gold label's logit rises.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    u = np.linspace(0, 1, points)
    shares = np.array([0.9, 0.1]) if "binary" in name else np.array([0.36, 0.33, 0.31])
    k = len(shares)
    gold = rng.choice(k, n, p=shares).astype(np.int64)
    bias, noise = 0.1 * rng.normal(size=k), 0.05 * rng.normal(size=(n, 1, k))
    easy = rng.gamma(2.0, 0.5, size=n)  # how much of the signal each example takes on
    prior = np.log(shares)
    towards = np.zeros(k)
    signal = np.zeros(points)
    if name == "learned":
        signal = 2.0 * u
    elif name == "learned from a noisy head":
        noise, signal = 1.0 * rng.normal(size=(n, 1, k)) * (1 - u)[None, :, None], 2.0 * u
    elif name == "slow learner":
        signal = 0.5 * u
    elif name == "binary learned at the majority":
        towards, signal = prior, 0.8 * u
    elif name == "learned from verbaliser words":
        noise, signal = np.array([6.0, -2.0, 0.0]) * (1 - u)[None, :, None] + noise, 2.0 * u
    elif name == "out of domain":  # right more often than a constant, and far too sure
        right = rng.random(n) < 0.58
        pushed = np.where(right, gold, (gold + rng.integers(1, k, n)) % k)
        return curves_from(4.0 * u[None, :, None] * np.eye(k)[pushed][:, None] + noise + bias, gold)
    elif name == "nothing":
        towards = 0.05 * rng.normal(size=k)
    elif name in ("nothing but the shares", "binary nothing but the shares"):
        towards = prior
    elif name == "nothing from a noisy head":
        noise = 0.8 * rng.normal(size=(n, 1, k)) * (1 - u)[None, :, None]
    elif name == "nothing from verbaliser words":
        noise = np.array([6.0, -2.0, 0.0]) * (1 - u)[None, :, None] + noise
    elif name == "collapsed":
        towards = np.array([0.0, 6.0, 0.0])
    elif name == "diverged":
        signal = 2.0 * u * (u < 0.6)
        towards = np.array([0.0, 0.0, 4.0]) * (u[-1] > 0.6)
        fall = np.where(u < 0.6, 0.0, 1.0)
        logits = signal[None, :, None] * easy[:, None, None] * np.eye(k)[gold][:, None] + noise + bias
        return curves_from(logits + fall[None, :, None] * towards, gold)
    else:
        raise AssertionError(name)
    start = 0.0 if "binary" in name else bias
    logits = signal[None, :, None] * easy[:, None, None] * np.eye(k)[gold][:, None] + noise + start
    return curves_from(logits + u[None, :, None] * towards, gold)


def told(curves: Curves) -> Learning:
    everything = np.ones(len(curves), dtype=np.bool_)
    return learning(curves, settled=everything, backed=everything)


LEARNED = (
    "learned",
    "learned from a noisy head",
    "learned from verbaliser words",
    "slow learner",
    "binary learned at the majority",
    "out of domain",
)
NOTHING = (
    "nothing",
    "nothing but the shares",
    "binary nothing but the shares",
    "nothing from a noisy head",
    "nothing from verbaliser words",
    "collapsed",
    "diverged",
)


@pytest.mark.parametrize("name", LEARNED)
def test_worlds_that_learned(name: str) -> None:
    assert [told(world(name, seed)).learned for seed in range(20)] == ["yes"] * 20


@pytest.mark.parametrize("name", NOTHING)
def test_worlds_that_learned_nothing(name: str) -> None:
    assert [told(world(name, seed)).learned for seed in range(20)] == ["no"] * 20


@pytest.mark.parametrize("name", NOTHING)
def test_few_examples_never_make_nothing_look_learned(name: str) -> None:
    """Chance lets one in a hundred pass at most, with few examples and with two tracking points."""
    found = [told(world(name, seed, n=n, points=2)).learned for seed in range(100) for n in (24, 50)]
    assert found.count("yes") <= 2


def ends(
    gold: list[int],
    start: float | list[float],
    end: float | list[float],
    answer: int | list[int],
    *,
    before: int | list[int] = 0,
    k: int = 3,
    curve: list[float] | None = None,
    last_step: int = 100,
) -> Learning:
    """What is told of settled, backed examples of which these are the losses and answers."""
    n = len(gold)
    everything = np.ones(n, dtype=np.bool_)
    return did_it_learn(
        gold,
        examples_to_judge(gold, everything, everything),
        start=np.broadcast_to(start, n),
        end=np.broadcast_to(end, n),
        answers_start=np.broadcast_to(before, n),
        answers_end=np.broadcast_to(answer, n),
        labels=("entailment", "neutral", "contradiction")[:k],
        curve=curve,
        last_step=last_step,
    )


THIRDS = [0] * 10 + [1] * 10 + [2] * 10


def test_the_constant_answers_loss() -> None:
    assert constant_loss(np.array(THIRDS)) == pytest.approx(np.log(3))
    # 9 of 10: -(.9 ln .9 + .1 ln .1) = .09482 + .23026 = .32508 nats
    assert constant_loss(np.array([0] * 9 + [1])) == pytest.approx(0.32508, abs=1e-5)
    assert constant_loss(np.array([1, 1])) == 0.0
    assert np.isnan(constant_loss(np.array([], dtype=np.int64)))


def test_numbers_and_words_of_a_cell_that_learned_nothing() -> None:
    found = ends(THIRDS, 1.12, 1.1, 1)
    # Ten of thirty are neutral, and that is all it answers: right for a third, as a constant is. ln 3 = 1.0986.
    assert found.learned == "no"
    assert (found.n, found.start, found.end, found.judged_on) == (30, 1.12, pytest.approx(1.1), "settled")
    assert (found.constant, found.majority) == (pytest.approx(np.log(3)), pytest.approx(1 / 3))
    assert (found.accuracy_end, found.top_label, found.top_share) == (pytest.approx(1 / 3), "neutral", 1.0)
    assert found.why == (
        "it answers 'neutral' for 100% of the examples; settled loss ends at 1.10 nats, no better than the best "
        "constant answer's 1.10; settled loss hardly fell: 1.12 nats before training, 1.10 at the end"
    )


def test_a_loss_below_the_constants_is_learning_whatever_is_answered() -> None:
    gold = [0] * 90 + [1] * 10
    # Always 0, at .05 and .9 nats: mean .135, where the best constant answer has .325.
    found = ends(gold, 0.69, [0.05] * 90 + [0.9] * 10, 0, k=2)
    assert (found.learned, found.reasons, found.why) == ("yes", (), "")
    assert (found.accuracy_end, found.majority, found.top_share) == (0.9, 0.9, 1.0)
    # The constant answer itself: .105 and 2.303 nats.
    constant = [-np.log(0.9)] * 90 + [-np.log(0.1)] * 10
    assert ends(gold, 0.69, constant, 0, k=2).learned == "no"


def test_what_the_model_knew_before_training_is_not_learned() -> None:
    near = [0.29, 0.31] * 15
    assert ends(THIRDS, near, near, THIRDS, before=THIRDS).why == (
        "settled loss did not fall: 0.30 nats before training, 0.30 at the end; 100% of 30 answers are right, where "
        "always answering the most frequent label gives 33%"
    )
    # A tenth of its own start is enough where that is less than 5% of ln 3.
    assert ends(THIRDS, near, [0.25, 0.27] * 15, THIRDS, before=THIRDS).learned == "yes"
    assert ends(THIRDS, near, [0.28, 0.29] * 15, THIRDS, before=THIRDS).learned == "no"


def test_learning_that_was_lost_again_is_said() -> None:
    found = ends(THIRDS, 1.1, 1.9, 2, curve=[1.1, 0.7, 1.9])
    assert (found.learned, found.lowest) == ("no", 0.7)
    assert "it had learned and lost it again: settled loss was down to 0.70" in found.why
    broken = ends(THIRDS, 1.1, [np.nan] * 16 + [0.2] * 14, 2)
    assert (broken.learned, broken.why) == (
        "no",
        "16 of 30 examples have no finite loss at the end: training diverged",
    )


def test_a_model_that_is_often_right_and_too_sure_has_learned() -> None:
    # 20 of 30 right at .02 nats, 10 wrong at 5: mean 1.68, above ln 3; two thirds right against a third.
    right = [0] * 10 + [1] * 10 + [0] * 10
    losses = [0.02] * 20 + [5.0] * 10
    assert ends(THIRDS, 1.1, losses, right).learned == "yes"
    # It was as often right before: not by this training.
    assert ends(THIRDS, 1.1, losses, right, before=right).learned == "no"


def test_not_told() -> None:
    assert ends([-1] * 30, 1.0, 0.5, 0).why == "no example has a gold label"
    assert ends(THIRDS, 1.0, 1.0, 0, last_step=0).why == "there is no tracking point after the start"
    assert ends(THIRDS, np.nan, 0.5, 0).why == "the loss before training was not measured"
    assert ends(THIRDS[:19], 1.1, 0.5, 0).why == (
        "19 examples with a gold label and a loss are too few to tell (at least 20)"
    )
    assert ends([2] * 30, 1.1, 0.1, 2).why == (
        "100% of the gold labels are 'contradiction': nothing tells learning from answering that label"
    )
    # Mean loss .975, .124 below ln 3, with a standard error of .17 (15 at 1.9, 15 at .05): perhaps.
    chance = ends(THIRDS, 1.2, [1.9, 0.05] * 15, 0)
    assert chance.learned == "not told"
    assert chance.why == (
        "settled loss ends at 0.97 nats, below the best constant answer's 1.10, but with 30 examples that may be "
        "chance (+- 0.34)"
    )
    # Completions: the other labels were not scored. Falling is not compared with anything; not falling is no learning.
    assert ends(THIRDS, 9.0, [4.0, 4.1] * 15, -1, before=-1).learned == "not told"
    assert "no constant answer" in ends(THIRDS, 9.0, [4.0, 4.1] * 15, -1, before=-1).why
    assert ends(THIRDS, 9.0, [9.0, 9.1] * 15, -1, before=-1).learned == "no"


def test_which_examples_are_judged() -> None:
    gold = np.array([0, 1] * 40)
    settled, backed = np.arange(80) < 40, np.arange(80) % 4 > 1
    assert examples_to_judge(gold, settled, backed).words == "settled"
    assert examples_to_judge(gold, settled, backed).member.sum() == 20
    assert examples_to_judge(gold, settled & (np.arange(80) > 5), backed).words == "backed"
    assert examples_to_judge(gold, settled, ~backed & backed).words == "labelled"
    # Settled examples of one label (tweets of which all agree that nothing is wrong) cannot tell.
    assert examples_to_judge(np.where(settled, 0, gold), settled, backed).words == "backed"
    with pytest.raises(DataError, match="expected one"):
        examples_to_judge(gold, settled[:3], backed)
    with pytest.raises(DataError, match="expected one shape"):
        did_it_learn(
            gold,
            examples_to_judge(gold, settled, backed),
            start=[1.0],
            end=[1.0],
            answers_start=[0],
            answers_end=[0],
            labels=("a", "b"),
        )


def test_answers() -> None:
    rows = np.log(np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [1.0, 1.0, 1.0]]))
    rows[2, 1] = np.nan
    assert answers_of(rows).tolist() == [1, 0, -1]
    assert answers_of(np.empty((2, 0))).tolist() == [-1, -1]


def test_a_start_that_was_not_measured_is_not_told() -> None:
    late = world("learned", 0)
    late = Curves(**{**vars(late), "steps": late.steps[1:], "log_probs": late.log_probs[:, 1:]})
    assert told(late).why == "the loss before training was not measured"
