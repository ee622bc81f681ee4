"""Snapshots of a study or a single recording while it runs: each cell's state, progress and group curves so far."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.reading import CellReading
from dissensus.analysis.settings import groups_of
from dissensus.config import AnalysisSpec, RunSpec
from dissensus.curves import CurveSource
from dissensus.data.agreement import annotation_entropy
from dissensus.errors import DissensusError, SpecError
from dissensus.stats import stored_group_curves
from dissensus.stats.groups import UNGROUPED
from dissensus.store import StoredCurves, open_curves
from dissensus.study.folder import StudyFolder
from dissensus.study.status import doing
from dissensus.wording import first_line

NO_GROUP = "all"
"""The group of all examples where none has annotations."""


@dataclass(frozen=True)
class GroupLine:
    """One entropy group's mean gold-label loss so far.

    Attributes:
        group: contested, middle or settled; all where no example has annotations.
        n: its examples.
        progress: of each tracking point, in [0, 1].
        mean: nats; None where it is not defined.
    """

    group: str
    n: int
    progress: tuple[float, ...]
    mean: tuple[float | None, ...]


@dataclass(frozen=True)
class CellSnapshot:
    """One cell as it is now.

    Attributes:
        cell: its id; of a single recording the folder's name.
        state: pending, running, interrupted, failed or done.
        doing: what a running cell does, in words.
        step: optimiser steps taken.
        total_steps: of the whole run; 0 until known.
        points: tracking points stored.
        error: why it failed, in one line; or why its curves cannot be read just now.
        lines: its curves by group.
    """

    cell: str
    state: str
    doing: str
    step: int
    total_steps: int
    points: int
    error: str
    lines: tuple[GroupLine, ...]


@dataclass(frozen=True)
class Snapshot:
    """A study or a recording as it is now.

    Attributes:
        name: the study's; of a single recording its folder's.
        cells: in the study's order.
    """

    name: str
    cells: tuple[CellSnapshot, ...]

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), allow_nan=False)


@dataclass
class Watch:
    """Takes snapshots of a folder; a cell's curves are read again only when its manifest has changed.

    Attributes:
        folder: a study's, or a recording's.
    """

    folder: Path
    _seen: dict[str, tuple[tuple[int, int], tuple[GroupLine, ...]]] = field(default_factory=dict)

    @property
    def is_study(self) -> bool:
        """Whether the folder is a study's; SpecError where it is neither that nor a recording's."""
        if (self.folder / "study.yaml").is_file():
            return True
        if (self.folder / "manifest.json").is_file():
            return False
        raise SpecError(
            f"{self.folder} is neither a study's folder (it has no study.yaml) nor a recording's (no manifest.json). "
            "Give the folder that `dissensus run` or a recorder writes; a run may have to begin first."
        )

    def take(self) -> Snapshot:
        """The folder as it is now.

        Raises:
            SpecError: it is no study's and no recording's folder, or study.yaml is not valid.
            StoreError: a single recording cannot be read.
        """
        return self._study() if self.is_study else self._recording()

    def _study(self) -> Snapshot:
        study = StudyFolder(self.folder)
        cells = []
        for name, status in study.listed.items():
            spec, settings = study.planned[name].cell, study.spec.analysis
            lines, problem = self._lines(study.cell(name), partial(_lines_of_cell, spec, settings))
            cells.append(
                CellSnapshot(
                    cell=name,
                    state=status.state,
                    doing=doing(status),
                    step=status.step,
                    total_steps=status.total_steps,
                    points=len(lines[0].progress) if lines else 0,
                    error=first_line(status.error) if status.state == "failed" else problem,
                    lines=lines,
                )
            )
        return Snapshot(study.spec.name, tuple(cells))

    def _recording(self) -> Snapshot:
        lines, problem = self._lines(self.folder, _lines_of_recording)
        stored = open_curves(self.folder, partial=True, verify=False)
        step = int(stored.steps[-1]) if len(stored.steps) else 0
        state = "done" if step and step == stored.total_steps else "running"
        cell = CellSnapshot(
            self.folder.resolve().name, state, "", step, stored.total_steps, len(stored.steps), problem, lines
        )
        return Snapshot(cell.cell, (cell,))

    def _lines(
        self, folder: Path, read: Callable[[StoredCurves], tuple[GroupLine, ...]]
    ) -> tuple[tuple[GroupLine, ...], str]:
        """The curves so far, and why there are none though something is stored."""
        try:
            stat = (folder / "manifest.json").stat()
        except OSError:
            return (), ""
        version = (stat.st_mtime_ns, stat.st_size)
        seen = self._seen.get(folder.name)
        if seen is None or seen[0] != version:
            try:
                lines = read(open_curves(folder, partial=True, verify=False))
            except (DissensusError, OSError, ValueError) as error:  # it may be written at this moment
                return (seen[1] if seen else ()), f"its curves cannot be read just now: {first_line(error)}"
            seen = self._seen[folder.name] = (version, lines)
        return seen[1], ""


def _lines_of_cell(spec: RunSpec, settings: AnalysisSpec, stored: StoredCurves) -> tuple[GroupLine, ...]:
    """By the study's groups, on the gold label that its analysis reads."""
    cell = CellReading(spec, stored, settings)
    return _group_lines(cell.source, cell.group)


def _lines_of_recording(stored: StoredCurves) -> tuple[GroupLine, ...]:
    return _group_lines(stored, groups_of(annotation_entropy(stored.counts), AnalysisSpec()))


def _group_lines(stored: CurveSource, groups: NDArray[np.str_]) -> tuple[GroupLine, ...]:
    if not (groups != UNGROUPED).any():
        groups = np.full(len(groups), NO_GROUP)
    curves = stored_group_curves(stored, groups) if len(stored.steps) and len(stored) else {}
    progress = tuple(stored.progress.tolist())
    return tuple(
        GroupLine(name, curve.n, progress, _known(curve.mean.tolist())) for name, curve in curves.items()
    )


def _known(values: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(value if math.isfinite(value) else None for value in values)
