"""A store's manifest as bytes: checked before anything in it is followed, and cut down to the files that stay."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dissensus.errors import StoreError
from dissensus.remote.folder import safe_name
from dissensus.store.files import listed_files, read_manifest, without_files

EXAMPLES = "examples.parquet"


@dataclass(frozen=True)
class Manifest:
    """One version of a manifest.

    Attributes:
        content: its bytes.
        data: what they say.
        files: the files that it lists, by name, with the SHA-256 of each.
    """

    content: bytes
    data: dict[str, Any]
    files: dict[str, str]

    @classmethod
    def parse(cls, content: bytes, where: str) -> Manifest:
        """Check a manifest's bytes.

        Raises:
            StoreError: it is damaged, of another schema, or names a file outside its folder; `where` says whose it is.
        """
        with tempfile.TemporaryDirectory(prefix="dissensus-") as folder:
            (Path(folder) / "manifest.json").write_bytes(content)
            try:
                data = read_manifest(Path(folder))
            except StoreError as error:
                raise StoreError(str(error).replace(folder, where)) from None
        files = listed_files(data)
        for name, checksum in files.items():
            safe_name(name, f"{where}/manifest.json")
            if len(checksum) != 64 or not set(checksum) <= set("0123456789abcdef"):
                raise StoreError(
                    f"{where}/manifest.json is damaged: {checksum!r:.80} is no SHA-256 of {name}"
                )
        return cls(content, data, files)

    def conflicts(self, new: Manifest) -> bool:
        """Whether both list a file of the same name, and not the same one."""
        return any(self.files.get(name, checksum) != checksum for name, checksum in new.files.items())

    def shared_with(self, new: Manifest, where: str) -> Manifest | None:
        """The manifest of the tracking points of which both list the same files, as of a run that has not ended.

        None where the examples are not the same: then they share nothing.
        """
        gone = {name for name, checksum in self.files.items() if new.files.get(name) != checksum}
        if EXAMPLES in gone:
            return None
        data = without_files(self.data, gone)
        return Manifest.parse((json.dumps(data, indent=1, sort_keys=True) + "\n").encode(), where)

    def until(self, step: int | None) -> dict[str, str]:
        """The listed files of the examples and of the tracking points up to `step` (None: of all)."""
        if step is None:
            return self.files
        shards = [s for s in self.data["shards"] if s["step"] <= step]
        return listed_files({**self.data, "shards": shards})
