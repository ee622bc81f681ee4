"""Triage of what lies in a folder, a study or a single recording, with the texts and labels that a list of it shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dissensus.analysis.study_reading import StudyReader
from dissensus.analysis.triage.kinds import KINDS, Triaged
from dissensus.analysis.triage.study import triage_curves, triage_study
from dissensus.curves import Curves
from dissensus.data.annotations import NO_GOLD
from dissensus.errors import SpecError, StoreError
from dissensus.store import load_curves

MANIFEST = "manifest.json"
STUDY = "study.yaml"


@dataclass(frozen=True)
class TriagedExample:
    """An example's triage, and what somebody who looks at it again needs.

    Attributes:
        triaged: its kind, score and reason.
        given: the label in question; '' where there is none.
        votes: annotators per label that has any, as 'entailment 3, neutral 2'; '' where nobody voted.
        text: its text fields; may be empty.
    """

    triaged: Triaged
    given: str
    votes: str
    text: Mapping[str, str]


def triage_folder(folder: Path) -> tuple[TriagedExample, ...]:
    """The triage of a study's folder or of a single recording's store.

    Raises:
        StoreError: neither lies there, or what lies there is damaged or not finished.
    """
    if (folder / STUDY).is_file():
        reading = StudyReader.at(folder).all()
        given = [(cell.spec.dataset.name, cell.curves) for cell in reading.own]
        return _with_texts(triage_study(reading), given)
    if (folder / MANIFEST).is_file():
        curves = load_curves(folder)
        return _with_texts(triage_curves(curves), [("", curves)])
    raise StoreError(
        f"{folder} holds neither a study ({STUDY}) nor a recording ({MANIFEST}); expected the folder that "
        "`dissensus run`, a recorder or `dissensus import` wrote"
    )


def chosen(
    rows: Iterable[TriagedExample], kinds: Iterable[str] = (), dataset: str | None = None
) -> tuple[TriagedExample, ...]:
    """Examples of these kinds, those that ask for a person first, the surest of a kind first.

    Of those not told the most suspect stand first.

    Args:
        rows: all examples.
        kinds: of `KINDS`; none: all.
        dataset: its name; None: all.

    Raises:
        SpecError: no example is of that data set.
    """
    every = tuple(rows)
    names = dict.fromkeys(row.triaged.dataset for row in every)
    if dataset is not None and dataset not in names:
        raise SpecError(f"no example is of a data set {dataset!r}; there are: {', '.join(names) or 'none'}")
    wanted = set(kinds) or set(KINDS)
    kept = [row for row in every if row.triaged.kind in wanted and dataset in (None, row.triaged.dataset)]
    return tuple(sorted(kept, key=_urgency))


def _urgency(row: TriagedExample) -> tuple[int, float]:
    told = row.triaged
    urgent = told.suspicion if math.isnan(told.score) else told.score
    return KINDS.index(told.kind), 0.0 if math.isnan(urgent) else -urgent


def _with_texts(
    triaged: tuple[Triaged, ...], recorded: list[tuple[str, Curves]]
) -> tuple[TriagedExample, ...]:
    known: dict[tuple[str, str], tuple[str, str, Mapping[str, str]]] = {}
    for name, curves in reversed(recorded):
        for place, item in enumerate(curves.ids):
            gold = curves.gold[place]
            votes = ", ".join(
                f"{label} {count:g}"
                for label, count in zip(curves.labels, curves.counts[place], strict=True)
                if count
            )
            known[name, item] = (
                "" if gold == NO_GOLD else curves.labels[gold],
                votes,
                curves.text[place] if curves.text else {},
            )
    return tuple(TriagedExample(row, *known[row.dataset, row.id]) for row in triaged)
