"""Clusters of examples that are resampled together: those that share a text, such as the pairs of one premise."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves
from dissensus.display import ShortRepr
from dissensus.errors import SpecError
from dissensus.store import StoredCurves
from dissensus.store.files import ROW_GROUP

NO_CLUSTERS = "none"
"""What a study says, and what tables say, where each example is its own cluster."""
_WORDS = ("empty", "missing", "n.a.", "n/a", "na", "nan", "nil", "none", "null", "unknown")
_SIGNS = ("", "-", "--", "–", "—", ".", "...", "…", "?", "/")
PLACEHOLDERS = frozenset((*_WORDS, *_SIGNS))
"""Texts that stand for no text, spaces and case aside: examples that have one have nothing in common."""


@dataclass(frozen=True, repr=False)
class Clusters(ShortRepr):
    """The clusters among n examples.

    Attributes:
        field: the text field that clusters; 'none' where each example is its own.
        labels: a label of each example's cluster, shape (n,), sorted as the texts' hashes are; None where each example
            is its own.
        reason: why these, for a reader.
    """

    field: str
    labels: NDArray[np.uint64] | None
    reason: str

    @cached_property
    def names(self) -> NDArray[np.str_] | None:
        """The labels as texts; they sort as the labels do."""
        return None if self.labels is None else np.array([f"{label:016x}" for label in self.labels.tolist()])

    @cached_property
    def numbers(self) -> NDArray[np.int64] | None:
        """The clusters by number from 0, in the order of their labels, shape (n,)."""
        if self.labels is None:
            return None
        return np.asarray(np.unique(self.labels, return_inverse=True)[1], dtype=np.int64).reshape(-1)

    def count(self, n: int) -> int:
        """Number of clusters among the n examples."""
        return n if self.labels is None else len(np.unique(self.labels))


def fewest_clusters(clusters: NDArray[np.str_], groups: Iterable[NDArray[np.bool_]]) -> int:
    """Clusters behind a number that is made from several groups of examples: those of the group with the fewest.

    Args:
        clusters: of the n examples, shape (n,).
        groups: which examples each group's part of the number rests on, shape (n,) each; at least one group.
    """
    return min(len(np.unique(clusters[group])) for group in groups)


def clusters_of(curves: Curves, field: str | None = None) -> Clusters:
    """The clusters among curves in memory; see `cluster_by`."""
    return cluster_by([(curves.ids, curves.text)] if curves.text else [], field)


def stored_clusters(stored: StoredCurves, field: str | None = None) -> Clusters:
    """The same of a store, a block of texts at a time."""
    ids = stored.column("id")
    blocks = (
        (ids.slice(begin, ROW_GROUP).to_pylist(), stored.text(begin, min(len(stored), begin + ROW_GROUP)))
        for begin in range(0, len(stored), ROW_GROUP)
    )
    return cluster_by(blocks, field)


def cluster_by(
    blocks: Iterable[tuple[Sequence[str], Sequence[Mapping[str, str]]]], field: str | None = None
) -> Clusters:
    """Examples that share the text of one field, spaces and case aside, are a cluster.

    A blank or a placeholder ('n/a', '-') is no text: each example that has one is a cluster of its own.

    By default the field is `premise`, or the first of several fields, if it says anything about what belongs together:
    if some examples share a text, and not all share the same one. Otherwise each example is its own cluster.

    Args:
        blocks: ids and texts (field -> words) of examples, block by block.
        field: the field; 'none' for no clusters; None for the default.

    Raises:
        SpecError: there is no such field.
    """
    if field == NO_CLUSTERS:
        return Clusters(NO_CLUSTERS, None, "as the study says")
    labels: list[bytes] = []
    known: list[bool] = []
    name = field
    for ids, texts in blocks:
        if name is None:
            name = _first_field(texts[0])
            if name is None:
                return Clusters(NO_CLUSTERS, None, "the examples have one text field")
        elif texts and not labels and name not in texts[0]:
            raise SpecError(_no_field(name, tuple(texts[0])))
        for example, text in zip(ids, texts, strict=True):
            words = " ".join(text.get(name, "").split()).casefold()
            known.append(words not in PLACEHOLDERS)
            labels.append(_hash(words if known[-1] else f"\x00{example}"))
    if name is None or not labels:
        if field is not None:
            raise SpecError(f"analysis.clusters names {field!r}, and no text is stored with the curves")
        return Clusters(NO_CLUSTERS, None, "no text is stored")
    digests = np.frombuffer(b"".join(labels), dtype=">u8").astype(np.uint64)
    known_digests = digests[np.array(known)]
    distinct = len(np.unique(known_digests))
    reason = ""
    if not len(known_digests):
        reason = f"{name!r} is blank in every example"
    elif distinct == len(known_digests):
        reason = f"no two examples share their {name!r}"
    elif distinct == 1 and field is None and 2 * len(known_digests) >= len(digests):
        shared = "every example" if len(known_digests) == len(digests) else "every example that has one"
        reason = f"{name!r} is the same text in {shared}, which says nothing about what belongs together"
    if reason:
        return Clusters(NO_CLUSTERS, None, reason)
    blank = len(digests) - len(known_digests)
    blank_words = f"; {blank} with none are clusters of their own" if blank else ""
    chosen = "as the study says" if field else "the first text field, shared by some"
    return Clusters(name, digests, chosen + blank_words)


def _first_field(text: Mapping[str, str]) -> str | None:
    """`premise`, or the first of several fields; None where there is one field."""
    if len(text) < 2:
        return None
    return "premise" if "premise" in text else next(iter(text))


def _no_field(name: str, fields: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, fields, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(fields)}, or none"
    return f"analysis.clusters is {name!r}, which is no text field of these examples; {hint}"


def _hash(text: str) -> bytes:
    """The first 64 bits: that two of five million texts share them has a chance of one in a million."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8]
