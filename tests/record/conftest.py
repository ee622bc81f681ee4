"""The fixture `build`: a scoring model and a training set on the tiny encoder."""

from small_cell import build

__all__ = ["build"]
