"""Figure of the settling analysis: contested against settled loss along training, and where each run ends."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dissensus.analysis.settling.runs import Line, SettlingRun
from dissensus.analysis.settling.verdict import Settling
from dissensus.files import write_atomic
from dissensus.report.palette import INK, SOFT, STYLE

METHOD_COLOURS = ("#0068a8", "#c04a00", "#007a5e", "#a0418a", "#69717c", "#9a7d00")
"""Okabe and Ito's, darkened as in the palette; methods in the order of their names."""
MARKERS = "osD^vPX*"
"""By rate, rising; the same in both panels."""
ENDINGS = {".svg": 200, ".pdf": 200, ".png": 170}


def save_settling(results: Sequence[Settling], path: Path) -> None:
    """A row of two panels per setting, written to `path` with the endings .svg, .pdf and .png."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.7 * max(len(results), 1)), layout="constrained")
        FigureCanvasAgg(figure)
        parts = figure.subfigures(max(len(results), 1), 1, squeeze=False)
        for part, one in zip(parts.flat, results, strict=False):
            part.suptitle(one.setting.name, fontsize=8, color=INK, x=0.02, ha="left")
            left, right = part.subplots(1, 2)
            handles = draw_path(left, one)
            draw_ends(right, one)
            part.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=7)
        for ending, dpi in ENDINGS.items():
            buffer = io.BytesIO()
            metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(ending)
            figure.savefig(buffer, format=ending[1:], dpi=dpi, metadata=metadata)
            write_atomic(path.with_suffix(ending), buffer.getvalue())


def draw_path(ax: Axes, one: Settling) -> list[Line2D]:
    """Contested against settled loss along training, from right to left in settled loss; a marker at each end."""
    handles = []
    styles = line_styles(one.setting.lines)
    for line in one.setting.lines:
        colour, alpha, marker = styles[line.name]
        for run in _readable(line):
            ax.plot(run.settled, run.contested, color=colour, alpha=alpha, linewidth=1.2)
            ax.plot(
                run.settled[-1:],
                run.contested[-1:],
                color=colour,
                marker=marker,
                markersize=4.5,
                linestyle="none",
            )
        seeds = f" ({len(line.runs)} seeds)" if len(line.runs) > 1 else ""
        handles.append(
            Line2D(
                [], [], color=colour, alpha=alpha, marker=marker, markersize=4.5, label=f"{line.name}{seeds}"
            )
        )
    if np.isfinite(one.setting.chance):
        for draw in (ax.axhline, ax.axvline):
            draw(one.setting.chance, color=SOFT, linewidth=0.8, linestyle=(0, (4, 2)))
        ax.annotate(
            "ln K",
            (0.01, one.setting.chance),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            color=SOFT,
        )
    ax.invert_xaxis()
    ax.set(xlabel="settled loss (nats), lower to the right", ylabel="contested loss (nats)")
    return handles


def draw_ends(ax: Axes, one: Settling) -> None:
    """Change of contested loss against settled loss at the end: end minus start filled, peak minus start open."""
    styles = line_styles(one.setting.lines)
    for line in one.setting.lines:
        colour, _, marker = styles[line.name]
        for run in _readable(line):
            change = run.contested - run.contested[0]
            at, end, peak = run.settled[-1], change[-1], change.max()
            ax.plot([at, at], [end, peak], color=colour, linewidth=0.7, alpha=0.6)
            ax.plot(
                [at],
                [peak],
                color=colour,
                marker=marker,
                markersize=4.5,
                markerfacecolor="white",
                linestyle="",
            )
            ax.plot([at], [end], color=colour, marker=marker, markersize=4.5, linestyle="")
    ax.axhline(0, color=SOFT, linewidth=0.8)
    if np.isfinite(one.setting.chance):
        ax.axvline(one.setting.chance, color=SOFT, linewidth=0.8, linestyle=(0, (4, 2)))
    ax.invert_xaxis()
    ax.set(
        xlabel="settled loss at the end (nats), lower to the right",
        ylabel="change of contested loss (nats)\nfilled: at the end, open: at its peak",
    )


def line_styles(lines: Sequence[Line]) -> dict[str, tuple[str, float, str]]:
    """Colour (method), opacity and marker (rate, within the method) of each line."""
    methods = sorted({line.method for line in lines})
    rates = sorted({line.rate for line in lines})
    styles = {}
    for line in lines:
        own = [other.name for other in lines if other.method == line.method]
        depth = 1.0 if len(own) == 1 else 0.45 + 0.55 * own.index(line.name) / (len(own) - 1)
        colour = METHOD_COLOURS[methods.index(line.method) % len(METHOD_COLOURS)]
        styles[line.name] = (colour, depth, MARKERS[rates.index(line.rate) % len(MARKERS)])
    return styles


def _readable(line: Line) -> list[SettlingRun]:
    return [run for run in line.runs if not run.why_none]
