"""Triage of a study's cells together, or of one recording."""

from __future__ import annotations

from dissensus.analysis.study_reading import StudyReading
from dissensus.analysis.triage.kinds import Triaged
from dissensus.curves import Curves


def triage_study(reading: StudyReading) -> tuple[Triaged, ...]:
    """Every example of every data set and regime of a study, triaged from its votes and all cells that learned."""
    raise NotImplementedError


def triage_curves(curves: Curves) -> tuple[Triaged, ...]:
    """Every example of one recording, triaged from its votes, where it has any, and its curves."""
    raise NotImplementedError
