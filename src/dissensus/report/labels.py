"""Labels as people read them: by their meaning where it is known, and never as a bare number."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dissensus.config import SourceSpec

BARE = re.compile(r"[+-]?\d+(?:[.,]\d+)?")


def label_words(labels: Sequence[str], source: SourceSpec) -> dict[str, str]:
    """Each label as the page shows it: 'offensive (label 1)', 'label 1' for a bare number, else itself."""
    known = source.label_meanings()
    return {label: _shown(label, known.get(label, "")) for label in labels}


def _shown(label: str, meaning: str) -> str:
    if not BARE.fullmatch(label.strip()):
        return label
    return f"{meaning} (label {label})" if meaning else f"label {label}"
