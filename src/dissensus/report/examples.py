"""The examples of a condition whose loss rose the most: words, votes, curve. Text is returned raw: templates escape."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import category

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from dissensus.curves import Curves
from dissensus.report.figures import limits
from dissensus.report.svg import FloatArray, sparkline
from dissensus.report.tables import percent
from dissensus.wording import number

SHOWN = 5
"""Examples shown in full for a condition."""
LISTED = 200
"""Ids listed for a condition, at most."""
LONGEST = 420
"""Characters of a text field that the page shows."""


@dataclass(frozen=True)
class Vote:
    """How many annotators chose a label.

    Attributes:
        label: its name.
        share: in [0, 1].
        count: annotators.
        gold: whether it is the gold label.
    """

    label: str
    share: float
    count: float
    gold: bool

    @property
    def words(self) -> str:
        """'neutral 46 (46%)'."""
        return f"{self.label} {self.count:g} ({percent(self.share)})"


@dataclass(frozen=True)
class Riser:
    """One example whose gold-label loss rose.

    Attributes:
        id: of the example.
        fields: (name, text) pairs, shortened.
        gold: name of the gold label.
        votes: in label order; empty without annotations.
        entropy: bits, as words.
        start: mean loss over seeds before training, as words.
        end: at the last tracking point, as words.
        delta: end minus start, as words.
        flagged: 'un-learned in 2 of 3 seeds'.
        outvoted: the label that more annotators chose than the gold one, or nothing.
        spark: the curve as inline SVG.
    """

    id: str
    fields: tuple[tuple[str, str], ...]
    gold: str
    votes: tuple[Vote, ...]
    entropy: str
    start: str
    end: str
    delta: str
    flagged: str
    outvoted: str
    spark: Markup


@dataclass(frozen=True)
class RiserList:
    """The risers of one condition.

    Attributes:
        shown: the first few in full, the largest mean rise first.
        flagged: ids un-learned in at least half of the seeds, the largest mean rise first; at most `LISTED`.
        total: how many are flagged in all.
        contested: how many of these are in the contested group.
        outvoted: how many of these have a gold label that fewer annotators chose than another one.
    """

    shown: tuple[Riser, ...]
    flagged: tuple[str, ...]
    total: int
    contested: int
    outvoted: int


def risers(examples: pa.Table, curves: Sequence[Curves], names: Mapping[str, str] | None = None) -> RiserList:
    """The examples of one condition that rose the most, averaged over its seeds.

    Args:
        examples: the rows of the condition in the examples table.
        curves: one `Curves` a seed.
        names: label -> how the page shows it; default: as it is stored.
    """
    names = names or {}
    by_id = _over_seeds(examples)
    rose = [row for row in by_id if math.isfinite(row.delta) and row.delta > 0]
    rose.sort(key=lambda row: (-row.delta, row.id))
    flagged = [row for row in rose if 2 * row.flags >= row.seeds]
    position = [{example_id: i for i, example_id in enumerate(c.ids)} for c in curves]
    picked = [(row, _mean_curve(row.id, curves, position)) for row in rose[:SHOWN]]
    ylim = limits([curve for _, curve in picked], zero=False)
    outvoted = [row for row in flagged if _outvoted(*_tracked_by(row.id, curves, position))]
    return RiserList(
        shown=tuple(
            _riser(row, curve, *_tracked_by(row.id, curves, position), ylim, names) for row, curve in picked
        ),
        flagged=tuple(row.id for row in flagged[:LISTED]),
        total=len(flagged),
        contested=sum(row.group == "contested" for row in flagged),
        outvoted=len(outvoted),
    )


NO_RISERS = RiserList((), (), 0, 0, 0)
"""Where nothing may be listed."""


@dataclass(frozen=True)
class _Row:
    id: str
    entropy: float
    group: str
    delta: float
    flags: int
    seeds: int


def _over_seeds(examples: pa.Table) -> list[_Row]:
    """One row an id, in order of first appearance: delta averaged over the seeds in which it is defined."""
    keys = ("id", "entropy_estimate", "group", "delta", "unlearned")
    seen: dict[str, list[tuple[float, str, float, bool]]] = defaultdict(list)
    for example_id, entropy, group, delta, flag in zip(*(examples[k].to_pylist() for k in keys), strict=True):
        seen[example_id].append((entropy, group, delta, bool(flag)))
    rows = []
    for example_id, tracked in seen.items():
        known = [delta for _, _, delta, _ in tracked if math.isfinite(delta)]
        mean = sum(known) / len(known) if known else math.nan
        rows.append(
            _Row(
                example_id,
                tracked[0][0],
                tracked[0][1],
                mean,
                sum(flag for *_, flag in tracked),
                len(tracked),
            )
        )
    return rows


def _tracked_by(
    example_id: str, curves: Sequence[Curves], position: Sequence[Mapping[str, int]]
) -> tuple[Curves, int]:
    """The first seed that tracked the example (seeds may draw different ones), and its row there."""
    return next((c, rows[example_id]) for c, rows in zip(curves, position, strict=True) if example_id in rows)


def _mean_curve(
    example_id: str, curves: Sequence[Curves], position: Sequence[Mapping[str, int]]
) -> FloatArray:
    """The example's loss averaged over the seeds that share the tracking points of the first that tracked it."""
    first, _ = _tracked_by(example_id, curves, position)
    losses = [
        c.losses[rows[example_id]]
        for c, rows in zip(curves, position, strict=True)
        if example_id in rows and np.array_equal(c.progress, first.progress)
    ]
    return np.asarray(np.mean(losses, axis=0), dtype=np.float64)


def _riser(
    row: _Row,
    curve: FloatArray,
    curves: Curves,
    i: int,
    ylim: tuple[float, float],
    names: Mapping[str, str],
) -> Riser:
    counts = curves.counts[i]
    total = float(counts.sum())
    gold = int(curves.gold[i])
    votes = tuple(
        Vote(names.get(label, label), float(count) / total, float(count), k == gold)
        for k, (label, count) in enumerate(zip(curves.labels, counts, strict=True))
        if total > 0
    )
    start, end = number(float(curve[0])), number(float(curve[-1]))
    flagged = f"un-learned in {row.flags} of {row.seeds} seeds" if row.seeds > 1 else "un-learned"
    text = curves.text[i] if curves.text else {}
    return Riser(
        id=row.id,
        fields=tuple((name, shorten(value)) for name, value in text.items()),
        gold=names.get(curves.labels[gold], curves.labels[gold]),
        votes=votes,
        entropy=number(row.entropy),
        start=start,
        end=end,
        delta=number(row.delta),
        flagged=flagged if row.flags else "",
        outvoted=names.get(outvoted := _outvoted(curves, i), outvoted),
        spark=sparkline(curve, ylim, f"gold-label loss from {start} to {end} nats over training"),
    )


def _outvoted(curves: Curves, i: int) -> str:
    """The label that more annotators chose than the gold one, or ''."""
    if curves.gold[i] < 0:
        return ""
    counts = curves.counts[i]
    best = int(np.argmax(counts))
    return curves.labels[best] if counts[best] > counts[curves.gold[i]] else ""


def shorten(text: str, most: int = LONGEST) -> str:
    """Text with its white space joined, cut after `most` characters, the cut named. Control characters go."""
    clean = " ".join(
        "".join(c if c.isspace() or category(c) not in ("Cc", "Cs") else "\ufffd" for c in text).split()
    )
    if len(clean) <= most:
        return clean
    return f"{clean[:most]} … ({len(clean) - most} more characters)"
