"""Items as the page holds them: what is packed comes back, nothing more than is allowed, and nothing gets out."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dissensus.analysis.triage import KINDS, Triaged
from dissensus.report.items import packed as packing
from dissensus.report.items.collected import DatasetItems, thinned
from dissensus.report.items.kinds import fewer, kinds_of, with_kinds
from dissensus.report.items.packed import packed, text_cut
from dissensus.report.page import write_report
from synthetic_study import dataset, study_spec, write_study

NONE = {"u1": 255, "u2": 65535, "u4": 2**32 - 1}


def items(n: int, *, text: str = "a text") -> DatasetItems:
    return DatasetItems(
        name="made",
        ids=tuple(f"i{k}" for k in range(n)),
        labels=("a", "b"),
        shown=("a", "label b"),
        counts=np.array([[k, 3.0] for k in range(n)]),
        gold=np.array([k % 2 if k else -1 for k in range(n)]),
        entropy=np.linspace(0, 1, n),
        group=np.arange(n) % 4,
        text=tuple({"text": f"{text} {k}"} for k in range(n)),
        conditions=(),
    )


def unpacked(value: list[str]) -> Any:
    kind, text = value
    return np.frombuffer(base64.b64decode(text), dtype=f"<{kind}").tolist()


def test_what_is_packed_comes_back() -> None:
    stored = json.loads(packed([items(5)], kinds_of([items(5)])))["datasets"][0]
    assert stored["ids"] == ["i0", "i1", "i2", "i3", "i4"]
    assert unpacked(stored["gold"]) == [NONE["u2"], 1, 0, 1, 0]
    assert unpacked(stored["votes"]) == [0, 3, 1, 3, 2, 3, 3, 3, 4, 3]
    assert unpacked(stored["entropy"]) == [0, 0.25, 0.5, 0.75, 1]
    assert unpacked(stored["group"]) == [0, 1, 2, NONE["u1"], 0]


def test_losses_keep_two_digits_where_they_are_small_and_numbers_four() -> None:
    values = np.array([0.0, 0.01, 0.1, 1.0, 8.0, np.nan])
    roots = np.sqrt(values / 8.0)
    back = 8.0 * (np.array(packing._scaled(roots, 0, 1, 254)[:-1]) / 254) ** 2
    assert np.abs(back - values[:-1]).max() < 0.03
    assert np.abs(back - values[:-1])[:3].max() < 0.005
    assert packing._scaled(values, 0, 8, 65534)[-1] == -1


def test_fractions_of_votes_stay_fractions() -> None:
    made = replace(items(2), counts=np.array([[0.5, 1.5], [2.0, 0.0]]))
    stored = json.loads(packed([made], kinds_of([made])))["datasets"][0]
    assert unpacked(stored["votes"]) == [0.5, 1.5, 2, 0]


def test_no_text_can_end_its_element() -> None:
    made = items(2, text="</script><!-- & \u2028\u2029")
    text = str(packed([made], kinds_of([made])))
    assert not set("<>&\u2028\u2029") & set(text)
    assert "</script><!-- & \u2028\u2029 1" in json.loads(text)["strings"]


def test_long_texts_are_cut_until_all_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    made = items(10, text="x" * 1000)
    assert text_cut([made]) == packing.CUTS[0]
    monkeypatch.setattr(packing, "TEXT_BYTES", 5000)  # 500 of each: the next of the cuts is 420
    assert text_cut([made]) == 420
    strings = json.loads(packed([made], kinds_of([made])))["strings"]
    assert strings[0] == "x" * 420 + " … (582 more characters)"


def test_points_are_thinned_evenly_and_keep_both_ends() -> None:
    assert thinned(5).tolist() == [0, 1, 2, 3, 4]
    assert thinned(101, 5).tolist() == [0, 25, 50, 75, 100]


def triaged(item: str, kind: str, regime: str = "held_out") -> Triaged:
    return Triaged(item, "made", regime, kind, 0.5, None, "why")


def test_kinds_are_joined_by_id_and_an_item_counts_once_for_each() -> None:
    told = [
        triaged("i2", "hard"),
        triaged("i2", "hard", "trained_on"),
        triaged("i0", "contested"),
        triaged("i0", "settled", "trained_on"),
        triaged("elsewhere", "hard"),
    ]
    (made,) = with_kinds([items(3)], told)
    assert made.kinds["held_out"].kind == ("contested", "", "hard")
    assert {kind.key: kind.items for kind in kinds_of([made]) if kind.items} == {
        "contested": 1,
        "hard": 1,
        "settled": 1,
    }


def test_where_a_page_cannot_hold_all_those_that_ask_for_a_step_come_first() -> None:
    (made,) = with_kinds(
        [items(5)], [triaged("i4", KINDS[0]), triaged("i0", "settled"), triaged("i3", "contested")]
    )
    (kept,) = fewer([made], most=3)
    assert kept.ids == ("i0", "i3", "i4")  # in their own order
    assert kept.counts[:, 0].tolist() == [0, 3, 4]
    assert kept.kinds["held_out"].kind == ("settled", "contested", "mislabelled")


@pytest.mark.parametrize(("quotes", "most"), [(0, 0), (2, 2)])
def test_no_text_beyond_what_is_allowed_stands_anywhere_in_the_file(
    tmp_path: Path, quotes: int, most: int
) -> None:
    data = dataset(40, text=lambda i: f"SECRET-{i:02d}-TEXT")
    write_study(tmp_path, study_spec(methods=[{"name": "full", "learning_rate": 1e-4}]), data=data)
    page = write_report(tmp_path, quotes=quotes).read_text(encoding="utf-8")
    assert sum(f"SECRET-{i:02d}-TEXT" in page for i in range(40)) <= most
    assert sum(f"A scene, the {i}th." in page for i in range(10)) <= most
    assert "item-00039" in page
    everything = write_report(tmp_path, quotes="all").read_text(encoding="utf-8")
    assert sum(f"SECRET-{i:02d}-TEXT" in everything for i in range(40)) == 40
