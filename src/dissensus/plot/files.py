"""Files for a paper: each figure as PDF and SVG, alone and joined, its data as CSV, a LaTeX table and BibTeX.

    DIR/figures/
      curves-CONDITION.pdf, .svg, .csv     mean loss by entropy group; entropy_aulc, data_map and groups likewise
      curves-all.pdf, .svg, .csv           the same of all conditions on one scale
      conditions.tex                       the table of conditions
      references.bib                       the paper and this software

The same study gives the same bytes: no clock, no random ids.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes

from dissensus.analysis.study_reading import KEPT, StudyReader
from dissensus.analysis.tables import analyze, load_analysis
from dissensus.errors import StoreError
from dissensus.files import write_atomic
from dissensus.plot.citation import bibtex
from dissensus.plot.conditions_table import conditions_latex
from dissensus.plot.drawing import curve_limits, curves_on, data_map_on, entropy_on, groups_on
from dissensus.plot.series import Row, change_series, example_series, group_series
from dissensus.plot.sources import condition_of, conditions_of
from dissensus.report.figures import Plot, save_joint
from dissensus.report.tables import condition_rows

ENDINGS = (".pdf", ".svg")


@dataclass(frozen=True)
class FigureFiles:
    """What was written.

    Attributes:
        folder: where.
        conditions: how many have figures of their own.
        names: of the files, sorted.
    """

    folder: Path
    conditions: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Panel:
    """One condition in one figure: its title, what draws it, and its rows."""

    title: str
    draw: Callable[[Axes], None]
    columns: Sequence[str]
    rows: tuple[Row, ...]


def write_figures(study: Path | StudyReader) -> FigureFiles:
    """Write a study's figures and tables for a paper to DIR/figures; what was written.

    Raises:
        SpecError: the folder is no study's.
        StoreError: no cell is complete, or one is damaged.
    """
    reader = StudyReader.at(study, keep=KEPT)
    if not reader.folder.done:
        raise StoreError(
            f"{reader.folder.path} has no completed cell. Run it first: dissensus run {reader.folder.path}"
        )
    folder = reader.folder.path / "figures"
    folder.mkdir(exist_ok=True)
    names: list[str] = []
    figures = _figures(reader)
    for figure, panels in figures.items():
        for condition, panel in panels.items():
            names += _write(folder / f"{figure}-{condition}", {condition: panel})
        names += _write(folder / f"{figure}-all", panels)
    analysis = load_analysis(reader) or analyze(reader)
    texts = {
        "conditions.tex": conditions_latex(analysis.study, condition_rows(analysis.conditions)),
        "references.bib": bibtex(),
    }
    for name, text in texts.items():
        write_atomic(folder / name, text)
    return FigureFiles(folder, len(figures["curves"]), tuple(sorted((*names, *texts))))


def _figures(reader: StudyReader) -> dict[str, dict[str, _Panel]]:
    """Figure -> condition -> panel."""
    conditions = [condition_of(reader, name) for name in conditions_of(reader)]
    titles = {one.name: "\n".join(one.title.rsplit(" · ", 1)) for one in conditions}
    curves = {one.name: group_series(one) for one in conditions}
    examples = {one.name: example_series(one) for one in conditions}
    changes = {one.name: change_series(one) for one in conditions}
    ylim = curve_limits(list(curves.values()))
    return {
        "curves": {
            name: _Panel(
                titles[name], partial(curves_on, series=one, ylim=ylim), one.columns, tuple(one.rows())
            )
            for name, one in curves.items()
        },
        "entropy_aulc": {
            name: _Panel(
                titles[name], partial(entropy_on, series=one), one.entropy_columns, tuple(one.entropy_rows())
            )
            for name, one in examples.items()
        },
        "data_map": {
            name: _Panel(
                titles[name], partial(data_map_on, series=one), one.map_columns, tuple(one.map_rows())
            )
            for name, one in examples.items()
        },
        "groups": {
            name: _Panel(titles[name], partial(groups_on, series=one), one.columns, tuple(one.rows()))
            for name, one in changes.items()
        },
    }


def _write(path: Path, panels: Mapping[str, _Panel]) -> Iterator[str]:
    """One figure's files, whose names are given."""
    columns = 1 if len(panels) == 1 else min(4, max(2, round(len(panels) ** 0.5)))
    plots = [Plot(panel.title, panel.draw) for panel in panels.values()]
    save_joint(plots, columns, path, endings=ENDINGS, one_scale=len(panels) > 1, label_all=True)
    yield from (f"{path.name}{ending}" for ending in ENDINGS)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("condition", *next(iter(panels.values())).columns))
    table.writerows((name, *row) for name, panel in panels.items() for row in panel.rows)
    write_atomic(path.parent / f"{path.name}.csv", text.getvalue())
    yield f"{path.name}.csv"
