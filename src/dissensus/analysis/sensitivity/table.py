"""Sensitivity table: how much the main numbers change with a choice, in reading stored curves or in what was trained.

`sensitivity_table` has a row a (condition, choice, value); `hangs_on` sums it up over conditions. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dissensus.analysis.reading import CellReading
from dissensus.analysis.sensitivity.paired import MEASURES, PairedMeasures, Seen, measure
from dissensus.analysis.sensitivity.readings import Choice, Reading, other_readings, read, tracking_readings
from dissensus.analysis.sensitivity.variants import tracked_otherwise, variant_choices
from dissensus.analysis.study_reading import StudyReading, by_condition
from dissensus.errors import SpecError
from dissensus.seeds import named_generator

REFERENCE = "reference"
STORED = "stored curves"
SIGNED = ("rho", "delta_contested", "delta_difference")
"""The measures that have a sign; a share has none."""

_IDENTITY = ("condition", "dataset", "model", "method", "regime")
_CHOICE = ("choice", "value", "reference_value", "source")
_ENDS = ("", "_low", "_high")
SENSITIVITY_SCHEMA = pa.schema(
    [(c, pa.string()) for c in (*_IDENTITY, *_CHOICE)]
    + [
        (f"{m}{of}{end}", pa.float64())
        for m in MEASURES
        for of in ("", "_reference", "_change")
        for end in _ENDS
    ]
    + [("n", pa.int64()), ("seeds", pa.int64())]
    + [(f"{m}_clusters", pa.int64()) for m in MEASURES]
    + [(f"{m}{of}_withheld", pa.string()) for m in MEASURES for of in ("", "_reference", "_change")]
)
HANGS_ON_SCHEMA = pa.schema(
    [(c, pa.string()) for c in _CHOICE]
    + [("conditions", pa.int64())]
    + [(f"{m}{end}", pa.float64()) for m in MEASURES for end in ("_median_change", "_largest_change")]
    + [(f"{m}{end}", pa.int64()) for m in MEASURES for end in ("_changed", "_withheld")]
    + [(f"{m}{end}", pa.int64()) for m in SIGNED for end in ("_sign_turns", "_sign_turns_clearly")]
)


def sensitivity_table(reading: StudyReading, *, resamples: int = 300) -> pa.Table:
    """One row per condition, choice and value: measures under it, under the study's choice, and their difference.

    Rows of `source` 'stored curves' read the cells of each of the study's own conditions in another way (see
    `readings.other_readings`); the first of them, with the choice 'reference', is as the study reads them. A variant
    that is the same training measured at other steps has rows with fewer of its own tracking points too. Rows of
    `source` 'variant NAME' compare the cells of a variant without label noise with the cells that they are variants of,
    seed by seed, on the examples that both track (entropy groups are made anew among those).

    For each measure m (see `paired.MEASURES`): `m`, its value under the choice, mean over seeds; `m_reference`, under
    the study's; `m_change`, the first less the second; each with `_low` and `_high`, intervals over
    premise clusters at the study's confidence, all on the same draws. They hold the seeds fixed. NaN where a
    seed has no value. `n`: examples behind rho under the choice, mean over seeds. `m_clusters`: clusters behind the
    measure under the choice, those of the smallest group that it is made from (of a seed that has the fewest), which
    decide whether there is an interval; `m_withheld`, `m_reference_withheld`, `m_change_withheld`: why there is
    none, or ''.

    Args:
        reading: the study's completed cells.
        resamples: of the bootstrap.

    Raises:
        SpecError: resamples is below 1.
    """
    if resamples < 1:
        raise SpecError(f"resamples is {resamples}; expected at least 1, such as 300")
    settings = reading.study.analysis
    rows: list[dict[str, Any]] = []
    for cells, source, seeds in _comparisons(reading):
        condition = cells[0].spec.condition
        places = dict(zip(_IDENTITY, (condition, *cells[0].place), strict=True))
        choices = _shared(seeds)
        paired = measure(
            [Seen(s.clusters, (s.reference, *(s.choices[key].reading for key in choices))) for s in seeds],
            resamples=resamples,
            confidence=settings.confidence,
            rng=named_generator(settings.seed, condition, "sensitivity", source),
        )
        keys = [(REFERENCE, "", ""), *choices] if source == STORED else [None, *choices]
        for place, key in enumerate(keys):
            if key is not None:
                named = dict(zip(_CHOICE, (*key, source), strict=True))
                rows.append({**places, **named, **_numbers(paired, place), "seeds": len(seeds)})
    return pa.Table.from_pylist(rows, schema=SENSITIVITY_SCHEMA)


def hangs_on(table: pa.Table) -> pa.Table:
    """For each choice: how far, over the conditions, it moves the measures, and where it turns a sign.

    One row for each choice and value of the stored curves, and one for each variant (its values in one list, for
    methods have learning rates of their own). For each measure m, over the conditions that have it:

    - `m_median_change`, `m_largest_change`: of the absolute change;
    - `m_changed`: conditions in which the interval of the change leaves out 0;
    - `m_withheld`: conditions in which the change has no interval, so that nothing is known of what moves there;
    - `m_sign_turns`: conditions in which m has the other sign under the choice than under the study's, however small
      either is;
    - `m_sign_turns_clearly`: those of them in which both intervals leave out 0. Where this is above 0, what is said
      of the sign in those conditions hangs on the choice.

    Args:
        table: what `sensitivity_table` gave.
    """
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        if row["choice"] != REFERENCE:
            stored_value = row["value"] if row["source"] == STORED else ""
            groups.setdefault((row["choice"], stored_value, row["source"]), []).append(row)
    return pa.Table.from_pylist([_summary(rows) for rows in groups.values()], schema=HANGS_ON_SCHEMA)


Key = tuple[str, str, str]
"""A choice, its value and the study's own value."""


@dataclass(frozen=True)
class _Seed:
    """The examples of one seed, as the study reads them and otherwise.

    Attributes:
        clusters: of the n examples, shape (n,).
        reference: the study's reading.
        choices: the others.
    """

    clusters: NDArray[np.str_]
    reference: Reading
    choices: dict[Key, Choice]

    @classmethod
    def stored(cls, cell: CellReading, *, tracking_only: bool = False) -> _Seed:
        """A cell's curves, read otherwise."""
        others = tracking_readings if tracking_only else other_readings
        return cls(cell.cluster_names, read(cell), _keyed(others(cell)))

    @classmethod
    def paired(cls, variant: CellReading, base: CellReading) -> _Seed:
        """A variant beside its base cell."""
        reference, choices, clusters = variant_choices(variant, base)
        return cls(clusters, reference, _keyed(choices))


def _comparisons(reading: StudyReading) -> Iterator[tuple[Sequence[CellReading], str, list[_Seed]]]:
    """What is compared: cells of one condition (its seeds), where the other values come from, and the readings."""
    for cells in reading.conditions().values():
        yield cells, STORED, [_Seed.stored(cell) for cell in cells]
    for variants in by_condition(reading.variants).values():
        pairs = [(cell, base) for cell in variants if (base := reading.base_of(cell)) is not None]
        if not pairs or variants[0].spec.training.noise is not None:
            continue
        seeds = [_Seed.paired(cell, base) for cell, base in pairs]
        # Two cells without a common example are no comparison.
        comparable = [
            (base, seed) for (_, base), seed in zip(pairs, seeds, strict=True) if len(seed.clusters)
        ]
        if comparable:
            yield (
                [base for base, _ in comparable],
                f"variant {variants[0].spec.variant}",
                [seed for _, seed in comparable],
            )
        if tracked_otherwise(pairs[0][0].spec, pairs[0][1].spec):
            stored = [_Seed.stored(cell, tracking_only=True) for cell in variants]
            yield variants, STORED, stored


def _keyed(choices: Iterator[Choice] | Sequence[Choice]) -> dict[Key, Choice]:
    return {(choice.name, choice.value, choice.reference): choice for choice in choices}


def _shared(seeds: Sequence[_Seed]) -> list[Key]:
    """The choices that every seed has, in the order of the first."""
    return [key for key in seeds[0].choices if all(key in seed.choices for seed in seeds)]


def _numbers(paired: PairedMeasures, place: int) -> dict[str, Any]:
    """The columns of one reading."""
    row: dict[str, Any] = {"n": round(float(paired.n[place]))}
    for number, name in enumerate(MEASURES):
        for at, of in ((place, ""), (0, "_reference")):
            row[f"{name}{of}"] = float(paired.value[at, number])
            row[f"{name}{of}_low"] = float(paired.low[at, number])
            row[f"{name}{of}_high"] = float(paired.high[at, number])
            row[f"{name}{of}_withheld"] = str(paired.withheld[at, number])
        row[f"{name}_clusters"] = int(paired.clusters[place, number])
        row[f"{name}_change"] = float(paired.change[place, number])
        row[f"{name}_change_low"] = float(paired.change_low[place, number])
        row[f"{name}_change_high"] = float(paired.change_high[place, number])
        row[f"{name}_change_withheld"] = str(paired.change_withheld[place, number])
    return row


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    summary: dict[str, Any] = {
        "choice": first["choice"],
        "value": "; ".join(dict.fromkeys(row["value"] for row in rows)),
        "reference_value": "; ".join(dict.fromkeys(row["reference_value"] for row in rows)),
        "source": first["source"],
        "conditions": len(rows),
    }
    for name in MEASURES:
        known = [row for row in rows if np.isfinite(row[f"{name}_change"])]
        changes = [abs(row[f"{name}_change"]) for row in known]
        summary[f"{name}_median_change"] = float(np.median(changes)) if changes else float("nan")
        summary[f"{name}_largest_change"] = max(changes, default=float("nan"))
        summary[f"{name}_changed"] = sum(_apart(row, f"{name}_change") for row in known)
        summary[f"{name}_withheld"] = sum(bool(row[f"{name}_change_withheld"]) for row in rows)
        if name in SIGNED:
            turned = [row for row in known if row[name] * row[f"{name}_reference"] < 0]
            clearly = [row for row in turned if _apart(row, name) and _apart(row, f"{name}_reference")]
            summary[f"{name}_sign_turns"] = len(turned)
            summary[f"{name}_sign_turns_clearly"] = len(clearly)
    return summary


def _apart(row: dict[str, Any], name: str) -> bool:
    """Whether an interval leaves out 0; one without ends does not."""
    return bool(row[f"{name}_low"] > 0 or row[f"{name}_high"] < 0)
