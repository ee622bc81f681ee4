"""Paths of data files, in the order tried: an explicit folder, `DISSENSUS_DATA`, the cache, the working directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dissensus.data.sources.base import PublishedData
from dissensus.errors import MissingFileError
from dissensus.files import cache_dir


def downloads_dir() -> Path:
    """Folder of downloaded data: `data` in the cache of `dissensus.files`."""
    return cache_dir() / "data"


def data_dirs(data_dir: Path | None = None) -> tuple[Path, ...]:
    """Folders in the order in which they are searched.

    Args:
        data_dir: what the user named (`--data-dir`); it must exist.

    Raises:
        DataError: `data_dir` is not a folder.
    """
    folders: list[Path] = []
    if data_dir is not None:
        if not data_dir.expanduser().is_dir():
            raise MissingFileError(
                f"the data folder {data_dir} does not exist; name an existing folder with --data-dir"
            )
        folders.append(data_dir.expanduser())
    named = os.environ.get("DISSENSUS_DATA")
    if named:
        folders.append(Path(named).expanduser())
    return (*folders, downloads_dir())


def find_file(
    candidates: Sequence[str],
    data_dir: Path | None = None,
    *,
    what: str,
    published: PublishedData | None = None,
) -> Path:
    """The first file that exists among `candidates`, relative to each data folder in turn.

    Args:
        candidates: relative paths, best first.
        data_dir: see `data_dirs`.
        what: the thing looked for, in words; opens the error message.
        published: the data set that brings the file, for the error message.

    Raises:
        DataError: none exists; the message says where it was looked for and how to get it.
    """
    folders = data_dirs(data_dir)
    for folder in folders:
        for candidate in candidates:
            if (folder / candidate).is_file():
                return folder / candidate
    places = ", ".join(str(folder) for folder in folders)
    raise MissingFileError(
        f"{what} was not found. Looked for {candidates[0]} (and in the usual places beside it) in: {places}. "
        f"{_how_to_get(published)}Or set DISSENSUS_DATA (or --data-dir) to the folder that holds it."
    )


def resolve_path(path: str, data_dir: Path | None = None) -> Path:
    """A path that a specification names: absolute, under a data folder, or under the working directory.

    Raises:
        DataError: it is no existing file.
    """
    named = Path(path).expanduser()
    if named.is_absolute():
        if named.is_file():
            return named
        raise MissingFileError(
            f"the data file {named} does not exist{' (it is a folder)' if named.is_dir() else ''}"
        )
    folders = (*data_dirs(data_dir), Path.cwd())
    for folder in folders:
        if (folder / named).is_file():
            return folder / named
    places = ", ".join(str(folder) for folder in folders)
    raise MissingFileError(
        f"the data file {path} was not found in: {places}. Give an absolute path, or set DISSENSUS_DATA "
        "(or --data-dir) to the folder that it is relative to."
    )


def _how_to_get(data: PublishedData | None) -> str:
    if data is None:
        return ""
    return f"Fetch it with `dissensus data pull {data.name}` ({data.homepage}; licence: {data.licence}). "
