"""Claims on the page: their verdicts as the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from dissensus.analysis.claims import ClaimVerdict, Part, Question
from dissensus.report.svg import interval
from dissensus.report.tables import Estimate
from dissensus.wording import number

SHOWN = 60
"""Parts of a question that the page lists; the others stand in the table on disk."""
NAMED = 4
"""Reversed parts that are named above the list."""


@dataclass(frozen=True)
class PartView:
    """One number of a question.

    Attributes:
        name: a condition, a pair of methods, a data set.
        value: the estimate, in words.
        interval: its interval, in words.
        glyph: the same drawn, on the question's scale.
        holm: p-value adjusted by Holm.
        bh: p-value adjusted by Benjamini and Hochberg.
        seeds: seeds behind it.
        clusters: clusters of examples behind it.
        cells: cells that it rests on.
        note: what to know of it.
    """

    name: str
    value: str
    interval: str
    glyph: Markup
    holm: str
    bh: str
    seeds: int
    clusters: str
    cells: int
    note: str


@dataclass(frozen=True)
class QuestionView:
    """One test of a claim.

    Attributes:
        question: what was asked and judged.
        standing: how many of its numbers are shown to be above 0, how many below, and how many neither.
        reversed: how many are shown to be below 0.
        parts: its numbers, the first ones.
        more: how many numbers are left to the table on disk.
    """

    question: Question
    standing: str
    reversed: int
    parts: tuple[PartView, ...]
    more: int


@dataclass(frozen=True)
class ClaimView:
    """One claim.

    Attributes:
        claim: what was judged.
        anchor: id on the page.
        mark: class of the verdict's colour.
        questions: its tests.
    """

    claim: ClaimVerdict
    anchor: str
    mark: str
    questions: tuple[QuestionView, ...]


def claim_views(claims: Sequence[ClaimVerdict], alpha: float) -> tuple[ClaimView, ...]:
    """Every claim with its questions and numbers; what is shown is shown at the level `alpha`."""
    return tuple(
        ClaimView(
            claim,
            "claim-" + "".join(c if c.isalnum() else "-" for c in claim.claim.lower()),
            claim.verdict.split()[0],
            tuple(_question(question, alpha) for question in claim.questions),
        )
        for claim in claims
    )


def _question(question: Question, alpha: float) -> QuestionView:
    ends = [v for p in question.parts for v in (p.value, p.low, p.high) if np.isfinite(v)]
    scale = min([-0.1, *ends]), max([0.1, *ends])
    shown = question.parts[:SHOWN]
    below = [part.name for part in question.parts if part.value < 0 and part.p_holm < alpha]
    return QuestionView(
        question,
        _standing(question.parts, below, alpha),
        len(below),
        tuple(_part(part, scale) for part in shown),
        len(question.parts) - len(shown),
    )


def _standing(parts: Sequence[Part], below: Sequence[str], alpha: float) -> str:
    """Both sides of 0 are counted, and what is shown to lie below it is named."""
    if not parts:
        return ""
    above = sum(part.value > 0 and part.p_holm < alpha for part in parts)
    named = f" ({'; '.join(below[:NAMED])}{f'; and {more} more' if (more := len(below) - NAMED) > 0 else ''})"
    return (
        f"Of {len(parts)} number{'s' if len(parts) > 1 else ''}, shown to be above 0 (Holm's adjusted p below "
        f"{alpha:.2g}): {above or 'none'}; shown to be below 0: {len(below) or 'none'}{named if below else ''}; told "
        f"from 0 on neither side: {len(parts) - above - len(below) or 'none'}"
    )


def _part(part: Part, scale: tuple[float, float]) -> PartView:
    shown = Estimate(part.value, part.low, part.high)
    return PartView(
        name=part.name,
        value=number(part.value),
        interval=shown.interval or part.withheld or "none",
        glyph=interval(shown, scale=scale),
        holm=_p(part.p_holm),
        bh=_p(part.p_bh),
        seeds=part.seeds,
        clusters=str(part.clusters or "not counted"),
        cells=len(part.cells),
        note="; ".join(filter(None, (part.note, part.spared))),
    )


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "undefined"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
