"""Wording for people: numbers, one line of an error, a file name without its folders."""

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


def first_line(said: BaseException | str, otherwise: str = "") -> str:
    """The first line of an error, or of a program's words, for a sentence.

    Where nothing was said: `otherwise`, else the error's class.
    """
    return _line(said, 0, otherwise)


def last_line(said: BaseException | str, otherwise: str = "") -> str:
    """The last line, where a program ends with its reason."""
    return _line(said, -1, otherwise)


def _line(said: BaseException | str, place: int, otherwise: str) -> str:
    lines = str(said).strip().splitlines()
    if lines:
        return lines[place].strip()
    return otherwise or (type(said).__name__ if isinstance(said, BaseException) else "")
