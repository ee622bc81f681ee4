"""Facts of a run in a manifest's provenance that dissensus itself writes: fingerprints, sizes, versions, notes.

The provenance is open: a probe, a recorder or a user adds JSON values of their own. What this package reads of it again
is read here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True)
class RunFacts:
    """What a provenance says; what it does not say, or says in another form, is None, '' or empty.

    Attributes:
        train_fingerprint: of the training examples.
        model_fingerprint: of the weights at the start.
        sizes: the numbers that `SIZES` names, as far as they were stored.
        versions: of Python and packages, with threads, platform and device.
        prompt: the template of a model that answers in label words; None for other models.
        gold_source: where gold labels come from, for a source of an installed package; '' for the others.
        model_note: what is to be known of a listed model.
        model_notes: what was found out of the ordinary when the model was loaded.
        model_loading: how its weights were read.
        data_notes: what the loaders said of the data.
    """

    train_fingerprint: str | None = None
    model_fingerprint: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    prompt: str | None = None
    gold_source: str = ""
    model_note: str = ""
    model_notes: tuple[str, ...] = ()
    model_loading: tuple[str, ...] = ()
    data_notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> RunFacts:
        """Read a provenance, of a manifest or of `Curves`."""

        def word(key: str) -> str | None:
            value = provenance.get(key)
            return None if value is None else str(value)

        def sentences(key: str) -> tuple[str, ...]:
            value = provenance.get(key)
            if isinstance(value, str):
                return (value,)
            return tuple(map(str, value)) if isinstance(value, (list, tuple)) else ()

        versions = provenance.get("versions")
        return cls(
            train_fingerprint=word("train_fingerprint"),
            model_fingerprint=word("model_fingerprint"),
            sizes={name: size for name in SIZES if isinstance(size := provenance.get(name), int)},
            versions={str(k): str(v) for k, v in versions.items()} if isinstance(versions, dict) else {},
            prompt=word("prompt"),
            gold_source=word("gold_source") or "",
            model_note=word("model_note") or "",
            model_notes=sentences("model_notes"),
            model_loading=sentences("model_loading"),
            data_notes=sentences("data_notes"),
        )
