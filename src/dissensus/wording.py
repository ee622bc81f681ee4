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


def file_tail(path: str) -> str:
    """A file name without the folders of an absolute path (a page names no place on a machine)."""
    return (
        path.replace("\\", "/").rstrip("/").rpartition("/")[2]
        if path[:1] in "/\\~" or path[1:2] == ":"
        else path
    )
