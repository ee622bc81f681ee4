"""Notes on the data sets and models of a study, beside its results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dissensus.cli.output import note

if TYPE_CHECKING:
    from dissensus.study.status import CellStatus


def print_cell_notes(study_dir: Path, cells: Iterable[CellStatus]) -> None:
    """Print what the loaders said, once for each data set and model."""
    from dissensus.study.notes import remarks

    for remark in remarks(study_dir, [cell.cell for cell in cells]):
        note(f"{remark.about}:")
        for line in remark.notes:
            note(f"  {line}")
