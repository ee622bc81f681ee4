"""Words of the code: the first line of each module, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import dissensus

SOURCE = Path(dissensus.__file__).parent
NO_SUBJECT = ("What", "Who", "Whose", "Whether", "How", "When", "Where", "Which", "Why")
"""Words that begin a question about a subject, so that the subject itself stands nowhere to be searched for."""


def test_the_first_line_of_a_module_begins_with_its_subject() -> None:
    first = {
        path.relative_to(SOURCE).as_posix(): (
            ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        ).split()
        for path in sorted(SOURCE.rglob("*.py"))
    }
    assert len(first) > 100
    assert {name: words[:1] for name, words in first.items() if not words or words[0] in NO_SUBJECT} == {}
