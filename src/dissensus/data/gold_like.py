"""Annotators that may be no people but gold labels: a column 'final', or one that always agrees with the majority."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dissensus.data.notes import is_tie

if TYPE_CHECKING:
    from dissensus.data.answers import Answer

_GOLD_NAME = re.compile(
    r"(?:.*[_\W])?(?:gold|consensus|final|majority|mode|aggregat\w*|adjudicat\w*|ground_?truth|truth)(?:[_\W].*)?",
    re.IGNORECASE,
)

FEWEST_DISPUTED = 15
"""Disputed items on which an annotator must side with the majority every time to be taken for it. Of three people in
dispute, one sides with the majority two times in three: fifteen times in a row happens twice in a thousand."""


def is_gold_name(name: str) -> bool:
    """Whether an annotator's name (or a column's) is one that gold labels have: gold, consensus, final_label."""
    return _GOLD_NAME.fullmatch(name) is not None


def gold_like_notes(by_item: Sequence[Sequence[Answer]]) -> list[str]:
    """A sentence for each annotator who may be the gold label; `by_item` holds the answers to each item."""
    names = {answer.annotator for answers in by_item for answer in answers} - {""}
    if len(names) < 2:
        return []
    named = sorted(filter(is_gold_name, names))
    agreeing = [name for name in _majority_voices(by_item) if name not in named]
    return [
        f"{name!r} counts as an annotator, and {why}; if it is a gold label, say `leave_out: [{name}]`"
        for name, why in (
            *((name, "is called like a gold label") for name in named),
            *((name, "always agrees with the majority of the others") for name in agreeing),
        )
    ]


def _majority_voices(by_item: Sequence[Sequence[Answer]]) -> list[str]:
    """Annotators who answered every item, and sided with the majority wherever the others disagreed."""
    answered = Counter(answer.annotator for answers in by_item for answer in answers)
    asked = sum(bool(answers) for answers in by_item)
    suspects = [name for name, n in answered.items() if name and n == asked]
    if len(suspects) == len(answered) == 2 or not suspects:
        return []
    disputed: dict[str, int] = defaultdict(int)
    cleared: set[str] = set()
    for answers in by_item:
        votes: Counter[str] = Counter()
        for answer in answers:
            for label in answer.labels:
                votes[label] += 1
        if len(votes) < 2:
            continue
        said = {answer.annotator: answer.labels for answer in answers}
        for name in suspects:
            if name in cleared:
                continue
            others = votes.copy()
            others.subtract(said[name])
            counts = [n for n in others.values() if n > 0]
            if len(counts) < 2 or is_tie(counts):
                continue
            disputed[name] += 1
            if said[name] != (others.most_common(1)[0][0],):
                cleared.add(name)
    return [name for name in suspects if name not in cleared and disputed[name] >= FEWEST_DISPUTED]
