"""A whole study at a URL: brought here to be looked at, and its results published."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dissensus.analysis.tables import analyze, load_analysis
from dissensus.errors import SpecError, StoreError
from dissensus.remote import (
    Mirror,
    Remote,
    fetch_store,
    fetch_study,
    local_folder_for,
    publish_results,
    publish_study,
    study_folder,
)
from dissensus.report import write_report
from dissensus.report.quotes import kept_quotes
from dissensus.store import load_curves
from dissensus.study.folder import StudyFolder
from remote.stores import Watched, make_cell, save_checkpoint
from synthetic_study import study_spec, write_study


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A study of two cells; shared/ is a cache that stays."""
    write_study(tmp_path / "made", study_spec(analysis={"resamples": 100}), n=24, points=3)
    (tmp_path / "made" / "shared").mkdir()
    (tmp_path / "made" / "shared" / "states").write_bytes(b"1")
    return tmp_path / "made"


def _cells(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "cells").iterdir())


def test_analyse_a_study_at_a_url(bucket: str, made: Path) -> None:
    publish_study(made, Remote(bucket))
    assert not any(name.startswith("shared/") for name in Remote(bucket).names())
    with study_folder(bucket) as folder:
        assert load_analysis(folder) is None
        analyze(folder)
    here = analyze(made)
    # Another machine finds the tables, and that they are of the study as it is.
    shutil.rmtree(folder)
    with study_folder(bucket) as folder:
        again = load_analysis(folder)
        assert again is not None
        assert str(again.cells.to_pylist()) == str(here.cells.to_pylist())  # a NaN does not equal itself
        for table in sorted((made / "analysis").iterdir()):
            assert (folder / "analysis" / table.name).read_bytes() == table.read_bytes()


def test_a_choice_for_the_page_is_kept_at_the_url(memory: str, made: Path, tmp_path: Path) -> None:
    publish_study(made, Remote(memory))
    with study_folder(memory) as folder:
        write_report(folder, quotes=0)
    shutil.rmtree(folder)  # another machine
    with study_folder(memory) as folder:
        assert "No text of the data is shown here" in write_report(folder).read_text(encoding="utf-8")
    # And a folder that a run goes on in, from that URL.
    fetch_study(Remote(memory), tmp_path / "run")
    assert kept_quotes(tmp_path / "run") == 0


def test_status_brings_no_curves(memory: str, made: Path) -> None:
    publish_study(made, Remote(memory))
    with study_folder(memory, curves=False) as folder:
        assert [status.state for status in StudyFolder(folder).statuses] == ["done", "done"]
        assert not list(folder.rglob("*.parquet"))
    # The next one may have curves: it is another folder.
    with study_folder(memory) as full:
        assert full != folder
        assert len(load_curves(full / "cells" / _cells(full)[0])) == 24


def test_the_image_follows_what_is_there(memory: str, made: Path) -> None:
    publish_study(made, Remote(memory))
    with study_folder(memory) as folder:
        assert _cells(folder) == _cells(made)
    gone, kept = _cells(made)
    for name in Remote(memory).names(f"cells/{gone}"):
        Remote(memory).remove(name)
    with study_folder(memory) as folder:
        assert _cells(folder) == [kept]
        assert [status.state for status in StudyFolder(folder).statuses].count("pending") == 1
    # A cell that has begun, and stored nothing: what it had here before is not taken for it.
    publish_study(made, Remote(memory))
    with study_folder(memory):
        pass
    Remote(memory).remove(f"cells/{gone}/manifest.json")
    Remote(memory).write(f"cells/{gone}/status.json", b'{"state": "failed"}')
    with study_folder(memory) as folder:
        assert not (folder / "cells" / gone / "manifest.json").exists()
        assert sorted(status.state for status in StudyFolder(folder).statuses) == ["done", "failed"]


def test_a_folder_of_ones_own_loses_nothing(memory: str, made: Path, tmp_path: Path) -> None:
    publish_study(made, Remote(memory), cells=_cells(made)[:1])
    shutil.copytree(made, tmp_path / "own")
    assert fetch_study(Remote(memory), tmp_path / "own")
    assert _cells(tmp_path / "own") == _cells(made)


def test_only_the_cells_that_ran_here_are_published(memory: str, made: Path, tmp_path: Path) -> None:
    first, second = _cells(made)
    publish_study(made, Remote(memory), cells=[first])
    assert Remote(memory).folders("cells") == [first]
    publish_study(made, Remote(memory), cells=[second])
    assert Remote(memory).folders("cells") == [first, second]


def test_checkpoints_come_on_request(memory: str, tmp_path: Path) -> None:
    cell = tmp_path / "study/cells/one"
    make_cell(cell, end=False)
    save_checkpoint(cell, 3)
    (tmp_path / "study/study.yaml").write_text("name: x\n")
    publish_study(tmp_path / "study", Remote(memory))
    assert fetch_study(Remote(memory), tmp_path / "a")
    assert not (tmp_path / "a/cells/one/checkpoint").exists()
    assert fetch_study(Remote(memory), tmp_path / "b", checkpoints=True)
    assert (tmp_path / "b/cells/one/checkpoint/state.safetensors").is_file()


def test_what_vouches_for_tables_goes_last_and_is_away_while_they_change(memory: str, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    (folder / "analysis").mkdir(parents=True)
    (folder / "figures").mkdir()
    for name in ("analysis/inputs.json", "analysis/across.json", "analysis/cells.parquet", "figures/a.svg"):
        (folder / name).write_text("1")
    (folder / "report.html").write_text("1")
    (folder / "analysis" / ".cells.parquet.7.tmp").write_text("half")
    remote = Watched(memory).watch()
    assert len(publish_results(folder, remote)) == 5
    assert remote.changes == [
        ("remove", "analysis/inputs.json"),
        ("remove", "analysis/across.json"),
        ("put", "report.html"),
        ("put", "analysis/cells.parquet"),
        ("put", "figures/a.svg"),
        ("put", "analysis/across.json"),
        ("put", "analysis/inputs.json"),
    ]


def test_only_what_a_command_wrote_is_published(
    memory: str, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_study(made, Remote(memory))
    with study_folder(memory) as folder:
        analyze(folder)
    sent = []
    put = Remote.put
    monkeypatch.setattr(Remote, "put", lambda self, path, name: (sent.append(name), put(self, path, name)))
    with study_folder(memory) as folder:
        (folder / "report.html").write_text("a page")
    assert sent == ["report.html"]
    assert Remote(memory).read("report.html") == b"a page"
    with pytest.raises(ZeroDivisionError), study_folder(memory) as folder:  # noqa: PT012
        (folder / "report.html").write_text("another page")
        raise ZeroDivisionError
    assert Remote(memory).read("report.html") == b"a page"


def test_a_path_is_handed_through(tmp_path: Path) -> None:
    with study_folder(tmp_path / "there") as folder:
        assert folder == tmp_path / "there"
    with study_folder(str(tmp_path)) as folder:
        assert folder == tmp_path


def test_a_url_that_is_no_study(memory: str) -> None:
    with pytest.raises(SpecError, match=r"no study's folder: it has no study\.yaml"), study_folder(memory):
        pass


def test_load_a_store_by_its_url(bucket: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here")
    Mirror(tmp_path / "here", Remote(bucket)).publish()
    folder = fetch_store(bucket)
    assert folder == local_folder_for(bucket)
    assert load_curves(folder).log_probs.tobytes() == load_curves(tmp_path / "here").log_probs.tobytes()
    with pytest.raises(StoreError, match=r"no curves store.*manifest\.json"):
        fetch_store(f"{bucket}/nothing")


def test_each_url_has_a_folder_of_its_own() -> None:
    folders = {local_folder_for(url) for url in ("s3://a/b", "s3://a/b/", "s3://a/c", "gs://a/b", "s3://a-b")}
    assert len(folders) == 4
    folder = local_folder_for("s3://me:secret@bucket/a study/" + 100 * "x")
    assert "secret" not in str(folder)
    assert len(folder.parent.name) < 80
    assert local_folder_for("s3://bucket/study").parent.name.startswith("s3-bucket-study-")
