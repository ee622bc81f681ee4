"""Verdicts as a table and as plain data; where a study keeps them.

    STUDY_DIR/analysis/claims.parquet, claims.csv    a row a part of a question of a claim
    STUDY_DIR/analysis/claims.json                   the verdicts with their sentences, questions and parts

Columns of the table: claim, verdict, question, decides, question_verdict, part, value, low, high, se, df, p, p_holm,
p_bh, p_below, smallest, seeds, cells (ids, separated by blanks), note.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from dissensus.files import write_atomic
from dissensus.study.claims.verdict import ClaimVerdict

_NUMBERS = ("value", "low", "high", "se", "df", "p", "p_holm", "p_bh", "p_below", "smallest")
SCHEMA = pa.schema(
    [(c, pa.string()) for c in ("claim", "verdict", "question")]
    + [("decides", pa.bool_()), ("question_verdict", pa.string()), ("part", pa.string())]
    + [(c, pa.float64()) for c in _NUMBERS]
    + [("seeds", pa.int64()), ("cells", pa.string()), ("note", pa.string())]
)


def claims_table(claims: Sequence[ClaimVerdict]) -> pa.Table:
    """A row a part; see the module's first lines."""
    rows = [
        {
            "claim": claim.claim,
            "verdict": claim.verdict,
            "question": question.name,
            "decides": question.decides,
            "question_verdict": question.verdict,
            "part": part.name,
            **{name: getattr(part, name) for name in _NUMBERS},
            "seeds": part.seeds,
            "cells": " ".join(part.cells),
            "note": part.note,
        }
        for claim in claims
        for question in claim.questions
        for part in question.parts
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def claims_json(claims: Sequence[ClaimVerdict]) -> list[dict[str, Any]]:
    """Plain data; what is not finite is null (infinitely many degrees of freedom included)."""
    return [_plain(asdict(claim)) for claim in claims]


def write_claims(claims: Sequence[ClaimVerdict], study_dir: Path) -> None:
    """Keep the verdicts in the study's folder."""
    folder = study_dir / "analysis"
    folder.mkdir(parents=True, exist_ok=True)
    table = claims_table(claims)
    sink, text = io.BytesIO(), io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    pyarrow.csv.write_csv(table, text)
    write_atomic(folder / "claims.parquet", sink.getvalue())
    write_atomic(folder / "claims.csv", text.getvalue())
    write_atomic(folder / "claims.json", json.dumps(claims_json(claims), indent=1, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
