"""Claims of a study, and the tables beside them (sensitivity, annotators, label noise): computed, kept and loaded.

    STUDY_DIR/analysis/
      claims.json, claims.parquet, claims.csv       the verdicts, with every number that they rest on
      annotators.parquet, annotators.csv            rho by the number of labels per item
      sensitivity.parquet, sensitivity.csv          each measure under other choices
      hangs_on.parquet, hangs_on.csv                the same summed up over conditions
      noise_curves, noise_ranking, noise_likeness   of the cells with label noise (.parquet, .csv)
      across.json                                   what they were made from; old ones are not shown

Reads completed cells, never trains, imports no torch.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from dissensus.analysis.annotators import annotator_table
from dissensus.analysis.claims import ClaimVerdict, judge_claims
from dissensus.analysis.claims.tables import claims_from_json, claims_json, claims_table
from dissensus.analysis.noise.tables import noise_curves, noise_likeness, noise_ranking
from dissensus.analysis.sensitivity.table import hangs_on, sensitivity_table
from dissensus.analysis.study_reading import StudyReader, StudyReading
from dissensus.analysis.tables import Inputs, inputs_of
from dissensus.files import write_atomic

BESIDE: Mapping[str, Callable[[StudyReading], pa.Table]] = {
    "annotators": annotator_table,
    "sensitivity": sensitivity_table,
    "noise_curves": noise_curves,
    "noise_ranking": noise_ranking,
    "noise_likeness": noise_likeness,
}
"""Tables beside the verdicts: name -> what makes it."""
TABLES = (*BESIDE, "hangs_on")


@dataclass(frozen=True)
class Across:
    """What looks across the cells of one study.

    Attributes:
        claims: the verdicts.
        tables: name -> table; see `TABLES`.
        cells: completed cells that they rest on.
        planned: cells that the study lists.
    """

    claims: tuple[ClaimVerdict, ...]
    tables: Mapping[str, pa.Table]
    cells: int
    planned: int


def look_across(study: Path | StudyReader, *, on_table: Callable[[str], None] = lambda _name: None) -> Across:
    """Judge the claims, make the tables and write them to STUDY_DIR/analysis/.

    Args:
        study: the study's folder, or what reads its cells.
        on_table: called with what comes next.

    Raises:
        SpecError: the folder is no study's.
        StoreError: no cell is complete, or a completed one is damaged.
    """
    reader = StudyReader.at(study)
    inputs = inputs_of(reader.folder)
    reading = reader.all()
    on_table("claims")
    claims = judge_claims(reading)
    tables: dict[str, pa.Table] = {}
    for name, make in BESIDE.items():
        on_table(name)
        tables[name] = make(reading)
    tables["hangs_on"] = hangs_on(tables["sensitivity"])
    across = Across(claims, tables, len(reading.cells), reading.planned)
    _write(across, inputs, reader.folder.path / "analysis")
    return across


def load_across(study: Path | StudyReader) -> Across | None:
    """What `look_across` wrote, or None where there is nothing or the study has changed since."""
    reader = StudyReader.at(study)
    folder = reader.folder.path / "analysis"
    try:
        stored = json.loads((folder / "across.json").read_text(encoding="utf-8"))
        claims = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
        if stored["inputs"] != inputs_of(reader.folder).to_json():
            return None
        tables = {name: pq.read_table(folder / f"{name}.parquet") for name in TABLES}
        return Across(claims_from_json(claims), tables, int(stored["cells"]), int(stored["planned"]))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def _write(across: Across, inputs: Inputs, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in {**across.tables, "claims": claims_table(across.claims)}.items():
        sink, text = io.BytesIO(), io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        pyarrow.csv.write_csv(table, text)
        write_atomic(folder / f"{name}.parquet", sink.getvalue())
        write_atomic(folder / f"{name}.csv", text.getvalue())
    write_atomic(folder / "claims.json", _json(claims_json(across.claims)))
    record = {"inputs": inputs.to_json(), "cells": across.cells, "planned": across.planned}
    write_atomic(folder / "across.json", _json(record))


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
