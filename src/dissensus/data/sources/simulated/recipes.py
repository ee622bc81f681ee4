"""One recipe a phenomenon: uniform random numbers in, a premise/hypothesis pair with its latent truth out.

A recipe chooses how clear the case shall be (`_margin`), finds a number that reads naturally near there, and keeps the
evidence of the number that it wrote down, so that text and truth agree.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate

from dissensus.data.sources.simulated.grammar import (
    CERTAIN,
    KIND_OF,
    SCALES,
    TRAIT,
    Dice,
    Pair,
    any_fact,
    asked,
    assertion,
    beyond,
    degree_of,
    denies,
    number_near,
    phrase_of,
    report_of,
    reported,
    sentence,
    two,
    who_of,
)
from dissensus.data.sources.simulated.scales import Guess, Pole, PropertyScale, Report, readable_number

_PLAIN, _DENIED = 0.6, 0.1  # shares of hypotheses without a degree word, and of denied ones
_VAGUE_BAND = 0.45
_GUESS_BAND = 1.6
_LEAN_BAND = 1.3
_GUESS_SPREAD = 1.5  # of the cut of a conclusion, in the scale's own spreads
_GAP_SPREAD = 0.45  # of the cut of a difference, natural log units
_TOLERANCE, _TOLERANCE_SPREAD = 0.22, 0.09  # log ratio up to which "about" holds; its spread between people
_LEAN = 1.1  # evidence for "Ann is tall" in "Ann is taller than Ben"


_WITH_MORE = tuple(scale for scale in SCALES if scale.more)
_WITH_GAP = tuple(scale for scale in SCALES if scale.gap)
_WITH_RATIO = tuple(scale for scale in SCALES if scale.form == "log")
_COUNTED = tuple(scale for scale in SCALES if scale.form != "clock")


def _margin(dice: Dice) -> float:
    """How far from the cut: a third clear cases, about half close ones, the rest between; symmetric about 0."""
    side = 1 if dice.yes(0.5) else -1
    u = dice.between(0, 1)
    if u < 0.34:
        return side * dice.between(2.6, 7.0)
    if u < 0.82:
        return side * dice.between(0.0, 1.1)
    return side * dice.between(1.1, 2.6)


def _vague(dice: Dice) -> Pair:
    """A number against a vague word, perhaps with a degree word, perhaps denied."""
    scale = dice.pick(SCALES)
    who, pole = who_of(KIND_OF[scale.name], dice), asked(scale.poles, dice)
    degree = degree_of(pole, _PLAIN, dice)
    denied = denies(pole, degree, _DENIED, dice)
    number = number_near(scale, pole, _margin(dice) + degree.shift)
    return Pair(
        sentence(scale.says.format(who=who, n=scale.written(number))),
        assertion(scale, who, phrase_of(pole, degree.word), denied),
        TRAIT[scale.name, pole.phrase],
        beyond(scale, pole, number) - degree.shift,
        _VAGUE_BAND,
        denied,
        "negation" if denied else "degree" if degree.shift else "vague",
    )


def _wording(dice: Dice) -> Pair:
    """A number said in words against a vague word."""
    scale = dice.pick(SCALES)
    who, pole = who_of(KIND_OF[scale.name], dice), asked(scale.poles, dice)
    (words, number), degree = dice.pick(scale.words), degree_of(pole, _PLAIN, dice)
    denied = denies(pole, degree, _DENIED, dice)
    return Pair(
        sentence(words.format(who=who)),
        assertion(scale, who, phrase_of(pole, degree.word), denied),
        TRAIT[scale.name, pole.phrase],
        beyond(scale, pole, number) - degree.shift,
        _VAGUE_BAND,
        denied,
        "wording",
    )


def _graded(dice: Dice) -> Pair:
    """A vague word against a vague word: mostly the same one, with other degree words or denied."""
    scale = dice.pick(SCALES)
    who, pole = who_of(KIND_OF[scale.name], dice), asked(scale.poles, dice)
    premise_pole = pole if dice.yes(0.6) else dice.pick(scale.poles)
    report, degree = report_of(premise_pole, dice), degree_of(pole, 0.7, dice)
    denied = denies(pole, degree, _DENIED, dice)
    evidence = _reported(scale, premise_pole, report, pole) - degree.shift
    if (
        premise_pole is pole and report.degree == degree.word
    ):  # logic, not vagueness: X against X, or against not X
        evidence = -CERTAIN if report.denied or report.before else CERTAIN
    return Pair(
        reported(scale, who, premise_pole, report),
        assertion(scale, who, phrase_of(pole, degree.word), denied),
        TRAIT[scale.name, pole.phrase],
        evidence,
        _VAGUE_BAND,
        denied,
        "graded",
    )


def _reported(scale: PropertyScale, pole: Pole, report: Report, about: Pole | Guess) -> float:
    """How far beyond a cut the number is that "very tall" reports, in spreads."""
    latent = scale.latent(pole.cut) + pole.sign * report.stands_for * scale.spread
    return about.sign * (latent - scale.latent(about.cut)) / scale.spread


def _guess(dice: Dice) -> Pair:
    """A number, or a vague word, against a conclusion that some people draw from it and others do not."""
    scale = dice.pick(SCALES)
    who, guess, pole = who_of(KIND_OF[scale.name], dice), asked(scale.guesses, dice), asked(scale.poles, dice)
    report = report_of(pole, dice)
    number = number_near(scale, guess, _GUESS_SPREAD * dice.between(-5, 5))
    in_words = dice.yes(0.5)
    premise = sentence(scale.says.format(who=who, n=scale.written(number)))
    evidence = _reported(scale, pole, report, guess) if in_words else beyond(scale, guess, number)
    return Pair(
        reported(scale, who, pole, report) if in_words else premise,
        sentence(guess.sentence.format(who=who)),
        TRAIT[scale.name, guess.sentence],
        evidence / _GUESS_SPREAD,
        _GUESS_BAND,
        False,
        "guess",
    )


def _any_premise(scale: PropertyScale, who: str, dice: Dice) -> str:
    """Any premise on this scale: a vague word, a number, or a number in words."""
    pole = asked(scale.poles, dice)
    vague = reported(scale, who, pole, report_of(pole, dice))
    wording = sentence(dice.pick(scale.words)[0].format(who=who))
    number = any_fact(scale, who, dice)
    return vague if dice.yes(0.35) else wording if dice.yes(0.08) else number


def _other_assertion(scale: PropertyScale, who: str, dice: Dice) -> tuple[str, int]:
    """Any hypothesis on this scale, and its trait."""
    guess, pole = asked(scale.guesses, dice), asked(scale.poles, dice)
    degree = degree_of(pole, _PLAIN, dice)
    denied = denies(pole, degree, _DENIED, dice)
    if dice.yes(0.2):
        return sentence(guess.sentence.format(who=who)), TRAIT[scale.name, guess.sentence]
    return assertion(scale, who, phrase_of(pole, degree.word), denied), TRAIT[scale.name, pole.phrase]


def _unrelated(dice: Dice) -> Pair:
    """A fact on one scale, a hypothesis on another scale of the same thing: neutral."""
    scale = dice.pick(SCALES)
    kind = KIND_OF[scale.name]
    who, other = who_of(kind, dice), dice.pick([s for s in kind.scales if s is not scale])
    hypothesis, trait = _other_assertion(other, who, dice)
    premise = _any_premise(scale, who, dice)
    return Pair(premise, hypothesis, trait, 0.0, CERTAIN, False, "unrelated")


def _elsewhere(dice: Dice) -> Pair:
    """A fact about one thing, a hypothesis on the same scale about another thing: neutral."""
    scale = dice.pick(SCALES)
    a, b = two(KIND_OF[scale.name], dice)
    hypothesis, trait = _other_assertion(scale, b, dice)
    return Pair(_any_premise(scale, a, dice), hypothesis, trait, 0.0, CERTAIN, False, "elsewhere")


def _comparison(dice: Dice) -> Pair:
    """A comparison of two things against another comparison of them: settled by logic."""
    scale = dice.pick(_WITH_MORE)
    a, b = two(KIND_OF[scale.name], dice)
    says_more, asks_more, swapped = dice.yes(0.5), dice.yes(0.5), dice.yes(0.5)
    premise = (scale.more if says_more else scale.less).format(a=a, b=b)
    x, y = (b, a) if swapped else (a, b)
    hypothesis = (scale.more if asks_more else scale.less).format(a=x, b=y)
    holds = (says_more == asks_more) != swapped
    trait = TRAIT[scale.name, scale.poles[0].phrase]
    evidence = CERTAIN if holds else -CERTAIN
    return Pair(sentence(premise), sentence(hypothesis), trait, evidence, _VAGUE_BAND, False, "comparison")


def _suggestion(dice: Dice) -> Pair:
    """A comparison of two things against a vague word for one of them: suggested, to some readers."""
    scale = dice.pick(_WITH_MORE)
    a, b = two(KIND_OF[scale.name], dice)
    says_more, of_first, pole = dice.yes(0.5), dice.yes(0.75), asked(scale.poles, dice)
    degree = degree_of(pole, _PLAIN, dice)
    premise = (scale.more if says_more else scale.less).format(a=a, b=b)
    toward = 1 if (says_more == of_first) == (pole.sign > 0) else -1
    return Pair(
        sentence(premise),
        assertion(scale, a if of_first else b, phrase_of(pole, degree.word), False),
        TRAIT[scale.name, pole.phrase],
        toward * _LEAN - degree.shift / 2,
        _LEAN_BAND,
        False,
        "suggestion",
    )


def _difference(dice: Dice) -> Pair:
    """The size of a difference against a vague word for it."""
    scale = dice.pick(_WITH_GAP)
    gap = scale.gap
    assert gap is not None
    a, b = two(KIND_OF[scale.name], dice)
    large = asked((True, False), dice)
    pole = Pole("", 1 if large else -1, gap.cut_large if large else gap.cut_small)
    number = max(2.0, readable_number(pole.cut * math.exp(pole.sign * _margin(dice) * _GAP_SPREAD)))
    return Pair(
        sentence(gap.says.format(a=a, b=b, n=f"{number:g}")),
        sentence((gap.large if large else gap.small).format(a=a, b=b)),
        TRAIT[scale.name, "much" if large else "slightly"],
        pole.sign * math.log(number / pole.cut) / _GAP_SPREAD,
        _VAGUE_BAND,
        False,
        "difference",
    )


def _number(dice: Dice) -> Pair:
    """A number against a bound: settled by arithmetic."""
    scale = dice.pick(_COUNTED)
    who, upward, far = who_of(KIND_OF[scale.name], dice), dice.yes(0.5), dice.between(1.0, 4.0)
    number = number_near(scale, dice.pick(scale.poles), dice.between(-4, 4))
    bound = scale.readable(scale.latent(number) + (far if dice.yes(0.5) else -far) * scale.spread)
    holds = number > bound if upward else number < bound
    words = f"{'more' if upward else 'less'} than {scale.written(bound)}"
    return Pair(
        sentence(scale.says.format(who=who, n=scale.written(number))),
        sentence(scale.says.format(who=who, n=words)),
        TRAIT[scale.name, "about"],
        CERTAIN if holds else -CERTAIN,
        _VAGUE_BAND,
        False,
        "number",
    )


def _approximate(dice: Dice) -> Pair:
    """A number against "about" another number, which people stretch differently."""
    scale = dice.pick(_WITH_RATIO)
    who = who_of(KIND_OF[scale.name], dice)
    number = number_near(scale, dice.pick(scale.poles), dice.between(-3, 4))
    side = 1 if dice.yes(0.5) else -1
    off = 0.0 if dice.yes(0.3) else dice.between(0.03, 0.25) if dice.yes(0.55) else dice.between(0.3, 1.5)
    named = scale.readable(scale.latent(number) + side * off)
    return Pair(
        sentence(scale.says.format(who=who, n=scale.written(number))),
        sentence(scale.says.format(who=who, n=f"about {scale.written(named)}")),
        TRAIT[scale.name, "about"],
        (_TOLERANCE - abs(math.log(named / number))) / _TOLERANCE_SPREAD,
        _VAGUE_BAND,
        False,
        "approximate",
    )


_RECIPES: tuple[tuple[Callable[[Dice], Pair], float], ...] = (
    (_vague, 0.38),
    (_graded, 0.25),
    (_wording, 0.02),
    (_guess, 0.07),
    (_unrelated, 0.15),
    (_elsewhere, 0.03),
    (_comparison, 0.01),
    (_suggestion, 0.04),
    (_difference, 0.03),
    (_number, 0.01),
    (_approximate, 0.01),
)
_EDGES = tuple(accumulate(weight for _, weight in _RECIPES))


def write_pair(numbers: Sequence[float]) -> Pair:
    """One pair from `grammar.DRAWS` independent uniform numbers in [0, 1)."""
    chosen = min(bisect(_EDGES, numbers[0] * _EDGES[-1]), len(_RECIPES) - 1)
    return _RECIPES[chosen][0](Dice(numbers[1:]))
