"""Labels as people read them: by their meaning where it is known, and never as a bare number."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dissensus.config import LeWiDiSource, SourceSpec

BARE = re.compile(r"[+-]?\d+(?:[.,]\d+)?")
LEWIDI: Mapping[str, Mapping[str, str]] = {
    "MD-Agreement": {"0": "not offensive", "1": "offensive"},
    "HS-Brexit": {"0": "no hate speech", "1": "hate speech"},
    "ArMIS": {"0": "not misogynist", "1": "misogynist"},
}
"""Label -> meaning in those corpora of SemEval-2023 task 11 whose files hold numbers. (ConvAbuse has two scales.)"""


def label_words(labels: Sequence[str], source: SourceSpec) -> dict[str, str]:
    """Each label as the page shows it: 'offensive (label 1)', 'label 1' for a bare number, else itself."""
    known = LEWIDI.get(source.dataset, {}) if isinstance(source, LeWiDiSource) else {}
    return {label: _shown(label, known.get(label, "")) for label in labels}


def _shown(label: str, meaning: str) -> str:
    if not BARE.fullmatch(label.strip()):
        return label
    return f"{meaning} (label {label})" if meaning else f"label {label}"
