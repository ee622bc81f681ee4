"""Items of the page put together: collected, joined with their kinds, cut to what may and can be shown, packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from dissensus.analysis.study_reading import StudyReader
from dissensus.analysis.triage import Triaged, triage_study
from dissensus.curves import Curves
from dissensus.errors import DissensusError
from dissensus.report.items.collected import CollectedCondition, DatasetItems, collect
from dissensus.report.items.kinds import Kind, fewer, kinds_of, with_kinds
from dissensus.report.items.packed import CUTS, packed, text_cut
from dissensus.wording import first_line


@dataclass(frozen=True)
class Triage:
    """What triage says of the items.

    Attributes:
        items: each once for a regime; none where it says nothing.
        silence: why it says nothing; '' where it does.
    """

    items: tuple[Triaged, ...]
    silence: str = ""


@dataclass(frozen=True)
class PageItems:
    """The items as the page holds them.

    Attributes:
        packed: JSON for the browser.
        kinds: every kind with its number of items.
        total: items of all data sets.
        note: what is to be known of them; '' where nothing is.
        silence: why triage says nothing; '' where it does.
    """

    packed: Markup
    kinds: tuple[Kind, ...]
    total: int
    note: str
    silence: str


def triage(reader: StudyReader) -> Triage:
    """What triage says of a study; silence, with the reason, where its curves are too many or it refuses."""
    folder = reader.folder
    if not all(isinstance(reader.cell(name, verify=False).stored, Curves) for name in folder.done):
        return Triage((), "These curves are too many to be triaged with the page: see dissensus triage.")
    try:
        return Triage(triage_study(reader.all()))
    except DissensusError as problem:
        return Triage((), f"No item is named here: {first_line(problem)}")


def page_items(
    conditions: Sequence[CollectedCondition], told: Triage, quoted: frozenset[str] | None
) -> PageItems:
    """The items of these conditions.

    Args:
        conditions: with their curves.
        told: what triage says.
        quoted: ids of the items whose text may be shown; None: every text.
    """
    datasets = with_kinds(collect(conditions), told.items)
    kinds, total = kinds_of(datasets), sum(map(len, datasets))
    shown = tuple(_quoting(items, quoted) for items in fewer(datasets))
    return PageItems(
        packed=packed(shown, kinds),
        kinds=kinds,
        total=total,
        note=" ".join(_notes(shown, total)),
        silence=told.silence,
    )


def _quoting(items: DatasetItems, quoted: frozenset[str] | None) -> DatasetItems:
    if quoted is None:
        return items
    text = (one if item in quoted else None for item, one in zip(items.ids, items.text, strict=True))
    return replace(items, text=tuple(text))


def _notes(shown: Sequence[DatasetItems], total: int) -> list[str]:
    notes, kept = [], sum(map(len, shown))
    if kept < total:
        notes.append(
            f"{kept:,} of {total:,} items are in this page, those that ask for a step first; all stand in "
            "analysis/examples.parquet."
        )
    cut = text_cut(shown)
    if cut < CUTS[0]:
        notes.append(f"Texts are cut after {cut:,} characters, here and in exports.")
    return notes
