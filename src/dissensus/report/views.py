"""Views of each condition on the page: its two plots, their basis, and the examples that rose the most."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup
from numpy.typing import NDArray

from dissensus.analysis.tables import Analysis
from dissensus.config import RunSpec, SourceSpec
from dissensus.curves import Curves
from dissensus.report import figures, settings
from dissensus.report.by_group import GroupEnd, group_ends
from dissensus.report.examples import NO_RISERS, RiserList, risers
from dissensus.report.items.collected import CollectedCondition, SeedItems
from dissensus.report.tables import GROUPS, ConditionRow
from dissensus.report.trend import trend
from dissensus.report.words import RecordedCell
from dissensus.store.run_facts import RunFacts


@dataclass(frozen=True)
class ConditionView:
    """A condition as the page shows it.

    Attributes:
        row: its numbers.
        settings: what it ran with, overrides included, in words.
        curves: inline SVG of the group curves.
        cloud: inline SVG of entropy against AULC.
        cloud_note: how many dots are drawn of how many.
        risers: the examples that rose the most.
        ends: accuracy, calibration and distance to people of each group at the end.
        collected: its items.
    """

    row: ConditionRow
    settings: str
    curves: Markup
    cloud: Markup
    cloud_note: str
    risers: RiserList
    ends: tuple[GroupEnd, ...]
    collected: CollectedCondition


def condition_views(
    analysis: Analysis, rows: Sequence[ConditionRow], cells: Sequence[RunSpec], *, save: bool = True
) -> tuple[list[ConditionView], list[RecordedCell]]:
    """Panels and examples of every condition; what was recorded of every cell.

    `save`: the joint figures too, to figures/ in the study's folder.
    """
    curves = {row.condition: group_curves(analysis.groups, row.condition) for row in rows}
    clouds = {row.condition: _cloud(analysis, row.condition) for row in rows}
    # One scale for all conditions, so that their plots can be compared by eye.
    loss_limits = figures.limits(
        [v for cs in curves.values() for c in cs for v in (c.mean, c.high, c.seeds.ravel())]
    )
    x_limits = figures.limits([c.entropy for c in clouds.values()])
    y_limits = figures.limits([c.aulc for c in clouds.values()])
    lines = {
        c: figures.Plot(
            _joint_title(rows, c), partial(figures.draw_curves, curves=curves[c], ylim=loss_limits)
        )
        for c in curves
    }
    dots = {
        c: figures.Plot(
            _joint_title(rows, c), partial(figures.draw_cloud, cloud=clouds[c], xlim=x_limits, ylim=y_limits)
        )
        for c in clouds
    }
    if save:
        _save_joint(analysis.folder / "figures", rows, lines, dots)
    views: list[ConditionView] = []
    recorded: list[RecordedCell] = []
    for number_, row in enumerate(rows):
        stored = _load(analysis, row.condition)
        facts = [RunFacts.of(seed.provenance) for seed in stored.values()]
        recorded += [RecordedCell(row.dataset, one) for one in facts]
        condition_cells = [cell for cell in cells if cell.condition == row.condition]
        seeds = list(stored.values())
        names = label_words(seeds[0].labels, condition_cells[0].dataset.tracked)
        examples = _of(analysis.examples, row.condition)
        caption = settings.caption(condition_cells, facts)
        views.append(
            ConditionView(
                row=row,
                settings=caption,
                curves=figures.plot_svg(lines[row.condition], f"l{number_}", _curve_label(row)),
                cloud=figures.plot_svg(dots[row.condition], f"d{number_}", _cloud_label(row)),
                cloud_note=_cloud_note(clouds[row.condition], row.seeds),
                risers=NO_RISERS if row.withheld else risers(examples, seeds, names),
                ends=group_ends(seeds, [groups_by_id(examples, name, one) for name, one in stored.items()]),
                collected=CollectedCondition(row, caption, examples, list(map(SeedItems.of, seeds)), names),
            )
        )
    return views, recorded


def _save_joint(
    folder: Path,
    rows: Sequence[ConditionRow],
    lines: Mapping[str, figures.Plot],
    dots: Mapping[str, figures.Plot],
) -> None:
    """The curves and the clouds of all conditions as one figure each."""
    folder.mkdir(exist_ok=True)
    columns = min(4, max(2, len({row.method for row in rows})))
    families = list(dict.fromkeys(row.family for row in rows))
    order = [row.condition for family in families for row in rows if row.family == family]
    figures.save_joint([lines[c] for c in order], columns, folder / "curves", legend=True)
    figures.save_joint([dots[c] for c in order], columns, folder / "entropy_aulc")


def overview_figure(groups: pa.Table, view: ConditionView) -> Markup:
    """Contested and settled loss of one condition as inline SVG; of all items where no group is known."""
    curves = [one for one in group_curves(groups, view.row.condition) if one.group in ENDS_OF_ENTROPY]
    if not curves:
        seed = view.collected.seeds[0]
        low, middle, high = np.nanquantile(seed.losses, (0.25, 0.5, 0.75), axis=0)
        curves = [figures.DrawnCurve("middle", seed.progress, middle, low, high, middle[None])]
    limits = figures.limits([values for c in curves for values in (c.mean, c.high, c.low)])
    plot = figures.Plot("", partial(figures.draw_curves, curves=curves, ylim=limits))
    return figures.plot_svg(plot, "first", _curve_label(view.row))


ENDS_OF_ENTROPY = ("contested", "settled")


def groups_by_id(examples: pa.Table, cell: str, curves: Curves) -> NDArray[np.str_]:
    """The entropy group of each example of a cell in the order of its curves, '' where there is none."""
    rows = examples.filter(pc.equal(examples["cell"], cell))
    by_id = dict(zip(rows["id"].to_pylist(), rows["group"].to_pylist(), strict=True))
    return np.array([by_id.get(example) or "" for example in curves.ids])


def _load(analysis: Analysis, condition: str) -> dict[str, Curves]:
    """The condition's curves by cell, one per seed. Checksums were verified by the analysis."""
    cells = _of(analysis.cells, condition)["cell"].to_pylist()
    return {cell: analysis.reader.cell(cell, verify=False).curves for cell in cells}


def _of(table: pa.Table, condition: str) -> pa.Table:
    return table.filter(pc.equal(table["condition"], condition))


def group_curves(groups: pa.Table, condition: str) -> list[figures.DrawnCurve]:
    """Group curves averaged over the seeds that share the first one's tracking points."""
    table = _of(groups, condition)
    built = []
    for group in GROUPS:
        group_rows = table.filter(pc.equal(table["group"], group))
        seeds = [
            group_rows.filter(pc.equal(group_rows["cell"], cell))
            for cell in group_rows["cell"].unique().to_pylist()
        ]
        arrays = [
            {c: np.asarray(t[c].to_numpy(), dtype=np.float64) for c in ("progress", "mean", "low", "high")}
            for t in seeds
        ]
        arrays = [a for a in arrays if np.array_equal(a["progress"], arrays[0]["progress"])]
        if arrays:
            mean, low, high = (np.mean([a[c] for a in arrays], axis=0) for c in ("mean", "low", "high"))
            every = np.stack([a["mean"] for a in arrays])
            built.append(figures.DrawnCurve(group, arrays[0]["progress"], mean, low, high, every))
    return built


def _cloud(analysis: Analysis, condition: str) -> figures.Cloud:
    """Entropy and AULC by id, AULC averaged over the seeds in which it is defined."""
    table = _of(analysis.examples, condition)
    defined = table.filter(pc.is_finite(table["aulc"])).group_by("id", use_threads=False)
    mean = defined.aggregate([("entropy_estimate", "min"), ("aulc", "mean")]).sort_by("id")
    return figures.Cloud(
        entropy=np.asarray(mean["entropy_estimate_min"].to_numpy(), dtype=np.float64),
        aulc=np.asarray(mean["aulc_mean"].to_numpy(), dtype=np.float64),
        total=pc.count_distinct(table["id"]).as_py(),
    )


def _cloud_note(cloud: figures.Cloud, seeds: int) -> str:
    """What the plot of entropy against AULC shows: dots, line and band."""
    n = int(cloud.defined.sum())
    parts = [
        f"Dots: {n} examples"
        if n <= figures.MAX_POINTS
        else f"Dots: {figures.MAX_POINTS} of {n} examples, evenly along entropy"
    ]
    parts += ["AULC averaged over seeds"] if seeds > 1 else []
    parts += ["spread a little sideways"] if cloud.nudged else []
    left = cloud.total - n
    parts += [f"{left} without a defined value left out"] if left else []
    return f"{', '.join(parts)}. {trend(cloud.entropy[cloud.defined], cloud.aulc[cloud.defined]).words}."


def _joint_title(rows: Sequence[ConditionRow], condition: str) -> str:
    row = next(row for row in rows if row.condition == condition)
    return f"{row.family}\n{row.method_words}"


def _curve_label(row: ConditionRow) -> str:
    parts = [f"{g.group} group: {g.path}" for g in row.groups.values()]
    return f"Mean gold-label loss in nats along training, {row.title}. " + "; ".join(parts)


def _cloud_label(row: ConditionRow) -> str:
    return f"Annotation entropy against AULC, {row.title}. Rank correlation {row.rho.text}"


BARE = re.compile(r"[+-]?\d+(?:[.,]\d+)?")


def label_words(labels: Sequence[str], source: SourceSpec) -> dict[str, str]:
    """Each label as the page shows it: 'offensive (label 1)', 'label 1' for a bare number, else itself."""
    known = source.label_meanings()
    return {label: _shown(label, known.get(label, "")) for label in labels}


def _shown(label: str, meaning: str) -> str:
    if not BARE.fullmatch(label.strip()):
        return label
    return f"{meaning} (label {label})" if meaning else f"label {label}"
