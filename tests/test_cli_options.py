"""Options of the command line: one that several commands have is defined once, in `cli/options.py`."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import dissensus.cli


def test_no_option_or_argument_is_defined_twice() -> None:
    places: Counter[str] = Counter()
    for path in Path(dissensus.cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.Option", "typer.Argument"):
                places[ast.unparse(node)] += 1
    assert places
    assert [definition for definition, times in places.items() if times > 1] == []
