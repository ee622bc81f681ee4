"""Grammar of the simulated pairs: a pair and its latent truth, dice, the traits, and phrases of the world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dissensus.data.sources.simulated.scales import Degree, Guess, Kind, Pole, PropertyScale, Report
from dissensus.data.sources.simulated.world import DEGREES, REPORTS, WORLD

T = TypeVar("T")

DRAWS = 24
"""Uniform numbers that one pair may use."""

CERTAIN = 12.0
"""Evidence, or half a neutral zone, that practically no threshold overturns."""


ASK_FIRST = 0.9
"""Probability that a hypothesis takes a scale's first pole without looking at the others."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair of sentences and what decides its label (see `panel.Judgements`)."""

    premise: str
    hypothesis: str
    trait: int
    evidence: float
    band: float
    denied: bool
    phenomenon: str


class Dice:
    """A finite run of uniform numbers, used up one by one."""

    def __init__(self, numbers: Sequence[float]) -> None:
        self._numbers: Iterator[float] = iter(numbers)

    def between(self, low: float, high: float) -> float:
        """A number from an interval."""
        return low + (high - low) * next(self._numbers)

    def yes(self, probability: float) -> bool:
        """True with this probability."""
        return next(self._numbers) < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each as likely."""
        return options[int(next(self._numbers) * len(options))]


KIND_OF = {scale.name: kind for kind in WORLD for scale in kind.scales}
SCALES = tuple(scale for kind in WORLD for scale in kind.scales)


def _traits() -> dict[tuple[str, str], int]:
    names: list[tuple[str, str]] = []
    for scale in SCALES:
        names += [(scale.name, pole.phrase) for pole in scale.poles]
        names += [(scale.name, guess.sentence) for guess in scale.guesses]
        names += [(scale.name, word) for word in ("much", "slightly", "about")]
    return {name: number for number, name in enumerate(names)}


TRAIT = _traits()
TRAITS = len(TRAIT)
"""How many words have a personal threshold."""


def who_of(kind: Kind, dice: Dice) -> str:
    """Some thing of this kind, as it stands in a sentence."""
    return f"{dice.pick(kind.first)} {dice.pick(kind.second)}".rstrip()


def two(kind: Kind, dice: Dice) -> tuple[str, str]:
    """Two different things; a collision moves the second to the next first name."""
    a, b = who_of(kind, dice), who_of(kind, dice)
    step = dice.pick(range(1, len(kind.first)))
    if a == b:
        place = (kind.first.index(_first(kind, a)) + step) % len(kind.first)
        b = kind.first[place] + a[len(_first(kind, a)) :]
    return a, b


def _first(kind: Kind, name: str) -> str:
    return next(first for first in kind.first if name.startswith(first))


def degree_of(pole: Pole, plain: float, dice: Dice) -> Degree:
    """No degree word with probability `plain`, and always where the pole takes none; else any of the others."""
    other = dice.pick(DEGREES[1:])
    return DEGREES[0] if dice.yes(plain) or "{m}" not in pole.phrase else other


def phrase_of(pole: Pole, degree: str) -> str:
    """The pole's words with the degree word in them."""
    return pole.phrase.format(m=degree).replace("a extremely", "an extremely")


def asked(options: Sequence[T], dice: Dice) -> T:
    """What a hypothesis asks about: mostly the first pole, or conclusion, of a scale.

    Asking for "tall" more often than for "short" lets a small model start from "which end does the premise speak
    of?", which it learns from few examples, before it has to combine both sentences.
    """
    return options[0] if dice.yes(ASK_FIRST) else dice.pick(options)


def number_near(scale: PropertyScale, pole: Pole | Guess, spreads: float) -> float:
    """A readable number that many spreads beyond the cut, in the direction of the pole."""
    return scale.readable(scale.latent(pole.cut) + pole.sign * spreads * scale.spread)


def beyond(scale: PropertyScale, pole: Pole | Guess, number: float) -> float:
    """How far a number is beyond the cut, in spreads."""
    return pole.sign * (scale.latent(number) - scale.latent(pole.cut)) / scale.spread


def sentence(text: str) -> str:
    """With a capital at the front."""
    return text[0].upper() + text[1:]


def assertion(scale: PropertyScale, who: str, phrase: str, denied: bool) -> str:
    """The hypothesis that says, or denies, that the phrase holds."""
    return sentence((scale.denial if denied else scale.assertion).format(who=who, p=phrase))


def denies(pole: Pole, degree: Degree, share: float, dice: Dice) -> bool:
    """Whether to deny; "not fairly" is left out, nobody says it."""
    return dice.yes(share) and pole.deniable and degree.shift >= 0


def report_of(pole: Pole, dice: Dice) -> Report:
    """Any way to report with this pole that reads well."""
    options = [
        r for r in REPORTS if (pole.deniable or not r.denied) and ("{m}" in pole.phrase or not r.degree)
    ]
    return dice.pick(options)


def reported(scale: PropertyScale, who: str, pole: Pole, report: Report) -> str:
    """The premise that reports a number with a vague word."""
    return assertion(scale, who, report.before + phrase_of(pole, report.degree), report.denied)


def any_fact(scale: PropertyScale, who: str, dice: Dice) -> str:
    """A premise with any number of the scale."""
    number = number_near(scale, dice.pick(scale.poles), dice.between(-6, 6))
    return sentence(scale.says.format(who=who, n=scale.written(number)))
