"""Annotated data: what it is, where it comes from, and noise put into it."""

from dissensus.data.annotations import NO_GOLD, AnnotatedDataset, Example, majority

__all__ = ["NO_GOLD", "AnnotatedDataset", "Example", "majority"]
