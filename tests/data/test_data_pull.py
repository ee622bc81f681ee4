"""Pulling from local files and a loopback server: verified, whole or not at all, safe archives."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dissensus.data import pull as pulling
from dissensus.data.pull import RECEIPT, list_published, pull
from dissensus.data.sources import published_data
from dissensus.data.sources.base import PublishedData, RemoteFile
from dissensus.errors import DataError

Register = Callable[..., None]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    def _register(*files: RemoteFile, expects: tuple[str, ...] = ("data.jsonl",)) -> None:
        toy = PublishedData("toy", "a corpus", "CC0", "nobody", "https://home.example", files, expects)
        known = published_data() | {"toy": toy}
        monkeypatch.setattr(pulling, "published_data", lambda name=None: known)

    return _register


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(info: tarfile.TarInfo, content: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def served(tmp_path: Path, content: bytes, name: str = "file") -> str:
    path = tmp_path / "publisher" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path.as_uri()


def leftovers(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.iterdir()) if cache.exists() else []


def test_a_file_is_verified_and_placed(tmp_path: Path, register: Register) -> None:
    url = served(tmp_path, b"content")
    register(RemoteFile(url, "sub/data.jsonl", sha(b"content")), expects=("sub/data.jsonl",))
    seen: list[tuple[str, int, int | None]] = []
    folder = pull("toy", tmp_path / "cache", progress=lambda *facts: seen.append(facts))
    assert folder == tmp_path / "cache" / "toy"
    assert (folder / "sub/data.jsonl").read_bytes() == b"content"
    assert json.loads((folder / RECEIPT).read_text()) == {url: sha(b"content")}
    assert seen == [(url, 7, 7)]
    assert leftovers(tmp_path / "cache") == ["toy"]


def test_what_is_there_is_not_fetched_again(tmp_path: Path, register: Register) -> None:
    register(RemoteFile(served(tmp_path, b"content"), "data.jsonl", None))
    pull("toy", tmp_path / "cache")

    def closed(url: str) -> object:
        raise AssertionError(f"fetched {url} again")

    assert pull("toy", tmp_path / "cache", opener=closed) == tmp_path / "cache" / "toy"  # type: ignore[arg-type]


def test_an_unknown_checksum_is_recorded(tmp_path: Path, register: Register) -> None:
    url = served(tmp_path, b"unknown")
    register(RemoteFile(url, "data.jsonl", None))
    assert json.loads((pull("toy", tmp_path / "c") / RECEIPT).read_text())[url] == sha(b"unknown")


def test_a_wrong_checksum_leaves_nothing(tmp_path: Path, register: Register) -> None:
    register(RemoteFile(served(tmp_path, b"<!DOCTYPE html>gone"), "data.jsonl", sha(b"content")))
    with pytest.raises(DataError, match=r"it is a web page.*By hand: get the data from https://home.example"):
        pull("toy", tmp_path / "cache")
    assert leftovers(tmp_path / "cache") == []


def test_zip_and_tar_are_unpacked(tmp_path: Path, register: Register) -> None:
    members = {
        "v1/data.jsonl": b"a",
        "__MACOSX/v1/._data.jsonl": b"x",
        "v1/.DS_Store": b"x",
        "v1/README": b"b",
    }
    register(
        RemoteFile(served(tmp_path, zipped(members)), "", None, archive=True), expects=("v1/data.jsonl",)
    )
    folder = pull("toy", tmp_path / "zip")
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["README", "data.jsonl", RECEIPT]
    content = tarred(tarfile.TarInfo("data.jsonl"), b"from a tar")
    register(RemoteFile(served(tmp_path, content, "t.tgz"), "", sha(content), archive=True))
    assert (pull("toy", tmp_path / "tar") / "data.jsonl").read_bytes() == b"from a tar"


def _link() -> tarfile.TarInfo:
    info = tarfile.TarInfo("data.jsonl")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


def _zip_link() -> bytes:
    info = zipfile.ZipInfo("data.jsonl")
    info.external_attr = 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({"../data.jsonl": b"x"}), "unsafe path '../data.jsonl'"),
        (zipped({"/data.jsonl": b"x"}), "unsafe path"),
        (zipped({"a\\..\\..\\data.jsonl": b"x"}), "unsafe path"),
        (zipped({"C:/data.jsonl": b"x"}), "unsafe path"),
        (tarred(tarfile.TarInfo("../../data.jsonl"), b"x"), "unsafe path"),
        (tarred(_link()), "no regular file"),
        (_zip_link(), "holds a link"),
        (b"neither", "neither zip nor tar"),
        (zipped({"other.txt": b"x"}), "does not hold data.jsonl"),
        (zipped({"data.jsonl": b"x" * 500})[:-40], "neither zip nor tar|damaged"),
    ],
)
def test_unsafe_and_damaged_archives(
    tmp_path: Path, register: Register, content: bytes, message: str
) -> None:
    register(RemoteFile(served(tmp_path, content), "", None, archive=True))
    with pytest.raises(DataError, match=message):
        pull("toy", tmp_path / "inner" / "cache")
    assert leftovers(tmp_path / "inner" / "cache") == []
    assert not list(tmp_path.rglob("data.jsonl"))


def test_an_archive_that_never_ends(
    tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "_MOST_BYTES", 1000)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.jsonl", b"0" * 100_000)
    register(RemoteFile(served(tmp_path, content.getvalue()), "", None, archive=True))
    with pytest.raises(DataError, match="unpacks to more than"):
        pull("toy", tmp_path / "cache")


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "100" if self.path == "/cut" else "7")
        self.end_headers()
        self.wfile.write(b"content")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_a_loopback_server(
    tmp_path: Path, register: Register, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    register(RemoteFile(f"{server}/good", "data.jsonl", sha(b"content")))
    assert (pull("toy", tmp_path / "a") / "data.jsonl").read_bytes() == b"content"
    register(RemoteFile(f"{server}/gone", "data.jsonl", None))
    with pytest.raises(DataError, match=r"/gone could not be downloaded .*404"):
        pull("toy", tmp_path / "b")
    register(RemoteFile(f"{server}/cut", "data.jsonl", None))
    with pytest.raises(DataError, match=r"broke off after 7 of 100 bytes|could not be downloaded"):
        pull("toy", tmp_path / "b")
    assert leftovers(tmp_path / "b") == []


def test_offline_says_how_to_place_the_files(tmp_path: Path) -> None:
    def offline(url: str) -> object:
        raise OSError("Network is unreachable")

    with pytest.raises(DataError) as caught:
        pull("chaosnli", tmp_path, opener=offline)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "Network is unreachable" in message
    assert "github.com/easonnie/ChaosNLI" in message
    assert str(tmp_path / "chaosnli") in message


def test_files_placed_by_hand_count_and_half_a_folder_is_named(tmp_path: Path, register: Register) -> None:
    register(
        RemoteFile("https://nowhere.example/x", "v1/data.jsonl", None),
        expects=("v1/data.jsonl", "v1/more.jsonl"),
    )
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "data.jsonl").write_text("x")
    with pytest.raises(DataError, match=r"exists but lacks v1/"):
        pull("toy", tmp_path)
    (folder / "more.jsonl").write_text("x")
    assert pull("toy", tmp_path) == folder
    found = {status.data.name: status.folder for status in list_published(tmp_path)}
    assert found["toy"] == folder
    assert found["snli"] is None


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'chaosnli'"):
        pull("chaosnil", tmp_path)


def test_the_registry_is_consistent() -> None:
    for name, source in published_data().items():
        assert source.name == name
        assert source.expects
        for file in source.files:
            assert file.url.startswith("https://")
            assert file.sha256 is not None
            assert len(file.sha256) == 64
            assert file.archive or file.to in source.expects
