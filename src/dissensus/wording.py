"""Numbers as sentences and tables for people show them."""

from __future__ import annotations

import math


def number(value: float, decimals: int = 2) -> str:
    """A number for people: a true minus sign, no minus zero, 'undefined' for NaN."""
    if not math.isfinite(value):
        return "undefined"
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def interval_end(value: float, decimals: int = 2) -> str:
    """One end of an interval for people: as `number`, and never a zero that hides on which side of 0 the end lies.

    An end that would round to 0 has one digit more (−0.002); one that still would keeps its sign (−0.00, +0.00). Only
    an end that is 0 is written 0.00.
    """
    if not math.isfinite(value) or value == 0 or round(value, decimals) != 0:
        return number(value, decimals)
    if round(value, decimals + 1) != 0:
        return number(value, decimals + 1)
    return f"{'−' if value < 0 else '+'}{0:.{decimals}f}"
