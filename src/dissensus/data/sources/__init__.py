"""Data sources, one file for each corpus or format: from a source's specification to annotated data."""

from __future__ import annotations

from pathlib import Path

from dissensus.config.sources import SOURCES, SourceSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.base import PublishedData, Source
from dissensus.data.sources.paths import data_dirs, downloads_dir

__all__ = ["data_dirs", "downloads_dir", "load_source", "published_data"]


def load_source(spec: SourceSpec, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load what a specification names.

    Args:
        spec: the specification of a source.
        data_dir: folder that relative paths are looked up in first; after it come `DISSENSUS_DATA` and the cache.

    Raises:
        DataError: the data is missing or malformed; the message says where it was looked for and how to get it.
        MissingDependencyError: the source is on the hub and the `hub` extra is not installed.
    """
    source: Source = SOURCES.load(spec.source)
    return source.load(spec, data_dir=data_dir)


def published_data(name: str | None = None) -> dict[str, PublishedData]:
    """Data sets that `dissensus data pull` can fetch, by name: those of the built-in sources.

    Those of an installed package's source come too where `name` is that source's: its code is loaded when it is named.
    """
    named = (name,) if name is not None and name not in SOURCES.builtin else ()
    sources: list[Source | None] = [SOURCES.load(known) for known in (*SOURCES.builtin, *named)]
    return {data.name: data for source in sources if source is not None for data in source.published}
