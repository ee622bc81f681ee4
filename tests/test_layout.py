"""Tables and sentences on narrow terminals: whole words and numbers, whatever the width."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from dissensus.cli.layout import sentence_lines, short_names, table_lines, units, wrapped

NAMES = [
    "chaosnli-snli.minilm-l6.lora-r4.held_out",
    "chaosnli-snli.minilm-l6.full.held_out",
    "chaosnli-snli.smollm2-135m.lora-r4.held_out",
]


def test_names_are_broken_after_dots_and_slashes_and_numbers_are_not() -> None:
    assert units("a.lora-r4.held_out") == ["a.", "lora-r4.", "held_out"]
    assert units("0.31 [-0.14, 0.40]") == ["0.31", " [-0.14,", " 0.40]"]
    assert units("qwen2.5-0.5b 5/12 org/name") == ["qwen2.5-0.5b", " 5/12", " org/", "name"]
    assert wrapped("one.two.three", 8, indent=2) == ["one.two.", "  three"]
    assert wrapped("", 8) == [""]
    assert wrapped("unbreakable", 4) == ["unbreakable"]


def test_a_table_that_fits_is_left_as_it_is() -> None:
    assert table_lines(("a", "b"), [("x", "1"), ("yy", "22")], width=80, numeric={"b"}) == [
        "a    b",
        "------",
        "x    1",
        "yy  22",
    ]


def test_a_table_that_does_not_fit_breaks_headings_then_texts_then_is_shared_out() -> None:
    rows = [("first name", "0.31 [0.20, 0.42]", "1"), ("second", "0.05 [-0.10, 0.20]", "2")]
    columns = ("name", "rho(entropy, AULC)", "how many seeds")
    assert table_lines(columns, rows, width=38, numeric=columns[1:]) == [
        "                                  how",
        "                                 many",
        "name        rho(entropy, AULC)  seeds",
        "-------------------------------------",
        "first name   0.31 [0.20, 0.42]      1",
        "second      0.05 [-0.10, 0.20]      2",
    ]
    assert table_lines(columns, rows, width=31, numeric=columns[1:]) == [
        "name        rho(entropy, AULC)",
        "------------------------------",
        "first name   0.31 [0.20, 0.42]",
        "second      0.05 [-0.10, 0.20]",
        "",
        "name        how many seeds",
        "--------------------------",
        "first name               1",
        "second                   2",
    ]
    # Not even a name and one column: a list.
    assert table_lines(columns, rows[:1], width=20, numeric=columns[1:]) == [
        "name: first name",
        "  rho(entropy, AULC): 0.31 [0.20, 0.42]",
        "  how many seeds: 1",
    ]


WORD = st.text(st.sampled_from("abc.-/_0123456789"), min_size=1, max_size=14)
CELL = st.lists(WORD, max_size=4).map(" ".join)


@given(
    st.integers(2, 5).flatmap(
        lambda n: st.tuples(
            st.lists(CELL, min_size=n, max_size=n, unique=True),
            st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=4),
        )
    ),
    st.integers(20, 100),
)
def test_no_unit_is_ever_broken_nor_lost_and_lines_fit(
    made: tuple[list[str], list[list[str]]], width: int
) -> None:
    columns, rows = made
    lines = table_lines(columns, rows, width=width, numeric=columns[1:2])
    text = "\n".join(lines)
    for cell in [*columns, *(cell for row in rows for cell in row)]:
        for unit in units(cell):
            assert unit.strip() in text
    whole = max(len(cell) for cell in [*columns, *(cell for row in rows for cell in row)])
    pair = 2 * whole + 2
    if pair <= width:
        assert max(len(line) for line in lines) <= width


def test_what_names_have_in_common_is_left_out() -> None:
    assert short_names(NAMES) == (
        ["minilm-l6.lora-r4", "minilm-l6.full", "smollm2-135m.lora-r4"],
        "chaosnli-snli.*.held_out",
    )
    assert short_names(["a.x.b", "a.y.b"]) == (["x", "y"], "a.*.b")
    assert short_names(["m.a.b", "m.a.b.variant"]) == (["m.a.b", "m.a.b.variant"], "")
    assert short_names(["m.a.b", "m.a.c.variant"]) == (["b", "c.variant"], "m.a.*")
    assert short_names(["a.b"]) == (["a.b"], "")
    assert short_names(["a", "b"]) == (["a", "b"], "")
    # A dot between digits is part of a number.
    assert short_names(["d.qwen2.5.x", "d.qwen2.7.x"]) == (["qwen2.5", "qwen2.7"], "d.*.x")


@given(st.lists(CELL, min_size=1, max_size=6).map("\n".join), st.integers(10, 60))
def test_sentences_keep_their_words(text: str, width: int) -> None:
    lines = sentence_lines(text, width)
    assert " ".join(lines).split() == text.split()
    for line in lines:
        assert len(line) <= width or len(line.split()) == 1


def test_a_sentence_is_broken_at_spaces_alone() -> None:
    text = "  see runs/a.long.name/cells and more"
    assert sentence_lines(text, 20) == ["  see", "    runs/a.long.name/cells", "    and more"]
    assert re.sub(r"\s+", " ", " ".join(sentence_lines(text, 20))).strip() == text.strip()
