"""Fetching published data: download, verify, unpack safely, move into the cache in one step.

`pull` was tested against local files and a loopback server only; the registered addresses were not exercised,
because the network was not in reach. When one has moved, the error names it and says how to place files by hand.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import stat
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from dissensus.config.base import nearest
from dissensus.data.sources import published_data
from dissensus.data.sources.base import PublishedData, RemoteFile
from dissensus.data.sources.paths import data_dirs, downloads_dir
from dissensus.errors import DataError
from dissensus.files import atomic_folder

__all__ = ["RECEIPT", "PublishedStatus", "list_published", "pull"]

RECEIPT = "pulled.json"
"""Written beside the data: each address with the SHA-256 of what it gave."""

Progress = Callable[[str, int, int | None], None]
"""Called with the address, the bytes so far and the total (None if the server does not say)."""

Opener = Callable[[str], AbstractContextManager[Any]]

_CHUNK = 1 << 20
_MOST_BYTES = 8 << 30  # more than any registered data set unpacked; stops an archive that never ends


@dataclass(frozen=True)
class PublishedStatus:
    """A published data set and where it is on this machine.

    Attributes:
        data: its registration.
        folder: the one that holds every file of it, or None.
    """

    data: PublishedData
    folder: Path | None


def list_published(data_dir: Path | None = None, *, named: str | None = None) -> tuple[PublishedStatus, ...]:
    """Every registered data set, by name, with where it was found: as `pull` leaves it, or placed by hand.

    Args:
        data_dir: looked in first.
        named: a data set that may be an installed package's; see `published_data`.
    """
    folders = data_dirs(data_dir)
    return tuple(
        PublishedStatus(data, next((f / name for f in folders if _holds(f / name, data)), None))
        for name, data in sorted(published_data(named).items())
    )


def pull(
    name: str,
    cache_dir: Path | None = None,
    opener: Opener | None = None,
    *,
    progress: Progress | None = None,
) -> Path:
    """Fetch a registered data set into the cache; what is already there is left as it is.

    The folder appears whole or not at all: files are downloaded beside it, checked against their SHA-256, unpacked
    and only then renamed into place. Where no checksum is registered, the one found is recorded in `RECEIPT`.

    Args:
        name: a key of `published_data()`, or the name of an installed package's source.
        cache_dir: default: see `dissensus.data.sources.paths.downloads_dir`.
        opener: from an address to a context manager with `read(size)`; default: `urllib`, 30 s time limit.
        progress: called as bytes arrive.

    Returns:
        The data set's folder.

    Raises:
        DataError: the name is unknown, the network cannot be reached, a checksum differs, or an archive is unsafe;
            the message says how to place the files by hand.
    """
    registered = published_data(name)
    if name not in registered:
        raise DataError(f"no data set {name!r} is registered; {nearest(name, registered)}")
    source = registered[name]
    target = (downloads_dir() if cache_dir is None else cache_dir) / name
    if _holds(target, source):
        return target
    if target.exists():
        lacking = [file for file in source.expects if not (target / file).is_file()]
        raise DataError(f"{target} exists but lacks {lacking[0]}; move that folder away, then pull again")
    try:
        with atomic_folder(target) as beside:
            receipt = {file.url: _fetch(file, beside, opener or _urlopen, progress) for file in source.files}
            lacking = [file for file in source.expects if not (beside / file).is_file()]
            if lacking:
                raise DataError(f"what was downloaded does not hold {lacking[0]}")
            receipt_text = json.dumps(receipt, indent=1, sort_keys=True) + "\n"
            (beside / RECEIPT).write_text(receipt_text, encoding="utf-8")
    except DataError as error:
        raise DataError(f"could not pull {name!r}: {error}. {_by_hand(source, target)}") from None
    except OSError as error:
        if _holds(target, source):  # another process was faster
            return target
        raise DataError(f"could not pull {name!r} into {target}: {error.strerror or error}") from None
    return target


def _holds(folder: Path, source: PublishedData) -> bool:
    # Files placed by hand may lie without their sub-folder; the loaders accept that too.
    return all((folder / file).is_file() or (folder / Path(file).name).is_file() for file in source.expects)


def _by_hand(source: PublishedData, target: Path) -> str:
    files = ", ".join(source.expects[:3]) + (", ..." if len(source.expects) > 3 else "")
    return f"By hand: get the data from {source.homepage} and put {files} into {target}"


def _urlopen(url: str) -> AbstractContextManager[Any]:
    if not url.startswith(("https://", "http://", "file://")):
        raise DataError(f"{url} is not an http(s) or file address")
    request = urllib.request.Request(url, headers={"User-Agent": "dissensus"})  # noqa: S310 - checked above
    return urllib.request.urlopen(request, timeout=30)  # type: ignore[no-any-return]  # noqa: S310


def _fetch(file: RemoteFile, folder: Path, opener: Opener, progress: Progress | None) -> str:
    """Download one file into `folder`, verify and unpack it; its SHA-256."""
    part = folder / ".download"
    digest = hashlib.sha256()
    done, first = 0, b""
    try:
        with opener(file.url) as response, part.open("wb") as out:
            total = _length(response)
            while chunk := response.read(_CHUNK):
                first = first or chunk[:64]
                digest.update(chunk)
                out.write(chunk)
                done += len(chunk)
                if done > _MOST_BYTES:
                    raise DataError(f"{file.url} does not end after {done} bytes")
                if progress is not None:
                    progress(file.url, done, total)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DataError(f"{file.url} could not be downloaded ({type(error).__name__}: {error})") from None
    if total is not None and done < total:
        raise DataError(f"the download of {file.url} broke off after {done} of {total} bytes; try again")
    checksum = digest.hexdigest()
    if file.sha256 is not None and checksum != file.sha256:
        page = " (it is a web page: the file was probably moved)" if first.lstrip()[:1] == b"<" else ""
        raise DataError(f"{file.url} gave a file with SHA-256 {checksum}{page}; expected {file.sha256}")
    if file.archive:
        _unpack(part, folder)
        part.unlink()
    else:
        destination = folder / file.to
        destination.parent.mkdir(parents=True, exist_ok=True)
        part.replace(destination)
    return checksum


def _length(response: Any) -> int | None:
    headers = getattr(response, "headers", None)
    value = headers.get("Content-Length") if headers is not None else None
    return int(value) if value is not None and str(value).isdigit() else None


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar: regular files only, none outside `folder`, no links, a limit on the size."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                _write_members(_zip_members(packed), folder)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as packed_tar:
                _write_members(_tar_members(packed_tar), folder)
        else:
            raise DataError("the archive is neither zip nor tar")
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise DataError(f"the archive is damaged ({error})") from None


def _zip_members(packed: zipfile.ZipFile) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    for info in packed.infolist():
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"the archive holds a link, {info.filename!r}; it was not unpacked")
        if not info.is_dir():
            yield info.filename, lambda info=info: packed.open(info)  # type: ignore[misc]


def _tar_members(packed: tarfile.TarFile) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    for info in packed:
        if not (info.isfile() or info.isdir()):
            raise DataError(f"the archive holds {info.name!r}, which is no regular file; it was not unpacked")
        if info.isfile():
            yield info.name, lambda info=info: packed.extractfile(info)  # type: ignore[misc]


def _write_members(members: Iterator[tuple[str, Callable[[], IO[bytes]]]], folder: Path) -> None:
    written = 0
    for name, open_member in members:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
            raise DataError(f"the archive holds the unsafe path {name!r}; it was not unpacked")
        if parts[0] == "__MACOSX" or parts[-1] == ".DS_Store":
            continue
        destination = folder.joinpath(*parts)
        destination.parent.mkdir(parents=True, exist_ok=True)
        with open_member() as source, destination.open("wb") as out:
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > _MOST_BYTES:
                    raise DataError(
                        f"the archive unpacks to more than {_MOST_BYTES >> 30} GiB; it was not unpacked"
                    )
                out.write(chunk)
