"""Context of the verdicts, as the page shows it: other choices, fewer annotators, label noise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from dissensus.analysis.across import Across
from dissensus.analysis.annotators import labels_needed
from dissensus.analysis.rows import (
    HangsOnRow,
    LabelsRow,
    LikenessRow,
    NoiseCurveRow,
    NoisyRun,
    RankingRow,
    rows_of,
)
from dissensus.curves import FloatArray
from dissensus.report import figures
from dissensus.report.claims import ClaimView, claim_views
from dissensus.report.grid import Grid, grid_of
from dissensus.report.tables import REGIMES, method_words
from dissensus.wording import interval_end, number

NOISE = {
    "uniform": "any other class",
    "nearest": "the next class",
    "annotators": "a class that annotators chose",
}
"""Kinds of label noise in words."""


@dataclass(frozen=True)
class NoiseCurves:
    """Curves of one cell with label noise.

    Attributes:
        title: method, kind and rate of the noise.
        given: inline SVG, loss on the labels trained on.
        true: inline SVG, loss on the true labels.
    """

    title: str
    given: Markup
    true: Markup


@dataclass(frozen=True)
class AcrossView:
    """What looks across the cells, as the page shows it.

    Attributes:
        claims: the verdicts.
        cells: completed cells that they rest on.
        planned: cells that the study lists.
        sensitivity: what hangs on a choice; None where nothing was compared.
        annotators: rho by the number of labels per item; None where no item has enough.
        noise: how flipped labels are found; None without label noise.
        noise_curves: their curves.
    """

    claims: tuple[ClaimView, ...]
    cells: int
    planned: int
    sensitivity: Grid | None
    annotators: Grid | None
    noise: Grid | None
    noise_curves: tuple[NoiseCurves, ...]


def across_view(across: Across, alpha: float) -> AcrossView:
    """The page's view of what `look_across` found; what is shown is shown at the level `alpha`."""
    return AcrossView(
        claims=claim_views(across.claims, alpha),
        cells=across.cells,
        planned=across.planned,
        sensitivity=_sensitivity(across.tables["hangs_on"]),
        annotators=_annotators(across.tables["annotators"]),
        noise=_noise(across.tables["noise_ranking"], across.tables["noise_likeness"]),
        noise_curves=_panels(across.tables["noise_curves"]),
    )


def _sensitivity(table: pa.Table) -> Grid | None:
    rows = [
        (
            f"{row.choice}: {row.value}",
            row.reference_value,
            row.source,
            str(row.conditions),
            number(row.rho_median_change, 3),
            number(row.rho_largest_change, 3),
            _turns(row.rho_sign_turns_clearly, row.conditions, row.rho_withheld),
            number(row.delta_contested_median_change, 3),
            number(row.delta_contested_largest_change, 3),
            _turns(row.delta_contested_sign_turns_clearly, row.conditions, row.delta_contested_withheld),
        )
        for row in rows_of(table, HangsOnRow)
    ]
    return grid_of(
        "sensitivity",
        "What hangs on a choice",
        (
            "How far rho and the change of the contested loss move when one choice is made otherwise: over "
            "conditions, median and largest absolute change, and conditions in which the sign turns with both "
            "intervals clear of 0, of those that have intervals (20 clusters at least in the group that it is about).",
            "“stored curves”: the same runs read otherwise. Every condition and measure: analysis/sensitivity.csv.",
        ),
        (
            "Choice", "instead of", "read from", "conditions", "rho: median change", "largest", "sign turns",
            "contested loss: median change (nats)", "largest", "sign turns",
        ),
        rows,
    )  # fmt: skip


def _turns(turned: int, conditions: int, withheld: int) -> str:
    """In how many conditions a sign turns, of those in which an interval could tell."""
    told = conditions - withheld
    if not told:
        return "no interval"
    return f"{turned} of {told}" if withheld else str(turned)


def _annotators(table: pa.Table) -> Grid | None:
    by_condition: dict[str, dict[int, LabelsRow]] = {}
    for row in rows_of(table, LabelsRow):
        by_condition.setdefault(row.condition, {})[row.labels] = row
    sizes = sorted({n for by_size in by_condition.values() for n in by_size})
    needed = {one.condition: one.labels for one in labels_needed(table)}
    rows = []
    for condition, by_size in by_condition.items():
        cells = [_by_labels(by_size[n]) if n in by_size else "" for n in sizes]
        full = next(iter(by_size.values())).rho_full
        enough = needed.get(condition)
        rows.append(
            (condition, *cells, number(full), "more, or none to see" if enough is None else str(enough))
        )
    return grid_of(
        "annotators",
        "How many labels per item?",
        (
            "Rho of entropy and AULC when only so many of each item's labels are known: the mean over sub-samples, in "
            "brackets corrected for the unreliability of so few labels (attenuation).",
            "Then with all labels, and the fewest labels of these whose mean reaches nine tenths of that.",
        ),
        ("Condition", *(f"{n} labels" for n in sizes), "all", "labels for 90%"),
        rows,
    )


def _by_labels(row: LabelsRow) -> str:
    return f"{number(row.rho)} ({number(row.rho_corrected)})"


def _noise(ranking: pa.Table, likeness: pa.Table) -> Grid | None:
    ranked = rows_of(ranking, RankingRow)
    runs = list(dict.fromkeys(map(_run, ranked)))
    scores: dict[tuple[str, str], dict[str, RankingRow]] = {}
    for row in ranked:
        scores.setdefault((row.score, row.source), {})[_run(row)] = row
    rows = [
        (f"{name.replace('_', ' ')} ({source})", *(_ranked(by_run.get(run)) for run in runs))
        for (name, source), by_run in scores.items()
    ]
    notes = [
        "AUROC of each score for finding the flipped labels among the tracked examples that were trained on, with its "
        "interval; in brackets average precision. All scores know the given labels alone.",
        *_likeness_words(likeness),
    ]
    return grid_of("noise", "Label noise", notes, ("Score", *runs), rows)


def _ranked(row: RankingRow | None) -> str:
    if row is None:
        return ""
    if math.isnan(row.auroc_low):
        return f"{number(row.auroc)}, no interval: {row.note} ({number(row.ap)})"
    ends = f"{interval_end(row.auroc_low)} to {interval_end(row.auroc_high)}"
    return f"{number(row.auroc)}, {ends} ({number(row.ap)})"


def _likeness_words(table: pa.Table) -> list[str]:
    rows = [r for r in rows_of(table, LikenessRow) if r.label == "given" and r.flipped_group == "flipped"]
    return [
        f"{_run(row)}: flipped examples' mean change of loss is {number(row.from_contested)} nats from the "
        f"contested and {number(row.from_plain)} from the plain examples' (difference {number(row.likeness)}, "
        f"{_ends(row.low, row.high, row.withheld)}). The contested are {number(row.contested_from_plain)} from "
        f"the plain: {number(row.equivalence)} further than the flipped are from the contested "
        f"({_ends(row.equivalence_low, row.equivalence_high, row.equivalence_withheld)}; likeness needs that to be "
        "above 0)."
        for row in rows
    ]


def _ends(low: float, high: float, withheld: str) -> str:
    """An interval, or why there is none."""
    return f"no interval: {withheld}" if withheld else f"{interval_end(low)} to {interval_end(high)}"


def _panels(table: pa.Table) -> tuple[NoiseCurves, ...]:
    cells: dict[str, list[NoiseCurveRow]] = {}
    for row in rows_of(table, NoiseCurveRow):
        cells.setdefault(row.cell, []).append(row)
    every = [row for rows in cells.values() for row in rows]
    ylim = figures.limits([_floats(row.mean for row in every), _floats(row.high for row in every)])
    panels = []
    for number_, rows in enumerate(cells.values()):
        drawn = {
            label: figures.plot_svg(
                figures.Plot("", partial(figures.draw_curves, curves=_curves(rows, label), ylim=ylim)),
                f"noise{number_}{label}",
                f"Mean loss on the {label} labels of flipped, contested and plain examples, {_run(rows[0])}",
            )
            for label in ("given", "true")
        }
        panels.append(NoiseCurves(_run(rows[0]), drawn["given"], drawn["true"]))
    return tuple(panels)


def _floats(values: Iterable[float]) -> FloatArray:
    return np.array(list(values), dtype=np.float64)


def _curves(rows: Sequence[NoiseCurveRow], label: str) -> list[figures.DrawnCurve]:
    curves = []
    for group in ("flipped", "contested", "plain"):
        points = [row for row in rows if row.label == label and row.group == group]
        if points:
            mean = _floats(row.mean for row in points)
            curves.append(
                figures.DrawnCurve(
                    group,
                    progress=_floats(row.progress for row in points),
                    mean=mean,
                    low=_floats(row.low for row in points),
                    high=_floats(row.high for row in points),
                    seeds=mean[None],
                )
            )
    return curves


def _run(row: NoisyRun) -> str:
    """A run with label noise in words."""
    kind = NOISE.get(row.noise, row.noise)
    regime = REGIMES.get(row.regime, row.regime)
    return (
        f"{row.dataset}, {row.model}, {method_words(row.method)}, {regime}, "
        f"{100 * row.rate:.0f}% to {kind}, seed {row.seed}"
    )
