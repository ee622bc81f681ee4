"""Figures and the lists beside them: known values and repeatable drawings."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dissensus.analysis.tables import analyze
from dissensus.report import figures
from dissensus.report.examples import risers, shorten
from dissensus.report.figures import Cloud, DrawnCurve, Plot
from dissensus.report.palette import COLOURS, DASHES, LINES
from dissensus.report.svg import key, sparkline
from dissensus.report.trend import trend
from dissensus.store import load_curves
from synthetic_curves import curves_of
from synthetic_study import study_spec, write_study

FULL = {"methods": [{"name": "full", "learning_rate": 1e-4}]}


def test_limits_hold_zero_unless_told_and_ignore_what_is_not_finite() -> None:
    values = [np.array([2.0, np.nan]), np.array([4.0, np.inf])]
    assert figures.limits(values, pad=0.5) == (0.0, 6.0)
    assert figures.limits(values, pad=0.5, zero=False) == (2.0, 5.0)
    assert figures.limits([np.array([np.nan])]) == (0.0, 1.0)
    assert figures.limits([]) == (0.0, 1.0)


def test_medians_of_bins() -> None:
    # 40 points y = x in 2 bins: the lower half (0 to 19) and the upper half (20 to 39).
    x = np.arange(40.0)
    line = trend(x, x, bins=2)
    assert not line.by_value
    assert line.at == pytest.approx([9.5, 29.5])
    assert line.middle == pytest.approx([9.5, 29.5])
    assert (line.low[0], line.high[0]) == pytest.approx((4.75, 14.25))
    assert line.sizes.tolist() == [20, 20]
    assert line.words == "Line: median AULC of 2 bins by entropy (20 examples each); band: middle half"
    assert len(trend(x[:19], x[:19])) == 0
    assert len(trend(np.ones(40), x)) == 0


def test_three_values_of_entropy_keep_a_dot_each() -> None:
    # Three annotators, three labels: entropy is 0, .918 or 1.585. Quantile bins joined the last two (.388 was shown).
    x = np.repeat([0.0, 0.9182958340544896, 1.584962500721156], [50, 30, 20])
    y = np.repeat([0.25, 0.316, 0.503], [50, 30, 20])
    line = trend(x, y)
    assert line.by_value
    assert line.middle.tolist() == [0.25, 0.316, 0.503]
    assert line.sizes.tolist() == [50, 30, 20]
    assert line.words == (
        "Line: median AULC at each of the 3 values of entropy (0.00 bits: 50 examples; 0.92 bits: 30; 1.58 bits: 20); "
        "band: middle half"
    )
    two = trend(np.repeat([0.0, 1.0], 20), np.repeat([1.0, 2.0], 20))
    assert two.middle.tolist() == [1.0, 2.0]  # one bin, median 1.5, before


def test_values_that_differ_in_the_last_bits_are_one() -> None:
    x = np.repeat([0.1 + 0.2, 0.3, 1.0], 20)
    assert trend(x, x).sizes.tolist() == [40, 20]


def test_a_value_that_fills_a_bin_is_not_joined_with_its_neighbours() -> None:
    # 100 of 200 at 0, 100 different values beside: 20 to a bin, 0 alone, five bins of the others.
    x = np.concatenate([np.zeros(100), np.arange(1.0, 101.0)])
    line = trend(x, x)
    assert line.sizes.tolist() == [100, 20, 20, 20, 20, 20]
    assert line.at[0] == 0.0
    assert line.words.startswith("Line: median AULC of 6 bins by entropy (20 to 100 examples each)")
    # A heavy value in the middle closes the bin before it; what is left over joins the last bin where it is small.
    x = np.concatenate([np.arange(30.0), np.full(40, 50.0), np.arange(100.0, 145.0)])
    assert trend(x, x, bins=5).sizes.tolist() == [23, 7, 40, 23, 22]
    x = np.arange(81.0)
    assert trend(x, x, bins=8).sizes.tolist() == [11, 11, 11, 11, 11, 11, 15]


def test_a_caption_says_that_there_is_no_line() -> None:
    assert trend(np.arange(10.0), np.arange(10.0)).words == (
        "No line: it needs 20 examples and two values of entropy"
    )


def test_equal_values_share_a_point() -> None:
    x = np.repeat(np.arange(30.0), 10)
    line = trend(x, x * 2)
    assert line.sizes.tolist() == [30] * 10
    assert line.middle[-1] == 2 * 28


@pytest.mark.parametrize("group", list(DASHES))
def test_a_legend_shows_the_line_that_is_drawn_and_names_it(group: str) -> None:
    u = np.linspace(0, 1, 3)
    curve = DrawnCurve(group, u, u, u, u, u[None])
    svg = figures.plot_svg(Plot("", lambda ax: figures.draw_curves(ax, [curve], (0, 1))), "p", "l")
    # The group's line is the one 1.7 wide.
    drawn = next(style for style in re.findall(r'style="([^"]*)"', svg) if "stroke-width: 1.7" in style)
    dashes = re.search(r"stroke-dasharray: ([\d.,]+)", drawn)
    in_widths = [round(float(part) / 1.7, 2) for part in dashes[1].split(",")] if dashes else []
    shown = re.search(r'stroke-dasharray="([\d. ]+)"', key(group))
    assert ([round(float(part) / 2.4, 2) for part in shown[1].split()] if shown else []) == in_widths
    words = {0: "solid", 2: "dotted" if in_widths and in_widths[0] <= 1 else "dashed", 4: "dash-dotted"}
    assert LINES[group] == words[len(in_widths)]


def test_thinning_keeps_the_ends_and_never_repeats() -> None:
    assert figures.thin(3, 10).tolist() == [0, 1, 2]
    assert figures.thin(0).tolist() == []
    kept = figures.thin(10_000, 1500)
    assert len(kept) == len(set(kept.tolist())) == 1500
    assert (kept[0], kept[-1]) == (0, 9999)


def panel() -> Plot:
    u = np.linspace(0, 1, 5)
    curve = DrawnCurve("contested", u, u + 1, u + 0.9, u + 1.1, np.stack([u + 1, u + 1.05]))
    return Plot("a $title$ & <b>", lambda ax: figures.draw_curves(ax, [curve], (0, 2.2)))


def test_an_inline_panel_is_themed_labelled_and_has_its_own_ids() -> None:
    svg = figures.plot_svg(panel(), "p7", 'a "label" & <b>')
    assert svg.startswith("<svg ")
    assert 'aria-label="a &#34;label&#34; &amp; &lt;b&gt;"' in svg
    assert "var(--contested)" in svg
    assert COLOURS["contested"] not in svg
    ids = re.findall(r' id="([^"]*)"', svg)
    assert ids
    assert all(name.startswith("p7-") for name in ids)
    assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)) <= set(ids)
    assert svg == figures.plot_svg(panel(), "p7", 'a "label" & <b>')


def test_a_joint_figure_is_written_twice_alike(tmp_path: Path) -> None:
    for name in ("a", "b"):
        figures.save_joint([panel()] * 3, 2, tmp_path / name, legend=True)
    for ending in (".svg", ".png"):
        assert (tmp_path / "a").with_suffix(ending).read_bytes() == (tmp_path / "b").with_suffix(
            ending
        ).read_bytes()
    assert "a $title$ &amp; &lt;b&gt;" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert all(f">{group}<" in (tmp_path / "a.svg").read_text(encoding="utf-8") for group in figures.GROUPS)
    figures.save_joint([], 2, tmp_path / "none")
    assert not (tmp_path / "none.svg").exists()


@pytest.mark.parametrize("distinct", [1, 3, 400])
def test_a_cloud_of_any_shape_is_drawn(distinct: int) -> None:
    x = np.arange(400.0) % distinct
    cloud = Cloud(x, np.where(x == 0, np.nan, x) if distinct == 3 else x, 400)
    svg = figures.plot_svg(
        Plot("", lambda ax: figures.draw_cloud(ax, cloud, (0, 400), (0, 400))), "d", "dots"
    )
    assert "data:image/png;base64," in svg


def test_a_sparkline_breaks_where_a_value_is_missing() -> None:
    # 4 points at x = 3, 41, 79, 117; y from 29 (lowest) to 3 (highest).
    svg = sparkline(np.array([0.0, 1.0, np.nan, 0.5]), (0.0, 1.0), "l")
    assert 'd="M3.0 29.0 L41.0 3.0 M117.0 16.0"' in svg
    assert 'cx="117.0" cy="16.0"' in svg
    assert 'd=""' in sparkline(np.full(3, np.nan), (0.0, 1.0), "l")


def test_risers_are_the_largest_mean_rises_with_their_votes(tmp_path: Path) -> None:
    def losses(n: int, _points: int, k: int) -> np.ndarray:
        rise = np.zeros(n)
        rise[[10, 20, 30]] = [0.5, 1.0, 1.5] if k == 0 else [0.5, 1.0, -0.9]
        return 1 + rise[:, None] * np.array([0.0, 0.5, 1.0])

    names = write_study(tmp_path, study_spec(**FULL, seeds=[0, 1]), n=40, losses=losses)
    curves = [load_curves(tmp_path / "cells" / name) for name in names]
    found = risers(analyze(tmp_path).examples, curves)
    # Mean rise over the two seeds: item 20: 1.0; item 10: 0.5; item 30: (1.5 - 0.9) / 2 = 0.3.
    assert [(r.id, r.delta) for r in found.shown] == [
        ("item-00020", "1.00"),
        ("item-00010", "0.50"),
        ("item-00030", "0.30"),
    ]
    assert found.shown[0].flagged == "un-learned in 2 of 2 seeds"
    assert found.shown[2].flagged == "un-learned in 1 of 2 seeds"
    assert found.flagged == ("item-00020", "item-00010", "item-00030")
    assert (found.shown[0].start, found.shown[0].end) == ("1.00", "2.00")
    # Item 20 of 40: 60 x 20 / 39 = 31 of 100 annotators left the first label, a third of them for the last one.
    assert [(v.label, v.count, v.gold) for v in found.shown[0].votes] == [
        ("entailment", 69.0, True),
        ("neutral", 21.0, False),
        ("contradiction", 10.0, False),
    ]
    assert pc.sum(analyze(tmp_path).examples["unlearned"]).as_py() == 5


def test_shortening_names_what_it_cuts() -> None:
    assert shorten("a\n b\tc") == "a b c"
    assert shorten("abcdef", 4) == "abcd … (2 more characters)"
    assert shorten("a\x00b") == "a�b"


def test_seeds_that_tracked_different_examples_are_shown_each_from_the_seed_that_has_it() -> None:
    here, there = (curves_of(12, ids=[f"{name}{i}" for i in range(12)]) for name in "ab")
    rows = [
        {"id": i, "entropy_estimate": 0.5, "group": "contested", "delta": delta, "unlearned": True}
        for curves, delta in ((here, 0.1), (there, 0.3))
        for i in curves.ids
    ]
    found = risers(pa.Table.from_pylist(rows), [here, there])
    assert [riser.id[0] for riser in found.shown] == ["b"] * 5  # the second seed's rose more
    assert (found.total, found.shown[0].flagged) == (24, "un-learned")
