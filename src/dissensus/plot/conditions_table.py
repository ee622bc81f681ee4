"""Conditions of a study as a LaTeX table: correlations with their intervals, changes of loss, accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from dissensus.analysis.paper.layout import Entry, PaperTable, TableRow, number_entry
from dissensus.config import StudySpec
from dissensus.report.paper_tables import latex_file
from dissensus.report.tables import ConditionRow, Estimate

STUB = ("data", "model", "regime", "method")
COLUMNS = (
    *("n", "seeds", "ρ(H, AULC)", "partial ρ", "contested change (nats)", "settled change (nats)"),
    *("difference (nats)", "accuracy"),
)


def conditions_latex(study: StudySpec, rows: Sequence[ConditionRow]) -> str:
    """The table of conditions, to be read in by \\input."""
    confidence = f"{study.analysis.confidence:.0%}"
    covariates = "; ".join(dict.fromkeys(row.covariates for row in rows)) or "none"
    table = PaperTable(
        name="conditions",
        title=f"Conditions of the study {study.name}",
        definition=(
            f"Intervals in brackets: {confidence}. ρ(H, AULC): Spearman correlation of annotation entropy with the "
            f"area under the loss curve; partial: given {covariates}. Change: mean gold-label loss at the end minus "
            "the start; difference: contested minus settled"
        ),
        stub=STUB,
        columns=COLUMNS,
        rows=tuple(map(_row, rows)),
    )
    return latex_file((f"From {study.name}.",), (table,))


def _row(row: ConditionRow) -> TableRow:
    head = "" if row.head == "classifier" else f" ({row.head})"
    return TableRow(
        labels=(row.dataset, f"{row.model}{head}", row.regime_words, row.method_words),
        entries=(
            number_entry(row.n, 0),
            number_entry(row.seeds, 0),
            _estimate(row.rho),
            _estimate(row.partial),
            _estimate(row.contested.delta),
            _estimate(row.settled.delta),
            _estimate(row.difference),
            number_entry(row.accuracy, 2),
        ),
    )


def _estimate(estimate: Estimate) -> Entry:
    if not estimate.defined:
        return Entry(missing="undefined")
    return Entry(words=estimate.text + (f" [{estimate.interval}]" if estimate.interval else ""))
