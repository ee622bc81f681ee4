"""Flags of annotators in worlds of known truth: whoever is honest is not flagged, and nothing is told from too little.

The worlds are those of `validation/annotators.py`, whose rates over many draws stand in docs/design/annotators.md.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dissensus.data.annotators.flags import flag_annotators, holm
from dissensus.data.annotators.panel import Panel


def _validation() -> ModuleType:
    path = Path(__file__).parents[2] / "validation" / "annotators.py"
    spec = importlib.util.spec_from_file_location("validation_annotators", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


V = _validation()
WORLDS = {world.name: world for world in V.WORLDS}


@pytest.mark.parametrize("name", [name for name in WORLDS if "crowd" not in name])
def test_nobody_honest_is_flagged(name: str) -> None:
    assert V.rates(WORLDS[name], 5, seed=1).false == 0.0


@pytest.mark.parametrize("name", [name for name in WORLDS if "crowd" in name])
def test_nobody_honest_is_flagged_in_a_crowd(name: str) -> None:
    assert V.rates(WORLDS[name], 1, seed=1).false == 0.0


@pytest.mark.parametrize(
    "name",
    [
        "dense: 300 items, 8 people, 1 guesses",
        "dense, 3 of 8 guess",
        "dense, 1 answers the middle to everything",
        "3 of 8 copy one guesser",
        "all items contested, 1 guesses",
        "skewed: 94 % one label, 1 guesses",
    ],
)
def test_noise_is_flagged(name: str) -> None:
    assert V.rates(WORLDS[name], 10, seed=2).right >= 0.7


@pytest.mark.parametrize(
    "name",
    ["few items: 15, 8 people, 2 guess", "few people: 2, 1 guesses", "crowd, 10 answers each, 6 guess"],
)
def test_too_little_is_not_told(name: str) -> None:
    assert V.rates(WORLDS[name], 2, seed=3).not_told == 1.0


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("dense: 300 items, 8 people, 1 guesses", ["random"]),
        ("dense, 1 answers the middle to everything", ["constant"]),
        ("dense, scale of 5 turned round", ["inverted"]),
        ("dense, two labels turned round", ["inverted"]),
        ("3 of 8 copy one guesser", ["copy"] * 3),
    ],
)
def test_the_kind_of_noise_is_named(name: str, kinds: list[str]) -> None:
    world = WORLDS[name]
    panel = world.draw(np.random.default_rng([4, 0]))
    flags = flag_annotators(panel, range(world.labels) if world.ordinal else None)
    assert [flag.kind for flag in flags if flag.kind] == kinds


def test_the_scale_turned_round_is_a_consistent_view_where_labels_have_no_order() -> None:
    panel = WORLDS["dense, scale of 5 turned round"].draw(np.random.default_rng(5))
    assert {flag.outcome for flag in flag_annotators(panel)} == {"informative"}


def test_renaming_labels_and_annotators_changes_nothing() -> None:
    panel = WORLDS["dense, 3 of 8 guess"].draw(np.random.default_rng(6))
    flags = flag_annotators(panel)
    order = np.random.default_rng(7).permutation(8)
    other = Panel.from_arrays(
        panel.item, order[panel.annotator], (panel.shares.argmax(axis=1) + 1) % 3, items=300, labels=3
    )
    again = flag_annotators(other)
    assert [flag.outcome for flag in flags] == [again[order[k]].outcome for k in range(8)]


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .04: times 3, 2, 1 = .03 .04 .04.
    assert holm(np.array([0.04, np.nan, 0.01, 0.02])) == pytest.approx(
        [0.04, np.nan, 0.03, 0.04], nan_ok=True
    )
