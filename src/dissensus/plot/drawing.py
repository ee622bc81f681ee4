"""Drawing of the five plots on matplotlib axes, in the report's colours, line styles and words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dissensus.display import cut
from dissensus.errors import DataError
from dissensus.plot.series import (
    ALL,
    ChangeSeries,
    ExampleSeries,
    GroupSeries,
    change_series,
    example_series,
    group_series,
)
from dissensus.plot.sources import Source, condition_of
from dissensus.report.figures import Cloud, draw_cloud, draw_curves, limits
from dissensus.report.palette import COLOURS, DASHES, INK, LABEL_COLOURS, LABEL_DASHES, MARKERS, SOFT, STYLE
from dissensus.stats import spearman
from dissensus.stats.groups import CONTESTED, GROUPS, SETTLED
from dissensus.wording import number

LEGEND: Any = {"facecolor": "white", "edgecolor": "none", "framealpha": 0.8}
"""What a legend hides of the dots shines through."""
SHOWN_LABELS = 1 + len(LABEL_COLOURS)
"""Labels whose losses one example's plot draws: the gold label, and those that most annotators chose."""


def curves(source: Source, *, condition: str | None = None, ax: Axes | None = None) -> Axes:
    """Mean gold-label loss along training by entropy group: band, number of examples, tracking points as dots.

    Args:
        source: `Curves`, several of them as seeds, a recording's folder, a study's folder or reading.
        condition: of a study with several, its name or a part of it that no other has.
        ax: where to draw; default: new axes.
    """
    one = condition_of(source, condition)
    return _drawn(ax, one.title, lambda axes: curves_on(axes, group_series(one)))


def data_map(source: Source, *, condition: str | None = None, ax: Axes | None = None) -> Axes:
    """Data map: each example's mean probability of the gold label against its spread, by entropy group.

    Arguments as in `curves`.
    """
    one = condition_of(source, condition)
    return _drawn(ax, one.title, lambda axes: data_map_on(axes, example_series(one)))


def entropy_scatter(source: Source, *, condition: str | None = None, ax: Axes | None = None) -> Axes:
    """Annotation entropy against AULC: a dot per example, the median line with its band, Spearman's rho.

    Arguments as in `curves`. Above 1,500 examples as many are drawn, evenly along entropy; the line and rho are of all.
    """
    one = condition_of(source, condition)
    return _drawn(ax, one.title, lambda axes: entropy_on(axes, example_series(one)))


def groups(source: Source, *, condition: str | None = None, ax: Axes | None = None) -> Axes:
    """Mean change of the gold-label loss by entropy group with its interval, end minus start: right of 0 it rose.

    Beneath each group its two sides: examples whose gold label most annotators chose, and the others. Arguments as in
    `curves`.
    """
    one = condition_of(source, condition)
    return _drawn(ax, one.title, lambda axes: groups_on(axes, change_series(one)))


def example(source: Source, example_id: str, *, condition: str | None = None, ax: Axes | None = None) -> Axes:
    """One example's loss on each label along training, its gold label in black, with the votes.

    Over several seeds lines are means, and the band spans the seeds' gold losses. Further arguments as in `curves`.

    Raises:
        DataError: there is no such example; the nearest ids are named.
    """
    one = condition_of(source, condition)
    found = [seed.curves[example_id] for seed in one.seeds]
    first = found[0]
    found = [other for other in found if np.array_equal(other.steps, first.steps)]
    losses = -np.array([other.log_probs for other in found], dtype=np.float64)
    if not np.isfinite(losses).any():
        raise DataError(f"no loss of {cut(example_id)!r} is defined at any tracking point")

    def draw(axes: Axes) -> None:
        mean = losses.mean(axis=0)
        order = sorted(
            range(len(first.labels)),
            key=lambda k: (first.labels[k] != first.gold, -first.votes[first.labels[k]], mean[-1, k]),
        )
        others = 0
        for k in order[:SHOWN_LABELS]:
            label, votes = first.labels[k], first.votes[first.labels[k]]
            gold = label == first.gold
            style: dict[str, Any] = {"color": INK, "linestyle": "-", "linewidth": 1.9, "zorder": 3}
            if not gold:
                style = {"color": LABEL_COLOURS[others], "linestyle": LABEL_DASHES[others], "linewidth": 1.3}
                others += 1
            words = f"{votes:g} of {sum(first.votes.values()):g} votes: {cut(label, 30)}{' (gold)' if gold else ''}"
            axes.plot(first.progress, mean[:, k], marker="o", markersize=2.6, label=words, **style)
            if gold and len(found) > 1:
                band = losses[:, :, k]
                axes.fill_between(
                    first.progress, band.min(axis=0), band.max(axis=0), color=INK, alpha=0.15, linewidth=0
                )
        left = len(order) - SHOWN_LABELS
        axes.set(xlim=(0, 1), xlabel="training progress", ylabel="loss on the label (nats)")
        axes.set_ylim(bottom=0)
        axes.legend(**LEGEND, title=f"{left} more labels not drawn" if left > 0 else None)

    return _drawn(ax, f"{cut(example_id, 60)} ({first.regime.replace('_', ' ')})", draw)


def curves_on(axes: Axes, series: GroupSeries, ylim: tuple[float, float] | None = None) -> None:
    """Draw group curves; `ylim` sets a scale that several share."""
    draw_curves(axes, series.curves, ylim or curve_limits([series]))
    handles = []
    for curve in series.curves:
        colour = COLOURS[curve.group]
        points: Any = {"color": colour, "marker": "o", "markersize": 2.8}
        axes.plot(curve.progress, curve.mean, **points, linestyle="none")
        words = f"{curve.group} (n = {series.sizes[curve.group]})"
        handles.append(Line2D([], [], **points, linestyle=DASHES[curve.group], linewidth=1.7, label=words))
    if handles:
        axes.legend(handles=handles, **LEGEND, title=_no_interval("band", series.withheld))


def curve_limits(many: Sequence[GroupSeries]) -> tuple[float, float]:
    """Common limits of the losses of several plots."""
    return limits(
        [v for series in many for c in series.curves for v in (c.mean, c.low, c.high, c.seeds.ravel())]
    )


def data_map_on(axes: Axes, series: ExampleSeries) -> None:
    """Draw a data map, with contested and settled examples above the others, which would hide them."""
    known = np.isfinite(series.variability) & np.isfinite(series.confidence)
    for group in (*GROUPS, ""):
        member = known & (series.group == group)
        if member.any():
            axes.scatter(
                series.variability[member],
                series.confidence[member],
                s=9,
                color=COLOURS[group or ALL],
                marker=MARKERS[group or ALL],
                alpha=0.55,
                linewidths=0,
                rasterized=True,
                zorder=2.5 if group in (CONTESTED, SETTLED) else 2,
                label=f"{group or 'no annotations'} (n = {int(member.sum())})",
            )
    axes.set(
        ylim=(-0.02, 1.02),
        xlabel="variability (sd of p(gold) over training)",
        ylabel="confidence (mean p(gold))",
    )
    axes.set_xlim(left=0)
    if known.any():
        axes.legend(**LEGEND)


def entropy_on(axes: Axes, series: ExampleSeries) -> None:
    """Draw entropy against AULC with rho."""
    cloud = Cloud(series.entropy, series.aulc, len(series.ids))
    draw_cloud(axes, cloud, limits([series.entropy[cloud.defined]]), limits([series.aulc[cloud.defined]]))
    n = int(cloud.defined.sum())
    rho = spearman(series.entropy, series.aulc).rho
    words = f"n = {n}, Spearman's rho = {number(rho)}"
    axes.text(0.02, 0.99, words, color=SOFT, va="top", transform=axes.transAxes)


def groups_on(axes: Axes, series: ChangeSeries) -> None:
    """Draw changes by group."""
    axes.axvline(0, color=SOFT, linewidth=0.8)
    names = []
    for place, one in enumerate(series.changes):
        axes.errorbar(
            [one.mean],
            [place],
            xerr=[[one.mean - one.low], [one.high - one.mean]] if np.isfinite(one.low) else None,
            color=COLOURS[one.group],
            marker=MARKERS[one.group],
            markersize=4 if one.side else 6.5,
            markerfacecolor="none" if one.side else COLOURS[one.group],
            elinewidth=1.0 if one.side else 1.6,
            linestyle="none",
        )
        names.append(f"{'· ' if one.side else ''}{one.side or one.group} (n = {one.n})")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    why = _no_interval("interval", series.withheld)
    axes.set_xlabel("change of gold-label loss,\nend minus start (nats)" + (f"\n{why}" if why else ""))


def _no_interval(kind: str, withheld: str) -> str | None:
    return f"no {kind} where there are too few:\n{withheld}" if withheld else None


def _drawn(ax: Axes | None, title: str, draw: Callable[[Axes], None]) -> Axes:
    with matplotlib.rc_context(STYLE):
        axes = _new_axes() if ax is None else ax
        draw(axes)
        if title:
            axes.set_title(title, loc="left", parse_math=False)
    return axes


def _new_axes() -> Axes:
    """Axes of a new figure, which a notebook shows by itself."""
    from matplotlib import pyplot

    _, axes = pyplot.subplots(figsize=(4.8, 3.4), layout="constrained")
    return axes
