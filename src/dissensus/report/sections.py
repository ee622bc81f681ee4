"""Further sections of a report: whoever adds one writes a function from the analysis to a heading, text and a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dissensus.analysis.extensions import SECTIONS, extensions_at
from dissensus.analysis.tables import Analysis
from dissensus.errors import SpecError


@dataclass(frozen=True)
class Section:
    """A section of the page. The page escapes all of it.

    Attributes:
        id: of its heading, for links: letters and hyphens.
        title: its heading.
        paragraphs: its text.
        columns: headings of its table; without any there is none.
        rows: the table's cells, as they are shown.
    """

    id: str
    title: str
    paragraphs: tuple[str, ...]
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


Writer = Callable[[Analysis], Section | None]
"""One that has nothing to say of a study gives None. The same study must give the same section: no clock, no random
numbers without a seed, no place on a machine."""


def further_sections(analysis: Analysis) -> tuple[Section, ...]:
    """What those that the study's extensions bring say of it, in its order; shown before the definitions."""
    sections = []
    for name, write in extensions_at(SECTIONS, analysis.study.analysis).items():
        section = write(analysis)
        if not isinstance(section, Section | None):
            raise SpecError(f"the report section {name!r} gave {section!r:.80}; expected a Section or None")
        sections += [] if section is None else [section]
    return tuple(sections)
