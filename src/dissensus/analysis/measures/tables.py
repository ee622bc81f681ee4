"""Tables of measures: those that a study asks for, and validation accuracy wherever a cell has a validation set.

    STUDY_DIR/analysis/
      NAME.parquet, NAME.csv    one each of `analysis: {measures: [...]}`
      validation.parquet, .csv  a row per cell and scored point, where cells hold examples back

Without either, an analysis has no such file.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
import pyarrow as pa

from dissensus.analysis.measures.across import ACROSS, KeptCell
from dissensus.analysis.measures.cells import OF_CELLS, Row, identity_columns
from dissensus.analysis.reading import CellReading
from dissensus.config import AnalysisSpec, Measure
from dissensus.store.gradients import GRADIENT_NORMS, GRADIENTS
from dissensus.store.validation import VALIDATION, load_validation
from dissensus.study.folder import StudyFolder

VALIDATION_TABLE = "validation"
FILE_TABLES = {VALIDATION_TABLE: VALIDATION, "gradients": GRADIENTS, "gradient_norms": GRADIENT_NORMS}
"""Tables that a study has where a cell has a file of this name."""
EVERY_TABLE: tuple[str, ...] = (*get_args(Measure), *FILE_TABLES)
"""Names that a table of measures may have."""
NO_ROWS = pa.schema([("cell", pa.string()), ("condition", pa.string())])


def table_names(folder: StudyFolder) -> tuple[str, ...]:
    """The tables of measures that a study has: those it asks for, and those whose file one of its cells has."""
    beside = [
        name
        for name, file in FILE_TABLES.items()
        if any((folder.cell(cell) / file).is_file() for cell in folder.done)
    ]
    return (*folder.spec.analysis.measures, *beside)


class MeasureTables:
    """Collects the rows of a study's measures, cell by cell.

    Args:
        settings: of the study's analysis.
    """

    def __init__(self, settings: AnalysisSpec) -> None:
        self._rows: dict[str, list[Row]] = {name: [] for name in settings.measures if name in OF_CELLS}
        self._across = [name for name in settings.measures if name in ACROSS]
        self._kept: list[KeptCell] = []

    def add(self, cell: CellReading) -> None:
        """Take one more cell."""
        if not self._rows and not self._across:
            return
        identity = identity_columns(cell.spec)
        for name, rows in self._rows.items():
            rows += [{**identity, **row} for row in OF_CELLS[name](cell)]
        if self._across:
            self._kept.append(KeptCell.of(cell))

    def tables(self, folder: StudyFolder) -> dict[str, pa.Table]:
        """The measures that the study asks for and the validation scores, in the order of `table_names`.

        Raises:
            StoreError: a cell's validation scores cannot be read.
        """
        made = self._rows | {name: ACROSS[name](self._kept) for name in self._across}
        names = table_names(folder)
        if VALIDATION_TABLE in names:
            made[VALIDATION_TABLE] = validation_rows(folder)
        return {name: _table(made[name]) for name in names if name in made}


def validation_rows(folder: StudyFolder) -> list[Row]:
    """A row per cell and point at which its validation set was scored: accuracy and mean loss on gold, unweighted.

    `epoch` is the number of epochs trained by then: 0 before training.
    """
    rows: list[Row] = []
    for name in folder.done:
        path = folder.cell(name) / VALIDATION
        if not path.is_file():
            continue
        spec, scores = folder.planned[name].cell, load_validation(path)
        last = max(scores.steps, default=0)
        n = int((scores.gold >= 0).sum())
        accuracy, loss = (
            (scores.accuracy(), scores.loss()) if n else (np.full(len(scores.steps), np.nan),) * 2
        )
        rows += [
            {
                **identity_columns(spec),
                "step": int(step),
                "epoch": spec.training.epochs * step / last if last else 0.0,
                "n": n,
                "accuracy": float(accuracy[place]),
                "loss": float(loss[place]),
                "last": step == last,
            }
            for place, step in enumerate(scores.steps)
        ]
    return rows


def _table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows) if rows else NO_ROWS.empty_table()
