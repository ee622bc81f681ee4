"""Notes of a study's cells, once for each data set and model, whatever state their folders are in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dissensus.config import StudySpec
from dissensus.store.manifest import StoreManifest, write_manifest
from dissensus.study.folder import StudyFolder
from dissensus.study.notes import Remark, remarks

STUDY = StudySpec.parse(
    {
        "name": "notes",
        "datasets": [{"name": name, "tracked": {"source": "simulated"}} for name in ("d", "e")],
        "models": [{"name": "m"}],
        "methods": [{"name": "full", "learning_rate": 1e-4}],
        "regimes": ["trained_on"],
        "seeds": [0, 1, 2, 3],
    },
    "test",
)


def noted(folder: StudyFolder, name: str, provenance: Mapping[str, object]) -> None:
    folder.cell(name).mkdir(parents=True)
    begun = StoreManifest(
        labels=("yes", "no"),
        total_steps=1,
        tracked_fingerprint=None,
        values=(),
        token_losses=False,
        complete=False,
        examples_sha256="",
        points=(),
        provenance=provenance,
    )
    write_manifest(folder.cell(name), begun)


def test_each_note_is_there_once_for_its_data_set_or_model(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, study=STUDY)
    place = {(cell.dataset.name, cell.seed): cell.cell_id for cell in folder.cells}
    noted(folder, place["d", 0], {"data_notes": ["a", "b"], "model_notes": ["stripped"]})
    noted(folder, place["d", 1], {"data_notes": ["a", "c"]})
    noted(folder, place["e", 0], {"data_notes": ["a"]})
    noted(folder, place["d", 2], {})  # made before there were notes
    noted(folder, place["e", 1], {"data_notes": 3})
    folder.cell(place["e", 2]).mkdir()
    (folder.cell(place["e", 2]) / "manifest.json").write_text("{")
    assert remarks(folder, place.values()) == (  # d and e with seed 3 were never started
        Remark("data set d", ("a", "b", "c")),
        Remark("data set e", ("a",)),
        Remark("model m", ("stripped",)),
    )
    assert remarks(folder, []) == ()
