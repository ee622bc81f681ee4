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


def file_tail(path: str) -> str:
    """A file name without the folders of an absolute path (a page names no place on a machine)."""
    return (
        path.replace("\\", "/").rstrip("/").rpartition("/")[2]
        if path[:1] in "/\\~" or path[1:2] == ":"
        else path
    )


def first_line(message: BaseException | str, otherwise: str = "") -> str:
    """The first line of an error, or of a program's words, for a sentence.

    Where nothing was said: `otherwise`, else the error's class.
    """
    return _line(message, 0, otherwise)


def last_line(message: BaseException | str, otherwise: str = "") -> str:
    """The last line, where a program ends with its reason."""
    return _line(message, -1, otherwise)


def _line(message: BaseException | str, place: int, otherwise: str) -> str:
    lines = str(message).strip().splitlines()
    if lines:
        return lines[place].strip()
    return otherwise or (type(message).__name__ if isinstance(message, BaseException) else "")
