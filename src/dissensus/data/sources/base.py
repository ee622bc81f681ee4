"""A data source: its specification, its loader, and what of it is published at a known address."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dissensus.config.sources import SourceSpec
from dissensus.data.annotations import AnnotatedDataset


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Attributes:
        url: its address.
        to: where it goes, relative to the data set's folder in the cache; for an archive, unused.
        sha256: of the file; None where it is not known: what was downloaded is then recorded.
        archive: unpack it (zip or tar) into the folder.
    """

    url: str
    to: str
    sha256: str | None
    archive: bool = False


@dataclass(frozen=True)
class PublishedData:
    """A published data set that `pull` can fetch.

    Attributes:
        name: as in `dissensus data pull NAME`; also the folder in the cache.
        what: one line about it.
        licence: of the data.
        citation: whom to cite.
        homepage: where a person looks when an address has moved.
        files: what to download.
        expects: files that must be there afterwards, relative to the data set's folder.
    """

    name: str
    what: str
    licence: str
    citation: str
    homepage: str
    files: tuple[RemoteFile, ...]
    expects: tuple[str, ...]


class Loader(Protocol):
    """From a specification of the source's own class to annotated data; a relative path is under `data_dir` first."""

    def __call__(self, spec: Any, *, data_dir: Path | None = None) -> AnnotatedDataset: ...  # noqa: D102


@dataclass(frozen=True)
class Source:
    """All that dissensus knows of a data source. A package offers one as an entry point of `dissensus.sources`.

    Attributes:
        spec: its specification, told from others by its `source` key.
        load: reads the data; raises `DataError` where they are missing or malformed.
        published: its data sets whose address is known. An address is registered only where public repositories were
            seen to use it; the network was not in reach when the built-in ones were written, so none was exercised.
    """

    spec: type[SourceSpec]
    load: Loader
    published: tuple[PublishedData, ...] = ()
