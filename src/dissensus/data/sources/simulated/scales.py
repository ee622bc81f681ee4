"""Scales of the simulated world: a thing's kind, the scales it is measured on, and the vague words for each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Pole:
    """A vague word for one end of a scale.

    Attributes:
        phrase: the words; `{m}` takes a degree word ("very ", "fairly ") or nothing.
        sign: +1 when larger numbers make it truer, -1 when smaller ones do.
        cut: the number at which the average annotator starts to apply it.
        deniable: whether "not" in front of it reads well.
    """

    phrase: str
    sign: Literal[1, -1]
    cut: float
    deniable: bool = True


@dataclass(frozen=True, slots=True)
class Degree:
    """A degree word of a hypothesis, and how far it moves the cut outward, in spreads."""

    word: str
    shift: float


@dataclass(frozen=True, slots=True)
class Report:
    """How a premise speaks of a vague word instead of giving the number.

    Attributes:
        degree: degree word inside the phrase.
        before: words in front of the phrase.
        denied: whether the scale's denial is used.
        stands_for: how far beyond the plain cut the number is that is reported so, in spreads.
    """

    degree: str
    before: str
    denied: bool
    stands_for: float


@dataclass(frozen=True, slots=True)
class Guess:
    """A conclusion that people jump to from a number: plausible at the far end of the scale, never certain."""

    sentence: str
    sign: Literal[1, -1]
    cut: float


@dataclass(frozen=True, slots=True)
class Gap:
    """Words for the difference of two things on one scale.

    Attributes:
        says: a sentence with `{a}`, `{b}` and the difference `{n}`.
        large, small: sentences that call the difference large, or small.
        cut_large, cut_small: the differences at which the average annotator starts to do so.
    """

    says: str
    large: str
    small: str
    cut_large: float
    cut_small: float


@dataclass(frozen=True, slots=True)
class PropertyScale:
    """One measurable property of one kind of thing.

    Attributes:
        name: unique in the world.
        says: premise sentence with `{who}` and the number `{n}`.
        assertion, denial: hypothesis sentences with `{who}` and a pole's phrase `{p}`.
        form: "log" compares ratios, "linear" differences, "clock" is linear in hours and written as h:mm.
        spread: standard deviation, over annotators, of the cut of a pole (natural log units for "log").
        floor, ceiling: the numbers that occur.
        step: rounding of "linear" and "clock" numbers ("log" ones are rounded to about two digits).
        poles: the vague words.
        words: premise sentences that say the number in words, with the number that they stand for.
        guesses: conclusions people jump to.
        more, less: comparisons of `{a}` with `{b}`, true when a's number is the larger, or the smaller.
        gap: words for differences.
    """

    name: str
    says: str
    assertion: str
    denial: str
    form: Literal["log", "linear", "clock"]
    spread: float
    floor: float
    ceiling: float
    poles: tuple[Pole, ...]
    step: float = 1.0
    words: tuple[tuple[str, float], ...] = ()
    guesses: tuple[Guess, ...] = ()
    more: str = ""
    less: str = ""
    gap: Gap | None = None

    def latent(self, number: float) -> float:
        """The number on the axis on which differences are compared with `spread`."""
        return math.log(number) if self.form == "log" else number

    def readable(self, latent: float) -> float:
        """The nearest number inside the scale that a person would write down."""
        if self.form == "log":
            return readable_number(min(max(math.exp(latent), self.floor), self.ceiling))
        rounded = round(latent / self.step) * self.step
        return min(max(rounded, self.floor), self.ceiling)

    def written(self, number: float) -> str:
        """A number of this scale as it stands in a sentence."""
        if self.form == "clock":
            minutes = round(number * 60) % 1440
            return f"{minutes // 60}:{minutes % 60:02d}"
        return f"{number:g}"


_ROUND = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)


def readable_number(number: float) -> float:
    """The nearest (by ratio) of the round numbers 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, ...; never below 1.

    Few different numbers, so that a small training set shows each of them often.
    """
    if number < 10:
        candidates = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
    else:
        unit = 10.0 ** math.floor(math.log10(number))
        candidates = [unit * digit for digit in (*_ROUND, 10.0)]
    return min(candidates, key=lambda candidate: abs(math.log(candidate / number)))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing: its names (first part x second part) and its scales."""

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    scales: tuple[PropertyScale, ...]
