"""Figures: plain arrays in, SVG and PNG out. No pyplot state, no clock, no random ids.

Each panel is drawn alone for the page (so that a phone shows one column) and again in one joint figure for
papers and slides; both come from the same drawing functions. The page's copies take their colours from CSS
variables, so that they follow a dark theme; the saved files keep fixed colours on white.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from dissensus.files import write_atomic
from dissensus.report.palette import COLOURS, DASHES, POINT, SOFT, STYLE
from dissensus.report.svg import inline_svg
from dissensus.report.tables import GROUPS
from dissensus.report.trend import trend

FloatArray = NDArray[np.float64]

MAX_POINTS = 1500
"""Points drawn in one scatter; more are thinned evenly along entropy, and the caption says so."""

SAVED: Mapping[str, tuple[int, dict[str, None] | None]] = {
    ".svg": (200, {"Date": None}),
    ".png": (170, None),
    ".pdf": (200, {"CreationDate": None}),
}
"""Ending -> dots per inch of what is drawn as pixels, and what is left out of the metadata: a clock's time."""

NUDGED = 25
"""Up to so many distinct entropies, dots are spread sideways."""


@dataclass(frozen=True)
class DrawnCurve:
    """One entropy group's mean loss along training.

    Attributes:
        group: contested, middle or settled.
        progress: u of each tracking point, shape (T,).
        mean: mean gold loss in nats over examples, then over seeds, shape (T,).
        low: lower edge of the band, shape (T,).
        high: upper edge of the band, shape (T,).
        seeds: each seed's own mean, shape (S, T).
    """

    group: str
    progress: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    seeds: FloatArray


@dataclass(frozen=True)
class Cloud:
    """Entropy against AULC for the examples of one condition (AULC averaged over seeds).

    Attributes:
        entropy: bits, shape (n,).
        aulc: nats, shape (n,).
        total: examples of the condition, those without an AULC included.
    """

    entropy: FloatArray
    aulc: FloatArray
    total: int

    @property
    def defined(self) -> NDArray[np.bool_]:
        """Examples that have both values, shape (n,)."""
        return np.isfinite(self.entropy) & np.isfinite(self.aulc)

    @property
    def nudged(self) -> bool:
        """Whether dots are drawn a little beside their entropy: it has few values, and they would hide one another."""
        return 0 < len(np.unique(self.entropy[self.defined])) <= NUDGED


@dataclass(frozen=True)
class Plot:
    """One small plot: a title and what draws it."""

    title: str
    draw: Callable[[Axes], None]


def limits(values: Sequence[FloatArray], *, pad: float = 0.04, zero: bool = True) -> tuple[float, float]:
    """Common limits of several arrays, 0 among them if `zero`; (0, 1) when nothing is finite."""
    finite = [v[np.isfinite(v)] for v in values]
    joined = np.concatenate(finite) if finite else np.empty(0)
    if not joined.size:
        return 0.0, 1.0
    low, high = joined.min().item(), joined.max().item()
    low = min(0.0, low) if zero else low
    return low, high + pad * ((high - low) or 1.0)


def draw_curves(ax: Axes, curves: Sequence[DrawnCurve], ylim: tuple[float, float]) -> None:
    """Mean gold loss by entropy group, band shaded, each seed as a thin line when there are several."""
    ends: list[tuple[float, str]] = []
    for curve in curves:
        colour = COLOURS[curve.group]
        ok = np.isfinite(curve.mean)
        if not ok.any():
            continue
        marker = "o" if ok.sum() == 1 else None
        ax.fill_between(curve.progress, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        if len(curve.seeds) > 1:
            for line in curve.seeds:
                ax.plot(curve.progress, line, color=colour, alpha=0.45, linewidth=0.5)
        ax.plot(
            curve.progress,
            curve.mean,
            color=colour,
            linewidth=1.7,
            linestyle=DASHES[curve.group],
            marker=marker,
            markersize=4,
        )
        ends.append((float(curve.mean[ok][-1]), curve.group))
    span = ylim[1] - ylim[0]
    for y, (value, group) in zip(
        _spread([v for v, _ in sorted(ends)], 0.075 * span), sorted(ends), strict=True
    ):
        ax.annotate(
            f"{value:.2f}",
            (1.0, y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=COLOURS[group],
            annotation_clip=False,
        )
    ax.set(xlim=(0, 1), ylim=ylim, xlabel="training progress", ylabel="gold-label loss (nats)")
    ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    _empty(ax, bool(ends))


def draw_cloud(ax: Axes, cloud: Cloud, xlim: tuple[float, float], ylim: tuple[float, float]) -> None:
    """Every example as a dot; line and band as `trend` has them."""
    ok = cloud.defined
    x, y = cloud.entropy[ok], cloud.aulc[ok]
    order = np.lexsort((y, x))
    shown = order[thin(len(order))]
    # Few annotators leave few distinct entropies: a fixed sideways nudge keeps the dots from hiding one another.
    at = x[shown]
    if cloud.nudged:
        at = at + ((np.arange(len(shown)) * 0.618034) % 1 - 0.5) * 0.025 * (xlim[1] - xlim[0])
    ax.scatter(at, y[shown], s=4, color=POINT, alpha=0.35, linewidths=0, rasterized=True)
    line = trend(x, y)
    if len(line):
        colour = COLOURS["contested"]
        ax.fill_between(line.at, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(line.at, line.middle, color=colour, linewidth=1.7, marker="o", markersize=2.6, clip_on=False)
    ax.set(xlim=xlim, ylim=ylim, xlabel="annotation entropy (bits)", ylabel="AULC (nats)")
    _empty(ax, bool(ok.any()))


def thin(n: int, most: int = MAX_POINTS) -> NDArray[np.int64]:
    """Positions to draw among n sorted points: all, or `most` of them evenly spaced."""
    return (
        np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))
        if n
        else np.empty(0, np.int64)
    )


def plot_svg(panel: Plot, prefix: str, label: str) -> Markup:
    """One panel as inline SVG for the page: themed, without a title, ids made unique by `prefix`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.7, 2.6))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.15, 0.16, 0.735, 0.81))
        panel.draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, dpi=220, metadata={"Date": None})
    return inline_svg(buffer.getvalue(), prefix, label)


def save_joint(
    panels: Sequence[Plot],
    columns: int,
    path: Path,
    *,
    legend: bool = False,
    endings: Sequence[str] = (".svg", ".png"),
    one_scale: bool = False,
    label_all: bool = False,
) -> None:
    """All panels in one figure, written to `path` with these endings; `legend` names the groups.

    Inner panels have no numbers at their axes, unless `label_all`: panels that do not set the same limits themselves
    need `one_scale`.
    """
    if not panels:
        return
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.1 * columns, 2.45 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            panel.draw(axes)
            axes.set_title("\n".join(fill(line, 48) for line in panel.title.splitlines()))
            if not label_all:
                axes.label_outer()
        drawn = grid.flat[: len(panels)]
        for axis in ("xlim", "ylim") if one_scale else ():
            ends = np.array([getattr(axes, f"get_{axis}")() for axes in drawn])
            low, high = ends.min(), ends.max()
            for axes, (first, last) in zip(drawn, ends, strict=True):
                axes.set(**{axis: (low, high) if first <= last else (high, low)})
        if legend:
            handles = [
                Line2D([], [], color=COLOURS[g], linestyle=DASHES[g], linewidth=1.7, label=g) for g in GROUPS
            ]
            figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False)
        # The layout is found once and then left alone: with an engine, each saving draws everything once more.
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.execute(figure)
        figure.set_layout_engine(None)
        for ending in endings:
            buffer = io.BytesIO()
            dpi, metadata = SAVED[ending]
            figure.savefig(buffer, format=ending[1:], dpi=dpi, metadata=metadata)
            write_atomic(path.with_name(path.name + ending), buffer.getvalue())


def _spread(values: Sequence[float], gap: float) -> list[float]:
    """Sorted label heights pushed upwards until neighbours are `gap` apart, then centred back."""
    placed = list(values)
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    crowded = any(b - a < gap * 1.01 for a, b in pairwise(placed))
    shift = (np.mean(placed) - np.mean(values)) if crowded else 0.0
    return [float(p - shift) for p in placed]


def _empty(ax: Axes, drawn: bool) -> None:
    if not drawn:
        ax.text(0.5, 0.5, "no defined value", ha="center", va="center", color=SOFT, transform=ax.transAxes)
