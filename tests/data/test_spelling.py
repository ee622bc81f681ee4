"""Which spellings are one name, and the join of ids that two files spell differently."""

from __future__ import annotations

import pytest

from dissensus.data.spelling import alike, match_ids, spelling_key
from dissensus.errors import DataError


@pytest.mark.parametrize(
    "spellings",
    [
        ("Positive", "positive", " POSITIVE ", "ｐｏｓｉｔｉｖｅ"),  # full width
        ("1.50", "1.5", "01.5", "+1.5"),
        ("0", "-0", "0.0", "00", "0."),
        (".5", "0.5", "0.50"),
        ("-1", "-1.0", "-01"),
        ("not  sure", "Not sure"),
        ("pos", "pos\u200b", "\ufeffpos"),
    ],
)
def test_spellings_of_one_name(spellings: tuple[str, ...]) -> None:
    assert len({spelling_key(name) for name in spellings}) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("1", "-1"), ("1.5", "1.05"), ("a-07", "a-7"), ("10", "1"), ("1e3", "1000")]
)
def test_other_names_stay_apart(one: str, other: str) -> None:
    assert spelling_key(one) != spelling_key(other)


def test_names_that_differ_in_spelling_alone() -> None:
    assert alike(["Anna", "Ben", "anna", "Anna"]) == [("Anna", "anna")]


@pytest.mark.parametrize(("one", "other"), [("1", "1.0"), (" a", "a"), ("7", "007"), ("Item-3", "item-3")])
def test_an_id_is_joined_with_its_other_spelling_and_it_is_said(one: str, other: str) -> None:
    match = match_ids([one, "b"], [other, "b", "c"], "x.csv and y.csv")
    assert match.known == {one: other, "b": "b"}
    assert match.notes("in y.csv") == [
        f"1 ids are spelt otherwise in y.csv and were joined all the same, e.g. {one!r} with {other!r}"
    ]


def test_the_same_spelling_comes_first_and_says_nothing() -> None:
    match = match_ids(["1", "2"], ["1", "1.0", "01", "2"], "x and y")
    assert match.known == {"1": "1", "2": "2"}
    assert match.notes("in y") == []
    assert match_ids(["1"], ["2"], "x and y").known == {}


@pytest.mark.parametrize(
    ("ids", "others", "named"), [(["7"], ["007", "07"], ("007", "07")), (["A", "a "], ["a"], ("A", "a "))]
)
def test_an_id_with_two_candidates_is_refused(
    ids: list[str], others: list[str], named: tuple[str, str]
) -> None:
    with pytest.raises(DataError, match="Write ids alike in both files") as refusal:
        match_ids(ids, others, "x and y")
    assert all(repr(name) in str(refusal.value) for name in named)
