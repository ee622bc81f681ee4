"""The verdicts on the claims as the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from dissensus.report.svg import interval
from dissensus.report.tables import Estimate
from dissensus.study.claims import ClaimVerdict, Part, Question
from dissensus.wording import number

SHOWN = 60
"""Parts of a question that the page lists; the others stand in the table on disk."""


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
    cells: int
    note: str


@dataclass(frozen=True)
class QuestionView:
    """One test of a claim.

    Attributes:
        question: what was asked and judged.
        parts: its numbers, the first ones.
        more: how many numbers are left to the table on disk.
    """

    question: Question
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


def claim_views(claims: Sequence[ClaimVerdict]) -> tuple[ClaimView, ...]:
    """Every claim with its questions and numbers."""
    return tuple(
        ClaimView(
            claim,
            "claim-" + "".join(c if c.isalnum() else "-" for c in claim.claim.lower()),
            claim.verdict.split()[0],
            tuple(map(_question, claim.questions)),
        )
        for claim in claims
    )


def _question(question: Question) -> QuestionView:
    ends = [v for p in question.parts for v in (p.value, p.low, p.high) if np.isfinite(v)]
    scale = min([-0.1, *ends]), max([0.1, *ends])
    shown = question.parts[:SHOWN]
    return QuestionView(
        question, tuple(_part(part, scale) for part in shown), len(question.parts) - len(shown)
    )


def _part(part: Part, scale: tuple[float, float]) -> PartView:
    return PartView(
        name=part.name,
        value=number(part.value),
        interval=f"{number(part.low)} to {number(part.high)}",
        glyph=interval(Estimate(part.value, part.low, part.high), scale=scale),
        holm=_p(part.p_holm),
        bh=_p(part.p_bh),
        seeds=part.seeds,
        cells=len(part.cells),
        note=part.note,
    )


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "undefined"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
