"""Manifest and checkpoint of a cell at a remote: their bytes, checked before anything in them is followed.

    manifest.json                       the store's, as bytes; it lists the files that stay
    checkpoint/<SHA-256>.safetensors    one version; never changed, deleted once another counts
    checkpoint/current.json             sha256, and requires: the store's files that it must not be without

A large file is read in several requests, and between two of them another may take its place; under a name of its own,
with a checksum, it is that version or none. It counts only beside a manifest that lists all that it requires, so that
a run never resumes from a checkpoint that is ahead of its curves, whatever was cut off between two requests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dissensus.errors import StoreError
from dissensus.remote.folder import safe_name
from dissensus.store.manifest import EXAMPLES, StoreManifest


@dataclass(frozen=True)
class Manifest:
    """One version of a manifest.

    Attributes:
        content: its bytes.
        says: what they say.
    """

    content: bytes
    says: StoreManifest

    @classmethod
    def parse(cls, content: bytes, where: str) -> Manifest:
        """Check a manifest's bytes.

        Raises:
            StoreError: it is damaged, of another schema, or names a file outside its folder; `where` says whose it is.
        """
        says = StoreManifest.parse(content, f"{where}/manifest.json")
        for name, checksum in says.files.items():
            safe_name(name, f"{where}/manifest.json")
            if len(checksum) != 64 or not set(checksum) <= set("0123456789abcdef"):
                raise StoreError(
                    f"{where}/manifest.json is damaged: {checksum!r:.80} is no SHA-256 of {name}"
                )
        return cls(content, says)

    @property
    def files(self) -> dict[str, str]:
        """The files that it lists, by name, with the SHA-256 of each."""
        return self.says.files

    def conflicts(self, new: Manifest) -> bool:
        """Whether both list a file of the same name, and not the same one."""
        return any(self.files.get(name, checksum) != checksum for name, checksum in new.files.items())

    def shared_with(self, new: Manifest, where: str) -> Manifest | None:
        """The manifest of the tracking points of which both list the same files, as of a run that has not ended.

        None where the examples are not the same: then they share nothing.
        """
        changed = {name for name, checksum in self.files.items() if new.files.get(name) != checksum}
        if EXAMPLES in changed:
            return None
        return Manifest.parse(self.says.without(changed).text.encode(), where)

    def until(self, step: int | None) -> dict[str, str]:
        """The listed files of the examples and of the tracking points up to `step` (None: of all)."""
        return self.files if step is None else self.says.until(step).files


STATE = "checkpoint/state.safetensors"
CURRENT = "checkpoint/current.json"


@dataclass(frozen=True)
class CurrentCheckpoint:
    """Which checkpoint counts.

    Attributes:
        sha256: of its file.
        requires: files that the manifest beside it must list, by name, with the SHA-256 of each.
    """

    sha256: str
    requires: dict[str, str]

    @property
    def name(self) -> str:
        """Of its file at the remote."""
        return f"checkpoint/{self.sha256}.safetensors"

    @property
    def content(self) -> bytes:
        """Of `current.json`."""
        record = {"sha256": self.sha256, "requires": self.requires}
        return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def parse(cls, content: bytes | None) -> CurrentCheckpoint | None:
        """What `current.json` says; None where it is missing or cannot be read: then there is no checkpoint."""
        try:
            record = json.loads(content or b"null")
            checksum, requires = record["sha256"], record["requires"]
            fits = len(checksum) == 64 and set(checksum) <= set("0123456789abcdef")
            return cls(checksum, {str(n): str(s) for n, s in requires.items()}) if fits else None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def fits(self, manifest: Manifest) -> bool:
        """Whether a run may resume from it beside this manifest."""
        return self.requires.items() <= manifest.files.items()


def step_of(path: Path) -> int | None:
    """The step that a checkpoint says it is of; None where it says none."""
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(length)) if length < 1 << 27 else {}
        return int(header["__metadata__"]["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
