"""Draws that several statistics share: what is kept of one is what would be computed anew, to the bit."""

from __future__ import annotations

import numpy as np

from dissensus.stats.bootstrap import drawn_units, times_drawn
from dissensus.stats.draws import RANKED, Draws, Memo, Units
from dissensus.stats.partial import RankDesign


def test_shared_draws_give_the_bits_of_draws_of_their_own() -> None:
    rng = np.random.default_rng(0)
    n, clusters = 120, np.arange(120) // 2
    units = Units.among(n, clusters)
    counts = times_drawn(next(drawn_units(60, 24, rng, rows=24)))
    x = rng.integers(0, 9, n).astype(float)
    shared = Draws.of(counts, units, several=True)
    held = {name: rng.random(n) for name in ("a", "b")}
    for _ in range(RANKED + 1):  # more columns than are kept
        y = rng.random(n) + x / 9
        for names in (("a",), ("b",), ("a", "b"), ()):
            design = RankDesign.of(x, y, {name: held[name] for name in names}, units=units.of)
            again = RankDesign.of(x, y, {}, units=units.of, samples=(design.x, design.y), basis=design.basis)
            expected = design.correlations(Draws.of(counts, units))
            for one in (design, again):
                np.testing.assert_array_equal(one.correlations(shared), expected)


def test_the_oldest_result_is_let_go() -> None:
    made: list[str] = []
    memo, first, second = Memo(1), object(), object()

    def ask(name: str, of: object) -> str:
        return memo.of(name, (of,), lambda: made.append(name) or name)

    assert [ask("a", first), ask("a", first), ask("a", second), ask("a", first)] == ["a"] * 4
    assert len(made) == 3
