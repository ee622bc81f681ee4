"""How a study's cells are carried out: its rules, resolved for each cell. Imports no torch."""

from __future__ import annotations

from typing import Any

from dissensus.config import Execution, StudySpec
from dissensus.study.grid import expand, matching


def executions(study: StudySpec) -> dict[str, Execution]:
    """What each cell of a study is given, by its id; later rules over earlier ones.

    Raises:
        SpecError: a rule matches no cell, or what comes together for a cell is not valid.
    """
    cells = expand(study)
    given: dict[str, dict[str, Any]] = {cell.cell_id: {} for cell in cells}
    last = dict.fromkeys(given, 0)
    for index, rule in enumerate(study.execution):
        for cell in matching(rule.when, cells, f"study {study.name!r}: execution.{index}.when"):
            given[cell.cell_id].update(rule.set)
            last[cell.cell_id] = index
    return {
        name: Execution.parse(settings, f"study {study.name!r}", prefix=f"execution.{last[name]}.set")
        for name, settings in given.items()
    }
