"""Tables of a study, made from its stored curves: per example, per cell, per condition, per entropy group.

    STUDY_DIR/analysis/
      examples.parquet     a row per example of a cell: gold, entropy, group, metrics, covariates. `entropy` is the
                           plug-in one, as in every other table; `entropy_estimate` that of the study's estimator,
                           which groups and correlations rest on
      cells.parquet        a row per cell (condition and seed): did it learn, correlations, un-learning, group losses
      conditions.parquet   a row per condition: mean and spread of its cells, Holm-adjusted p
      groups.parquet       a row a (cell, entropy group, tracking point): mean loss with its band
      missing.parquet      a row per cell without a result, with its state and the last line of its error
      gradients.parquet, gradient_norms.parquet   where a cell has a gradient probe: docs/gradients.md
      cells.csv, conditions.csv    the same tables for people
      NAME.parquet, NAME.csv       measures that the study asks for, validation accuracy (`measures.tables`)
      inputs.json          what the tables were made from; `load_analysis` refuses them when it has changed

Reads completed cells, never trains, imports no torch.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from dissensus.analysis.cell_tables import CellTables, analyze_cell
from dissensus.analysis.condition_tables import conditions_table
from dissensus.analysis.example_rows import ExampleRows
from dissensus.analysis.extensions import packages_of
from dissensus.analysis.gradients import gradient_tables
from dissensus.analysis.measures.tables import EVERY_TABLE, MeasureTables, table_names
from dissensus.analysis.rows import SummaryRow, rows_of
from dissensus.analysis.study_reading import StudyReader
from dissensus.config import StudySpec
from dissensus.display import ShortRepr
from dissensus.errors import DissensusError, StoreError
from dissensus.files import file_sha256, write_atomic
from dissensus.study.folder import StudyFolder
from dissensus.study.status import CellStatus
from dissensus.wording import last_line

SCHEMA_VERSION = 2
TABLES = ("examples", "cells", "conditions", "groups", "missing")
MISSING_SCHEMA = pa.schema([(c, pa.string()) for c in ("cell", "condition", "state", "error")])


@dataclass(frozen=True, repr=False)
class Analysis(ShortRepr):
    """The tables of one study.

    Attributes:
        reader: of the study's folder.
        cells: a row a completed cell, in the study's order of conditions.
        conditions: a row per condition with at least one completed cell.
        groups: a row a (cell, group, tracking point).
        missing: a row per cell that has no result: cell, condition, state, error.
        in_memory: the examples table, where it has just been made and is small.
        measures: tables that the study asks for, and of its validation sets, by name; see `measures.tables`.
    """

    reader: StudyReader
    cells: pa.Table
    conditions: pa.Table
    groups: pa.Table
    missing: pa.Table
    in_memory: pa.Table | None = None
    measures: Mapping[str, pa.Table] = field(default_factory=dict)

    @cached_property
    def examples(self) -> pa.Table:
        """A row per example of a cell; read when it is first asked for, unless it is in memory already."""
        if self.in_memory is not None:
            return self.in_memory
        return pq.read_table(self.folder / "analysis" / "examples.parquet")

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.reader.folder.path

    @property
    def study(self) -> StudySpec:
        """Its specification."""
        return self.reader.folder.spec


def analyze(study: Path | StudyReader) -> Analysis:
    """Analyse every completed cell of a study and write the tables to STUDY_DIR/analysis/.

    Cells of more than a GiB of curves are read block by block, and their rows wait on the disk: docs/size.md.

    Cells that failed, are under way or never started are listed in `missing`, not dropped. Each cell's bootstrap
    is seeded from the study's analysis seed and the cell's id, so that no cell's numbers depend on the others.

    Args:
        study: the study's folder, or what reads its cells.

    Raises:
        SpecError: study.yaml is missing or not valid.
        StoreError: the folder holds no cells, none is complete, or a completed cell is damaged (it is named).
    """
    reader = StudyReader.at(study)
    folder = reader.folder
    missing = [_missing(cell) for cell in folder.statuses if cell.state != "done" or not cell.in_study]
    if not folder.done:
        shown = "; ".join(
            f"{c['cell']}: {c['state']}" + (c["error"] and f" ({c['error']})") for c in missing[:5]
        )
        raise StoreError(
            f"{folder.path} has no completed cell to analyse ({shown}). Run it first: dissensus run {folder.path}"
        )
    inputs = inputs_of(folder)  # a missing extension is said before the work, not after it
    measures = MeasureTables(folder.spec.analysis)
    with ExampleRows(folder.path / "analysis") as rows:
        tables = []
        for name in folder.done:
            analysed = _analyze_one(reader, name, measures)
            rows.add(analysed.examples)
            tables.append((analysed.cell, analysed.groups))
            del analysed
        cells = pa.Table.from_pylist([cell for cell, _ in tables])
        conditions = [cell.condition for cell in folder.cells]
        analysis = Analysis(
            reader=reader,
            cells=cells,
            conditions=conditions_table(cells, conditions),
            groups=pa.concat_tables([groups for _, groups in tables]),
            missing=pa.Table.from_pylist(missing, schema=MISSING_SCHEMA),
            in_memory=rows.table(),
            measures={**measures.tables(folder), **gradient_tables(reader)},
        )
        _write(analysis, rows, inputs)
    return analysis


def load_analysis(study: Path | StudyReader) -> Analysis | None:
    """The tables that `analyze` wrote, or None when there are none or the study has changed since.

    Changed: a cell was added, finished, run again or removed, the study's analysis settings or the packages of its
    extensions are others, or another version of dissensus wrote the tables.
    """
    reader = StudyReader.at(study)
    folder, tables_folder = reader.folder, reader.folder.path / "analysis"
    _ = folder.spec  # nothing is loaded where there is no study
    try:
        stored = json.loads((tables_folder / "inputs.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    further = table_names(folder)
    if not isinstance(stored, dict) or stored.pop("tables", None) != _checksums(tables_folder, further):
        return None
    if stored != inputs_of(folder).to_json():
        return None
    tables = {name: pq.read_table(tables_folder / f"{name}.parquet") for name in TABLES if name != "examples"}
    measures = {name: pq.read_table(tables_folder / f"{name}.parquet") for name in further}
    return Analysis(reader=reader, **tables, measures=measures)


def summary_rows(analysis: Analysis) -> tuple[SummaryRow, ...]:
    """A row per condition for a terminal."""
    return tuple(replace(row, n=round(row.n)) for row in rows_of(analysis.conditions, SummaryRow))


def _missing(cell: CellStatus) -> dict[str, str]:
    """The row of a cell without a result."""
    if not cell.in_study:
        # Its condition may bear the same name as one of the study's, with other settings: never mixed in.
        return _missing_row(cell, "not in the study", "its folder is left from another form of study.yaml")
    return _missing_row(cell, cell.state, cell.error.strip() or last_line(cell.traceback))


def _missing_row(cell: CellStatus, state: str, error: str) -> dict[str, str]:
    return {"cell": cell.cell, "condition": cell.condition, "state": state, "error": error}


def _analyze_one(reader: StudyReader, name: str, measures: MeasureTables) -> CellTables:
    cell = reader.cell(name)
    try:
        tables = analyze_cell(cell)
        measures.add(cell)
        return tables
    except DissensusError as problem:
        raise StoreError(f"cell {name}: {problem}") from None


@dataclass(frozen=True)
class CellInput:
    """What tables of a study are made from, of one cell.

    Attributes:
        cell: its id.
        condition: its condition.
        state: see `CellStatus`.
        error: why it has no result.
        manifest: SHA-256 of its manifest, '' where there is none.
    """

    cell: str
    condition: str
    state: str
    error: str
    manifest: str


@dataclass(frozen=True)
class Inputs:
    """What tables of a study are made from: another value means that they are old.

    Attributes:
        schema: of the tables.
        version: of dissensus.
        study: digest of its specification.
        cells: in the study's order, then other folders.
        extensions: packages of the extensions that the study names; see `packages_of`.
    """

    schema: int
    version: str
    study: str
    cells: tuple[CellInput, ...]
    extensions: Mapping[str, Mapping[str, str]]

    def to_json(self) -> dict[str, Any]:
        """As JSON values, as they are kept beside the tables."""
        return {
            "schema": self.schema,
            "version": self.version,
            "study": self.study,
            **({"extensions": self.extensions} if self.extensions else {}),
            "cells": [asdict(cell) for cell in self.cells],
        }


def inputs_of(folder: StudyFolder) -> Inputs:
    """What tables of a study would be made from now.

    Raises:
        SpecError: the study names an extension that no installed package brings.
    """
    from dissensus import __version__

    cells = []
    for cell in folder.statuses:
        row = _missing(cell)
        manifest = folder.manifests[cell.cell]
        cells.append(CellInput(cell.cell, row["condition"], cell.state, row["error"], manifest))
    return Inputs(
        SCHEMA_VERSION, __version__, folder.spec.digest(), tuple(cells), packages_of(folder.spec.analysis)
    )


def _checksums(folder: Path, further: Iterable[str]) -> dict[str, str]:
    return {name: _checksum(folder / f"{name}.parquet") for name in (*TABLES, *further)}


def _checksum(path: Path) -> str:
    """SHA-256 of a file; '' where there is none."""
    return file_sha256(path) if path.is_file() else ""


def _write(analysis: Analysis, rows: ExampleRows, inputs: Inputs) -> None:
    folder = analysis.folder / "analysis"
    folder.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        if name == "examples" and analysis.in_memory is None:
            rows.write(folder / "examples.parquet")
            continue
        sink = io.BytesIO()
        pq.write_table(getattr(analysis, name), sink, compression="zstd")
        write_atomic(folder / f"{name}.parquet", sink.getvalue())
    for name, table in analysis.measures.items():
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        write_atomic(folder / f"{name}.parquet", sink.getvalue())
    for name in EVERY_TABLE:
        if name not in analysis.measures:  # left from settings that asked for it
            for ending in ("parquet", "csv"):
                (folder / f"{name}.{ending}").unlink(missing_ok=True)
    for name, table in {
        "cells": analysis.cells,
        "conditions": analysis.conditions,
        **analysis.measures,
    }.items():
        sink = io.BytesIO()
        pyarrow.csv.write_csv(table, sink)
        write_atomic(folder / f"{name}.csv", sink.getvalue())
    record = {**inputs.to_json(), "tables": _checksums(folder, analysis.measures)}
    write_atomic(folder / "inputs.json", json.dumps(record, indent=1, sort_keys=True) + "\n")
