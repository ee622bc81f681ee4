"""Triage: which examples are mislabelled, contested, hard, forgotten or settled, from votes and curves."""

from dissensus.analysis.triage.kinds import KINDS, STEPS, TITLES, Triaged
from dissensus.analysis.triage.study import triage_curves, triage_study

__all__ = ["KINDS", "STEPS", "TITLES", "Triaged", "triage_curves", "triage_study"]
