"""Results of a study as one tidy pandas table: `dissensus.load_results`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from dissensus.analysis.study_reading import StudyReader
from dissensus.analysis.tables import TABLES, Analysis, analyze, load_analysis
from dissensus.errors import MissingDependencyError, SpecError, StoreError
from dissensus.remote import study_folder

if TYPE_CHECKING:
    import pandas


def load_results(
    folder: str | os.PathLike[str], table: str = "examples", *, text: bool = False
) -> pandas.DataFrame:
    """A study's results as one tidy table; the study is analysed first where its tables are missing or old.

    Args:
        folder: the study's folder, or its URL.
        table: 'examples' (a row per example of each cell), 'cells' (a row per condition and seed), 'conditions',
            'groups' (a row per cell, entropy group and tracking point), 'missing', or a measure that the study asks
            for. What the columns mean: `dissensus.analysis.tables`, docs/measures.md.
        text: of examples, with a column for each text field, under its name.

    Raises:
        SpecError: the folder is no study's, there is no such table, or a text field has the name of a column.
        StoreError: no cell is complete, or one is damaged.
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingDependencyError("pandas", "exchange", "a pandas table") from None
    if "://" not in os.fspath(folder) and (Path(folder) / "manifest.json").is_file():
        raise StoreError(
            f"{folder} is a single recording, not a study's folder: "
            f"dissensus.load_curves({os.fspath(folder)!r}).to_pandas(text=True) is its table"
        )
    with study_folder(folder) as local:
        reader = StudyReader.at(local)
        analysis = load_analysis(reader) or analyze(reader)
        rows = _table(analysis, table)
        if text:
            if table != "examples":
                raise SpecError(f"text=True goes with the table 'examples'; {table!r} has no row per example")
            rows = _with_text(reader, rows)
    return rows.to_pandas(types_mapper={pa.bool_(): pandas.BooleanDtype()}.get)


def _table(analysis: Analysis, name: str) -> pa.Table:
    if name in TABLES:
        table: pa.Table = getattr(analysis, name)
        return table
    if name in analysis.measures:
        return analysis.measures[name]
    raise SpecError(f"table is {name!r}; this study has: {', '.join((*TABLES, *sorted(analysis.measures)))}")


def _with_text(reader: StudyReader, rows: pa.Table) -> pa.Table:
    """The rows with their texts, joined by cell and id."""
    texts = {}
    for name in rows["cell"].unique().to_pylist():
        cell = reader.cell(name, verify=False)
        texts[name] = dict(zip(cell.ids.to_pylist(), cell.texts(0, len(cell)), strict=False))
    places = zip(rows["cell"].to_pylist(), rows["id"].to_pylist(), strict=True)
    found = [texts[cell].get(example, {}) for cell, example in places]
    for field in dict.fromkeys(name for one in found for name in one):
        if field in rows.column_names:
            raise SpecError(f"the text field {field!r} has the name of a column; leave `text` out")
        rows = rows.append_column(field, pa.array([one.get(field) for one in found], pa.string()))
    return rows
