"""Provenance of a result, as the page shows it: fingerprints, sizes, versions; no place on a machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from dissensus.analysis.tables import Analysis
from dissensus.config import StudySpec
from dissensus.wording import file_tail

FINGERPRINTS = ("train_fingerprint", "model_fingerprint")
SIZES = (
    "train_examples",
    "parameters",
    "trainable_parameters",
    "dropped_shared",
    "dropped_unlabelled",
    "flipped_labels",
    "truncated_examples",
    "train_truncated_examples",
)
ABSOLUTE = re.compile(r"(?<![\w.])(?:[A-Za-z]:[\\/]|~?/)(?:[^\s'\":;,()\[\]]*[\\/])+(?=[^\s/\\])")
"""The folders of an absolute path."""
LONGEST = 600
"""Characters of an error that the page shows."""


@dataclass(frozen=True)
class CellProvenance:
    """What identifies a cell's result: facts in the order in which they are shown."""

    cell: str
    facts: tuple[tuple[str, str], ...]


def cell_facts(analysis: Analysis, row: Mapping[str, Any]) -> CellProvenance:
    """Fingerprints, sizes and versions from the manifest of a row of the cells table."""
    path = analysis.reader.folder.cell(row["cell"]) / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    provenance = manifest["provenance"]
    facts = {"tracked fingerprint": str(manifest.get("tracked_fingerprint") or "")[:16]}
    facts |= {key.replace("_", " "): str(provenance.get(key) or "")[:16] for key in FINGERPRINTS}
    facts |= {
        key.replace("_", " "): f"{provenance[key]:,}" for key in SIZES if isinstance(provenance.get(key), int)
    }
    versions = provenance.get("versions")
    if isinstance(versions, dict):
        facts["versions"] = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
    return CellProvenance(row["cell"], tuple((name, value) for name, value in facts.items() if value))


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
