from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote.stores import make_bucket, s3_server

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of its own, and no waiting between two tries."""
    pytest.importorskip("fsspec")
    monkeypatch.setenv("DISSENSUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("dissensus.remote.mirror.PAUSE", 0.001)
    monkeypatch.setattr("dissensus.remote.publishing.PAUSE", 0.001)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a server with the bucket `curves`."""
    with s3_server() as url:
        make_bucket("curves")
        yield url


@pytest.fixture
def bucket(s3: str) -> str:
    """A folder of its own in the bucket, as a URL."""
    return f"s3://curves/test-{next(_numbers)}"


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder in memory, as a URL; nothing of it is left afterwards."""
    from fsspec.implementations.memory import MemoryFileSystem

    yield f"memory://curves/test-{next(_numbers)}"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
