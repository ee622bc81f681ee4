"""Worlds whose truth is known: in none are verdicts false more often than the rule says.

Each of these worlds was judged by the verdicts as they were before; what they said then stands beside it.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from dissensus.analysis.claims.trial import LEVEL, judged
from dissensus.analysis.claims.worlds import SHARE, WORLDS

STUDIES = 6
MOST = 1
"""False verdicts among six studies: two and more come up in 1% at the stated level (binomial, 2.5%)."""


@cache
def verdicts(world: str) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for number in range(STUDIES):
        for claim, verdict in judged(world, number, seed=1, resamples=100).items():
            found.setdefault(claim, Counter())[verdict] += 1
    return found


HOSTILE = [world for world in WORLDS if world not in ("planted", "none", "all but one condition")]


@pytest.mark.parametrize("world", HOSTILE)
def test_verdicts_are_false_no_more_often_than_the_level(world: str) -> None:
    assert LEVEL == 0.025
    for claim, counts in verdicts(world).items():
        bad = "contradicted" if claim in WORLDS[world].true else "supported"
        assert counts[bad] <= MOST, (claim, counts)


def test_methods_that_differ_in_speed_alone_are_not_told_apart() -> None:
    # Before: 'supported' in 6 of 6 with three points.
    for points in (3, 4):
        assert verdicts(f"slower LoRA, {points} points")["C3, trained on"] == {"inconclusive": STUDIES}
    assert verdicts("slower LoRA, 8 points")["C3, trained on"]["supported"] <= MOST


def test_a_late_rise_after_a_noisy_start_is_seen() -> None:
    # Before: 'contradicted' in 6 of 6.
    assert verdicts("noisy head")["C3, trained on"]["supported"] >= STUDIES - 2


def test_a_flat_noisy_curve_has_no_rise() -> None:
    assert verdicts("noisy head, no rise")["C3, trained on"]["supported"] <= MOST


def test_nothing_is_unlearned_where_nothing_was_learned() -> None:
    # Before: 'supported' or 'contradicted' in 4 of 6, from matches at step 0 and from cells without any learning.
    assert verdicts("settled never falls")["C3, trained on"] == {"not testable here": STUDIES}


def test_flipped_examples_far_beyond_contested_ones_are_not_like_them() -> None:
    # Before: 'supported' in 6 of 6.
    counts = verdicts("flipped above contested above plain")["C6"]
    assert counts["supported"] == 0
    assert counts["contradicted"] >= STUDIES - 3


@pytest.mark.parametrize("world", ["untrained decoder", "decoder with a telling head"])
def test_a_fresh_heads_correlation_is_not_the_decoders(world: str) -> None:
    # Before: 'supported' in 6 of 6, in both.
    counts = verdicts(world)["C2"]
    assert counts["supported"] == 0
    if world == "untrained decoder":
        assert counts == {"not testable here": STUDIES}


def test_what_the_gold_share_explains_is_not_entropys() -> None:
    # Before, with a line through the ranks: 'supported' in 4 of 4.
    assert verdicts("confounded gold share")[SHARE]["supported"] <= MOST


def test_one_reversed_condition_contradicts_every_condition() -> None:
    counts = verdicts("one reversed condition")["C1"]
    assert counts["contradicted"] >= STUDIES - 1


def test_twelve_texts_are_too_few_for_a_verdict() -> None:
    # Before: C1, C3, C4 and C5 had verdicts, C3 in 6 of 6.
    for claim, counts in verdicts("few clusters").items():
        assert counts == {"not testable here": STUDIES}, claim
