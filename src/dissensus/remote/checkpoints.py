"""A checkpoint at a remote: a file named by its checksum, and a small one that says which counts, and beside what.

    checkpoint/<SHA-256>.safetensors    one version; never changed, deleted once another counts
    checkpoint/current.json             sha256, and requires: the store's files that it must not be without

A large file is read in several requests, and between two of them another may take its place; under a name of its own,
with a checksum, it is that version or none. It counts only beside a manifest that lists all that it requires, so that
a run never goes on from a checkpoint that is ahead of its curves, whatever was cut off between two requests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dissensus.remote.manifests import Manifest

STATE = "checkpoint/state.safetensors"
CURRENT = "checkpoint/current.json"


@dataclass(frozen=True)
class Checkpoint:
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
    def parse(cls, content: bytes | None) -> Checkpoint | None:
        """What `current.json` says; None where it is missing or cannot be read: then there is no checkpoint."""
        try:
            record = json.loads(content or b"null")
            checksum, requires = record["sha256"], record["requires"]
            fits = len(checksum) == 64 and set(checksum) <= set("0123456789abcdef")
            return cls(checksum, {str(n): str(s) for n, s in requires.items()}) if fits else None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def fits(self, manifest: Manifest) -> bool:
        """Whether a run may go on from it beside this manifest."""
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
