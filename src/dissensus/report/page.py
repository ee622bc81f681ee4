"""The report: tables and curves to dataclasses, dataclasses to one self-contained HTML page.

The same study gives the same bytes: no clock, no machine path, no unordered listing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jinja2
import numpy as np
import pyarrow.compute as pc
from markupsafe import Markup, escape

from dissensus.analysis.across import load_across
from dissensus.analysis.study_reading import KEPT, StudyReader
from dissensus.analysis.tables import Analysis, analyze, load_analysis
from dissensus.files import write_atomic
from dissensus.report import words
from dissensus.report.beside import AcrossView, across_view
from dissensus.report.findings import NotLearned, findings, limits_of_reading, not_learned
from dissensus.report.grid import Grid, backing_grid
from dissensus.report.measures import measure_grids
from dissensus.report.palette import LINES
from dissensus.report.provenance import CellProvenance, cell_provenance, scrub, specification
from dissensus.report.quotes import Quotes, keep_quotes, kept_quotes, quotes_words
from dissensus.report.sections import Section, further_sections
from dissensus.report.svg import interval, key
from dissensus.report.tables import GROUPS, ConditionRow, condition_rows
from dissensus.report.views import ConditionView, condition_views
from dissensus.stats import MIN_CLUSTERS
from dissensus.wording import number


@dataclass(frozen=True)
class Family:
    """Conditions that differ in their method alone, shown beside each other."""

    title: str
    views: tuple[ConditionView, ...]


@dataclass(frozen=True)
class MissingCell:
    """A cell without a result: its name, its state, the last line of its error."""

    cell: str
    state: str
    error: str


@dataclass(frozen=True)
class Page:
    """Everything that the template shows.

    Attributes:
        title: of the study.
        description: the study's own words.
        study: (term, text) pairs.
        notes: what a reader must know of the models.
        data_notes: what the loaders said of the data.
        not_learned: conditions that learned nothing.
        findings: what the numbers say.
        limits: what they do not.
        families: conditions, grouped.
        rows: conditions in order.
        backing: the groups split by whether the annotators back the gold label; None where that is not known.
        scale: lower and upper end of the interval glyphs.
        missing: cells without a result.
        cells: facts of the completed cells.
        across: verdicts on the claims and what they are read beside; None where `claims` was not run, or not since.
        measures: validation accuracy, gradients and what else the study measures (`report/measures.py`).
        sections: further ones (`report/sections.py`).
        specification: the study as YAML.
        name: of the study's file or folder in the commands.
        version: of dissensus.
        confidence: of the intervals, in per cent.
        noise_floor: smallest rise that counts, nats.
        entropy: how annotation entropy is computed, in words.
        partial: how covariates enter the partial correlation, in words.
        aulc: how AULC is computed, in words.
        covariates: which they are.
        quotes: examples that are quoted, at most.
        left_out: what that leaves out of the page, in a sentence; '' where nothing is.
    """

    title: str
    description: str
    study: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    data_notes: tuple[str, ...]
    not_learned: tuple[NotLearned, ...]
    findings: tuple[str, ...]
    limits: tuple[str, ...]
    families: tuple[Family, ...]
    rows: tuple[ConditionRow, ...]
    backing: Grid | None
    scale: tuple[float, float]
    missing: tuple[MissingCell, ...]
    cells: tuple[CellProvenance, ...]
    across: AcrossView | None
    measures: tuple[Grid, ...]
    sections: tuple[Section, ...]
    specification: str
    name: str
    version: str
    confidence: str
    noise_floor: float
    entropy: str
    partial: str
    aulc: str
    covariates: str
    quotes: Quotes
    left_out: str


def write_report(study: Path | StudyReader, *, quotes: Quotes | None = None) -> Path:
    """Write STUDY_DIR/report.html and STUDY_DIR/figures/; analyses first where the tables are missing or old.

    Args:
        study: the study's folder, or what reads its cells.
        quotes: examples whose text is quoted, at most, or 'all'; the others are shown by id alone, so that a page can
            be passed on where its data cannot. What is given is kept with the study (report.json). Default: what was
            kept, else no limit.

    Returns the page's path. Raises what `analyze` raises, and SpecError where what was kept cannot be read.
    """
    reader = StudyReader.at(study, keep=KEPT)
    folder = reader.folder.path
    if quotes is not None:
        _ = reader.folder.spec  # nothing is kept where there is no study
        keep_quotes(folder, quotes)
    kept = kept_quotes(folder)
    analysis = load_analysis(reader) or analyze(reader)
    html = render(build(analysis, quotes=kept))
    path = folder / "report.html"
    write_atomic(path, html)
    return path


def render(page: Page) -> str:
    """Fill the template. Everything that is not `Markup` made here is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dissensus.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.globals["style"] = Markup(_template_text(environment, "style.css"))  # noqa: S704 - our own file
    environment.filters["breakable"] = breakable
    environment.globals["interval"] = partial(interval, scale=page.scale)
    environment.globals["key"] = key
    environment.globals["lines"] = LINES
    environment.globals["fewest_clusters"] = MIN_CLUSTERS
    return environment.get_template("report.html.j2").render(page=page, groups=GROUPS)


def breakable(text: str) -> Markup:
    """Text, escaped, that may be broken after the signs that join a name's parts, so that no word is."""
    return Markup(re.sub(r"([./_=·])(?=\S)", r"\1<wbr>", str(escape(text))))  # noqa: S704 - escaped here


def build(analysis: Analysis, *, quotes: Quotes = "all") -> Page:
    """Everything that the page shows; draws the figures and saves the joint ones on the way."""
    from dissensus import __version__

    study = analysis.study
    alpha = 1 - study.analysis.confidence
    rows = condition_rows(analysis.conditions)
    planned = analysis.reader.folder.planned
    shown = tuple(planned[name].cell for name in analysis.cells["cell"].to_pylist())
    cells = tuple(cell for cell in shown if cell.variant is None) or shown
    views, stored = condition_views(analysis, rows, cells)
    families = tuple(
        Family(name, tuple(v for v in views if v.row.family == name))
        for name in dict.fromkeys(row.family for row in rows)
    )
    if quotes != "all":
        families = _with_fewer_quotes(families, quotes)
    missing = tuple(
        MissingCell(row["cell"], row["state"], scrub(row["error"])) for row in analysis.missing.to_pylist()
    )
    return Page(
        title=study.title or study.name,
        description=study.description,
        study=words.study_words(study, rows, cells, _annotation_words(analysis)),
        notes=tuple(map(scrub, words.model_notes(study, words.recorded_notes(stored)))),
        data_notes=tuple(map(scrub, words.data_notes(stored))),
        not_learned=not_learned(rows),
        findings=findings(rows, alpha),
        limits=limits_of_reading(rows, len(missing), cells),
        families=families,
        rows=tuple(view.row for family in families for view in family.views),
        backing=backing_grid([view.row for family in families for view in family.views]),
        scale=_scale(rows),
        missing=missing,
        cells=tuple(
            cell_provenance(analysis.reader.folder, cell) for cell in analysis.cells["cell"].to_pylist()
        ),
        across=across_view(across, alpha) if (across := load_across(analysis.reader)) else None,
        measures=measure_grids(analysis.measures, rows),
        sections=further_sections(analysis),
        specification=specification(study),
        name=study.name,
        version=__version__,
        confidence=f"{study.analysis.confidence:.0%}",
        noise_floor=study.analysis.noise_floor,
        entropy=words.ESTIMATORS[study.analysis.entropy],
        partial=words.PARTIAL[study.analysis.partial],
        aulc=words.aulc_words(study.analysis),
        covariates=words.covariate_words(rows),
        quotes=quotes,
        left_out=quotes_words(quotes),
    )


def _with_fewer_quotes(families: tuple[Family, ...], quotes: int) -> tuple[Family, ...]:
    """The first `quotes` different examples in the order of the page keep their text."""
    shown = [riser.id for family in families for view in family.views for riser in view.risers.shown]
    quoted = set(list(dict.fromkeys(shown))[:quotes])

    def trimmed(view: ConditionView) -> ConditionView:
        kept = (r if r.id in quoted else replace(r, fields=()) for r in view.risers.shown)
        return replace(view, risers=replace(view.risers, shown=tuple(kept)))

    return tuple(replace(family, views=tuple(map(trimmed, family.views))) for family in families)


def _scale(rows: Sequence[ConditionRow]) -> tuple[float, float]:
    """Shared scale of the interval glyphs: symmetric enough to show zero, no wider than needed."""
    ends = [v for r in rows for e in (r.rho, r.partial, r.hard, r.slope) for v in (e.value, e.low, e.high)]
    finite = [v for v in ends if np.isfinite(v)]
    return min([-0.1, *finite]), max([0.1, *finite])


def _annotation_words(analysis: Analysis) -> str:
    parts = []
    for dataset in analysis.conditions["dataset"].unique().to_pylist():
        values = analysis.examples.filter(pc.equal(analysis.examples["dataset"], dataset))["annotations"]
        ends = pc.min_max(values).as_py()
        span = f"{ends['min']:g}" if ends["min"] == ends["max"] else f"{ends['min']:g} to {ends['max']:g}"
        parts.append(f"{dataset}: {span} per example")
    return "; ".join(parts)


def _template_text(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None  # set in `render`
    return environment.loader.get_source(environment, name)[0]
