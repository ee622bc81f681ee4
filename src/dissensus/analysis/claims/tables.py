"""Verdicts as a table, a row per part of a question of a claim, and as plain data, sentences included.

Columns of the table: claim, verdict, question, decides, question_verdict, part, value, low, high, se, df, p, p_holm,
p_bh, p_below, smallest, seeds, clusters, cells (ids, separated by blanks), note. A part without an interval has a row
with its reason as the note (column `judged` false) and no numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from dissensus.analysis.claims.parts import Part
from dissensus.analysis.claims.verdict import ClaimVerdict, Question

_NUMBERS = ("value", "low", "high", "se", "df", "p", "p_holm", "p_bh", "p_below", "smallest")
SCHEMA = pa.schema(
    [(c, pa.string()) for c in ("claim", "verdict", "question")]
    + [("decides", pa.bool_()), ("question_verdict", pa.string()), ("part", pa.string())]
    + [(c, pa.float64()) for c in _NUMBERS]
    + [("seeds", pa.int64()), ("clusters", pa.int64()), ("cells", pa.string()), ("note", pa.string())]
    + [("judged", pa.bool_())]
)


def claims_table(claims: Sequence[ClaimVerdict]) -> pa.Table:
    """A row per part; see the module's first lines."""
    rows = [
        {
            "claim": claim.claim,
            "verdict": claim.verdict,
            "question": question.name,
            "decides": question.decides,
            "question_verdict": question.verdict,
            **row,
        }
        for claim in claims
        for question in claim.questions
        for row in (*map(_part, question.parts), *map(_unjudged, question.undefined))
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _part(part: Part) -> dict[str, Any]:
    return {
        "part": part.name,
        **{name: getattr(part, name) for name in _NUMBERS},
        "seeds": part.seeds,
        "clusters": part.clusters,
        "cells": " ".join(part.cells),
        "note": part.note,
        "judged": True,
    }


def _unjudged(words: str) -> dict[str, Any]:
    """A row of a part without an interval; `Part.unjudged` wrote its words: name (value, reason)."""
    name, _, why = words.partition(" (")
    return {"part": name, "note": why.removesuffix(")"), "judged": False}


def claims_json(claims: Sequence[ClaimVerdict]) -> list[dict[str, Any]]:
    """Plain data; what is not finite is null (infinitely many degrees of freedom included)."""
    return [_plain(asdict(claim)) for claim in claims]


def claims_from_json(data: Sequence[Mapping[str, Any]]) -> tuple[ClaimVerdict, ...]:
    """The verdicts that `claims_json` gave; what was not finite comes back as NaN."""

    def part(stored: Mapping[str, Any]) -> Part:
        numbers = {name: math.nan if stored[name] is None else float(stored[name]) for name in _NUMBERS}
        return Part(**{**stored, **numbers, "cells": tuple(stored["cells"])})

    def question(stored: Mapping[str, Any]) -> Question:
        return Question(
            **{**stored, "parts": tuple(map(part, stored["parts"])), "undefined": tuple(stored["undefined"])}
        )

    return tuple(
        ClaimVerdict(
            **{
                **stored,
                "limits": tuple(stored["limits"]),
                "questions": tuple(map(question, stored["questions"])),
            }
        )
        for stored in data
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
