"""Short displays: no public object that holds arrays prints them all, in a terminal or in a notebook."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import dissensus
from dissensus import open_curves
from dissensus.analysis.study_reading import StudyReader
from dissensus.display import ShortRepr, in_short
from dissensus.errors import DataError
from dissensus.metrics import cartography, example_metrics
from dissensus.stats import group_curves
from synthetic_curves import curves_of, evidence_of
from synthetic_study import dataset, study_spec, write_study

PUBLIC = ("curves", "data", "metrics", "stats", "store", "exchange")
"""Packages whose results people hold in a notebook; of `analysis` its readings and tables."""
INTERNAL = {
    # Parts of a computation that no public function gives.
    *(
        "CellData",
        "Judgements",
        "data.sources.simulated.panel.Panel",
        "AumRecords",
        "Judged",
        "Trend",
        "RankDesign",
        "Units",
        "Draws",
    ),
    *("IntervalScale", "DesignBlock", "NestedDesigns", "CentredRanks"),
    "ExampleCurve",  # has one of its own
    "Curves",
}
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e"


def test_curves_of_600_by_12_take_two_lines() -> None:
    curves = curves_of(600, 12)
    assert len(repr(curves)) < 240
    assert repr(curves) == (
        "Curves(600 examples x 12 tracking points (steps 0 to 400 of 400); 3 labels: entailment, neutral, "
        "contradiction; held_out; annotators' labels on 600; mean gold-label loss "
        f"{curves.losses[:, 0].mean():.2f} to {curves.losses[:, -1].mean():.2f} nats)"
    )
    assert len(curves._repr_html_()) < 2000


def test_every_result_that_holds_arrays_is_short(tmp_path: Path) -> None:
    curves = curves_of(600, 12)
    write_study(tmp_path / "made", study_spec(), n=300)
    reading = StudyReader.at(tmp_path / "made").all()
    stored = open_curves(next((tmp_path / "made" / "cells").iterdir()))
    held = (
        curves,
        curves["item-00001"],
        cartography(curves),
        example_metrics(curves),
        group_curves(curves.losses, np.full(600, "all"))["all"],
        dataset(600),
        reading,
        reading.cells[0],
        stored,
    )
    for one in held:
        assert len(repr(one)) < 400, type(one)
        assert "\n" not in repr(one)
        assert len(str(one)) == len(repr(one))
    assert repr(reading) == "StudyReading(made: 2 of 2 cells, 2 conditions)"
    assert "confidence=float64 600" in repr(cartography(curves))


def test_no_public_dataclass_with_arrays_prints_them() -> None:
    """The brothers: whatever joins them later is held to it, too."""
    root = Path(dissensus.__file__).parent
    long = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] not in PUBLIC:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.ClassDef) or node.name.startswith("_") or node.name in INTERNAL:
                continue
            kinds = [ast.unparse(s.annotation) for s in node.body if isinstance(s, ast.AnnAssign)]
            if any(word in kind for kind in kinds for word in ("NDArray", "FloatArray", "Floats", "Curves")):
                cls = getattr(importlib.import_module(".".join(("dissensus", *parts))), node.name)
                if dataclasses.is_dataclass(cls) and not issubclass(cls, ShortRepr):
                    long.append(f"{'.'.join(parts)}.{node.name}")
    assert [name for name in long if name not in INTERNAL] == []


def test_texts_of_others_are_escaped_and_cut() -> None:
    curves = curves_of(8)
    hostile = replace(
        curves,
        ids=(HOSTILE, *curves.ids[1:]),
        labels=(HOSTILE, "b", "c"),
        text=tuple({HOSTILE: HOSTILE * 200} for _ in range(8)),
    )
    data = replace(dataset(8), labels=(HOSTILE, "b", "c"), name=HOSTILE)
    study = evidence_of(study_spec(name="made"), curves, curves)
    for one in (hostile, hostile[HOSTILE], data, study):
        html = one._repr_html_()
        assert "<script" not in html
        assert "\x1b" not in html + repr(one)
        assert "\u202e" not in html + repr(one)
        assert len(html) < 6000
    assert "&lt;script&gt;" in hostile[HOSTILE]._repr_html_()


@dataclass(frozen=True, repr=False)
class Held(ShortRepr):
    values: NDArray[np.float64]
    flags: NDArray[np.bool_]
    names: tuple[str, ...]
    note: str = ""


def test_a_table_says_the_range_of_numbers_and_how_many_are_undefined() -> None:
    held = Held(np.array([1.0, 3.0, np.nan]), np.array([True, False]), ("a",) * 9, "x" * 500)
    assert repr(held) == f"Held(values=float64 3, flags=bool 2, names=tuple of 9, note={'x' * 57}...)"
    html = held._repr_html_()
    assert "float64 3: 1 to 3, mean 2, 1 undefined" in html
    assert "bool 2: 1 true" in html


def test_values_in_short() -> None:
    assert in_short(np.zeros((600, 12))) == "float64 600x12"
    assert in_short({"a": np.zeros(3)}) == "{'a': float64 3}"
    assert in_short((1, "b")) == "(1, b)"
    assert in_short("a\nb") == "a\\nb"


def test_one_example_is_asked_for_by_its_id() -> None:
    curves = curves_of(90)
    one = curves["item-00050"]
    place = curves.ids.index("item-00050")
    assert one.text == curves.text[place]
    assert one.gold == "entailment"
    assert one.votes == dict(zip(curves.labels, curves.counts[place], strict=True))
    np.testing.assert_array_equal(one.losses, curves.losses[place])
    np.testing.assert_array_equal(one.log_probs, curves.log_probs[place])
    assert "item-00050" in curves
    assert "item-50" not in curves
    assert [example.id for example in curves] == list(curves.ids)


def test_an_unknown_id_names_the_nearest_ones() -> None:
    curves = curves_of(90)
    with pytest.raises(DataError, match=r"no example has the id 'item-0050'; .* 90 ids: .*'item-00050'"):
        curves["item-0050"]
    with pytest.raises(
        DataError, match=r"curves\[3\]: expected an example's id.*'item-00000'.*read\(begin, end\)"
    ):
        curves[3]  # type: ignore[index]
    with pytest.raises(DataError, match="expected an example's id"):
        curves[:3]  # type: ignore[index]
