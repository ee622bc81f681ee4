"""A point that several processes write: its parts make the point, and nothing half done, old or foreign is listed."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import StoreError
from dissensus.store import CurvesWriter, PartWriter, files, load_curves, open_curves, parts
from dissensus.store.manifest import read_manifest

SESSION = 7


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of 4, and every point large enough to be shared."""
    monkeypatch.setattr(files, "ROW_GROUP", 4)
    monkeypatch.setattr(parts, "ROW_GROUP", 4)
    monkeypatch.setattr(parts, "SPLIT_FROM", 1)
    monkeypatch.setattr(parts, "PATIENCE", 20.0)


def log_probs_at(step: int) -> np.ndarray:
    logits = np.random.default_rng(step).normal(size=(24, 3))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


class Processes:
    """Three processes that write one store, each in a thread."""

    def __init__(
        self, path: Path, data: AnnotatedDataset, *, session: int = SESSION, values: tuple[str, ...] = ()
    ) -> None:
        self.first = CurvesWriter(path, data, total_steps=20, values=values)
        rows = self.first.share_with(3, session)
        options = {"labels": 3, "fingerprint": data.fingerprint, "rows": rows, "session": session}
        self.others = [PartWriter(path, number=number, **options) for number in (1, 2)]

    def write(self, step: int, log_probs: np.ndarray, values: dict[str, np.ndarray] | None = None) -> None:
        later = [
            threading.Thread(target=o.write, args=(step, log_probs), kwargs={"values": values})
            for o in self.others
        ]
        for thread in later:
            thread.start()
        try:
            self.first.write(step, None, log_probs, values=values)
        finally:
            for thread in later:
                thread.join()


def test_shares_cover_the_rows_and_begin_at_row_groups(monkeypatch):
    assert parts.shares(24, 3, 3) == [(0, 8), (8, 16), (16, 24)]
    assert parts.shares(23, 3, 4) == [(0, 4), (4, 12), (12, 16), (16, 23)]
    assert parts.shares(6, 3, 8) == [(0, 4), (4, 6)]  # two row groups
    assert parts.shares(3, 3, 8) == [(0, 3)]
    monkeypatch.setattr(parts, "SPLIT_FROM", 73)
    assert parts.shares(24, 3, 3) == [(0, 24)]
    assert parts.shares(25, 3, 2) == [(0, 12), (12, 25)]


def test_processes_store_what_one_does(tmp_path, tiny_dataset):
    together = Processes(tmp_path / "three", tiny_dataset, values=("margin",))
    alone = CurvesWriter(tmp_path / "one", tiny_dataset, total_steps=20, values=("margin",))
    for step in (0, 5, 20):
        values = {"margin": log_probs_at(step)[:, 0]}
        together.write(step, log_probs_at(step), values)
        alone.write(step, tiny_dataset.ids, log_probs_at(step), values=values)
    together.first.finish()
    alone.finish()
    names = sorted(path.name for path in (tmp_path / "three" / "curves").iterdir())
    assert names == [f"step-{s:08d}.part-{p:02d}-of-03.parquet" for s in (0, 5, 20) for p in range(3)]
    one, three = load_curves(tmp_path / "one"), load_curves(tmp_path / "three")
    assert np.array_equal(one.log_probs, three.log_probs)
    assert np.array_equal(one.values["margin"], three.values["margin"])
    assert np.array_equal(open_curves(tmp_path / "three").read(7, 17).log_probs, one.log_probs[7:17])
    assert np.array_equal(together.first.log_probs(5), log_probs_at(5))
    assert np.array_equal(together.first.read(5, "margin"), log_probs_at(5)[:, 0])
    manifest = read_manifest(tmp_path / "three")
    assert len(manifest.files) == 10
    assert manifest.without(["curves/" + names[4]]).steps == (0, 20)
    together.first.drop_after(0)
    assert sorted(path.name for path in (tmp_path / "three" / "curves").iterdir()) == names[:3]
    together.first.discard()
    assert [path.name for path in (tmp_path / "three").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("other", ["step-00000000.part-02-of-03", "step-00000005.part-01-of-03"])
def test_parts_that_took_each_others_places_are_found(tmp_path, tiny_dataset, verify, other):
    """Of one point or of two, all of the same size: by checksums, and without them by what a part says of itself."""
    together = Processes(tmp_path, tiny_dataset)
    for step in (0, 5):
        together.write(step, log_probs_at(step))
    first, second = (
        tmp_path / "curves" / f"{name}.parquet" for name in ("step-00000000.part-01-of-03", other)
    )
    shutil.move(first, tmp_path / "aside")
    shutil.move(second, first)
    shutil.move(tmp_path / "aside", second)
    with pytest.raises(StoreError, match="checksum" if verify else "it says of itself"):
        load_curves(tmp_path, partial=True, verify=verify)


def test_a_point_is_listed_when_all_its_parts_are_there(tmp_path, tiny_dataset, monkeypatch):
    together = Processes(tmp_path, tiny_dataset)
    together.write(0, log_probs_at(0))
    monkeypatch.setattr(parts, "PATIENCE", 0.1)
    together.others[0].write(5, log_probs_at(5))
    with pytest.raises(
        StoreError, match=r"process 2 has not written step-00000005\.part-02-of-03\.parquet within 0\.1 s"
    ):
        together.first.write(5, None, log_probs_at(5))
    assert load_curves(tmp_path, partial=True).steps.tolist() == [0]
    # What a crash leaves goes when the run is taken up, by however many processes; the store's own files stay.
    assert len(list((tmp_path / "curves").iterdir())) == 3 + 3
    again = CurvesWriter(tmp_path, tiny_dataset, total_steps=20)
    assert len(list((tmp_path / "curves").iterdir())) == 3
    again.write(5, tiny_dataset.ids, log_probs_at(5))
    assert np.array_equal(load_curves(tmp_path, partial=True).log_probs[:, 1], log_probs_at(5))


def test_a_note_of_an_earlier_session_is_not_taken(tmp_path, tiny_dataset, monkeypatch):
    together = Processes(tmp_path, tiny_dataset)
    later = Processes(tmp_path, tiny_dataset, session=SESSION + 1)
    for other in together.others:  # late, and of weights that no longer count
        other.write(5, log_probs_at(99))
    monkeypatch.setattr(parts, "PATIENCE", 0.1)
    with pytest.raises(StoreError, match="process 1 has not written"):
        later.first.write(5, None, log_probs_at(5))
    monkeypatch.setattr(parts, "PATIENCE", 20.0)
    later.write(5, log_probs_at(5))
    assert np.array_equal(load_curves(tmp_path, partial=True).log_probs[:, 0], log_probs_at(5))


def test_a_part_that_cannot_be_written_is_told_to_the_first_process(tmp_path, tiny_dataset):
    together = Processes(tmp_path, tiny_dataset)
    with pytest.raises(StoreError, match=r"log_probs has shape \(23, 3\); expected \(24, 3\)"):
        together.others[0].write(5, log_probs_at(5)[:23])
    with pytest.raises(StoreError, match=r"process 1 could not write .*: StoreError: log_probs has shape"):
        together.first.write(5, None, log_probs_at(5))
    assert together.first.steps == ()


def test_rows_that_are_not_the_ones_meant_are_refused(tmp_path, tiny_dataset):
    together = Processes(tmp_path, tiny_dataset)
    together.others[1].write(5, log_probs_at(5))
    note = tmp_path / "curves" / "step-00000005.part-01-of-03.json"
    shutil.copy(note.with_name("step-00000005.part-02-of-03.parquet"), note.with_suffix(".parquet"))
    shutil.copy(note.with_name("step-00000005.part-02-of-03.json"), note)
    with pytest.raises(StoreError, match="process 1 wrote the rows 16 to 24 of point 5; expected 8 to 16"):
        together.first.write(5, None, log_probs_at(5))


def test_a_note_that_is_seen_before_its_part_waits(tmp_path, tiny_dataset, monkeypatch):
    together = Processes(tmp_path, tiny_dataset)
    for other in together.others:
        other.write(5, log_probs_at(5))
    path = tmp_path / "curves" / "step-00000005.part-02-of-03.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    monkeypatch.setattr(parts, "PATIENCE", 0.1)
    with pytest.raises(StoreError, match="process 2 has not written"):
        together.first.write(5, None, log_probs_at(5))
    path.write_bytes(whole)
    together.first.write(5, None, log_probs_at(5))
    assert not list((tmp_path / "curves").glob("*.json"))


def test_a_session_is_seen_where_the_folder_is_one(tmp_path):
    for name in ("here", "elsewhere"):
        (tmp_path / name / "curves").mkdir(parents=True)
    session = parts.new_session(tmp_path / "here")
    assert parts.sees_session(tmp_path / "here", session)
    assert not parts.sees_session(tmp_path / "elsewhere", session)
    assert not parts.sees_session(tmp_path / "here", session + 1)
    parts.end_session_sign(tmp_path / "here", session)
    assert list((tmp_path / "here" / "curves").iterdir()) == []


def test_more_processes_than_shares(tmp_path, tiny_dataset):
    writer = PartWriter(
        tmp_path, labels=3, fingerprint="", number=3, rows=[(0, 12), (12, 24)], session=SESSION
    )
    writer.write(0, log_probs_at(0))
    assert list(tmp_path.iterdir()) == []


def test_notes_are_small_and_plain(tmp_path, tiny_dataset):
    together = Processes(tmp_path, tiny_dataset)
    together.others[0].write(5, log_probs_at(5))
    note = json.loads((tmp_path / "curves" / "step-00000005.part-01-of-03.json").read_text())
    assert {k: note[k] for k in ("session", "begin", "end")} == {"session": SESSION, "begin": 8, "end": 16}
