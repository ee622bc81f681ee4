"""Contested and settled curves while a model trains: for trackers, and a warning when it un-learns."""

from dissensus.live.curves import LiveCurves

__all__ = ["LiveCurves"]
