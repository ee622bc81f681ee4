"""A cell published and fetched: what a reader finds, whatever was cut off, and what it costs."""

from __future__ import annotations

import hashlib
import shutil
import threading
from pathlib import Path

import pytest

from dissensus.errors import StoreError
from dissensus.remote import Mirror, Remote
from dissensus.remote.publishing import Publication
from dissensus.store import load_curves
from dissensus.store.gradients import GRADIENT_NORMS, GRADIENTS
from dissensus.store.validation import VALIDATION
from remote.stores import (
    Watched,
    checkpoint_step,
    fetched,
    make_cell,
    measure,
    save_checkpoint,
    stored,
    values_of,
)


@pytest.fixture(params=["s3", "memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder at each kind of place."""
    if request.param == "file":
        return f"file://{tmp_path}/there"
    return request.getfixturevalue({"s3": "bucket", "memory": "memory"}[request.param])


def test_what_was_published_is_what_is_fetched(url: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here")
    save_checkpoint(tmp_path / "here", 3)
    for name in (VALIDATION, GRADIENTS, GRADIENT_NORMS):
        (tmp_path / "here" / name).write_bytes(name.encode())
    assert Mirror(tmp_path / "here", Remote(url)).publish()
    assert Mirror(tmp_path / "back", Remote(url)).fetch()

    before, after = load_curves(tmp_path / "here"), load_curves(tmp_path / "back")
    assert values_of(after) == values_of(before)
    assert (after.ids, after.text, after.provenance) == (before.ids, before.text, before.provenance)
    names = sorted(p.relative_to(tmp_path / "here") for p in (tmp_path / "here").rglob("*") if p.is_file())
    assert (
        sorted(p.relative_to(tmp_path / "back") for p in (tmp_path / "back").rglob("*") if p.is_file())
        == names
    )
    for name in names:
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert not (tmp_path / "here" / ".publish").exists()


def test_nothing_is_sent_twice(bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Counted at the server, which logs a line a request."""
    caplog.set_level("INFO", logger="werkzeug")
    writer = make_cell(tmp_path / "here", end=False)
    save_checkpoint(tmp_path / "here", 3)
    remote = Watched(bucket).watch()
    mirror = Mirror(tmp_path / "here", remote)
    assert mirror.publish()
    assert caplog.records

    caplog.clear()
    assert not mirror.publish()
    assert caplog.records == []

    remote.watch()
    measure(writer, 4)
    assert mirror.publish()
    assert remote.calls == [("put", "curves/step-00000004.parquet"), ("write", "manifest.json")]
    assert len(caplog.records) == 2

    # Another process, which has to learn what is there: it sends the small files alone.
    again = Watched(bucket).watch()
    assert Mirror(tmp_path / "here", again).publish()
    assert again.changes == [("write", "spec.json"), ("write", "status.json"), ("write", "log.txt")]


def test_the_order_of_the_requests(memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here", points=2)
    save_checkpoint(tmp_path / "here", 1)
    remote = Watched(memory).watch()
    Mirror(tmp_path / "here", remote).publish()
    state = hashlib.sha256((tmp_path / "here/checkpoint/state.safetensors").read_bytes()).hexdigest()
    assert remote.changes == [
        ("write", "spec.json"),
        ("put", "examples.parquet"),
        ("put", "curves/step-00000000.parquet"),
        ("put", "curves/step-00000001.parquet"),
        ("write", "manifest.json"),
        ("put", f"checkpoint/{state}.safetensors"),
        ("write", "checkpoint/current.json"),
        ("write", "status.json"),
        ("write", "log.txt"),
    ]


def test_reading_while_another_writes(bucket: str, tmp_path: Path) -> None:
    """A writer that measures, goes back and measures anew; every fetch is one of the states that it went through."""
    here = tmp_path / "here"
    writer = make_cell(here, points=2, end=False)
    states = [stored(here)]
    Mirror(here, Remote(bucket)).publish()
    trouble: list[Exception] = []

    def write() -> None:
        try:
            mirror = Mirror(here, Remote(bucket))
            for turn in range(1, 7):
                writer.drop_after(turn % 2)
                for step in range(turn % 2 + 1, 5):
                    measure(writer, step, seed=turn)
                    save_checkpoint(here, step)
                    states.append(stored(here))
                    mirror.publish()
        except Exception as error:  # noqa: BLE001 - shown below, by the thread that reads
            trouble.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    found = []
    try:
        while thread.is_alive():
            folder = tmp_path / f"reader-{len(found)}"
            found.append(fetched(Remote(bucket), folder))
            step = checkpoint_step(folder)
            assert step is None or set(found[-1]) >= set(range(step + 1))
    finally:
        thread.join()
    assert trouble == []
    assert len(found) >= 3
    for state in found:
        # Between two of them lie the points that they share; each is the beginning of one that was written.
        assert any(state.items() <= whole.items() for whole in states)
    assert fetched(Remote(bucket), tmp_path / "last") == stored(here)


def test_a_file_replaced_while_it_is_published(memory: str, tmp_path: Path) -> None:
    """The run goes back between the manifest that was read and the file that it lists."""
    here = tmp_path / "here"
    writer = make_cell(here, points=3, end=False)
    done = []

    def before(kind: str, name: str) -> None:
        if (kind, name) == ("put", "curves/step-00000000.parquet") and not done:
            done.append(name)
            writer.drop_after(0)
            measure(writer, 1, seed=9)

    Mirror(here, Watched(memory).watch(before=before)).publish()
    assert done
    assert fetched(Remote(memory), tmp_path / "found") == stored(here)


def test_a_checkpoint_that_comes_while_it_is_published(memory: str, tmp_path: Path) -> None:
    """Point 3 and its checkpoint come after the manifest was read: the checkpoint must wait for the next time."""
    here = tmp_path / "here"
    writer = make_cell(here, points=3, end=False)
    save_checkpoint(here, 2)

    def before(kind: str, name: str) -> None:
        if (kind, name) == ("write", "manifest.json"):
            measure(writer, 3)
            save_checkpoint(here, 3)

    mirror = Mirror(here, Watched(memory).watch(before=before))
    mirror.publish()
    assert sorted(fetched(Remote(memory), tmp_path / "first")) == [0, 1, 2]
    assert checkpoint_step(tmp_path / "first") == 2
    mirror.remote.watch()
    mirror.publish()
    assert sorted(fetched(Remote(memory), tmp_path / "second")) == [0, 1, 2, 3]
    assert checkpoint_step(tmp_path / "second") == 3


@pytest.mark.parametrize("name", [VALIDATION, GRADIENTS, GRADIENT_NORMS])
def test_a_small_file_is_not_behind_the_checkpoint(
    name: str, memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores of step 2 and then the checkpoint of step 3 come while the small files are on their way: whoever resumes
    from that checkpoint would never measure step 2 again."""
    here = tmp_path / "here"
    writer = make_cell(here, points=3, end=False)
    save_checkpoint(here, 2)
    (here / name).write_bytes(b"to step 0")
    send = Publication._send_small

    def overtaken(self, file: str) -> bool:
        sent = send(self, file)
        if file == name:
            (here / name).write_bytes(b"to step 2 and 3")
            measure(writer, 3)
            save_checkpoint(here, 3)
        return sent

    monkeypatch.setattr(Publication, "_send_small", overtaken)
    Mirror(here, Remote(memory)).publish()
    fetched(Remote(memory), tmp_path / "found")
    resumed_from = checkpoint_step(tmp_path / "found")
    content = (tmp_path / "found" / name).read_bytes()
    assert (resumed_from, content) == (2, b"to step 0")


def test_a_checkpoint_ahead_of_the_manifest_does_not_count(memory: str, tmp_path: Path) -> None:
    """However it came about: here somebody put an older manifest back."""
    here = tmp_path / "here"
    writer = make_cell(here, points=2, end=False)
    older = (here / "manifest.json").read_bytes()
    measure(writer, 2)
    save_checkpoint(here, 2)
    Mirror(here, Remote(memory)).publish()
    Remote(memory).write("manifest.json", older)
    save_checkpoint(here, 1)
    shutil.copytree(here / "checkpoint", tmp_path / "found" / "checkpoint")
    assert sorted(fetched(Remote(memory), tmp_path / "found")) == [0, 1]
    assert checkpoint_step(tmp_path / "found") is None


def test_the_end_of_a_run_takes_the_checkpoint_away(memory: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    writer = make_cell(here, end=False)
    save_checkpoint(here, 3)
    mirror = Mirror(here, Remote(memory))
    mirror.publish()
    assert Mirror(tmp_path / "reader", Remote(memory)).fetch()
    writer.end_at(3)
    writer.finish()
    shutil.rmtree(here / "checkpoint")
    mirror.publish()
    assert [name for name in Remote(memory).names() if name.startswith("checkpoint")] == []
    assert Mirror(tmp_path / "reader", Remote(memory)).fetch()
    assert checkpoint_step(tmp_path / "reader") is None
    assert load_curves(tmp_path / "reader").total_steps == 3


def test_without_the_checkpoint(memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here", end=False)
    save_checkpoint(tmp_path / "here", 3)
    Mirror(tmp_path / "here", Remote(memory)).publish()
    assert Mirror(tmp_path / "found", Remote(memory)).fetch(checkpoint=False)
    assert not (tmp_path / "found" / "checkpoint").exists()
    assert stored(tmp_path / "found") == stored(tmp_path / "here")


def test_a_damaged_file_is_named(memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here")
    Mirror(tmp_path / "here", Remote(memory)).publish()
    Remote(memory).write("curves/step-00000002.parquet", b"something else")
    with pytest.raises(StoreError, match=r"step-00000002\.parquet is missing there or damaged"):
        Mirror(tmp_path / "found", Remote(memory)).fetch()
    assert not (tmp_path / "found" / "manifest.json").exists()
    assert not list((tmp_path / "found").rglob("*.tmp"))


def test_a_damaged_file_here_is_never_sent(memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here")
    (tmp_path / "here" / "curves/step-00000001.parquet").write_bytes(b"something else")
    with pytest.raises(StoreError, match=r"step-00000001\.parquet is missing or not the file"):
        Mirror(tmp_path / "here", Remote(memory)).publish()
    assert Remote(memory).read("manifest.json") is None


@pytest.mark.parametrize("name", ["../../out.parquet", "/tmp/out.parquet", "curves/../../out.parquet"])
def test_a_manifest_that_leads_out_of_its_folder_is_refused(name: str, memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here")
    Mirror(tmp_path / "here", Remote(memory)).publish()
    text = (tmp_path / "here" / "manifest.json").read_text()
    assert "curves/step-00000000.parquet" in text
    Remote(memory).write("manifest.json", text.replace("curves/step-00000000.parquet", name).encode())
    with pytest.raises(StoreError, match="damaged"):
        Mirror(tmp_path / "a/b/found", Remote(memory)).fetch()
    assert not list((tmp_path / "a").rglob("*.parquet"))
    with pytest.raises(StoreError, match="damaged") as caught:  # nor does a writer follow it
        Mirror(tmp_path / "here", Remote(memory)).publish()
    assert memory in str(caught.value)


def test_a_remote_without_a_store_leaves_the_folder_alone(memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here")
    assert not Mirror(tmp_path / "here", Remote(memory)).fetch()
    assert len(stored(tmp_path / "here")) == 4


def test_a_file_replaced_between_its_checksum_and_its_way_out(memory: str, tmp_path: Path) -> None:
    """What was verified is what goes, and the manifest that was read lists it."""
    here = tmp_path / "here"
    writer = make_cell(here, points=2, end=False)
    old = stored(here)
    done = []

    def before(kind: str, name: str) -> None:
        if (kind, name) == ("put", "curves/step-00000001.parquet") and not done:
            done.append(name)
            writer.drop_after(0)
            measure(writer, 1, seed=9)

    mirror = Mirror(here, Watched(memory).watch(before=before))
    mirror.publish()
    assert fetched(Remote(memory), tmp_path / "first") == old
    mirror.publish()
    assert fetched(Remote(memory), tmp_path / "second") == stored(here)


def test_a_file_that_somebody_deleted_there_goes_again(memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here")
    Mirror(tmp_path / "here", Remote(memory)).publish()
    Remote(memory).remove("curves/step-00000002.parquet")
    Mirror(tmp_path / "here", Remote(memory)).publish()
    assert fetched(Remote(memory), tmp_path / "back") == stored(tmp_path / "here")


def test_a_reader_overtaken_between_checkpoint_and_manifest(memory: str, tmp_path: Path) -> None:
    """It finds the newer state, with the newer checkpoint; a checkpoint is not lost because somebody published."""
    here = tmp_path / "here"
    writer = make_cell(here, points=3, end=False)
    save_checkpoint(here, 2)
    mirror = Mirror(here, Remote(memory))
    mirror.publish()
    reads = []

    def before(kind: str, name: str) -> None:
        reads.append(name)
        if len(reads) == 2:
            measure(writer, 3)
            save_checkpoint(here, 3)
            mirror.publish()

    assert Mirror(tmp_path / "found", Watched(memory).watch(before=before)).fetch()
    assert sorted(stored(tmp_path / "found")) == [0, 1, 2, 3]
    assert checkpoint_step(tmp_path / "found") == 3


def test_a_checkpoint_that_comes_just_after_the_manifest_was_read(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that goes was held before, so that the manifest is not behind it."""
    here = tmp_path / "here"
    writer = make_cell(here, points=3, end=False)
    save_checkpoint(here, 2)
    reads = []
    read = Publication._read_manifest

    def overtaken(self) -> bytes | None:
        content = read(self)
        reads.append(content)
        if len(reads) == 2:  # the first only asks whether anything is new
            measure(writer, 3)
            save_checkpoint(here, 3)
        return content

    monkeypatch.setattr(Publication, "_read_manifest", overtaken)
    Mirror(here, Remote(memory)).publish()
    assert sorted(fetched(Remote(memory), tmp_path / "found")) == [0, 1, 2]
    assert checkpoint_step(tmp_path / "found") == 2
