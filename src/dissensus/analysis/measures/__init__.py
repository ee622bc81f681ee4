"""Measures: further tables of an analysis, made where a study asks for them by name (docs/measures.md)."""
