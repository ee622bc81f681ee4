"""Recognising the format of a data file from its content, so that it can be read without a study.

Each source knows its own files (`Source.recognise`); a table with conventional column names comes last. What the file
does not tell, a person names (`NamedKeys`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dissensus.config.base import nearest
from dissensus.config.sources import SOURCES, SourceSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources import load_source, table
from dissensus.data.sources.base import FileSample, Recognised, Source
from dissensus.data.sources.table import TableSource
from dissensus.errors import DataError


@dataclass(frozen=True)
class NamedKeys:
    """What a person says of a file that its own content does not tell.

    Attributes:
        source: the source that reads it; None: the one that recognises it.
        keys: keys of that source's specification, as in a study.
    """

    source: str | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)


def recognise(path: Path, named: NamedKeys | None = None) -> Recognised:
    """The source that reads a file, with its keys.

    Args:
        path: the file.
        named: what was said of it. Keys that the recognised source does not have make the file a table, if a table
            has them.

    Raises:
        DataError: the file is missing or malformed, or no source knows it; the message then says how to name its
            columns in a study.
        SpecError: a key that is named is none of the source's, or has no value that it can have.
    """
    if not path.is_file():
        raise DataError(f"the data file {path} does not exist{' (it is a folder)' if path.is_dir() else ''}")
    named = named or NamedKeys()
    sample = FileSample(path.absolute())
    if named.source == "table" or (named.source is None and _of_tables_alone(named)):
        return _table(sample, named)
    if named.source is not None:
        return _as_named(sample, named.source, named)
    for name in sorted(SOURCES.builtin, key=lambda name: name == "table"):
        if name == "table" and named.keys:
            return _table(sample, named)
        source: Source = SOURCES.load(name)
        seen = None if source.recognise is None else source.recognise(sample)
        if seen is None:
            continue
        fields, of_tables = type(seen.spec).model_fields, TableSource.model_fields
        if any(key not in fields for key in named.keys) and all(key in of_tables for key in named.keys):
            return _table(sample, named)
        if not named.keys:
            return seen
        keys = {**_keys_of(seen.spec), **named.keys, "source": seen.spec.source}
        spec = type(seen.spec).parse(keys, str(path))
        return Recognised(spec, seen.form)
    document = sample.document or {}
    raise DataError(
        f"{path} holds one JSON object, but its items are not LeWiDi's (with 'text' and 'annotations'); its "
        f"keys begin: {', '.join(list(document)[:5])}. For a table, write one object per line, as .jsonl"
    )


def load_recognised(seen: Recognised, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load a file as it was recognised; the first note of the data set says as what.

    Raises:
        DataError: whatever its source finds wrong with the file.
    """
    dataset = load_source(seen.spec, data_dir=data_dir)
    return replace(dataset, notes=(f"read as {seen.form}", *dataset.notes))


def sniff(path: Path) -> AnnotatedDataset:
    """Load a file whose format is not named; the notes of the data set say what was recognised.

    Raises:
        DataError: as `recognise` and `load_recognised`.
    """
    return load_recognised(recognise(path))


def _of_tables_alone(named: NamedKeys) -> bool:
    """Whether keys are named that say which column of a table holds the labels."""
    return any(key in named.keys for key in ("annotations", "counts", "distribution"))


def _table(sample: FileSample, named: NamedKeys) -> Recognised:
    seen = table.recognise(sample, named.keys)
    if seen is None:
        raise DataError(
            f"{sample.path} holds one JSON object, no table; write one object per line, as .jsonl"
        )
    return seen


def _as_named(sample: FileSample, name: str, named: NamedKeys) -> Recognised:
    cls = SourceSpec.of_tag(name) if name in SOURCES.names() else None
    if cls is None:
        raise DataError(f"no source {name!r} is known; {nearest(name, SOURCES.names())}")
    if "path" not in cls.model_fields:
        raise DataError(f"the source {name!r} reads no file of one's own; name it in a study")
    source: Source = SOURCES.load(name)
    seen = None if source.recognise is None else source.recognise(sample)
    keys = {"path": str(sample.path)} if seen is None or seen.spec.source != name else _keys_of(seen.spec)
    spec = cls.parse({**keys, **named.keys, "source": name}, str(sample.path))
    return Recognised(spec, f"source: {name}, as named")


def _keys_of(spec: SourceSpec) -> dict[str, Any]:
    return spec.model_dump(exclude_defaults=True, mode="json")
