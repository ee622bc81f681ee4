"""One folder at a URL, over fsspec: files that are there whole or not at all, and errors in words.

fsspec and its clients are imported when a URL is opened, never before. Trying again after a dropped connection or a
busy server is the clients' own business (s3fs and gcsfs do); nothing is retried here.
"""

from __future__ import annotations

import copy
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dissensus.errors import DissensusError, MissingDependencyError, SpecError, StoreError
from dissensus.files import atomic_file, file_sha256, is_temporary, temporary_name
from dissensus.remote.problems import NO_BUCKET, no_bucket, words_for

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CLIENTS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs")}
_OBJECT_STORES = frozenset({*_CLIENTS, "memory", "abfs", "abfss", "az", "adl", "oss", "oci"})
_LOCAL = frozenset({"file", "local"})


def is_url(text: str) -> bool:
    """Whether a text is a URL, like s3://bucket/study, and not a path; the C: of Windows is no scheme."""
    return _SCHEME.match(text) is not None


def safe_name(name: str, where: str) -> str:
    """A file's name from a folder's root, as it came from elsewhere; `StoreError` if it leads out of the folder."""
    parts = name.split("/")
    if "\\" in name or ":" in parts[0] or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise StoreError(
            f"{where} names the file {name!r}, which is no plain name below its folder; it is not followed"
        )
    return name


class Remote:
    """A folder at a URL.

    Names of files are relative to it, with forward slashes. On object stores (S3 and what is compatible with it, GCS)
    a file appears in one PUT, or at the end of a multipart upload; elsewhere it is written beside and renamed. No
    listing is ever taken from a cache: what is there now is asked for anew.

    Args:
        url: of the folder, such as s3://bucket/study, gs://bucket/study, file:///mnt/shared/study.

    Attributes:
        url: of the folder, without a slash at its end.

    Raises:
        SpecError: `url` is no URL, or names no folder.
        MissingDependencyError: the package that speaks the URL's protocol is not installed.
        StoreError: nothing speaks that protocol, or its client cannot be set up.
    """

    def __init__(self, url: str) -> None:
        if not is_url(url):
            raise SpecError(f"{url!r} is no URL; expected one such as s3://bucket/study")
        self._protocol = url.split("://", 1)[0].lower()
        self.url = url.rstrip("/")
        if not url.split("://", 1)[1].strip("/"):
            raise SpecError(f"{url!r} names no folder; expected one such as {self._protocol}://bucket/study")
        self._fs, self._root = self._open()

    def _open(self) -> tuple[AbstractFileSystem, str]:
        package, extra = _CLIENTS.get(self._protocol, ("fsspec", "s3"))
        purpose = f"a folder at {self._protocol}://"
        try:
            import fsspec
        except ImportError:
            raise MissingDependencyError("fsspec", extra, purpose) from None
        with self._words("open it"):
            try:
                # No instance of another Remote's: the environment may name another endpoint or other keys by now.
                fs = fsspec.filesystem(self._protocol, use_listings_cache=False, skip_instance_cache=True)
            except ImportError as error:
                if self._protocol in _CLIENTS:
                    raise MissingDependencyError(package, extra, purpose) from None
                raise StoreError(f"{self.shown}: {error}") from None
            root = fs._strip_protocol(self.url)
        return fs, str(root).rstrip("/")

    def __repr__(self) -> str:
        return f"Remote({self.shown!r})"

    @property
    def shown(self) -> str:
        """The URL for people, without a password that it may hold."""
        return re.sub(r"//[^/@]*@", "//***@", self.url)

    def child(self, name: str) -> Remote:
        """The folder `name` below this one, by the same client."""
        below = copy.copy(self)
        below.url = f"{self.url}/{safe_name(name, self.shown)}"
        below._root = f"{self._root}/{name}"
        return below

    def __truediv__(self, name: str) -> Remote:
        return self.child(name)

    def read(self, name: str) -> bytes | None:
        """What a file holds; None where there is no such file."""
        with self._words(f"read {name}"):
            try:
                return bytes(self._fs.cat_file(self._path(name)))
            except FileNotFoundError as error:
                _unless_bucket(error)
                return None

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, in place of the one of that name."""
        self._replace(name, lambda path: self._fs.pipe_file(path, content))

    def put(self, path: Path, name: str) -> None:
        """The same from a local file, streamed. Nothing else may change that file meanwhile."""
        self._replace(name, lambda target: self._fs.put_file(str(path), target))

    def _replace(self, name: str, send: Callable[[str], object]) -> None:
        with self._words(f"write {name}"):
            path = self._path(name)
            if self._protocol in _OBJECT_STORES:
                with self._bucket_there():
                    send(path)
                return
            self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            with self._beside(path) as beside:
                send(beside)

    def get(self, name: str, path: Path, *, sha256: str | None = None) -> bool:
        """Bring a file here, streamed; `path` appears, or is replaced, when all of it is here.

        Args:
            name: of the file there.
            path: where to.
            sha256: what its checksum must be.

        Returns:
            Whether `path` is now that file; False where there is none, or it has another checksum.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_file(path) as beside:
                exists = True
                with self._words(f"read {name}"):
                    try:
                        self._get(self._path(name), beside)
                    except FileNotFoundError as error:
                        _unless_bucket(error)
                        exists = False
                if not exists or (sha256 is not None and file_sha256(beside) != sha256):
                    raise _NotThatFileError
        except _NotThatFileError:
            return False
        return True

    def names(self, folder: str = "") -> list[str]:
        """The files below `folder` ("" is all), from this folder's root, sorted."""
        root = self._path(folder) if folder else self._root
        with self._words(f"list {folder or 'it'}"):
            self._fs.invalidate_cache()
            try:
                listed = self._fs.find(root)
            except FileNotFoundError as error:
                _unless_bucket(error)
                listed = []
        inside = [str(path) for path in listed if str(path).startswith(f"{root}/")]
        names = [path[len(self._root) + 1 :] for path in inside if not path.endswith("/")]
        return sorted(name for name in names if not is_temporary(PurePosixPath(name).name))

    def folders(self, folder: str) -> list[str]:
        """The names of the folders right below `folder`, sorted."""
        root = self._path(folder)
        with self._words(f"list {folder}"):
            self._fs.invalidate_cache()
            try:
                entries = self._fs.ls(root, detail=True)
            except FileNotFoundError as error:
                _unless_bucket(error)
                entries = []
        paths = [str(entry["name"]).rstrip("/") for entry in entries if entry["type"] == "directory"]
        return sorted(path.rsplit("/", 1)[1] for path in paths if path.startswith(f"{root}/"))

    def remove(self, name: str) -> None:
        """Delete a file; nothing happens where there is none."""
        with self._words(f"delete {name}"):
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError as error:
                _unless_bucket(error)

    def _path(self, name: str) -> str:
        return f"{self._root}/{safe_name(name, self.shown)}"

    def _get(self, path: str, local: Path) -> None:
        if self._protocol == "memory":  # its readers share one position in a file
            local.write_bytes(self._fs.cat_file(path))
        else:
            self._fs.get_file(path, str(local))

    @contextmanager
    def _beside(self, path: str) -> Iterator[str]:
        """A path to write at; it takes the place of `path` at the end, or is deleted after an error."""
        if self._protocol in _LOCAL:
            with atomic_file(Path(path)) as local:
                yield str(local)
            return
        folder, name = path.rsplit("/", 1)
        beside = f"{folder}/{temporary_name(name)}"
        try:
            yield beside
            self._fs.mv(beside, path)
        except BaseException:
            if self._fs.exists(beside):
                self._fs.rm_file(beside)
            raise

    @contextmanager
    def _bucket_there(self) -> Iterator[None]:
        """Of an object store only a bucket can be missing to one who writes."""
        try:
            yield
        except FileNotFoundError:
            raise StoreError(f"{self.shown}: {NO_BUCKET}") from None

    @contextmanager
    def _words(self, tried: str) -> Iterator[None]:
        """Turn what a client raises into one `StoreError`."""
        try:
            yield
        except DissensusError:
            raise
        except Exception as error:  # noqa: BLE001 - each client raises errors of its own
            raise StoreError(f"{self.shown}: cannot {tried}: {words_for(error, self._protocol)}") from None


class _NotThatFileError(Exception):
    """There is no such file there, or it has another checksum."""


def _unless_bucket(error: FileNotFoundError) -> None:
    """A file that is not there is an answer; a bucket that is not there is an error."""
    if no_bucket(error):
        raise error


def copy_pinned(source: Path, target: Path) -> bool:
    """Hold on to the version of a file that is there now, as `target`; False where there is none.

    A hard link, since files of a store are replaced by renaming; where there are none of these, a copy.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        return False
    except OSError:  # a file system without hard links
        try:
            shutil.copyfile(source, target)
        except FileNotFoundError:
            return False
    return True
