"""A study's folder: its study.yaml, its grid of cells, what became of each cell, and whose each cell's folder is.

Imports no torch.
"""

from __future__ import annotations

import difflib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from dissensus.config import RunSpec, StudySpec
from dissensus.errors import SpecError, StoreError
from dissensus.files import file_sha256, write_atomic
from dissensus.store import load_curves
from dissensus.study.grid import Planned, planned_cells
from dissensus.study.lock import lock_held
from dissensus.study.status import CellStatus, cut_off, read_status


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study, as a command finds it: each part is read when it is first asked for, and read once.

    Where study.yaml says what the study is, no installed package's code is loaded, whatever data sources it names.

    Attributes:
        path: the folder.
        elsewhere: whether it is an image of what other machines run, so that nobody here can tell which of its cells
            are still being run.
        study: what is to be run there, where it need not have been written yet; None: what study.yaml says.
    """

    path: Path
    elsewhere: bool = False
    study: StudySpec | None = None

    @cached_property
    def spec(self) -> StudySpec:
        """The study; `SpecError` where there is none, or its study.yaml is not valid."""
        if self.study is not None:
            return self.study
        path = self.path / "study.yaml"
        if not path.is_file():
            problem = "there is no such folder" if not self.path.exists() else "it has no study.yaml"
            raise SpecError(
                f"{self.path} is no study's folder: {problem}. Give the folder that `dissensus run` wrote."
            )
        return StudySpec.from_yaml(path, stored=True)

    @cached_property
    def planned(self) -> Mapping[str, Planned]:
        """Id -> cell, of every cell that the study lists, in its order."""
        return {item.cell.cell_id: item for item in planned_cells(self.spec, stored=self.study is None)}

    @property
    def cells(self) -> tuple[RunSpec, ...]:
        """Every cell that the study lists, in its order."""
        return tuple(item.cell for item in self.planned.values())

    @cached_property
    def running(self) -> bool:
        """Whether a run may be under way, so that a cell which says so may be running."""
        return self.elsewhere or lock_held(self.path)

    @cached_property
    def listed(self) -> Mapping[str, CellStatus]:
        """Id -> status, of every cell that the study lists, in its order; see `statuses`."""
        stored = {name: read_status(self.cell(name), item.cell) for name, item in self.planned.items()}
        return {name: self._as_it_is(status) for name, status in stored.items()}

    @cached_property
    def statuses(self) -> tuple[CellStatus, ...]:
        """The status of every cell that the study lists, in its order, then of other cell folders found there.

        A cell that was being run when its process was killed is 'interrupted', not 'running'.
        """
        root = self.path / "cells"
        folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        others = [
            self._as_it_is(replace(read_status(path), in_study=False))
            for path in folders
            if path.name not in self.planned
        ]
        return (*self.listed.values(), *others)

    def _as_it_is(self, status: CellStatus) -> CellStatus:
        return status if self.running else cut_off(status)

    @property
    def done(self) -> tuple[str, ...]:
        """Ids of the study's completed cells, in its order."""
        return tuple(name for name, status in self.listed.items() if status.state == "done")

    def cell(self, name: str) -> Path:
        """The folder of the cell with this id."""
        return self.path / "cells" / name

    @cached_property
    def manifests(self) -> Mapping[str, str]:
        """SHA-256 of the manifest in each cell's folder, by the cell's id; '' where there is none."""
        paths = {status.cell: self.cell(status.cell) / "manifest.json" for status in self.statuses}
        return {name: file_sha256(path) if path.is_file() else "" for name, path in paths.items()}


def stored_already(spec: RunSpec, folder: Path) -> bool:
    """Write or check a cell folder's specification; whether it holds the cell's finished curves."""
    write_or_check_spec(spec, folder)
    finished = _finished(folder)
    if finished:
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # left if the end of the run was cut off
    return finished


def write_or_check_spec(spec: RunSpec, folder: Path) -> None:
    """Write `spec.json`, or check that the one there is the same. Raises `StoreError` showing the difference."""
    path = folder / "spec.json"
    text = _spec_text(spec)
    if path.exists():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError):
            raise StoreError(f"{path} is damaged: it is not JSON; delete that folder and run again") from None
        # Parsed, so that a setting which a later version added counts as its default.
        before = _spec_text(RunSpec.parse(stored, str(path)))
        if before != text:
            diff = difflib.unified_diff(
                before.splitlines(), text.splitlines(), "stored", "asked for", lineterm="", n=0
            )
            raise StoreError(f"{folder} holds another specification:\n" + "\n".join(diff))
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text)


def _spec_text(spec: RunSpec) -> str:
    return json.dumps(spec.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"


def _finished(folder: Path) -> bool:
    if not (folder / "manifest.json").exists():
        return False
    try:
        load_curves(folder, verify=False)
    except StoreError:
        return False
    return True
