"""Annotators that may be gold labels: by name, or by always siding with the majority of the others."""

from __future__ import annotations

import pytest

from dissensus.data.answers import Answer
from dissensus.data.gold_like import FEWEST_DISPUTED, gold_like_notes, is_gold_name


@pytest.mark.parametrize(
    "name", ["gold", "Gold_Label", "consensus", "final-label", "majority", "aggregated", "y.truth"]
)
def test_names_of_gold_labels(name: str) -> None:
    assert is_gold_name(name)


@pytest.mark.parametrize("name", ["A", "Goldberg", "annotator1", "finally", "Marigold"])
def test_names_of_people(name: str) -> None:
    assert not is_gold_name(name)


def turning(n: int) -> list[list[Answer]]:
    """n items of which A, B and C dissent in turn, and D never."""
    return [[Answer(str(k), who, ("n" if who == "ABC"[k % 3] else "y",)) for who in "ABCD"] for k in range(n)]


def test_who_is_with_the_majority_in_every_dispute_is_said() -> None:
    (note,) = gold_like_notes(turning(FEWEST_DISPUTED))
    assert note == (
        "'D' counts as an annotator, and always agrees with the majority of the others; if it is a gold label, say "
        "`leave_out: [D]`"
    )


def test_nothing_is_said_of_few_disputes_or_of_one_dissent() -> None:
    assert gold_like_notes(turning(FEWEST_DISPUTED - 1)) == []
    once = turning(FEWEST_DISPUTED + 5)
    once[0][3] = Answer("0", "D", ("n",))
    assert gold_like_notes(once) == []


def test_nothing_is_said_of_somebody_who_answered_a_part() -> None:
    items = turning(FEWEST_DISPUTED + 5)
    items[0] = items[0][:3]
    assert gold_like_notes(items) == []
