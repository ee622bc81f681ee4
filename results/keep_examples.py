"""The per-example table that a folder of results keeps: ids and numbers of each cell, no texts.

    python results/keep_examples.py runs/paper-mini results/paper-mini

Takes `analysis/examples.parquet` of an analysed study and leaves the columns that rho, partial rho and changes of loss
are made of, in float32. `tests/test_results.py` computes the published numbers again from it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NAMES = (
    "condition",
    "seed",
    "id",
    "gold",
    "entropy",
    "gold_share",
    "group",
    "aulc",
    "initial_loss",
    "final_loss",
    "delta",
)
COVARIATES = ("token_count", "lexical_overlap")


def main() -> None:
    """Write `examples.parquet` into the second folder."""
    parser = argparse.ArgumentParser(description="Keep the per-example table of an analysed study.")
    parser.add_argument("study", type=Path, help="a study's folder, analysed")
    parser.add_argument("folder", type=Path, help="where the results are kept")
    asked = parser.parse_args()
    table = pq.read_table(asked.study / "analysis" / "examples.parquet")
    table = table.select([name for name in (*NAMES, *COVARIATES) if name in table.column_names])
    for place, field in enumerate(table.schema):
        if pa.types.is_float64(field.type):
            table = table.set_column(place, field.name, table[field.name].cast(pa.float32()))
    pq.write_table(table, asked.folder / "examples.parquet", compression="zstd")


if __name__ == "__main__":
    main()
