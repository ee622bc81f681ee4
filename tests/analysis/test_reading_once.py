"""Each command opens a stored cell once, checks each of its files once, and computes its entropy once."""

from __future__ import annotations

import hashlib
import importlib
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dissensus.analysis.clusters import cluster_by
from dissensus.analysis.study_reading import StudyReader
from dissensus.cli.app import app
from dissensus.config import StudySpec
from dissensus.data.agreement import annotation_entropy
from dissensus.store import StoredCurves
from dissensus.study import grid
from synthetic_study import dataset, made_losses, study_spec, write_cell, write_study

RUNNER = CliRunner()
# Commands import late: what is counted must be put into every module that uses it, and taken out again.
for late in ("analysis.across", "analysis.tables", "report.page", "exchange.frames", "remote"):
    importlib.import_module(f"dissensus.{late}")
Counted = dict[str, Counter[str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five cells, each with another number of annotators, so that their counts can be told apart."""
    folder = tmp_path_factory.mktemp("once") / "study"
    variant = {
        "name": "high",
        "when": {"method": "lora", "seed": 0},
        "set": {"method": {"learning_rate": 3e-3}},
    }
    study = study_spec(seeds=[0, 1], variants=[variant])
    for number, name in enumerate(write_study(folder, study, failed=range(5))):
        data = dataset(48, annotators=80 + number)
        write_cell(folder / "cells" / name, data, made_losses(48, 6, number))
        (folder / "cells" / name / "status.json").write_text('{"state": "done"}')
    return folder


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Openings by cell, hashings by file, entropies by their counts, studies that were parsed and expanded."""
    found: Counted = {key: Counter() for key in ("opened", "hashed", "entropy", "grid", "yaml")}
    opening = StoredCurves.__init__

    def opened(self: StoredCurves, folder: Path, *args: Any, **options: Any) -> None:
        found["opened"][Path(folder).name] += 1
        opening(self, folder, *args, **options)

    digest = hashlib.file_digest

    def hashed(handle: Any, kind: str) -> Any:
        if "/cells/" in handle.name:
            found["hashed"][handle.name.partition("/cells/")[2]] += 1
        return digest(handle, kind)

    def entropy(counts: Any, *, estimator: str = "plugin", normalized: bool = False) -> Any:
        found["entropy"][
            f"{estimator} {counts.shape} {hashlib.sha256(counts.tobytes()).hexdigest()[:8]}"
        ] += 1
        return annotation_entropy(counts, estimator=estimator, normalized=normalized)

    monkeypatch.setattr(StoredCurves, "__init__", opened)
    monkeypatch.setattr(hashlib, "file_digest", hashed)
    replace_everywhere(monkeypatch, annotation_entropy, entropy)
    planning = grid.planned_cells

    def plan(study: StudySpec, *, stored: bool = False) -> Any:
        found["grid"]["plan"] += 1
        return planning(study, stored=stored)

    replace_everywhere(monkeypatch, planning, plan)
    parsing = StudySpec.from_yaml

    def from_yaml(path: Path, *, stored: bool = False) -> StudySpec:
        found["yaml"][path.name] += 1
        return parsing(path, stored=stored)

    monkeypatch.setattr(StudySpec, "from_yaml", from_yaml)
    return found


def replace_everywhere(monkeypatch: pytest.MonkeyPatch, old: Callable[..., Any], new: Any) -> None:
    """In every module that has it, whatever it calls it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("dissensus"):
            for own in [key for key, value in vars(module).items() if value is old]:
                monkeypatch.setattr(module, own, new)


@pytest.mark.parametrize("command", ["analyze", "claims", "report"])
def test_a_command_reads_each_cell_once(made: Path, counted: Counted, command: str) -> None:
    (made / "analysis" / "inputs.json").unlink(missing_ok=True)  # as if nothing had been analysed
    shown = RUNNER.invoke(app, [command, str(made)])
    assert shown.exit_code == 0, shown.output
    cells = {path.name for path in (made / "cells").iterdir()}
    assert counted["opened"] == dict.fromkeys(cells, 1)
    # Every file that the manifests list, and the manifests themselves.
    assert set(counted["hashed"].values()) == {1}
    assert len(counted["hashed"]) == len(cells) * (1 + 1 + 6)
    assert counted["entropy"]
    assert set(counted["entropy"].values()) == {1}
    assert (counted["grid"]["plan"], counted["yaml"]["study.yaml"]) == (1, 1)


def test_a_page_of_a_study_that_was_analysed_opens_each_cell_once(made: Path, counted: Counted) -> None:
    assert RUNNER.invoke(app, ["analyze", str(made)]).exit_code == 0
    for counts in counted.values():
        counts.clear()
    assert RUNNER.invoke(app, ["report", str(made)]).exit_code == 0
    assert set(counted["opened"].values()) == {1}
    assert set(counted["hashed"]) == {f"{path.name}/manifest.json" for path in (made / "cells").iterdir()}
    assert set(counted["hashed"].values()) == {1}
    assert set(counted["entropy"].values()) == {1}  # triage asks whether each cell learned


def test_cells_with_the_same_texts_share_them_and_their_clusters(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "study"))
    other = sorted((folder / "cells").iterdir())[0]
    spec = (other / "spec.json").read_text()
    shutil.rmtree(other)
    write_cell(other, dataset(40), made_losses(40, 6, 0))
    (other / "spec.json").write_text(spec)
    (other / "status.json").write_text('{"state": "done"}')
    cells = StudyReader.at(folder).all().cells
    texts = {cell.name: cell.curves.text for cell in cells}
    assert (
        len({id(text) for name, text in texts.items() if name != other.name}) <= 2
    )  # before the other one, and after
    for cell in cells:
        alone = StudyReader.at(folder).cell(cell.name)
        assert cell.curves.text == alone.curves.text
        assert len(cell.curves.text) == (40 if cell.name == other.name else 48)
        assert cell.cluster_names.tolist() == alone.cluster_names.tolist()
        named = cluster_by([(cell.curves.ids, cell.curves.text)])
        assert (named.field, cell.clusters.reason) == (cell.clusters.field, named.reason)
    shared = [cell.clusters for cell in cells if cell.name != other.name]
    assert len({id(one) for one in shared}) < len(shared)
