"""Provenance of a result, as the page shows it: fingerprints, sizes, versions; no place on a machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from dissensus.config import StudySpec
from dissensus.store.manifest import read_manifest
from dissensus.store.run_facts import RunFacts
from dissensus.study.folder import StudyFolder
from dissensus.wording import file_tail

ABSOLUTE = re.compile(r"(?<![\w.])(?:[A-Za-z]:[\\/]|~?/)(?:[^\s'\":;,()\[\]]*[\\/])+(?=[^\s/\\])")
"""The folders of an absolute path."""
LONGEST = 600
"""Characters of an error that the page shows."""


@dataclass(frozen=True)
class CellProvenance:
    """What identifies a cell's result: facts in the order in which they are shown."""

    cell: str
    facts: tuple[tuple[str, str], ...]


def cell_provenance(folder: StudyFolder, cell: str) -> CellProvenance:
    """Fingerprints, sizes and versions from the manifest of the cell with this id."""
    manifest = read_manifest(folder.cell(cell))
    stored = RunFacts.of(manifest.provenance)
    facts = {
        "tracked fingerprint": (manifest.tracked_fingerprint or "")[:16],
        "train fingerprint": (stored.train_fingerprint or "")[:16],
        "model fingerprint": (stored.model_fingerprint or "")[:16],
        **{name.replace("_", " "): f"{size:,}" for name, size in stored.sizes.items()},
        "versions": ", ".join(f"{name} {stored.versions[name]}" for name in sorted(stored.versions)),
    }
    return CellProvenance(cell, tuple((name, value) for name, value in facts.items() if value))


def specification(study: StudySpec) -> str:
    """The study as YAML without its defaults; absolute paths are cut to their last part."""

    def clean(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: clean(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [clean(v, key) for v in value]
        return file_tail(value) if isinstance(value, str) and key in ("path", "name", "model") else value

    shown = clean(study.model_dump(mode="json", exclude_defaults=True))
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)


def scrub(error: str) -> str:
    """An error without the folders of absolute paths, at most a few lines long."""
    text = ABSOLUTE.sub("…/", error)
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"
