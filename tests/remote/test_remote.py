"""A folder at a URL: what is there whole, and what goes wrong in one clear sentence."""

from __future__ import annotations

import importlib
import socket
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from dissensus.errors import MissingDependencyError, SpecError, StoreError
from dissensus.remote import Mirror, Remote, fetch_store, is_url
from dissensus.remote.problems import words_for
from remote.stores import make_cell


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/study", True),
        ("gs://bucket", True),
        ("file:///tmp/x", True),
        ("memory://x", True),
        ("runs/mine", False),
        ("/tmp/x", False),
        ("C:\\runs", False),
        ("C://runs", False),
        ("s3:/bucket", False),
        ("./a://b", False),
    ],
)
def test_what_is_a_url(text: str, expected: bool) -> None:
    assert is_url(text) is expected


@pytest.fixture(params=["s3", "memory", "file"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Remote:
    if request.param == "file":
        return Remote(f"file://{tmp_path}/there")
    return Remote(request.getfixturevalue({"s3": "bucket", "memory": "memory"}[request.param]))


def test_files_of_a_remote(remote: Remote, tmp_path: Path) -> None:
    assert remote.names() == []
    assert remote.folders("cells") == []
    assert remote.read("a.json") is None
    assert not remote.get("a.json", tmp_path / "a.json")
    remote.remove("a.json")
    remote.write("a.json", b"one")
    remote.write("a.json", b"two")
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    (remote / "cells/x").put(tmp_path / "large", "deep/er/large.bin")
    remote.write("cells-too", b"")
    assert remote.read("a.json") == b"two"
    assert remote.read("cells-too") == b""
    assert remote.names() == ["a.json", "cells-too", "cells/x/deep/er/large.bin"]
    assert remote.names("cells") == ["cells/x/deep/er/large.bin"]
    assert (remote / "cells/x").names() == ["deep/er/large.bin"]
    assert remote.folders("cells") == ["x"]
    assert remote.get("cells/x/deep/er/large.bin", tmp_path / "new/back")
    assert (tmp_path / "new/back").read_bytes() == bytes(1 << 20)
    assert not remote.get("a.json", tmp_path / "new/back", sha256="0" * 64)
    assert (tmp_path / "new/back").stat().st_size == 1 << 20
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["back"]
    remote.remove("a.json")
    assert remote.read("a.json") is None


def test_a_listing_is_never_an_old_one(bucket: str) -> None:
    """Two clients, as two machines have them."""
    here, there = Remote(bucket), Remote(bucket)
    assert here.names() == []
    there.write("curves/a", b"1")
    assert here.names("curves") == ["curves/a"]
    assert here.folders("curves") == []
    there.write("curves/b/c", b"1")
    assert here.folders("curves") == ["b"]
    there.remove("curves/a")
    assert here.names() == ["curves/b/c"]


def test_a_local_folder_keeps_the_old_file_when_a_write_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(f"file://{tmp_path}/there")
    remote.write("a.json", b"old")

    def full(self, path: str, value: bytes, **options: object) -> None:
        Path(path).write_bytes(value[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.pipe_file", full)
    with pytest.raises(StoreError, match=r"cannot write a\.json: .*No space left"):
        remote.write("a.json", b"a new one")
    assert remote.read("a.json") == b"old"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "/etc/passwd", "a//b", ".", "a/./b", "a\\b", "C:x", "", "a\0b"]
)
def test_names_that_lead_out_are_refused(name: str, memory: str, tmp_path: Path) -> None:
    remote = Remote(memory)
    for attempt in (
        lambda: remote.read(name),
        lambda: remote.write(name, b""),
        lambda: remote.put(tmp_path, name),
        lambda: remote.get(name, tmp_path / "x"),
        lambda: remote.remove(name),
        lambda: remote.child(name),
    ):
        with pytest.raises(StoreError, match="no plain name below its folder"):
            attempt()


def _refusal(attempt, *words: str) -> None:
    """`attempt` fails with one sentence that has these words, and shows no other error beside it."""
    with pytest.raises(StoreError) as caught:
        attempt()
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Traceback") == 1
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def _everything(remote: Remote, folder: Path) -> list:
    return [
        lambda: remote.read("manifest.json"),
        lambda: remote.write("manifest.json", b"1"),
        lambda: remote.names(),
        lambda: remote.folders("cells"),
        lambda: remote.get("manifest.json", folder / "x"),
        lambda: Mirror(folder / "cell", remote).publish(),
        lambda: fetch_store(remote.url),
    ]


def test_a_missing_bucket(s3: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "cell")
    for attempt in _everything(Remote("s3://nowhere/study"), tmp_path):
        _refusal(attempt, "s3://nowhere/study", "the bucket does not exist; create it")


def test_missing_credentials(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    make_cell(tmp_path / "cell")
    for attempt in _everything(Remote("s3://curves/study"), tmp_path):
        _refusal(attempt, "s3://curves/study", "there are no credentials; set AWS_ACCESS_KEY_ID")


def test_an_endpoint_out_of_reach(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    make_cell(tmp_path / "cell")
    for attempt in _everything(Remote("s3://curves/study"), tmp_path):
        _refusal(
            attempt,
            "the endpoint cannot be reached",
            f"127.0.0.1:{port}",
            "check the network, and AWS_ENDPOINT_URL",
        )


def test_access_refused(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(self, *arguments: object, **options: object) -> bytes:
        raise PermissionError("The AWS Access Key Id you provided does not exist in our records.")

    monkeypatch.setattr("s3fs.S3FileSystem._cat_file", refuse)
    _refusal(
        lambda: Remote("s3://curves/x").read("a"),
        "cannot read a",
        "access was refused",
        "does not exist in our",
    )


def test_a_password_in_a_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError) as caught:
        Remote("nothing://me:secret@host/study")
    assert "secret" not in str(caught.value)
    assert "nothing://***@host/study" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [("s3://b/x", "s3fs", "s3"), ("gs://b/x", "gcsfs", "gcs"), ("gcs://b/x", "gcsfs", "gcs")],
)
def test_a_missing_client_is_named_with_its_extra(
    url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = importlib.import_module("fsspec.registry")
    for protocol in ("s3", "s3a", "gs", "gcs"):
        monkeypatch.delitem(registry._registry, protocol, raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"{package}.*dissensus\[{extra}\]"):
        Remote(url)


def test_fsspec_itself_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependencyError, match=r"fsspec.*dissensus\[s3\]"):
        Remote("memory://x/y")


def test_gcs_has_its_own_client_configured_by_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server of Google's kind is here: this shows which client is asked, with what is set in fsspec's files."""
    pytest.importorskip("gcsfs")
    import fsspec

    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    remote = Remote("gs://bucket/study")
    assert isinstance(remote._fs, __import__("gcsfs").GCSFileSystem)
    assert remote._fs.credentials.token == "anon"
    assert remote._path("manifest.json") == "bucket/study/manifest.json"


@pytest.mark.parametrize("url", ["runs/mine", "s3://", "s3:///"])
def test_what_is_no_folder(url: str) -> None:
    with pytest.raises(SpecError):
        Remote(url)


def test_importing_storage_brings_no_client() -> None:
    code = (
        "import sys, dissensus.remote, dissensus.remote.study_mirror\n"
        "bad = {'fsspec', 's3fs', 'gcsfs', 'botocore', 'aiobotocore', 'aiohttp', 'torch', 'scipy', 'matplotlib'}\n"
        "assert not bad & set(sys.modules), bad & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_server_that_is_not_there_is_not_told_of_amazon() -> None:
    words = words_for(ConnectionRefusedError("refused"), "http")
    assert words == "the server cannot be reached (refused); check the address and the network"
