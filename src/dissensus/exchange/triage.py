"""Triage for other tools: rows as a table, CSV, JSONL or `datasets`, and the mislabelled as an issue of Datalab."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from dissensus.errors import DataError, MissingDependencyError
from dissensus.exchange.annotation_tools import guarded
from dissensus.exchange.datalab import check_ids, register_issue

if TYPE_CHECKING:
    import datasets

ISSUE = "mislabelled"
ABOUT = "Votes or learning curves speak for another label than the given one."
FIELDS = ("id", "dataset", "regime", "kind", "score", "suspicion", "label", "why")
"""Of a triaged example, in the order of the columns; `label` is the one to look at instead."""


class Triaged(Protocol):
    """What is handed on of an example; `analysis.triage.Triaged` is one."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def dataset(self) -> str: ...  # noqa: D102
    @property
    def regime(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def score(self) -> float: ...  # noqa: D102
    @property
    def suspicion(self) -> float: ...  # noqa: D102
    @property
    def label(self) -> str | None: ...  # noqa: D102
    @property
    def why(self) -> str: ...  # noqa: D102


def triage_table(rows: Sequence[Triaged], texts: Sequence[Mapping[str, str]] = ()) -> pa.Table:
    """One row per example: `FIELDS`, then a column per text field (`text_NAME` where the name is taken). NaN is null.

    Args:
        rows: triaged examples.
        texts: the text fields of each, or nothing.
    """
    names = {name: f"text_{name}" if name in FIELDS else name for fields in texts for name in fields}
    columns: dict[str, pa.Array] = {}
    for field in FIELDS:
        kind = pa.float64() if field in ("score", "suspicion") else pa.string()
        columns[field] = pa.array([getattr(row, field) for row in rows], kind, from_pandas=True)
    for name, column in names.items():
        columns[column] = pa.array([fields.get(name) for fields in texts], pa.string())
    return pa.table(columns)


def triage_csv(table: pa.Table) -> str:
    """The table as CSV that a spreadsheet opens: with a byte-order mark, and no cell that it could run as a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow([guarded(name) for name in table.column_names])
    for row in table.to_pylist():
        writer.writerow([guarded(cell) if isinstance(cell, str) else cell for cell in row.values()])
    return "\ufeff" + stream.getvalue()


def triage_jsonl(table: pa.Table) -> str:
    """The table as JSON, one object a line."""
    return "".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in table.to_pylist())


def triage_dataset(table: pa.Table) -> datasets.Dataset:
    """The table as a `datasets.Dataset`, in memory.

    Raises:
        MissingDependencyError: datasets is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError("datasets", "exchange", "a `datasets` data set") from None
    features = datasets.Features.from_arrow_schema(table.schema)
    return datasets.Dataset.from_dict(table.to_pydict(), features=features)


def add_triage_to_datalab(lab: Any, rows: Sequence[Triaged], ids: Sequence[str]) -> None:
    """Add the issue `mislabelled` to a `cleanlab.Datalab`, beside those that it finds itself.

    Its score is 1 - suspicion, in Datalab's sense (the lowest is the most severe); examples of the kind 'mislabelled'
    are issues. A row of the lab without a triaged example is no issue and has the score NaN.

    Args:
        lab: the Datalab; its data has one row per id.
        rows: triaged examples of one data set and one regime.
        ids: of the lab's rows, in their order.

    Raises:
        MissingDependencyError: cleanlab is not installed.
        DataError: the ids are not one per row or not unique, an example is triaged twice, or none is known.
    """
    known = {row.id: row for row in rows}
    if len(known) < len(rows):
        raise DataError("an example is triaged twice; expected the rows of one data set and one regime")
    register_issue(ISSUE, ABOUT)
    check_ids(lab, ids)
    found = [known.get(item) for item in ids]
    score = np.array([1 - row.suspicion if row else math.nan for row in found])
    if np.isnan(score).all():
        raise DataError(f"none of the {len(ids)} rows has a triage; expected ids of the triaged examples")
    is_issue = np.array([row is not None and row.kind == ISSUE for row in found])
    lab.find_issues(issue_types={ISSUE: {"columns": {"is_issue": is_issue, "score": score}}})
