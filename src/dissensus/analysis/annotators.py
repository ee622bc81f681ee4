"""Annotators per item: how many labels it takes to see the correlation of annotation entropy with AULC.

`annotator_table` pretends that fewer people had been asked: it keeps n of each item's labels, drawn without
replacement, takes entropy from those, and correlates it with the AULC as it was. A row per condition and n:

    condition, dataset, model, head, method, regime    as in the study's other tables
    gold_source       where the gold label comes from ('majority': see below)
    seeds             cells with a rho; the numbers below are means over them
    items             examples used: with annotations and an AULC (of the cell with the fewest)
    items_dropped     the others (of the cell with the most)
    annotations_min, annotations_max    labels of an item, over the items used
    labels            n: those of `SIZES` that every item has and some item exceeds
    draws             sub-samplings in which rho is defined
    rho, rho_sd, rho_low, rho_high    Spearman's rho from n labels: mean, standard deviation, and 2.5th and 97.5th
                                      percentile over the sub-samplings
    rho_full          from all labels
    share             rho / rho_full
    reliability       of the ranking by entropy from n labels: mean rho of two sub-samples that share no label (2 n
                      labels; NaN where an item has fewer)
    reliability_split       the same as whoever has n labels can estimate it: from halves of them, stepped up
    reliability_full        of the ranking from all labels, from halves
    rho_corrected           rho / sqrt(reliability), or with reliability_split where there is no other
    rho_corrected_split     rho / sqrt(reliability_split)
    rho_full_corrected      rho_full / sqrt(reliability_full): what the corrected ones are to be compared with

A condition has no row where its items have too few labels, or counts that are not whole (shares, from which no label
can be left out).

**The correction** is the classical one for attenuation (C. Spearman, "The proof and measurement of association between
two things", American Journal of Psychology 15, 1904). It holds of ranks if it is said what of: n labels give an
item a rank z, whose mean over all n people who might have been asked is t. Two sets without a common label have
independent errors z - t, so that they correlate by var(t) / var(z), ties and all; and if the errors are independent of
AULC, rho / sqrt(reliability) is the correlation of t with AULC's rank. Three limits follow:

- t is an expected rank at n labels and not the rank at many. Entropy from few labels is too low, takes few values, and
  tells whether anybody dissents better than how evenly. A correction mends noise and not this change of scale, so that
  corrected values of two n need not agree.
- Errors are not independent of AULC where the gold label is the majority of the same labels (`gold_source`
  'majority', and maybe 'published'): the loss then depends on who was asked. Here the gold label stays that of all
  labels. Whoever has n labels would take it from these, and its errors go with entropy's: after a vote of two to one
  entropy is high and the gold label often wrong, which adds to rho and is no attenuation.
- AULC has errors of its own, between seeds. They are not corrected, on either side of the comparison.

Halves of m labels each give the reliability of n as k r / (1 + (k - 1) r), k = n / m, which is 2 r / (1 + r) for even
n. That takes the halves' errors to shrink as 1 / size, which those of entropy from two or three labels do not (it
is too low at n = 5), and has nothing to go by below 4 labels: the entropy of a single one is always 0. A corrected rho
may exceed 1, and is left so.

The spread over sub-samplings understates that over fresh annotators, by about sqrt(1 - n / N) at N labels per item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from dissensus.analysis.cell_tables import condition_columns, gold_source
from dissensus.analysis.reading import CellReading
from dissensus.analysis.rows import LabelsRow, rows_of
from dissensus.analysis.study_reading import StudyReading
from dissensus.analysis.subsamples import LabelSubsamples, corrected, known_mean, standard_ranks
from dissensus.curves import FloatArray
from dissensus.errors import SpecError
from dissensus.seeds import named_generator

SIZES = (3, 5, 10, 20, 50)
"""Labels per item to keep."""

_WORDS = ("condition", "dataset", "model", "head", "method", "regime", "gold_source")
_COUNTS = ("seeds", "items", "items_dropped", "annotations_min", "annotations_max", "labels", "draws")
_NUMBERS = (
    *("rho", "rho_sd", "rho_low", "rho_high", "rho_full", "share"),
    *("reliability", "reliability_split", "reliability_full"),
    *("rho_corrected", "rho_corrected_split", "rho_full_corrected"),
)
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _WORDS),
        *((name, pa.int64()) for name in _COUNTS),
        *((name, pa.float64()) for name in _NUMBERS),
    ]
)


@dataclass(frozen=True)
class LabelsNeeded:
    """How many labels per item one condition's correlation takes.

    Attributes:
        condition: its name.
        labels: the smallest of the numbers tried whose mean rho is at least `share` of rho_full; None where none is,
            or where there is no correlation to see.
        share: of rho_full, as asked for.
        reached: rho / rho_full at that number, else at the largest tried; NaN without a correlation to see.
        rho_full: from all labels.
    """

    condition: str
    labels: int | None
    share: float
    reached: float
    rho_full: float


def annotator_table(reading: StudyReading, *, sizes: Sequence[int] = SIZES, draws: int = 50) -> pa.Table:
    """The correlation from n labels per item, in each of the study's own conditions; the module has the columns.

    Sub-samples are a function of the analysis seed, the data set's name, n and the items' counts alone: cells that use
    the same items are given the same ones, whichever other cells there are.

    Args:
        reading: the study's completed cells.
        sizes: numbers of labels to try.
        draws: sub-samplings of each number.

    Raises:
        SpecError: a size or the number of draws is below 1.
    """
    if draws < 1 or min(sizes, default=1) < 1:
        raise SpecError(
            f"sizes are {tuple(sizes)} and draws is {draws}; expected whole numbers of at least 1"
        )
    subsamples: dict[tuple[str, bytes], LabelSubsamples] = {}
    rows: list[dict[str, Any]] = []
    for cells in reading.conditions().values():
        seen = [one for cell in cells if (one := _seen(cell, reading, subsamples, draws)) is not None]
        if seen:
            rows += _rows(_names(cells[0], reading), seen, sizes)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def labels_needed(table: pa.Table, share: float = 0.9) -> tuple[LabelsNeeded, ...]:
    """The smallest number of labels, of those tried, whose mean rho is at least `share` of rho with all labels.

    Plain and not corrected values are compared: a correction takes labels as well. Where rho with all labels is
    negative, so must the other be. A rho_full within 1.96 / sqrt(items - 1) of 0, which independent ranks reach 95
    times in 100, is no correlation of which a share could be seen.

    Args:
        table: as `annotator_table` gives it; a condition without a row is not listed.
        share: in (0, 1].

    Raises:
        SpecError: the share is outside (0, 1].
    """
    if not 0 < share <= 1:
        raise SpecError(f"share is {share!r}; expected a number above 0 and at most 1, such as 0.9")
    by_condition: dict[str, list[LabelsRow]] = {}
    for row in rows_of(table, LabelsRow):
        by_condition.setdefault(row.condition, []).append(row)
    needed = []
    for name, unsorted in by_condition.items():
        rows = sorted(unsorted, key=lambda row: row.labels)
        full = rows[0].rho_full
        labels, reached = None, float("nan")
        if abs(full) > 1.96 / np.sqrt(max(rows[0].items - 1, 1)):
            enough = next((row for row in rows if row.share >= share), None)
            labels = None if enough is None else enough.labels
            reached = (enough or rows[-1]).share
        needed.append(LabelsNeeded(name, labels, share, reached, full))
    return tuple(needed)


@dataclass(frozen=True)
class _Seen:
    """One cell beside the labels of its items.

    Attributes:
        labels: of the items with annotations and an AULC.
        ranks: standard ranks of their AULC, shape (items,).
        dropped: items without.
        rho: from all labels; NaN where it is not defined.
    """

    labels: LabelSubsamples
    ranks: FloatArray
    dropped: int
    rho: float


def _seen(
    cell: CellReading, reading: StudyReading, subsamples: dict[tuple[str, bytes], LabelSubsamples], draws: int
) -> _Seen | None:
    """One cell, with its labels from `subsamples`; None where no label can be left out."""
    settings, dataset = reading.study.analysis, cell.spec.dataset.name
    area, counts = cell.metrics.aulc, cell.counts
    used = np.isfinite(area) & (counts.sum(axis=1) > 0)
    counts = counts[used]
    # What a published distribution times its n misses by rounding is a whole number still; see `measures`.
    if not used.any() or np.any(np.abs(counts - np.rint(counts)) > 1e-6):
        return None
    key = dataset, counts.tobytes()
    if key not in subsamples:
        generator = partial(named_generator, settings.seed, "annotators", dataset)
        subsamples[key] = LabelSubsamples(
            counts, cell.entropy[used], generator, estimator=settings.entropy, draws=draws
        )
    ranks = standard_ranks(area[used][None])[0]
    rho = float(subsamples[key].full().rhos(ranks)[0])
    return _Seen(subsamples[key], ranks, int((~used).sum()), rho)


def _names(cell: CellReading, reading: StudyReading) -> dict[str, str]:
    columns = condition_columns(cell.spec)
    majority = reading.study.analysis.gold == "majority"
    columns["gold_source"] = "majority" if majority else gold_source(cell.spec, cell.facts)
    return {name: columns[name] for name in _WORDS}


def _rows(names: Mapping[str, str], seen: Sequence[_Seen], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of one condition."""
    full = known_mean(np.array([one.rho for one in seen]))
    reliability_full = known_mean(np.array([one.labels.full().reliability_split for one in seen]))
    common = {
        **names,
        "seeds": sum(bool(np.isfinite(one.rho)) for one in seen),
        "items": min(len(one.ranks) for one in seen),
        "items_dropped": max(one.dropped for one in seen),
        "annotations_min": min(int(one.labels.annotations.min()) for one in seen),
        "annotations_max": max(int(one.labels.annotations.max()) for one in seen),
        "rho_full": full,
        "reliability_full": reliability_full,
        "rho_full_corrected": corrected(full, reliability_full),
    }
    return [{**common, **_row(seen, n, full)} for n in sizes if all(one.labels.has(n) for one in seen)]


def _row(seen: Sequence[_Seen], n: int, full: float) -> dict[str, float]:
    """What n labels per item show of one condition."""
    rankings = [one.labels.of(n) for one in seen]
    rhos = np.array([ranking.rhos(one.ranks) for ranking, one in zip(rankings, seen, strict=True)])
    each = np.array([known_mean(column) for column in rhos.T])  # of a sub-sampling, over the seeds
    known = each[np.isfinite(each)]
    low, high = np.quantile(known, [0.025, 0.975]) if known.size else (np.nan, np.nan)
    rho = known_mean(known)
    apart = known_mean(np.array([ranking.reliability for ranking in rankings]))
    split = known_mean(np.array([ranking.reliability_split for ranking in rankings]))
    return {
        "labels": n,
        "draws": known.size,
        "rho": rho,
        "rho_sd": float(known.std(ddof=1)) if known.size > 1 else float("nan"),
        "rho_low": float(low),
        "rho_high": float(high),
        "share": rho / full if full else float("nan"),
        "reliability": apart,
        "reliability_split": split,
        "rho_corrected": corrected(rho, split if np.isnan(apart) else apart),
        "rho_corrected_split": corrected(rho, split),
    }
