"""Small curves stores for the storage tests, a remote that counts and cuts, and a server that speaks S3."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dissensus.curves import Curves
from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import StoreError
from dissensus.remote import Mirror, Remote
from dissensus.store import CurvesWriter, load_curves

IDS = 40
DATA = AnnotatedDataset.from_records(
    [
        {"id": f"e{i}", "text": f"words {i}", "gold": "yes", "counts": {"no": i % 6, "yes": 6}}
        for i in range(IDS)
    ],
    labels=("no", "yes"),
    text=("text",),
    name="made",
)


def open_writer(folder: Path, *, steps: int = 10) -> CurvesWriter:
    return CurvesWriter(folder, DATA, total_steps=steps)


def measure(writer: CurvesWriter, step: int, *, seed: int = 0) -> None:
    """Store a tracking point whose values depend on the step and the seed."""
    raw = np.random.default_rng([seed, step]).normal(size=(IDS, 2))
    writer.write(step, DATA.ids, (raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))).astype(np.float32))


def make_cell(folder: Path, points: int = 4, *, seed: int = 0, end: bool = True) -> CurvesWriter:
    """A cell with tracking points 0, 1, ..., and the small files beside them."""
    writer = open_writer(folder, steps=points - 1 if end else 10)
    for step in range(points):
        measure(writer, step, seed=seed)
    (folder / "spec.json").write_text('{"spec": 1}\n')
    (folder / "status.json").write_text('{"state": "running"}\n')
    (folder / "log.txt").write_text("a line\n")
    if end:
        writer.finish()
    return writer


def save_checkpoint(folder: Path, step: int, *, filling: int = 200) -> None:
    """What the trainer leaves, as far as a mirror looks at it: a safetensors header that names the step."""
    header = json.dumps({"__metadata__": {"step": str(step)}}).encode()
    (folder / "checkpoint").mkdir(exist_ok=True)
    beside = folder / "checkpoint" / ".state.tmp"
    beside.write_bytes(struct.pack("<Q", len(header)) + header + bytes([step % 256]) * filling)
    beside.replace(folder / "checkpoint" / "state.safetensors")


def checkpoint_step(folder: Path) -> int | None:
    path = folder / "checkpoint" / "state.safetensors"
    if not path.is_file():
        return None
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return int(json.loads(content[8 : 8 + length])["__metadata__"]["step"])


def values_of(curves: Curves) -> dict[int, bytes]:
    """Step -> its values, bit for bit."""
    return {int(step): curves.log_probs[:, t, :].tobytes() for t, step in enumerate(curves.steps)}


def stored(folder: Path) -> dict[int, bytes]:
    """What a store holds; nothing for a run that has stored no point yet."""
    if not json.loads((folder / "manifest.json").read_text())["shards"]:
        return {}
    return values_of(load_curves(folder, partial=True))


def fetched(remote: Remote, folder: Path) -> dict[int, bytes]:
    """The state that a reader with an empty folder finds."""
    assert Mirror(folder, remote).fetch()
    return stored(folder)


class CutError(Exception):
    """The writer was killed here."""


class Watched(Remote):
    """Counts requests by kind, is cut off before a chosen writing one, and may lose the answer to another."""

    def watch(
        self,
        *,
        cut: int | None = None,
        before: Callable[[str, str], None] | None = None,
        unanswered: str | None = None,
    ) -> Watched:
        self.calls: list[tuple[str, str]] = []
        self.cut = cut
        self.before = before
        self.unanswered = unanswered
        return self

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [call for call in self.calls if call[0] in ("write", "put", "remove")]

    def _seen(self, kind: str, name: str) -> None:
        self.calls.append((kind, name))
        if self.before is not None:
            self.before(kind, name)
        if self.cut is not None and kind in ("write", "put", "remove") and len(self.changes) > self.cut:
            raise CutError(f"before {kind} {name}")

    def read(self, name: str) -> bytes | None:
        self._seen("read", name)
        return super().read(name)

    def write(self, name: str, content: bytes) -> None:
        self._seen("write", name)
        super().write(name, content)
        if name == self.unanswered:
            raise StoreError(f"the answer to {name} was lost")

    def put(self, path: Path, name: str) -> None:
        self._seen("put", name)
        super().put(path, name)

    def get(self, name: str, path: Path, *, sha256: str | None = None) -> bool:
        self._seen("get", name)
        return super().get(name, path, sha256=sha256)

    def names(self, folder: str = "") -> list[str]:
        self._seen("names", folder)
        return super().names(folder)

    def remove(self, name: str) -> None:
        self._seen("remove", name)
        super().remove(name)


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3-compatible server on a free port; its URL. The environment names it while it runs."""
    server_module = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "made-up")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        try:
            yield f"http://{host}:{port}"
        finally:
            server.stop()


def make_bucket(name: str) -> None:
    import fsspec

    # The server's memory outlives it, in this process.
    fsspec.filesystem("s3", skip_instance_cache=True).makedirs(name, exist_ok=True)
