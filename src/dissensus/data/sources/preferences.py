"""Preference pairs with votes: a prompt, the answer that most people chose, the one that they rejected."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from dissensus.data.sources.base import FileSample, Recognised, Source
from dissensus.data.sources.presets import Origin, PresetSource, load, need_columns
from dissensus.data.sources.table import TableSource
from dissensus.data.sources.tabular import Table

_ANSWERS = ("chosen", "rejected")


class PreferencePairsSource(PresetSource):
    """Preference pairs: votes for the chosen and the rejected answer, as the labels chosen and rejected."""

    source: Literal["preference_pairs"] = "preference_pairs"
    votes: str = Field(
        "votes", description="Column of the votes: a list, for the chosen answer first, or a mapping."
    )

    title: ClassVar[str] = "preference pairs"
    origin: ClassVar[Origin] = Origin(files=("preference_pairs.jsonl",), homepage="a file of your own")

    def read_as(self, table: Table) -> tuple[Table, TableSource]:
        """One row per pair."""
        need_columns(table, (*_ANSWERS, self.votes), self.title)
        note = (
            "votes are read as the labels chosen and rejected. A field's name says which answer is which, so that a "
            "classifier has nothing to learn from these pairs; a preference model is asked for its margin by "
            "PreferenceProbe (docs/trainers.md)"
        )
        return replace(table, notes=(*table.notes, note)), TableSource(
            path=str(table.path),
            text=tuple(c for c in ("prompt", *_ANSWERS) if c in table.columns),
            counts=self.votes,
            labels=_ANSWERS,
            id="id" if "id" in table.columns else None,
        )


def recognise(sample: FileSample) -> Recognised | None:
    """A table with both answers and votes."""
    if not {*_ANSWERS, "votes"} <= sample.columns:
        return None
    spec = PreferencePairsSource.parse(
        {"source": "preference_pairs", "path": str(sample.path)}, str(sample.path)
    )
    return Recognised(spec, "preference pairs with votes")


SOURCE = Source(PreferencePairsSource, load, recognise=recognise)
