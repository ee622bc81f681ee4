"""Plots for a notebook: what is drawn is what metrics and statistics give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import dissensus
from dissensus import plot
from dissensus.analysis.clusters import clusters_of
from dissensus.analysis.study_reading import StudyReader
from dissensus.curves import Curves
from dissensus.data.agreement import annotation_entropy, backed
from dissensus.errors import DataError, SpecError
from dissensus.metrics import aulc, cartography, unlearning
from dissensus.report.palette import COLOURS, DASHES, LABEL_COLOURS, MARKERS
from dissensus.stats import entropy_groups, group_curves, spearman
from synthetic_curves import curves_of
from synthetic_study import study_spec, write_study

GROUPS = ("contested", "middle", "settled")
EVERY = (plot.curves, plot.data_map, plot.entropy_scatter, plot.groups)


@pytest.fixture
def ax() -> Iterator[Axes]:
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure.subplots()


@pytest.fixture(scope="module")
def curves() -> Curves:
    """400 items in 100 clusters, so that every group has a band."""
    return curves_of(400)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "made"
    write_study(folder, study_spec(seeds=[0, 1]))
    return folder


def groups_of(curves: Curves) -> np.ndarray:
    return entropy_groups(annotation_entropy(curves.counts))


def same_dots(drawn: object, expected: np.ndarray) -> None:
    """Whatever order they are drawn in."""
    points = np.asarray(drawn)
    np.testing.assert_allclose(points[np.lexsort(points.T)], expected[np.lexsort(expected.T)])


def test_group_curves_are_means_with_bands_and_every_tracking_point(curves: Curves, ax: Axes) -> None:
    assert plot.curves(curves, ax=ax) is ax
    bands = group_curves(curves.losses, groups_of(curves), clusters=clusters_of(curves).labels)
    assert tuple(bands) == GROUPS
    for place, (name, band) in enumerate(bands.items()):
        of_group = [line for line in ax.lines if line.get_color() == COLOURS[name]]
        line, points = of_group
        np.testing.assert_allclose(line.get_ydata(), band.mean)
        np.testing.assert_allclose(line.get_xdata(), curves.progress)
        assert (points.get_marker(), points.get_linestyle()) == ("o", "None")
        np.testing.assert_allclose(points.get_ydata(), band.mean)
        assert len(points.get_xdata()) == len(curves.steps)
        corners = ax.collections[place].get_paths()[0].vertices
        for low, high, u in zip(band.low, band.high, curves.progress, strict=True):
            at = corners[np.isclose(corners[:, 0], u), 1]
            assert (at.min(), at.max()) == pytest.approx((low, high))
    legend = ax.get_legend()
    assert legend is not None
    sizes = [int((groups_of(curves) == name).sum()) for name in GROUPS]
    assert [text.get_text() for text in legend.get_texts()] == [
        f"{name} (n = {n})" for name, n in zip(GROUPS, sizes, strict=True)
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training progress", "gold-label loss (nats)")


def test_too_few_clusters_have_no_band_and_the_plot_says_so(ax: Axes) -> None:
    plot.curves(curves_of(60), ax=ax)
    legend = ax.get_legend()
    assert legend is not None
    assert "no band where there are too few" in legend.get_title().get_text()
    assert "an interval needs" in legend.get_title().get_text()


def test_a_data_map_has_each_examples_confidence_and_variability(curves: Curves, ax: Axes) -> None:
    plot.data_map(curves, ax=ax)
    card, groups = cartography(curves), groups_of(curves)
    assert len(ax.collections) == 3
    for dots in ax.collections:
        name = str(dots.get_label()).split(" (")[0]
        member = groups == name
        assert dots.get_label() == f"{name} (n = {member.sum()})"
        expected = np.column_stack([card.variability[member], card.confidence[member]])
        same_dots(dots.get_offsets(), expected)
        assert colors.same_color(dots.get_facecolor()[0][:3], COLOURS[name])
    assert ax.get_ylabel() == "confidence (mean p(gold))"


def test_entropy_against_aulc_has_both_of_every_example_and_rho(curves: Curves, ax: Axes) -> None:
    plot.entropy_scatter(curves, ax=ax)
    entropy, area = annotation_entropy(curves.counts), aulc(curves)
    same_dots(ax.collections[0].get_offsets(), np.column_stack([entropy, area]))
    rho = spearman(entropy, area).rho
    assert f"n = 400, Spearman's rho = {rho:.2f}" in [text.get_text() for text in ax.texts]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("annotation entropy (bits)", "AULC (nats)")


def test_groups_have_mean_change_interval_and_sides(curves: Curves, ax: Axes) -> None:
    plot.groups(curves, ax=ax)
    delta, groups = unlearning(curves).delta, groups_of(curves)
    side = np.where(backed(curves.counts, curves.gold), "backed", "rejected")
    names, expected = [], []
    clusters = clusters_of(curves).labels
    whole = group_curves(delta[:, None], groups, clusters=clusters)
    parts = group_curves(delta[:, None], np.char.add(np.char.add(groups, " "), side), clusters=clusters)
    for name in GROUPS:
        names.append(f"{name} (n = {whole[name].n})")
        expected.append(whole[name])
        for part in ("backed", "rejected"):
            if f"{name} {part}" in parts:
                names.append(f"· {part} (n = {parts[f'{name} {part}'].n})")
                expected.append(parts[f"{name} {part}"])
    assert [text.get_text() for text in ax.get_yticklabels()] == names
    for bar, band in zip(ax.containers, expected, strict=True):
        line, _, (span,) = bar.lines if band.low[0] == band.low[0] else (*bar.lines[:2], (None,))
        assert line.get_xdata()[0] == pytest.approx(band.mean[0])
        if span is not None:
            (segment,) = span.get_segments()
            assert segment[:, 0] == pytest.approx([band.low[0], band.high[0]])
    assert "(nats)" in ax.get_xlabel()


def test_an_example_is_drawn_label_by_label_with_its_votes(curves: Curves, ax: Axes) -> None:
    plot.example(curves, "item-00300", ax=ax)
    one = curves["item-00300"]
    gold = ax.lines[0]
    np.testing.assert_allclose(gold.get_ydata(), one.losses)
    np.testing.assert_allclose(gold.get_xdata(), one.progress)
    drawn = {str(line.get_label()).split(": ")[1]: line.get_ydata() for line in ax.lines}
    for k, label in enumerate(one.labels):
        words = f"{label} (gold)" if label == one.gold else label
        np.testing.assert_allclose(drawn[words], -one.log_probs[:, k])
    assert str(gold.get_label()) == f"{one.votes['entailment']:g} of 100 votes: entailment (gold)"
    with pytest.raises(DataError, match="'item-00300'"):
        plot.example(curves, "item-0300", ax=ax)


def test_names_of_other_people_are_text(curves: Curves, ax: Axes) -> None:
    """Dollar signs are no formula, and a name that begins with an underscore is in the legend."""
    hostile = replace(
        curves, ids=("$\\frac{<script>$", *curves.ids[1:]), labels=("_hidden", "$x$", "a\x1b[31m\u202eb")
    )
    plot.example(hostile, hostile.ids[0], ax=ax)
    legend = ax.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 3
    assert ax.get_title(loc="left").startswith("$\\frac{<script>$")
    assert not any("\x1b" in text.get_text() for text in legend.get_texts())
    assert ax.figure is not None
    ax.figure.canvas.draw()


def test_curves_without_annotations_are_one_group(curves: Curves, ax: Axes) -> None:
    plain = replace(curves, counts=np.zeros_like(curves.counts))
    plot.curves(plain, ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), curves.losses.mean(axis=0))
    for draw in EVERY:
        draw(plain, ax=Figure().subplots())


@pytest.mark.parametrize("draw", EVERY)
def test_a_studys_condition_is_drawn_alike_from_its_folder_and_its_reading(draw, study: Path) -> None:
    reader = StudyReader.at(study)
    drawn = []
    for source in (study, str(study), reader, reader.all()):
        axes = Figure().subplots()
        draw(source, condition="lora", ax=axes)
        assert axes.get_title(loc="left") == "snli · minilm-l6 · held out · LoRA, rank 8"
        drawn.append([np.asarray(line.get_ydata(), dtype=float).tolist() for line in axes.lines])
    assert all(str(one) == str(drawn[0]) for one in drawn)


def test_seeds_of_a_condition_are_averaged(study: Path, ax: Axes) -> None:
    plot.curves(study, condition="lora", ax=ax)
    seeds = StudyReader.at(study).all().conditions()["snli.minilm-l6.lora-r8.held_out"]
    mean = np.mean([seed.curves.losses[seed.group == "contested"].mean(axis=0) for seed in seeds], axis=0)
    # Before the mean come the seeds' own thin lines.
    lines = [line for line in ax.lines if line.get_color() == COLOURS["contested"]]
    assert [line.get_linewidth() for line in lines[:3]] == [0.5, 0.5, 1.7]
    np.testing.assert_allclose(lines[2].get_ydata(), mean)
    for one, line in zip(seeds, lines, strict=False):
        np.testing.assert_allclose(line.get_ydata(), one.curves.losses[one.group == "contested"].mean(axis=0))


def test_the_condition_must_be_one(study: Path, ax: Axes) -> None:
    with pytest.raises(SpecError, match=r"2 conditions.*condition=(.|\n)*lora-r8.held_out\n.*full.held_out"):
        plot.curves(study, ax=ax)
    with pytest.raises(SpecError, match="'ia3' is no condition"):
        plot.curves(study, condition="ia3", ax=ax)
    with pytest.raises(SpecError, match="'snli' is in several names"):
        plot.curves(study, condition="snli", ax=ax)


def test_a_recordings_folder_is_drawn(study: Path, ax: Axes) -> None:
    (cell, *_) = sorted((study / "cells").iterdir())
    plot.curves(cell, ax=ax)
    assert len(ax.lines) == 6


def test_new_axes_are_made_and_nobodys_settings_change(curves: Curves) -> None:
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    axes = dissensus.plot.curves(curves)
    try:
        assert axes.figure is pyplot.gcf()
        assert dict(matplotlib.rcParams) == before
    finally:
        pyplot.close(axes.figure)


def test_groups_are_told_apart_without_colour() -> None:
    assert len({str(DASHES[name]) for name in GROUPS}) == len({MARKERS[name] for name in GROUPS}) == 3


@pytest.mark.parametrize("matrix", ["protan", "deutan"])
def test_colours_differ_for_the_colour_blind(matrix: str) -> None:
    """Distance in linear RGB after Viénot, Brettel and Mollon (1999); black to white is 1.73."""
    rgb = {
        "protan": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
        "deutan": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
    }[matrix]
    for palette in ([COLOURS[name] for name in GROUPS], LABEL_COLOURS):
        seen = [np.array(rgb) @ np.array(colors.to_rgb(one)) ** 2.2 for one in palette]
        apart = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
        assert min(apart) > 0.08
