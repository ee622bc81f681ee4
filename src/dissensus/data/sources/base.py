"""A data source: its specification, its loader, and what of it is published at a known address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from dissensus.config.sources import SourceSpec
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.reading import read_json
from dissensus.data.sources.tabular import Table, read_table


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


@dataclass(frozen=True)
class FileSample:
    """A file whose format is not known; what it holds is read when a source asks for it.

    Attributes:
        path: absolute.
    """

    path: Path

    @cached_property
    def document(self) -> dict[str, Any] | None:
        """The one JSON object that the file holds; None for any other file."""
        if self.path.suffix.lower() != ".json":
            return None
        with self.path.open("rb") as handle:
            if not handle.read(256).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
                return None
            handle.seek(0)
            if handle.readline().rstrip().endswith(b"}") and handle.readline().lstrip().startswith(b"{"):
                return None  # one object per line
        document = read_json(self.path)
        return document if isinstance(document, dict) else None

    @cached_property
    def table(self) -> Table | None:
        """The file's rows; None for one JSON object that is no row."""
        if (
            self.document is not None
            and not {"label_count", "text", "gold_label", "premise"} & self.document.keys()
        ):
            return None
        return read_table(self.path)

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the first row; none where the file is no table."""
        return frozenset() if self.table is None else frozenset(self.table.records[0].values)


@dataclass(frozen=True)
class Recognised:
    """A file, recognised.

    Attributes:
        spec: the source that reads it, with its keys.
        form: what it was recognised as, in words.
    """

    spec: SourceSpec
    form: str


class Loader(Protocol):
    """From a specification of the source's own class to annotated data; a relative path is under `data_dir` first."""

    def __call__(self, spec: Any, *, data_dir: Path | None = None) -> AnnotatedDataset: ...  # noqa: D102


@dataclass(frozen=True)
class Source:
    """All that dissensus knows of a data source. A package offers one as an entry point of `dissensus.sources`.

    Attributes:
        spec: its specification, told from others by its `source` key.
        load: reads the data; raises `DataError` where they are missing or malformed.
        recognise: whether a file is the source's own; None where it is not, or no file ever is.
        published: its data sets whose address is known. An address is registered only where public repositories were
            seen to use it; the network was not in reach when the built-in ones were written, so none was exercised.
    """

    spec: type[SourceSpec]
    load: Loader
    published: tuple[PublishedData, ...] = ()
    recognise: Callable[[FileSample], Recognised | None] | None = None
