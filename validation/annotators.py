"""Rates of false and right flags of annotators in worlds whose truth is known: `python validation/annotators.py`.

Prints the table of docs/design/annotators.md. `tests/data/test_annotator_flags.py` holds a few draws of each world.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.data.annotators.flags import flag_annotators
from dissensus.data.annotators.panel import Panel

Chances = NDArray[np.float64]
Answer = Callable[[np.random.Generator, Chances], NDArray[np.int64]]
"""From a generator and the label chances of the items, shape (n, K), to a label for each."""


def draw(rng: np.random.Generator, chances: Chances) -> NDArray[np.int64]:
    """An honest annotator: a label from each item's own chances."""
    return (rng.random((len(chances), 1)) > np.cumsum(chances, axis=1)[:, :-1]).sum(axis=1)


def guess(rng: np.random.Generator, chances: Chances) -> NDArray[np.int64]:
    """Any label, whatever the item."""
    return rng.integers(chances.shape[1], size=len(chances))


def guess_by_frequency(rng: np.random.Generator, chances: Chances) -> NDArray[np.int64]:
    """Any label, as often as the others choose it, whatever the item."""
    return rng.choice(chances.shape[1], p=chances.mean(axis=0), size=len(chances))


def always(_: np.random.Generator, chances: Chances) -> NDArray[np.int64]:
    """The middle label for everything."""
    return np.full(len(chances), chances.shape[1] // 2)


def shifted(rng: np.random.Generator, chances: Chances) -> NDArray[np.int64]:
    """A consistent confusion: each label for the next."""
    return (draw(rng, chances) + 1) % chances.shape[1]


def merged(rng: np.random.Generator, chances: Chances) -> NDArray[np.int64]:
    """A consistent view of two labels as one."""
    return np.maximum(draw(rng, chances), 1)


def turned(rng: np.random.Generator, chances: Chances) -> NDArray[np.int64]:
    """The scale turned round."""
    return chances.shape[1] - 1 - draw(rng, chances)


def strict(rng: np.random.Generator, chances: Chances) -> NDArray[np.int64]:
    """An honest annotator who gives label 0 three times out of four where others would give another."""
    labels = draw(rng, chances)
    return np.where(rng.random(len(labels)) < 0.75, 0, labels)


def tired(rng: np.random.Generator, chances: Chances) -> NDArray[np.int64]:
    """An honest annotator who guesses every other time."""
    return np.where(rng.random(len(chances)) < 0.5, guess(rng, chances), draw(rng, chances))


def chances_of(
    rng: np.random.Generator, items: int, labels: int, contested: float, base: Sequence[float] | None = None
) -> Chances:
    """Label chances of items: a share contested (flat Dirichlet), the others 92 % on one label."""
    true = rng.choice(labels, size=items, p=base)
    settled = np.full((items, labels), 0.08 / (labels - 1))
    settled[np.arange(items), true] = 0.92
    flat = rng.dirichlet(np.ones(labels), size=items)
    if base is not None:
        flat = flat * np.asarray(base)
        flat /= flat.sum(axis=1, keepdims=True)
    return np.where((rng.random(items) < contested)[:, None], flat, settled)


@dataclass(frozen=True)
class World:
    """A panel to draw.

    Attributes:
        name: in the table.
        items: how many.
        people: how many annotators; the first ones are those of `odd`.
        per_item: annotators of each item; None: all.
        odd: how the first annotators answer; the others are honest.
        spam: of those, how many (the first) should be flagged; the others are honest in their way.
        labels: how many.
        contested: share of the items.
        base: label frequencies; None: even.
        copies: the spammers give one set of answers.
        school: this many further annotators share label chances of their own, unrelated to the others'.
        ordinal: labels are an ordered scale.
    """

    name: str
    items: int
    people: int
    per_item: int | None = None
    odd: tuple[Answer, ...] = ()
    spam: int = 0
    labels: int = 3
    contested: float = 0.4
    base: tuple[float, ...] | None = None
    copies: bool = False
    school: int = 0
    ordinal: bool = False

    def draw(self, rng: np.random.Generator) -> Panel:
        """A panel; annotators in the order of `odd`, then the school, then the others."""
        chances = chances_of(rng, self.items, self.labels, self.contested, self.base)
        own = chances_of(rng, self.items, self.labels, self.contested, self.base)
        answers = np.empty((self.people, self.items), dtype=np.int64)
        for k in range(self.people):
            odd = len(self.odd)
            how = self.odd[k] if k < odd else draw
            answers[k] = how(rng, own if odd <= k < odd + self.school else chances)
        if self.copies:
            answers[: self.spam] = answers[0]
        if self.per_item is None:
            who = np.tile(np.arange(self.people), (self.items, 1))
        else:
            who = np.argsort(rng.random((self.items, self.people)), axis=1)[:, : self.per_item]
        item = np.repeat(np.arange(self.items), who.shape[1])
        flat = who.ravel()
        names = tuple(f"a{k:03d}" for k in range(self.people))
        return Panel.from_arrays(
            item, flat, answers[flat, item], items=self.items, labels=self.labels, names=names
        )


SKEWED = (0.94, 0.03, 0.03)
WORLDS = (
    World("dense: 300 items, 8 people, 1 guesses", 300, 8, odd=(guess,), spam=1),
    World("dense, guesses as often as the others", 300, 8, odd=(guess_by_frequency,), spam=1),
    World("dense, all honest", 300, 8),
    World("dense, 3 of 8 guess", 300, 8, odd=(guess,) * 3, spam=3),
    World("dense, 1 answers the middle to everything", 300, 8, odd=(always,), spam=1),
    World("dense, scale of 5 turned round", 300, 8, odd=(turned,), spam=1, labels=5, ordinal=True),
    World("dense, two labels turned round", 300, 8, odd=(turned,), spam=1, labels=2),
    World("few items: 15, 8 people, 2 guess", 15, 8, odd=(guess,) * 2, spam=2),
    World("few items: 40, 8 people, 2 guess", 40, 8, odd=(guess,) * 2, spam=2),
    World("few people: 300 items, 3, 1 guesses", 300, 3, odd=(guess,), spam=1),
    World("few people: 2, 1 guesses", 300, 2, odd=(guess,), spam=1),
    World("all items contested, 1 guesses", 300, 8, odd=(guess,), spam=1, contested=1.0),
    World("all noise: everybody guesses", 300, 8, odd=(guess,) * 8),
    World("consistent confusions (2 of 8)", 300, 8, odd=(shifted, merged)),
    World("consistent confusions, 60 items", 60, 8, odd=(shifted, merged)),
    World("a tired and a strict one", 300, 8, odd=(tired, strict)),
    World("a tired and a strict one, 60 items", 60, 8, odd=(tired, strict)),
    World("school of 2 in 8, unrelated to the rest", 300, 8, school=2),
    World("school of 3 in 9, and 1 guesses", 300, 9, odd=(guess,), spam=1, school=3),
    World("skewed: 94 % one label, 1 guesses", 300, 8, odd=(guess_by_frequency,), spam=1, base=SKEWED),
    World("skewed, a strict one", 300, 8, odd=(strict,), base=SKEWED),
    World("skewed, 60 items, all honest", 60, 8, base=SKEWED),
    World("3 of 8 copy one guesser", 300, 8, odd=(guess,) * 3, spam=3, copies=True),
    World("crowd: 2,000 items, 5 of 60 each, 6 guess", 2000, 60, 5, odd=(guess,) * 6, spam=6),
    World("crowd, two labels, 6 guess", 2000, 60, 5, odd=(guess,) * 6, spam=6, labels=2),
    World("crowd, 10 answers each, 6 guess", 120, 60, 5, odd=(guess,) * 6, spam=6),
    World("crowd, 6 confused", 2000, 60, 5, odd=(shifted, merged) * 3),
    World("crowd, 3 tired, 3 strict", 2000, 60, 5, odd=(tired, strict) * 3),
    World("crowd, unrelated school of 8", 2000, 60, 5, school=8),
    World("crowd, unrelated school of 3", 2000, 60, 5, school=3),
    World("crowd, 6 copy one guesser", 2000, 60, 5, odd=(guess,) * 6, spam=6, copies=True),
)


@dataclass(frozen=True)
class Rates:
    """Rates over the draws of a world.

    Attributes:
        false: share of honest annotators flagged; NaN without any.
        any_false: share of draws with an honest annotator flagged.
        right: share of spammers flagged; NaN without any.
        not_told: share of annotators of whom nothing is told.
    """

    false: float
    any_false: float
    right: float
    not_told: float


def rates(world: World, draws: int, seed: int = 0) -> Rates:
    """Flags of so many draws of a world."""
    honest, right, untold = [], [], []
    for number in range(draws):
        panel = world.draw(np.random.default_rng([seed, number]))
        flags = flag_annotators(panel, tuple(range(world.labels)) if world.ordinal else None)
        flagged = np.array([flag.outcome == "flagged" for flag in flags])
        right.append(flagged[: world.spam])
        honest.append(flagged[world.spam :])
        untold.append([flag.outcome == "not told" for flag in flags])
    false = np.array(honest)
    return Rates(
        float(false.mean()) if false.size else float("nan"),
        float(false.any(axis=1).mean()) if false.size else float("nan"),
        float(np.mean(right)) if world.spam else float("nan"),
        float(np.mean(untold)),
    )


def main() -> None:
    """Print the table."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    sys.stdout.write(
        "| world | spammers flagged | others flagged | draws with a false flag | not told |\n"
        "| --- | --- | --- | --- | --- |\n"
    )
    for world in WORLDS:
        r = rates(world, draws)
        shown = (
            "-" if np.isnan(x) else f"{100 * x:.1f} %" for x in (r.right, r.false, r.any_false, r.not_told)
        )
        sys.stdout.write(f"| {world.name} | {' | '.join(shown)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
