"""Tables of the paper, all of them in its order, each by its short name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dissensus.analysis.paper import comparing, gradients, measures
from dissensus.analysis.paper.conditions import PaperReading
from dissensus.analysis.paper.layout import PaperTable
from dissensus.config import nearest
from dissensus.errors import SpecError

TABLES: Mapping[str, Callable[[PaperReading], PaperTable | tuple[PaperTable, ...]]] = {
    "1": comparing.table_1,
    "2": comparing.table_2,
    "3": comparing.table_3,
    "D": comparing.noise_table,
    "F": comparing.ia3_table,
    "G": comparing.decoder_table,
    "H": measures.map_tables,
    "J": gradients.cosine_table,
    "K": measures.calibration_table,
    "buckets": comparing.bucket_table,
    "norms": gradients.norm_table,
    "bins": measures.bins_table,
    "bootstrap": measures.bootstrap_table,
    "kendall": measures.kendall_table,
    "soft": comparing.soft_table,
    "labels": measures.label_table,
    "partials": measures.partial_table,
    "regression": measures.regression_table,
    "W": measures.concordance_table,
    "gap": measures.gap_table,
}
"""Short name -> the table, or tables that belong together."""
MAIN = ("1", "2", "3")
"""The tables of the paper's main part."""
APPENDIX: Mapping[str, str] = {
    "D": "label noise",
    "F": "IA3",
    "G": "decoder-only models",
    "H": "data maps",
    "J": "gradients of settled and contested items",
    "K": "calibration",
    "buckets": "training on entropy groups",
    "norms": "gradient norms of single items",
    "bins": "AULC in bins of entropy",
    "bootstrap": "two intervals of rho",
    "kendall": "Kendall's tau-b",
    "soft": "training on annotators' shares",
    "labels": "rho within each gold class",
    "partials": "rho with one proxy held fixed",
    "regression": "what entropy adds to the proxies",
    "W": "learning order over seeds",
    "gap": "learning time, contested minus settled",
}
"""The other ones, in a few words each."""


def check_names(names: Sequence[str]) -> None:
    """Refuse a name that is no table's, before anything is read."""
    for name in names:
        if name not in TABLES:
            raise SpecError(f"no table is called {name!r}; {nearest(name, TABLES)}")


def paper_tables(reading: PaperReading, names: Sequence[str] = ()) -> tuple[PaperTable, ...]:
    """The tables of these names; all of them where none is named.

    Raises:
        SpecError: a name is none of theirs.
    """
    check_names(names)
    tables: list[PaperTable] = []
    for name, make in TABLES.items():
        if not names or name in names:
            result = make(reading)
            tables += result if isinstance(result, tuple) else (result,)
    return tuple(tables)
