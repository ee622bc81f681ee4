"""Publishing a cell's folder to its image at a remote, request by request. `mirror.Mirror` says what for."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from dissensus.errors import StoreError
from dissensus.files import file_sha256
from dissensus.remote.folder import Remote, copy_pinned
from dissensus.remote.manifests import CURRENT, STATE, CurrentCheckpoint, Manifest, step_of

MANIFEST = "manifest.json"
TRIES = 8
PAUSE = 0.05
"""Seconds before a manifest is read again because a file was replaced meanwhile."""

Stamp = tuple[int, int, int]


class _Replaced(Exception):  # noqa: N818 - no error yet: the file is looked for again
    """A file is not, or no longer, what the manifest says of it."""


@dataclass
class _Image:
    """What lies at the remote.

    Attributes:
        manifest: the one that a reader finds.
        files: the checksums of files that are known to be there, whether that manifest lists them or not.
        names: all files under curves/ and checkpoint/.
        current: the bytes of checkpoint/current.json.
    """

    manifest: Manifest | None
    files: dict[str, str]
    names: set[str]
    current: bytes | None


@dataclass
class _Sent:
    """What was sent of the folder: the manifest's bytes; of other files inode, time and size."""

    manifest: bytes | None = None
    stamps: dict[str, Stamp | None] = field(default_factory=dict)
    state: tuple[str, int | None] | None = None


class Publication:
    """Publishes one folder. Its memory of what lies there is dropped with every error.

    Args:
        local: the cell's folder here.
        remote: the cell's folder there.
        before: small files that go before the manifest.
        after: small files that go after it.
    """

    def __init__(
        self, local: Path, remote: Remote, *, before: tuple[str, ...], after: tuple[str, ...]
    ) -> None:
        self._local = local
        self._remote = remote
        self._before = before
        self._after = after
        self._pins = local / ".publish"
        self._image: _Image | None = None
        self._sent = _Sent()
        self._lock = threading.Lock()

    def publish(self) -> bool:
        """See `Mirror.publish`."""
        with self._lock:
            try:
                sent = [self._send_store()]
                sent += [self._send_small(name) for name in self._after]
            except BaseException:
                self._image, self._sent = None, _Sent()
                raise
            finally:
                shutil.rmtree(self._pins, ignore_errors=True)
            return any(sent)

    def _send_small(self, name: str) -> bool:
        stamp = _stamp(self._local / name)
        if stamp is None or self._sent.stamps.get(name) == stamp:
            return False
        self._remote.write(name, (self._local / name).read_bytes())
        self._sent.stamps[name] = stamp
        return True

    def _send_store(self) -> bool:
        """The small files that go before, the manifest, the files that it lists, and the checkpoint."""
        wrong, sent = "", False
        for attempt in range(TRIES):
            time.sleep(attempt * PAUSE)
            # The checkpoint is held before the manifest and the small files are read: then they are not behind it.
            stamp = _stamp(self._local / STATE)
            known = self._read_manifest() == self._sent.manifest and stamp == self._sent.stamps.get(STATE)
            state = None if known else self._hold_state(stamp)
            for name in self._before:
                sent = self._send_small(name) or sent
            if known:
                return sent
            content = self._read_manifest()
            if content is None:
                self._sent.stamps.pop(STATE, None)  # it was not sent
                return sent
            manifest = Manifest.parse(content, str(self._local))
            try:
                self._send(manifest, state)
            except _Replaced as file:
                wrong = str(file)
                continue
            self._sent.manifest = content
            return True
        raise StoreError(
            f"{self._local / wrong} is missing or not the file that the manifest lists, after {TRIES} tries: the store "
            "is damaged, or two runs write to it. Delete the folder and run that cell again"
        )

    def _read_manifest(self) -> bytes | None:
        try:
            return (self._local / MANIFEST).read_bytes()
        except FileNotFoundError:
            return None

    def _hold_state(self, stamp: Stamp | None) -> tuple[str, int | None] | None:
        """Checksum and step of the checkpoint that is here; its version stays among the pins if it is a new one."""
        if stamp is not None and stamp == self._sent.stamps.get(STATE):
            return self._sent.state
        pin = self._pins / STATE
        pinned = copy_pinned(self._local / STATE, pin)
        self._sent.state = (file_sha256(pin), step_of(pin)) if pinned else None
        self._sent.stamps[STATE] = stamp  # if it is a newer version by now, the next call finds another stamp
        return self._sent.state

    def _send(self, manifest: Manifest, state: tuple[str, int | None] | None) -> None:
        image = self._image = self._image or self._learn()
        self._take_back(image, manifest)
        for name, checksum in manifest.files.items():
            if image.files.get(name) != checksum:
                pin = self._pins / name
                if not copy_pinned(self._local / name, pin) or file_sha256(pin) != checksum:
                    raise _Replaced(name)
                self._remote.put(pin, name)
                image.files[name] = checksum
                image.names.add(name)
        if image.manifest is None or image.manifest.content != manifest.content:
            self._remote.write(MANIFEST, manifest.content)
            image.manifest = manifest
        self._send_checkpoint(image, manifest, state)
        self._sweep(image, "curves/", set(manifest.files))

    def _take_back(self, image: _Image, manifest: Manifest) -> None:
        """A manifest must not list a file that is about to be replaced: first one of what old and new share."""
        if image.manifest is None or not image.manifest.conflicts(manifest):
            return
        shared = image.manifest.shared_with(manifest, self._remote.shown)
        if shared is None:  # other examples: another run altogether
            self._remote.remove(MANIFEST)
        else:
            self._remote.write(MANIFEST, shared.content)
        image.manifest = shared

    def _send_checkpoint(
        self, image: _Image, manifest: Manifest, state: tuple[str, int | None] | None
    ) -> None:
        if state is None:
            if image.current is not None:
                self._remote.remove(CURRENT)
                image.current = None
            self._sweep(image, "checkpoint/", set())
            return
        checksum, step = state
        new = CurrentCheckpoint(checksum, manifest.until(step))
        if new.content != image.current:
            if new.name not in image.names:
                self._remote.put(self._pins / STATE, new.name)
                image.names.add(new.name)
            self._remote.write(CURRENT, new.content)
            image.current = new.content
        self._sweep(image, "checkpoint/", {new.name, CURRENT})

    def _sweep(self, image: _Image, folder: str, listed: set[str]) -> None:
        """Delete what lies in a folder there and nothing lists any more."""
        for name in sorted(name for name in image.names - listed if name.startswith(folder)):
            self._remote.remove(name)
            image.names.discard(name)
            image.files.pop(name, None)

    def _learn(self) -> _Image:
        content = self._remote.read(MANIFEST)
        manifest = None if content is None else Manifest.parse(content, self._remote.shown)
        names = set(self._remote.names())
        listed = {} if manifest is None else manifest.files
        return _Image(
            manifest=manifest,
            files={name: checksum for name, checksum in listed.items() if name in names},
            names={name for name in names if name.startswith(("curves/", "checkpoint/"))},
            current=self._remote.read(CURRENT) if CURRENT in names else None,
        )


def _stamp(path: Path) -> Stamp | None:
    """What changes when a file does; None where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
