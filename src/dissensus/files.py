"""Files and folders that appear whole or not at all, checksums, and the cache folder of downloads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path


def temporary_name(name: str) -> str:
    """A hidden name beside `name` that no other process on any machine uses; what bears one is never a result."""
    return f".{name}.{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def is_temporary(name: str) -> bool:
    """Whether a file's name is one that `temporary_name` makes."""
    return name.startswith(".") and name.endswith(".tmp")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A path to write a file at; it takes `path`'s place at the end, and is deleted after an error.

    Readers, and a crash, see the old content or the new, never a part: the file is brought to the disk before it is
    renamed, and its folder after.
    """
    beside = path.with_name(temporary_name(path.name))
    try:
        yield beside
        with beside.open("rb+") as handle:
            os.fsync(handle.fileno())
        beside.replace(path)
    except BaseException:  # a full disk, an interrupt: leave no part behind
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill; it becomes `path` at the end, which is absent or empty, and is deleted after an error."""
    beside = path.with_name(temporary_name(path.name))
    try:
        beside.mkdir(parents=True)
        yield beside
        beside.replace(path)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _sync_folder(path.parent)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that readers, and a crash, see the old content or the new, never a part."""
    with atomic_file(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def cache_dir() -> Path:
    """Where downloads are kept: `DISSENSUS_CACHE`, else `dissensus` in the user's cache folder. Not created here."""
    named = os.environ.get("DISSENSUS_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "dissensus"


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where the file system can (not every one opens folders)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
