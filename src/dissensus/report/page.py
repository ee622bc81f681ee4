"""The report: tables and curves to dataclasses, dataclasses to one self-contained HTML page.

The same study gives the same bytes: no clock, no machine path, no unordered listing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from dissensus.config import NO_VARIANT, RunSpec
from dissensus.curves import Curves
from dissensus.files import write_atomic
from dissensus.report import figures, settings, words
from dissensus.report.beside import AcrossView, across_view
from dissensus.report.examples import RiserList, risers
from dissensus.report.provenance import CellFacts, cell_facts, scrub, specification
from dissensus.report.svg import interval
from dissensus.report.tables import GROUPS, ConditionRow, condition_row
from dissensus.store import load_curves
from dissensus.study.across import load_across
from dissensus.study.analysis import Analysis, analyze, load_analysis
from dissensus.study.stored import on_gold
from dissensus.wording import number


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
    """

    row: ConditionRow
    settings: str
    curves: Markup
    cloud: Markup
    cloud_note: str
    risers: RiserList


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
        findings: what the numbers say.
        limits: what they do not.
        families: conditions, grouped.
        rows: conditions in order.
        scale: lower and upper end of the interval glyphs.
        missing: cells without a result.
        cells: facts of the completed cells.
        across: verdicts on the claims and what they are read beside; None where `claims` was not run, or not since.
        specification: the study as YAML.
        name: of the study's file or folder in the commands.
        version: of dissensus.
        confidence: of the intervals, in per cent.
        noise_floor: smallest rise that counts, nats.
    """

    title: str
    description: str
    study: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    findings: tuple[str, ...]
    limits: tuple[str, ...]
    families: tuple[Family, ...]
    rows: tuple[ConditionRow, ...]
    scale: tuple[float, float]
    missing: tuple[MissingCell, ...]
    cells: tuple[CellFacts, ...]
    across: AcrossView | None
    specification: str
    name: str
    version: str
    confidence: str
    noise_floor: float


def write_report(study_dir: Path, *, quotes: int | None = None) -> Path:
    """Write STUDY_DIR/report.html and STUDY_DIR/figures/; analyses first where the tables are missing or old.

    Args:
        study_dir: the study's folder.
        quotes: examples whose text is quoted, at most; the others are shown by id alone, so that a page can
            be passed on where its data cannot. Default: no limit.

    Returns the page's path. Raises what `analyze` raises.
    """
    analysis = load_analysis(study_dir) or analyze(study_dir)
    html = render(build(analysis, quotes=quotes))
    path = study_dir / "report.html"
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
    environment.globals["interval"] = partial(interval, scale=page.scale)
    return environment.get_template("report.html.j2").render(page=page, groups=GROUPS)


def build(analysis: Analysis, *, quotes: int | None = None) -> Page:
    """Everything that the page shows; draws the figures and saves the joint ones on the way."""
    from dissensus import __version__

    study = analysis.study
    rows = _own_conditions(analysis)
    shown = settings.cells_shown(study, analysis.cells["cell"].to_pylist())
    cells = tuple(cell for cell in shown if cell.variant is None) or shown
    views, notes = _views(analysis, rows, cells)
    families = tuple(
        Family(name, tuple(v for v in views if v.row.family == name))
        for name in dict.fromkeys(row.family for row in rows)
    )
    if quotes is not None:
        families = _with_fewer_quotes(families, quotes)
    missing = tuple(
        MissingCell(row["cell"], row["state"], scrub(row["error"])) for row in analysis.missing.to_pylist()
    )
    return Page(
        title=study.title or study.name,
        description=study.description,
        study=words.study_words(study, rows, cells, _annotation_words(analysis)),
        notes=words.model_notes(study, notes),
        findings=words.findings(rows, 1 - study.analysis.confidence),
        limits=words.limits_of_reading(rows, len(missing), cells),
        families=families,
        rows=tuple(view.row for family in families for view in family.views),
        scale=_scale(rows),
        missing=missing,
        cells=tuple(cell_facts(analysis, row) for row in analysis.cells.to_pylist()),
        across=across_view(across) if (across := load_across(analysis.folder)) else None,
        specification=specification(study),
        name=study.name,
        version=__version__,
        confidence=f"{study.analysis.confidence:.0%}",
        noise_floor=study.analysis.noise_floor,
    )


def _own_conditions(analysis: Analysis) -> tuple[ConditionRow, ...]:
    """The study's own conditions; its variants are compared with them elsewhere. All, where only variants are done."""
    rows = analysis.conditions.to_pylist()
    own = [row for row in rows if row["variant"] == NO_VARIANT]
    return tuple(condition_row(row) for row in own or rows)


def _views(
    analysis: Analysis, rows: Sequence[ConditionRow], cells: Sequence[RunSpec]
) -> tuple[list[ConditionView], list[str]]:
    """Panels and examples of every condition; the joint figures are saved; notes recorded with the models."""
    curves = {row.condition: _group_curves(analysis, row.condition) for row in rows}
    clouds = {row.condition: _cloud(analysis, row.condition) for row in rows}
    loss_limits = figures.limits(
        [v for cs in curves.values() for c in cs for v in (c.mean, c.high, c.seeds.ravel())]
    )
    x_limits = figures.limits([c.entropy for c in clouds.values()])
    y_limits = figures.limits([c.aulc for c in clouds.values()])
    lines = {
        c: figures.Panel(
            _joint_title(rows, c), partial(figures.draw_curves, curves=curves[c], ylim=loss_limits)
        )
        for c in curves
    }
    dots = {
        c: figures.Panel(
            _joint_title(rows, c), partial(figures.draw_cloud, cloud=clouds[c], xlim=x_limits, ylim=y_limits)
        )
        for c in clouds
    }
    folder = analysis.folder / "figures"
    folder.mkdir(exist_ok=True)
    columns = min(4, max(2, len({row.method for row in rows})))
    families = list(dict.fromkeys(row.family for row in rows))
    order = [row.condition for family in families for row in rows if row.family == family]
    figures.save_joint([lines[c] for c in order], columns, folder / "curves", legend=True)
    figures.save_joint([dots[c] for c in order], columns, folder / "entropy_aulc")
    views, notes = [], []
    for number_, row in enumerate(rows):
        stored = _load(analysis, row.condition)
        notes.append(str(stored[0].provenance.get("model_note") or ""))
        views.append(
            ConditionView(
                row=row,
                settings=settings.caption(
                    [cell for cell in cells if cell.condition == row.condition],
                    [c.provenance for c in stored],
                ),
                curves=figures.panel_svg(lines[row.condition], f"l{number_}", _curve_label(row)),
                cloud=figures.panel_svg(dots[row.condition], f"d{number_}", _cloud_label(row)),
                cloud_note=_cloud_note(clouds[row.condition]),
                risers=_risers(analysis, row, stored),
            )
        )
    return views, notes


def _risers(analysis: Analysis, row: ConditionRow, stored: Sequence[Curves]) -> RiserList:
    """The examples that rose the most, from the seeds that learned: where nothing was learned, none is named."""
    cells = _of(analysis.cells, row.condition)
    learned = [answer != "no" for answer in cells["learned"].to_pylist()]
    names = [name for name, own in zip(cells["cell"].to_pylist(), learned, strict=True) if own]
    examples = _of(analysis.examples, row.condition)
    return risers(
        examples.filter(pc.is_in(examples["cell"].cast(pa.string()), pa.array(names, pa.string()))),
        [curves for curves, own in zip(stored, learned, strict=True) if own],
        withheld=row.learned_why,
    )


def _with_fewer_quotes(families: tuple[Family, ...], quotes: int) -> tuple[Family, ...]:
    """The first `quotes` different examples in the order of the page keep their text."""
    shown = [riser.id for family in families for view in family.views for riser in view.risers.shown]
    quoted = set(list(dict.fromkeys(shown))[:quotes])

    def trimmed(view: ConditionView) -> ConditionView:
        kept = (r if r.id in quoted else replace(r, fields=()) for r in view.risers.shown)
        return replace(view, risers=replace(view.risers, shown=tuple(kept)))

    return tuple(replace(family, views=tuple(map(trimmed, family.views))) for family in families)


def _load(analysis: Analysis, condition: str) -> list[Curves]:
    """The condition's curves, one a seed. Checksums were verified by the analysis."""
    cells = _of(analysis.cells, condition)["cell"].to_pylist()
    return [
        on_gold(load_curves(analysis.cell_folder(cell), verify=False), analysis.study.analysis)
        for cell in cells
    ]


def _of(table: pa.Table, condition: str) -> pa.Table:
    return table.filter(pc.equal(table["condition"], condition))


def _group_curves(analysis: Analysis, condition: str) -> list[figures.GroupCurve]:
    """Group curves averaged over the seeds that share the first one's tracking points."""
    table = _of(analysis.groups, condition)
    built = []
    for group in GROUPS:
        own = table.filter(pc.equal(table["group"], group))
        seeds = [own.filter(pc.equal(own["cell"], cell)) for cell in own["cell"].unique().to_pylist()]
        arrays = [
            {c: np.asarray(t[c].to_numpy(), dtype=np.float64) for c in ("progress", "mean", "low", "high")}
            for t in seeds
        ]
        arrays = [a for a in arrays if np.array_equal(a["progress"], arrays[0]["progress"])]
        if arrays:
            mean, low, high = (np.mean([a[c] for a in arrays], axis=0) for c in ("mean", "low", "high"))
            every = np.stack([a["mean"] for a in arrays])
            built.append(figures.GroupCurve(group, arrays[0]["progress"], mean, low, high, every))
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


def _cloud_note(cloud: figures.Cloud) -> str:
    n = int(cloud.defined.sum())
    text = (
        f"{n} examples"
        if n <= figures.MAX_POINTS
        else f"{figures.MAX_POINTS} of {n} examples, evenly along entropy"
    )
    left = cloud.total - n
    return text + (f"; {left} without a defined value left out" if left else "")


def _joint_title(rows: Sequence[ConditionRow], condition: str) -> str:
    row = next(row for row in rows if row.condition == condition)
    return f"{row.family}\n{row.method_words}"


def _curve_label(row: ConditionRow) -> str:
    parts = [f"{g.group} group: {g.path}" for g in row.groups.values()]
    return f"Mean gold-label loss in nats along training, {row.title}. " + "; ".join(parts)


def _cloud_label(row: ConditionRow) -> str:
    return f"Annotation entropy against AULC, {row.title}. Rank correlation {row.rho.text}"


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
        parts.append(f"{dataset}: {span} an example")
    return "; ".join(parts)


def _template_text(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None  # set in `render`
    return environment.loader.get_source(environment, name)[0]
