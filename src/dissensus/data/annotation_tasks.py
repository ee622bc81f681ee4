"""Annotation tasks: items that annotators shall look at again, with the votes there are and the reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class AnnotationTask:
    """One item for another look.

    Attributes:
        id: of the item; what comes back is joined by it.
        text: field name -> text, in reading order.
        labels: label names, in order.
        votes: annotators who chose each label, in that order.
        gold: name of the gold label; '' where there is none.
        entropy: annotation entropy, bits; NaN without annotations.
        score: what the item was ranked by; its meaning is the criterion's.
        why: the reason, in words.
        labels_wanted: further labels asked for; None where no budget was given.
    """

    id: str
    text: Mapping[str, str]
    labels: tuple[str, ...]
    votes: tuple[float, ...]
    gold: str
    entropy: float
    score: float
    why: str
    labels_wanted: int | None = None

    @property
    def votes_in_words(self) -> str:
        """'entailment 10, neutral 56', labels that nobody chose left out; 'none' without annotations."""
        chosen = [f"{label} {_count(n)}" for label, n in zip(self.labels, self.votes, strict=True) if n > 0]
        return ", ".join(chosen) or "none"


def _count(n: float) -> str:
    return str(round(n)) if math.isclose(n, round(n), abs_tol=1e-6) else f"{n:.2f}"
