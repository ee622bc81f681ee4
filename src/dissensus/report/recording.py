"""The page of a single recording: a curves store without a study, other tools' logs that were imported, `Curves`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from dissensus.analysis.cell_tables import analyze_cell
from dissensus.analysis.condition_tables import conditions_table
from dissensus.analysis.reading import CellReading
from dissensus.analysis.study_reading import StudyReader
from dissensus.analysis.tables import MISSING_SCHEMA, Analysis
from dissensus.analysis.triage import triage_curves
from dissensus.config import StudySpec
from dissensus.curves import Curves
from dissensus.errors import DissensusError
from dissensus.files import write_atomic
from dissensus.report import words
from dissensus.report.by_group import by_group_grid
from dissensus.report.findings import findings, limits_of_reading, not_learned
from dissensus.report.grid import backing_grid
from dissensus.report.items.page_items import Triage, page_items
from dissensus.report.overview import most_telling, overview
from dissensus.report.page import Family, Page, interval_scale, quoted_items, quoting, render
from dissensus.report.provenance import scrub
from dissensus.report.quotes import Quotes, keep_quotes, kept_quotes, quotes_words
from dissensus.report.tables import REGIMES, ConditionRow, condition_rows
from dissensus.report.views import condition_views, overview_figure
from dissensus.store import load_curves
from dissensus.store.run_facts import RunFacts
from dissensus.study.folder import StudyFolder
from dissensus.study.grid import expand
from dissensus.wording import first_line

RECORDED = StudySpec.parse(
    {
        "name": "recording",
        "models": [{"name": "recorded"}],
        "datasets": [
            {
                "name": "recorded",
                "tracked": {"source": "table", "path": "recorded.csv", "text": ["text"], "gold": "gold"},
            }
        ],
        "methods": [{"name": "full", "learning_rate": 1e-4}],
        "regimes": ["trained_on"],
    },
    "a recording",
)
"""Stands where the tables need a study; nothing that it says of model, data or method is shown."""


def write_recording(store: Path, *, quotes: Quotes | None = None) -> Path:
    """Write STORE/report.html from a curves store, whoever recorded it.

    Args:
        store: its folder, the one with manifest.json.
        quotes: as for `write_report`.

    Returns the page's path. Raises StoreError where there is no store, or a damaged one.
    """
    curves = load_curves(store)
    if quotes is not None:
        keep_quotes(store, quotes)
    return save_page(curves, store / "report.html", name=store.resolve().name, quotes=kept_quotes(store))


def save_page(
    curves: Curves, path: str | os.PathLike[str], *, name: str = "", quotes: Quotes = "all"
) -> Path:
    """Write the page of curves in memory: a study's page with one condition.

    Args:
        curves: with texts and annotations or without.
        path: of the page.
        name: of the recording; default: that of the file.
        quotes: items whose text the page holds, at most.

    Returns the page's path.
    """
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, render(build_recording(curves, name or place.stem, quotes=quotes)))
    return place


def build_recording(curves: Curves, name: str, *, quotes: Quotes = "all") -> Page:
    """Everything that the page of a recording shows."""
    from dissensus import __version__

    analysis = _analysis(curves)
    study, alpha = analysis.study, 1 - analysis.study.analysis.confidence
    rows = tuple(_named(row, name, curves) for row in condition_rows(analysis.conditions))
    views, _ = condition_views(analysis, rows, expand(study), save=False)
    as_recorded = "As it was recorded"
    view = replace(
        views[0], settings=as_recorded, collected=replace(views[0].collected, settings=as_recorded)
    )
    families: tuple[Family, ...] = (Family(rows[0].family, (view,)),)
    quoted = None
    if quotes != "all":
        quoted = quoted_items(families, quotes)
        families = quoting(families, quoted)
    items = page_items([view.collected], _triage(curves, name), quoted)
    facts = RunFacts.of(curves.provenance)
    note = curves.provenance.get("note")
    return Page(
        title=name,
        description="",
        study=_facts(curves, facts),
        notes=tuple(map(scrub, [facts.model_note] if facts.model_note else [])),
        data_notes=tuple(map(scrub, (*facts.data_notes, *([note] if isinstance(note, str) else [])))),
        not_learned=not_learned(rows),
        findings=findings(rows, alpha),
        limits=limits_of_reading(rows, 0, expand(study)),
        families=families,
        rows=rows,
        backing=backing_grid(rows),
        scale=interval_scale(rows),
        missing=(),
        cells=(),
        across=None,
        measures=(),
        sections=(),
        specification="",
        name=name,
        version=__version__,
        confidence=f"{study.analysis.confidence:.0%}",
        noise_floor=study.analysis.noise_floor,
        entropy=words.ESTIMATORS[study.analysis.entropy],
        partial=words.PARTIAL[study.analysis.partial],
        aulc=words.aulc_words(study.analysis),
        covariates=words.covariate_words(rows),
        overview=overview(
            _recorded_words(curves),
            rows,
            items,
            figure=overview_figure(analysis.groups, view),
            verdicts="",
        ),
        items=items.packed,
        items_note=items.note,
        by_group=by_group_grid([(most_telling(rows), view.ends)]),
        settings=None,
        quotes=quotes,
        left_out=quotes_words(quotes),
    )


def _analysis(curves: Curves) -> Analysis:
    """The tables of one recording, as `analyze` makes them of a study."""
    spec = expand(RECORDED)[0]
    cell = CellReading(spec, curves, RECORDED.analysis)
    tables = analyze_cell(cell)
    reader = StudyReader(StudyFolder(Path(), study=RECORDED), _kept={spec.cell_id: cell})
    cells = pa.Table.from_pylist([tables.cell])
    return Analysis(
        reader=reader,
        cells=cells,
        conditions=conditions_table(cells, [spec.condition]),
        groups=tables.groups,
        missing=pa.Table.from_pylist([], schema=MISSING_SCHEMA),
        in_memory=tables.examples,
    )


def _named(row: ConditionRow, name: str, curves: Curves) -> ConditionRow:
    regimes = list(dict.fromkeys(curves.regime.tolist()))
    regime = regimes[0] if len(regimes) == 1 else "held out and trained on"
    return replace(row, dataset=name, model="the recorded model", method="as recorded", regime=regime)


def _triage(curves: Curves, name: str) -> Triage:
    try:
        return Triage(tuple(replace(one, dataset=name) for one in triage_curves(curves)))
    except DissensusError as problem:
        return Triage((), f"No item is named here: {first_line(problem)}")


def _recorded_words(curves: Curves) -> str:
    regimes = " or ".join(REGIMES.get(one, one) for one in dict.fromkeys(curves.regime.tolist()))
    return (
        f"The loss of {len(curves):,} items, {regimes}, was recorded at {len(curves.steps)} points of "
        f"{curves.total_steps:,} optimiser steps."
    )


def _facts(curves: Curves, facts: RunFacts) -> tuple[tuple[str, str], ...]:
    votes = curves.counts.sum(axis=1)
    asked = votes[votes > 0]
    regimes: Sequence[str] = list(dict.fromkeys(curves.regime.tolist()))
    pairs = {
        "Items": f"{len(curves):,}; labels: {', '.join(curves.labels)}",
        "Annotations": f"{np.median(asked):g} per item (median), for {len(asked):,} items"
        if asked.size
        else "none",
        "Regime": "; ".join(f"{REGIMES[r]}: {words.REGIME_NOTES[r]}" for r in regimes if r in REGIMES),
        "Tracking": f"{len(curves.steps)} tracking points, steps {curves.steps[0]:,} to {curves.steps[-1]:,}"
        if len(curves.steps)
        else "no tracking point",
        "Source": str(curves.provenance.get("source") or ""),
        "Versions": ", ".join(f"{name} {facts.versions[name]}" for name in sorted(facts.versions)),
    }
    return tuple((term, text) for term, text in pairs.items() if text)
