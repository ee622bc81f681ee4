"""Entropy groups of one cell: columns of their sizes, losses and changes, and the rows of the groups table.

Groups are contested, middle and settled examples; each has two sides, `backed` and `rejected`: whether most annotators
chose the gold label.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dissensus.analysis.reading import SIDES, BoolArray, CellReading
from dissensus.curves import FloatArray
from dissensus.stats import GroupCurve, group_curves, mean_difference
from dissensus.stats.groups import GROUPS
from dissensus.stats.intervals import few_units

GROUPS_SCHEMA = pa.schema(
    [(c, pa.string()) for c in ("cell", "condition")]
    + [("seed", pa.int64()), ("group", pa.string()), ("step", pa.int64())]
    + [(c, pa.float64()) for c in ("progress", "mean", "low", "high")]
    + [("n", pa.int64()), ("withheld", pa.string())]
    # The sides of a group are columns, not rows: a reader of the older table still finds one row per group and point.
    + [
        column
        for side in SIDES
        for column in (
            *((f"{c}_{side}", pa.float64()) for c in ("mean", "low", "high")),
            (f"n_{side}", pa.int64()),
        )
    ]
)


def group_columns(cell: CellReading) -> dict[str, Any]:
    """Of each group: size, mean loss at the start, the lowest point and the end, un-learned share, mean change.

    Then the difference of the contested and the settled examples' mean changes.
    """
    options = _options(cell)
    delta = cell.metrics.unlearning.delta
    changes = group_curves(delta[:, None], cell.group, **options)
    means = cell.means(cell.group)
    row: dict[str, Any] = {}
    for group in GROUPS:
        member = cell.group == group
        row |= _losses(cell, group, member, means.get(group))
        shown = member & cell.flag_shown
        row[f"unlearned_{group}"] = float(cell.unlearned[shown].mean()) if shown.any() else float("nan")
        row |= _change(group, changes.get(group))
    gap = mean_difference(delta, cell.group, **options)
    row["delta_difference"] = gap.difference
    row["delta_difference_low"], row["delta_difference_high"] = gap.low, gap.high
    row["delta_difference_p"], row["delta_difference_withheld"] = gap.p_value, gap.withheld
    return row


def side_columns(cell: CellReading) -> dict[str, Any]:
    """Size, mean losses and mean change of each side of each group; NaN where it has no example."""
    changes = group_curves(cell.metrics.unlearning.delta[:, None], cell.side, **_options(cell))
    bands = cell.bands(cell.side)
    row: dict[str, Any] = {}
    for group in GROUPS:
        for side in SIDES:
            name, key = f"{group} {side}", f"{group}_{side}"
            band = bands.get(name)
            row |= _losses(cell, key, cell.side == name, None if band is None else band.mean)
            row |= _change(key, changes.get(name))
    return row


def groups_table(cell: CellReading) -> pa.Table:
    """A row per group and tracking point: mean loss with its band, and the same of both sides."""
    sides = cell.bands(cell.side)
    named = {"cell": cell.name, "condition": cell.spec.condition, "seed": cell.spec.seed}
    clustered = cell.clusters.labels is not None
    rows = [
        {
            **named,
            "group": name,
            **columns,
            **{
                key: value
                for side in SIDES
                for key, value in _side(sides.get(f"{name} {side}"), side, t).items()
            },
        }
        for name, band in cell.bands(cell.group).items()
        for t, columns in enumerate(curve_rows(band, cell.steps, cell.progress, clustered=clustered))
    ]
    return pa.Table.from_pylist(rows, schema=GROUPS_SCHEMA)


def curve_rows(
    band: GroupCurve, steps: NDArray[np.int64], progress: FloatArray, *, clustered: bool
) -> Iterator[dict[str, Any]]:
    """Columns of a group's mean curve, a row for each tracking point, as every table of curves has them.

    `n`: finite values behind the mean; `clusters`: clusters (or examples, where each is its own) that they come from;
    `withheld`: why there is no band at this point, or ''.
    """
    for t, (step, u) in enumerate(zip(steps, progress, strict=True)):
        yield {
            "step": int(step),
            "progress": float(u),
            "mean": float(band.mean[t]),
            "low": float(band.low[t]),
            "high": float(band.high[t]),
            "n": int(band.finite[t]),
            "clusters": int(band.units[t]),
            "withheld": few_units(int(band.units[t]), clustered=clustered),
        }


def _options(cell: CellReading) -> dict[str, Any]:
    return {"confidence": cell.settings.confidence, "clusters": cell.clusters.numbers}


def _losses(cell: CellReading, key: str, member: BoolArray, mean: FloatArray | None) -> dict[str, Any]:
    curve: NDArray[np.float64] = np.full(len(cell.steps), np.nan) if mean is None else mean
    known = curve[np.isfinite(curve)]
    return {
        f"n_{key}": int(member.sum()),
        f"loss_{key}_start": float(curve[0]) if cell.measured_start else float("nan"),
        f"loss_{key}_lowest": float(known.min()) if known.size else float("nan"),
        f"loss_{key}_end": float(curve[-1]),
    }


def _change(key: str, change: GroupCurve | None) -> dict[str, Any]:
    return {
        f"delta_{key}": float(change.mean[0]) if change else float("nan"),
        f"delta_{key}_low": float(change.low[0]) if change else float("nan"),
        f"delta_{key}_high": float(change.high[0]) if change else float("nan"),
        f"delta_{key}_withheld": change.withheld if change else "no example",
    }


def _side(band: GroupCurve | None, side: str, point: int) -> dict[str, Any]:
    """Columns of one side of a group at one tracking point; NaN and 0 where it has no example."""
    if band is None:
        return {**{f"{end}_{side}": float("nan") for end in ("mean", "low", "high")}, f"n_{side}": 0}
    ends = {"mean": band.mean, "low": band.low, "high": band.high}
    return {
        **{f"{end}_{side}": float(values[point]) for end, values in ends.items()},
        f"n_{side}": int(band.finite[point]),
    }
