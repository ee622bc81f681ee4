"""A writer, or a reader, cut off between any two requests: what is found then."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import StoreError
from dissensus.remote import Mirror, Remote
from dissensus.store import CurvesWriter
from remote.stores import (
    CutError,
    Watched,
    checkpoint_step,
    fetched,
    make_cell,
    measure,
    open_writer,
    save_checkpoint,
    stored,
)


def _rewound(folder: Path) -> None:
    """Point 1 stays, points 2 and 3 are measured anew with other values, one more comes; the checkpoint is of 4."""
    writer = open_writer(folder)
    writer.drop_after(1)
    for step in (2, 3, 4):
        measure(writer, step, seed=7)
    save_checkpoint(folder, 4)


def _longer(folder: Path) -> None:
    writer = open_writer(folder)
    for step in (4, 5):
        measure(writer, step)
    save_checkpoint(folder, 5)


def _shorter(folder: Path) -> None:
    open_writer(folder).drop_after(1)
    save_checkpoint(folder, 1)


def _behind(folder: Path) -> None:
    """Point 1 was measured anew, and the later ones were not yet: what is shared is point 0, and no gap."""
    writer = open_writer(folder)
    writer.drop_after(0)
    measure(writer, 1, seed=8)
    save_checkpoint(folder, 1)


def _begun_anew(folder: Path) -> None:
    shutil.rmtree(folder)
    make_cell(folder, points=1, seed=3, end=False)


def _another(folder: Path) -> None:
    """Other examples: nothing of the old store can stay."""
    shutil.rmtree(folder)
    folder.mkdir()
    rows = [{"id": f"x{i}", "text": "t", "gold": "yes", "counts": {"no": 1, "yes": 3}} for i in range(40)]
    data = AnnotatedDataset.from_records(rows, labels=("no", "yes"), text=("text",), name="other")
    writer = CurvesWriter(folder, data, total_steps=10)
    writer.write(0, data.ids, np.log(np.full((40, 2), 0.5, dtype=np.float32)))


@pytest.mark.parametrize("change", [_longer, _rewound, _behind, _shorter, _begun_anew])
def test_a_writer_killed_between_any_two_requests(change, memory: str, tmp_path: Path) -> None:
    """A reader then finds the state of a manifest that was published, and never a checkpoint ahead of it."""
    here = tmp_path / "here"
    cut = 0
    while True:
        shutil.rmtree(here, ignore_errors=True)
        url = f"{memory}/{cut}"
        make_cell(here, end=False)
        save_checkpoint(here, 3)
        Mirror(here, Remote(url)).publish()
        old = stored(here)
        change(here)
        new = stored(here)
        remote = Watched(url).watch(cut=cut)
        try:
            Mirror(here, remote).publish()
            whole = True
        except CutError:
            whole = False
        found = fetched(Remote(url), tmp_path / f"found-{cut}")
        # What stays while points are replaced: what both states share.
        kept = {step: values for step, values in old.items() if new.get(step) == values}
        assert found in (old, kept, new)
        step = checkpoint_step(tmp_path / f"found-{cut}")
        assert step in (None, 3, checkpoint_step(here))
        assert step is None or set(found) >= set(range(step + 1))
        # The next attempt to publish mends whatever was left.
        Mirror(here, Remote(url)).publish()
        assert fetched(Remote(url), tmp_path / f"mended-{cut}") == new
        assert checkpoint_step(tmp_path / f"mended-{cut}") == checkpoint_step(here)
        if whole:
            break
        cut += 1
    assert cut >= 4
    names = [name for name in Remote(url).names() if name.startswith(("curves/", "checkpoint/"))]
    assert len(names) == len(new) + (2 if checkpoint_step(here) is not None else 0)


def test_a_first_publish_cut_off_leaves_no_store_or_a_whole_one(memory: str, tmp_path: Path) -> None:
    make_cell(tmp_path / "here")
    for cut in range(20):
        remote = Watched(f"{memory}/{cut}").watch(cut=cut)
        try:
            Mirror(tmp_path / "here", remote).publish()
        except CutError:
            there = Mirror(tmp_path / f"found-{cut}", Remote(remote.url)).fetch()
            assert not there or stored(tmp_path / f"found-{cut}") == stored(tmp_path / "here")
        else:
            break
    assert cut == 9


def test_another_run_takes_the_place_of_a_store(memory: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    make_cell(here, end=False)
    Mirror(here, Remote(memory)).publish()
    old = stored(here)
    _another(here)
    for cut in range(20):
        try:
            Mirror(here, Watched(memory).watch(cut=cut)).publish()
        except CutError:
            if Mirror(tmp_path / f"found-{cut}", Remote(memory)).fetch():
                assert stored(tmp_path / f"found-{cut}") in (old, stored(here))
        else:
            break
    assert fetched(Remote(memory), tmp_path / "end") == stored(here)


def test_a_mirror_goes_on_after_an_error(memory: str, tmp_path: Path) -> None:
    """The same object, which must not believe what it remembers from before the error."""
    make_cell(tmp_path / "here")
    for cut in range(9):
        remote = Watched(f"{memory}/{cut}").watch(cut=cut)
        mirror = Mirror(tmp_path / "here", remote)
        with pytest.raises(CutError):
            mirror.publish()
        remote.watch()
        assert mirror.publish()
        assert fetched(Remote(remote.url), tmp_path / f"found-{cut}") == stored(tmp_path / "here")


def test_a_fetch_over_an_older_state_is_cut_off_anywhere(memory: str, tmp_path: Path) -> None:
    """What lies here then opens, as the old state, the new one, or the points that both share."""
    here = tmp_path / "here"
    make_cell(here, end=False)
    save_checkpoint(here, 3)
    Mirror(here, Remote(memory)).publish()
    old = stored(here)
    shutil.copytree(here, tmp_path / "reader")
    _rewound(here)
    Mirror(here, Remote(memory)).publish()
    new = stored(here)
    kept = {step: values for step, values in old.items() if new.get(step) == values}
    for cut in range(40):
        folder = tmp_path / f"cut-{cut}"
        shutil.copytree(tmp_path / "reader", folder)
        left = iter(range(cut))

        def before(kind: str, name: str, left=left) -> None:
            if next(left, None) is None:
                raise CutError

        try:
            Mirror(folder, Watched(memory).watch(before=before)).fetch()
        except CutError:
            assert stored(folder) in (old, kept, new)
            step = checkpoint_step(folder)
            assert step is None or set(stored(folder)) >= set(range(step + 1))
        else:
            break
    assert stored(folder) == new
    assert checkpoint_step(folder) == 4
    assert not list(folder.rglob("*.tmp"))


def test_a_request_that_was_carried_out_and_not_answered(memory: str, tmp_path: Path) -> None:
    """Here the manifest with another point 3: the mirror must not believe that the one before is there still."""
    here = tmp_path / "here"
    writer = make_cell(here, points=3, end=False)
    remote = Watched(memory).watch()
    mirror = Mirror(here, remote)
    mirror.publish()
    for cut in range(20):
        for seed in (1, 2):
            writer.drop_after(2)
            measure(writer, 3, seed=10 * cut + seed)
            if seed == 1:
                remote.watch(unanswered="manifest.json")
                with pytest.raises(StoreError, match="the answer"):
                    mirror.publish()
        remote.watch(cut=cut)
        try:
            mirror.publish()
        except CutError:
            assert sorted(fetched(Remote(memory), tmp_path / f"found-{cut}")) in ([0, 1, 2], [0, 1, 2, 3])
        else:
            break
    assert cut >= 3
