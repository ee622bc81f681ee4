"""Annotators of the LeWiDi corpora of 2025: the tables `X_annotators_meta.json`, beside `X_train.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from dissensus.data.sources.reading import read_text
from dissensus.errors import DataError


def corpus_of(path: Path) -> str:
    """The corpus that a file is of, by its name before the split."""
    return path.stem.rpartition("_")[0] or path.stem


def annotator_facts(
    parts: Sequence[tuple[str | None, Path]],
) -> tuple[dict[str, dict[str, str | float | bool]], list[str]]:
    """Facts of annotators by name, from the organisers' tables beside the files; a note for each table."""
    facts: dict[str, dict[str, str | float | bool]] = {}
    notes = []
    tables = [path.with_name(f"{corpus_of(path)}_annotators_meta.json") for _, path in parts]
    for table in dict.fromkeys(tables):
        if not table.is_file():
            continue
        try:  # two of the published tables have commas after the last entry
            document = json.loads(re.sub(r",(\s*[}\]])", r"\1", read_text(table)))
            rows = {str(who): dict(row) for who, row in dict(document).items()}
        except (ValueError, TypeError, RecursionError, DataError):
            notes.append(f"{table.name} could not be read, so that nothing is known of the annotators")
            continue
        for who, row in rows.items():
            name = f"Ann{who}" if who.isdecimal() else who  # MP's table has numbers only
            facts[name] = {str(k): v for k, v in row.items() if isinstance(v, str | int | float | bool)}
        columns = dict.fromkeys(column for row in rows.values() for column in row)
        notes.append(f"who {len(rows)} annotators are is known from {table.name}: {', '.join(columns)}")
    return facts, notes
