"""The thread that publishes while a cell trains, and whose turn it is."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from dissensus.errors import StoreError
from dissensus.remote import Lease, Mirror, Publisher, Remote
from processes import PATIENCE, wait_for
from remote.stores import CutError, Watched, fetched, make_cell, measure, stored


def test_points_appear_while_a_cell_trains(bucket: str, tmp_path: Path) -> None:
    writer = make_cell(tmp_path / "here", points=1, end=False)
    with Publisher(Mirror(tmp_path / "here", Remote(bucket)), every=0.02):
        wait_for(lambda: Remote(bucket).read("manifest.json") is not None, "the first point")
        measure(writer, 1)
        content = (tmp_path / "here" / "manifest.json").read_bytes()
        wait_for(lambda: Remote(bucket).read("manifest.json") == content, "the second point")
    assert fetched(Remote(bucket), tmp_path / "back") == stored(tmp_path / "here")


def test_the_last_state_is_published_at_the_end(memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here")
    with Publisher(Mirror(tmp_path / "here", Remote(memory)), every=60):
        pass
    assert fetched(Remote(memory), tmp_path / "back") == stored(tmp_path / "here")


def test_the_last_state_is_published_after_an_error_too(memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here", end=False)
    with pytest.raises(ZeroDivisionError), Publisher(Mirror(tmp_path / "here", Remote(memory)), every=60):
        raise ZeroDivisionError
    assert fetched(Remote(memory), tmp_path / "back") == stored(tmp_path / "here")


def test_a_passing_failure_is_tried_again(
    memory: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_cell(tmp_path / "here")
    failed = []

    def before(kind: str, name: str) -> None:
        if name == "manifest.json" and kind == "write" and len(failed) < 3:
            failed.append(name)
            raise StoreError("memory://there: the endpoint cannot be reached")

    with Publisher(Mirror(tmp_path / "here", Watched(memory).watch(before=before)), every=0.01):
        wait_for(lambda: Remote(memory).read("manifest.json") is not None, "the first publishing")
    assert len(failed) == 3
    assert [r.getMessage() for r in caplog.records if r.name == "dissensus"] == [
        "not published, tried again in 0.01 s: memory://there: the endpoint cannot be reached"
    ]


def test_a_failure_that_stays_is_raised_at_the_end(memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here")
    remote = Watched(memory).watch(cut=0)
    with pytest.raises(CutError), Publisher(Mirror(tmp_path / "here", remote), every=0.01):
        wait_for(lambda: len(remote.changes) > 1, "a second change")
    # The body's own error comes first, with a word on the other.
    remote.watch(cut=0)
    with (
        pytest.raises(ZeroDivisionError) as caught,
        Publisher(Mirror(tmp_path / "here", remote), every=60),
    ):
        raise ZeroDivisionError
    assert "could not be published" in caught.value.__notes__[0]


@pytest.fixture(params=["folder", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | Remote:
    if request.param == "folder":
        return tmp_path / "cell"
    return Remote(request.getfixturevalue({"memory": "memory", "s3": "bucket"}[request.param]))


def test_the_last_attempt_has_the_cell(place: Path | Remote) -> None:
    first, second = Lease(place, "first"), Lease(place, "second")
    assert not first.held()
    first.take()
    assert first.held()
    assert not second.held()
    second.take()
    assert second.held()
    assert not first.held()
    with pytest.raises(
        StoreError, match=rf"\(first\): another attempt took it \(second, process {os.getpid()} on "
    ):
        first.check()
    text = place.read("lease.json") if isinstance(place, Remote) else (place / "lease.json").read_bytes()
    assert sorted(json.loads(text)) == ["attempt", "host", "pid", "time"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"attempt": 1}', b"\xff"])
def test_a_damaged_lease_is_nobodys(content: bytes, memory: str) -> None:
    Remote(memory).write("lease.json", content)
    assert not Lease(Remote(memory), "mine").held()


def test_an_attempt_that_comes_back_publishes_nothing(memory: str, tmp_path: Path) -> None:
    """The first machine was believed dead; the second has begun the cell anew."""
    mine, other = Lease(Remote(memory), "first"), Lease(Remote(memory), "second")
    make_cell(tmp_path / "first", points=2, end=False)
    make_cell(tmp_path / "second", points=3, seed=5, end=False)
    mine.take()
    publisher = Publisher(Mirror(tmp_path / "first", Remote(memory)), every=0.01, lease=mine)
    with pytest.raises(StoreError, match="another attempt took it"), publisher:  # noqa: PT012
        wait_for(lambda: Remote(memory).read("manifest.json") is not None, "the first publishing")
        publisher.check()
        other.take()
        Mirror(tmp_path / "second", Remote(memory)).publish()
        wait_for(lambda: publisher._lost is not None, "the publisher to see that it lost its turn")
        with pytest.raises(StoreError, match="another attempt took it"):
            publisher.check()
    assert fetched(Remote(memory), tmp_path / "back") == stored(tmp_path / "second")


def test_publishing_does_not_hold_up_the_body(memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here")
    go, reached = threading.Event(), threading.Event()

    def before(kind: str, name: str) -> None:
        reached.set()
        assert go.wait(PATIENCE)

    with Publisher(Mirror(tmp_path / "here", Watched(memory).watch(before=before)), every=0.01):
        assert reached.wait(PATIENCE)
        go.set()
    assert fetched(Remote(memory), tmp_path / "back") == stored(tmp_path / "here")
