"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dissensus.files import atomic_file, atomic_folder, is_temporary, temporary_name, write_atomic


def test_a_file_that_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")

    def interrupted() -> None:
        with atomic_file(path) as beside:
            beside.write_text("half")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_the_file_is_on_the_disk_before_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "a.txt", []
    sync = os.fsync

    def noting(handle: int) -> None:
        seen.append((Path(f"/proc/self/fd/{handle}").resolve().is_dir(), path.exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", noting)
    write_atomic(path, "whole")
    assert seen == [(False, False), (True, True)]


def test_two_writers_in_one_process_do_not_share_a_part(tmp_path: Path) -> None:
    path, both = tmp_path / "a.txt", threading.Barrier(2)

    def write(text: str) -> None:
        with atomic_file(path) as beside:
            beside.write_text(text)
            both.wait(60)  # both parts are there at once

    writers = [threading.Thread(target=write, args=(text,)) for text in ("first", "second")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text() in ("first", "second")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "data"

    def broken() -> None:
        with atomic_folder(target) as beside:
            (beside / "half").write_text("x")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        broken()
    assert list((tmp_path / "new").iterdir()) == []
    target.mkdir()  # an empty one may be there
    with atomic_folder(target) as beside:
        (beside / "whole").write_text("x")
    assert [p.name for p in target.iterdir()] == ["whole"]


def test_names_beside_are_known_and_differ() -> None:
    names = {temporary_name("a.txt") for _ in range(3)}
    assert len(names) == 3
    assert all(is_temporary(name) for name in names)
    assert str(os.getpid()) in names.pop()
    assert not is_temporary("a.txt")
