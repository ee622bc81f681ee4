"""Figures of the paper from finished cells: mean loss by entropy group, rho by rank (or a scatter), histogram of H."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from dissensus.analysis.paper.cells import PaperCell
from dissensus.analysis.paper.conditions import Condition, PaperReading
from dissensus.report.figures import Plot, save_joint
from dissensus.report.palette import COLOURS, DASHES, POINT, SOFT
from dissensus.stats.groups import GROUPS

MOST = 12
"""Panels of figure 1; a study with more conditions has those that come first in the paper's order."""
ENDINGS = (".pdf", ".svg")


def paper_figures(reading: PaperReading, folder: Path) -> tuple[str, ...]:
    """Write the figures to a folder as PDF and SVG; a sentence for each."""
    folder.mkdir(parents=True, exist_ok=True)
    done = reading.done
    words = []
    shown = done[:MOST]
    left_out = f"; {len(done) - MOST} more conditions are left out" if len(done) > MOST else ""
    if shown:
        panels = [Plot(_title(c), partial(_draw_losses, condition=c)) for c in shown]
        save_joint(panels, 4, folder / "figure-1", legend=True, endings=ENDINGS, one_scale=True)
        words.append(f"figure-1: mean loss by entropy group over updates, mean over seeds{left_out}")
        ranks = {", ".join(place): group for place, group in reading.ranks(done).items()}
        if ranks:
            panels = [Plot(name, partial(_draw_ranks, ranks=group)) for name, group in ranks.items()]
            words.append("figure-2: rho of H and learning time by LoRA rank, mean ± sd over seeds")
        else:
            cell = shown[0].cells[0]
            panels = [Plot(_title(shown[0]), partial(_draw_scatter, cell=cell))]
            words.append("figure-2: learning time and H of one cell (no model has two finished LoRA ranks)")
        save_joint(panels, 3, folder / "figure-2", endings=ENDINGS, one_scale=True)
        by_data = {c.data: c.cells[0] for c in reversed(done)}
        panels = [Plot(name, partial(_draw_histogram, cell=cell)) for name, cell in sorted(by_data.items())]
        save_joint(panels, 3, folder / "figure-3", legend=True, endings=ENDINGS, one_scale=True)
        words.append("figure-3: histogram of H over tracked items (the paper's: over the whole set)")
    return tuple(words)


def _title(condition: Condition) -> str:
    return f"{condition.model}, {condition.method}\n{condition.data}"


def _draw_losses(ax: Axes, condition: Condition) -> None:
    readings = [cell.reading for cell in condition.cells]
    steps = readings[0].steps
    means = [reading.means(reading.group) for reading in readings if np.array_equal(reading.steps, steps)]
    for group in GROUPS:
        curves = [of[group] for of in means if group in of]
        if curves:
            ax.plot(
                steps,
                np.mean(curves, axis=0),
                color=COLOURS[group],
                linestyle=DASHES[group],
                linewidth=1.5,
            )
    ax.set(xlabel="update", ylabel="mean loss (nats)")


def _draw_ranks(ax: Axes, ranks: dict[int, Condition]) -> None:
    timed = all(cell.learning_point is not None for c in ranks.values() for cell in c.cells)
    values = [
        [cell.rho_with("learning time" if timed else "AULC").rho for cell in ranks[rank].cells]
        for rank in sorted(ranks)
    ]
    spread = [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in values]
    at = sorted(ranks)
    ax.errorbar(at, [np.mean(v) for v in values], yerr=spread, marker="o", color=COLOURS["settled"])
    ax.set_xscale("log", base=2)
    ax.set_xticks(at, [str(rank) for rank in at])
    ax.axhline(0, color=SOFT, linewidth=0.6)
    ax.set(xlabel="LoRA rank", ylabel=f"rho of H and {'learning time' if timed else 'AULC'}")


def _draw_scatter(ax: Axes, cell: PaperCell) -> None:
    values = cell.aulc if cell.learning_point is None else cell.learning_point
    known = np.isfinite(values) & np.isfinite(cell.entropy)
    x, y = cell.entropy[known] * math.log(2), values[known]
    ax.scatter(x, y, s=4, color=POINT, alpha=0.35, linewidths=0, rasterized=True)
    if len(x) > 1 and np.ptp(x) > 0:
        slope, start = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        ax.plot(ends, start + slope * ends, color=COLOURS["contested"])
    ax.set(
        xlabel="H (nats)", ylabel="AULC (nats)" if cell.learning_point is None else "learning time (points)"
    )


def _draw_histogram(ax: Axes, cell: PaperCell) -> None:
    nats = cell.entropy * math.log(2)
    top = math.log(len(cell.reading.labels))
    edges = np.linspace(0, max(top + 0.1, float(np.nanmax(nats, initial=0.0))), 50)
    members = [nats[cell.members[group]] for group in reversed(GROUPS)]
    ax.hist(members, bins=edges, stacked=True, color=[COLOURS[group] for group in reversed(GROUPS)])  # type: ignore[arg-type]
    for cut in (*cell.cuts, top):
        ax.axvline(cut, color=SOFT, linewidth=0.8, linestyle="--")
    ax.set(xlabel="H (nats)", ylabel="items")
