"""How often the live warning is false, and how often it is missing, in worlds whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus.live.rise import GroupRise

RUNS, POINTS, GROUP = 200, 20, 100
U = np.linspace(0, 1, POINTS)
LEARNED = 0.6 + 0.5 * np.exp(-6 * U)
"""A settled group's mean that falls from 1.1 to 0.6 nats."""


def warned(
    contested: np.ndarray, settled: np.ndarray, *, jitter: float, slow: float = 0.0, noise: float = 0.2
) -> int:
    """Of 200 runs with these group means, in how many three points in a row stand clearly above the lowest.

    Each example has a level of its own and noise of its own at each point. The whole group moves by `jitter`, the
    standard deviation of a first-order autoregression with coefficient `slow`; the settled group by half of that.
    """
    rng, count = np.random.default_rng(0), 0
    for _ in range(RUNS):
        common = np.zeros(POINTS)
        for t in range(POINTS):
            common[t] = slow * common[t - 1] + np.sqrt(1 - slow**2) * rng.normal() if t else rng.normal()
        level = rng.normal(0, 0.4, (GROUP, 1))
        losses = [
            mean + share * jitter * common + level + rng.normal(0, noise, (GROUP, POINTS))
            for mean, share in ((contested, 1.0), (settled, 0.5))
        ]
        rule, run, longest = GroupRise(), 0, 0
        for t in range(POINTS):
            run = 0 if rule.add(t, losses[0][:, t], losses[1][:, t]) is None else run + 1
            longest = max(longest, run)
        count += longest >= 3
    return count


@pytest.mark.parametrize("jitter", [0.001, 0.02, 0.05])
@pytest.mark.parametrize(
    ("contested", "settled"),
    [
        (1.1 + 0 * U, 1.1 + 0 * U),  # nothing was learned
        (1.1 + 0 * U, LEARNED),
        (0.95 + 0.15 * np.exp(-6 * U), LEARNED),  # falls, then stays
    ],
)
def test_flat_runs_are_not_warned_of(contested: np.ndarray, settled: np.ndarray, jitter: float) -> None:
    """A rise of three points in a row, by however little, warned of 84 of 200."""
    assert warned(contested, settled, jitter=jitter) <= 10


@pytest.mark.parametrize(
    ("rise", "jitter", "noise", "least"),
    [(0.1, 0.001, 0.05, 195), (0.2, 0.001, 0.2, 195), (0.2, 0.02, 0.2, 160), (0.3, 0.05, 0.2, 100)],
)
def test_real_rises_are(rise: float, jitter: float, noise: float, least: int) -> None:
    assert warned(1.1 + rise * U, LEARNED, jitter=jitter, noise=noise) >= least
    after_a_fall = 1.1 - 0.1 * np.minimum(1, 4 * U) + rise * np.maximum(0, U - 0.4) / 0.6
    assert warned(after_a_fall, LEARNED, jitter=jitter, noise=noise) >= least


def test_a_few_examples_do_not_make_a_group_rise() -> None:
    """Of 100 examples two rise by 5 nats: the mean by .1, with a standard error of .07. Of 60 that rise by .1 the mean
    is .06 and its standard error .005."""
    then, settled = np.ones(100), np.ones(100)
    two, sixty = then.copy(), then.copy()
    two[:2] += 5.0
    sixty[:60] += 0.1
    found = []
    for now in (two, sixty):
        rule = GroupRise()
        assert rule.add(0, then, settled) is None
        found.append(rule.add(7, now, settled - 0.5))
    assert found[0] is None
    assert found[1] is not None
    assert (found[1].since, found[1].settled) == (0, -0.5)
    assert (found[1].mean, found[1].now) == pytest.approx((0.06, 1.06))
