"""Quotes: the number of examples a page shows, a choice about other people's texts that is kept with the study.

STUDY_DIR/report.json holds it: {"quotes": 0}. Every later page of the study keeps to it, whoever writes it and wherever
the folder was copied to, until another number is given. The file is no part of what identifies a cell.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from dissensus.errors import SpecError
from dissensus.files import write_atomic

FILE = "report.json"
Quotes = int | Literal["all"]
"""Examples whose text is quoted, at most; 'all': no limit."""


def read_quotes(text: str) -> Quotes:
    """What a command line says: a whole number of examples, or 'all'.

    Raises:
        SpecError: it is neither.
    """
    if text.strip() == "all":
        return "all"
    try:
        return _checked(int(text))
    except ValueError:
        raise SpecError(f"--quotes {text}: expected a whole number of examples from 0, or all") from None


def kept_quotes(study_dir: Path) -> Quotes:
    """The choice that is kept with a study; 'all' where none was made.

    Raises:
        SpecError: the file is there and does not say. No page is written then: it could quote what must not be quoted.
    """
    path = study_dir / FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        quotes = stored["quotes"]
        return "all" if quotes == "all" else _checked(quotes)
    except FileNotFoundError:
        return "all"
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise SpecError(
            f'{path} cannot be read ({problem}); expected {{"quotes": N}}, N a whole number from 0 or "all". '
            "Say it again: dissensus report DIR --quotes N"
        ) from None


def keep_quotes(study_dir: Path, quotes: Quotes) -> None:
    """Keep the choice for every later page of the study."""
    checked = quotes if quotes == "all" else _checked(quotes)
    write_atomic(study_dir / FILE, json.dumps({"quotes": checked}) + "\n")


def quotes_words(quotes: Quotes) -> str:
    """What is left out of a page, in a sentence; '' where nothing is."""
    if quotes == "all":
        return ""
    if quotes == 0:
        return "No text of the data is shown here; examples stand by id."
    return f"The text of {quotes} example{'s' if quotes > 1 else ''} at most is shown here; the others stand by id."


def _checked(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"quotes: {value!r} is no whole number from 0")
    return value
