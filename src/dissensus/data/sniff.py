"""Recognising the format of a data file from its content, so that it can be read without a study.

Each source knows its own files (`Source.recognise`); a table with conventional column names comes last.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dissensus.config.sources import SOURCES
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources import load_source
from dissensus.data.sources.base import FileSample, Recognised, Source
from dissensus.errors import DataError


def recognise(path: Path) -> Recognised:
    """The source that reads a file, with its keys.

    Raises:
        DataError: the file is missing or malformed, or no source knows it; the message then says how to name its
            columns in a study.
    """
    if not path.is_file():
        raise DataError(f"the data file {path} does not exist{' (it is a folder)' if path.is_dir() else ''}")
    sample = FileSample(path.absolute())
    for name in sorted(SOURCES.builtin, key=lambda name: name == "table"):
        source: Source = SOURCES.load(name)
        seen = None if source.recognise is None else source.recognise(sample)
        if seen is not None:
            return seen
    document = sample.document or {}
    raise DataError(
        f"{path} holds one JSON object, but its items are not LeWiDi's (with 'text' and 'annotations'); its "
        f"keys begin: {', '.join(list(document)[:5])}. For a table, write one object per line, as .jsonl"
    )


def sniff(path: Path) -> AnnotatedDataset:
    """Load a file whose format is not named; the notes of the data set say what was recognised.

    Raises:
        DataError: as `recognise`, and whatever its source finds wrong with the file.
    """
    seen = recognise(path)
    dataset = load_source(seen.spec)
    return replace(dataset, notes=(f"read as {seen.form}", *dataset.notes))
