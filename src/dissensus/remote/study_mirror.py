"""A whole study's folder at a URL: its cells by their mirrors, and what commands make of them.

study.yaml      what the study is
cells/CELL/     each cell, by `Mirror`; shared/ is a cache of one machine and stays there
analysis/, figures/, report.html    results; analysis/inputs.json and across.json vouch for the tables beside them
report.json     what was chosen for the page: how many examples it quotes
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dissensus.errors import SpecError, StoreError
from dissensus.files import cache_dir, file_sha256
from dissensus.remote.folder import Remote, is_url, safe_name
from dissensus.remote.mirror import Mirror
from dissensus.remote.publishing import MANIFEST

STUDY = "study.yaml"
RESULT_FOLDERS = ("analysis", "figures")
RESULT_FILES = ("report.html", "report.json")
VOUCHERS = ("analysis/inputs.json", "analysis/across.json")
"""What says that the tables beside it are of the study as it is: gone before they change, there again after them."""
STATUS = ("spec.json", MANIFEST, "status.json")
CELLS_AT_A_TIME = 8

Job = TypeVar("Job")


def local_folder_for(url: str, *, use: str = "study") -> Path:
    """Where this machine keeps its image of a URL, under the cache.

    Args:
        url: of a study or a store.
        use: 'study' or 'status'; what is fetched for a glance is no whole store, and kept apart.
    """
    plain = url.rstrip("/")
    readable = re.sub(r"//[^/@]*@", "//", plain)
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", readable).strip("-.")[-60:]
    return cache_dir() / "mirrors" / f"{readable}-{hashlib.sha256(plain.encode()).hexdigest()[:10]}" / use


def fetch_store(url: str, *, checkpoint: bool = False) -> Path:
    """Bring one curves store (a cell's folder) here; where it now lies.

    Args:
        url: of the folder with manifest.json.
        checkpoint: bring what a run resumes from too.

    Raises:
        StoreError: there is no store, it cannot be read, or it is damaged.
        MissingDependencyError: the package that speaks the URL's protocol is not installed.
    """
    remote = Remote(url)
    folder = local_folder_for(url)
    if not Mirror(folder, remote).fetch(checkpoint=checkpoint):
        raise StoreError(f"{remote.shown} is no curves store (a cell's folder): it has no {MANIFEST}")
    return folder


def fetch_study(
    remote: Remote, local: Path, *, curves: bool = True, checkpoints: bool = False, exact: bool = False
) -> bool:
    """Bring a study here.

    Args:
        remote: the study's folder there.
        local: the folder here.
        curves: bring stores and results; without, only study.yaml and what `dissensus status` reads. Such a folder
            has manifests without their files, and is no place for anything else.
        checkpoints: bring what unfinished cells resume from.
        exact: delete cells here that are not there any more; for a folder that is nothing but an image.

    Returns:
        Whether there is a study there.

    Raises:
        StoreError: the remote cannot be read, or a cell is damaged (its URL is named).
    """
    if not remote.get(STUDY, local / STUDY):
        return False
    names = [safe_name(name, remote.shown) for name in remote.folders("cells")]

    def fetch_cell(name: str) -> None:
        remote_cell, local_cell = remote.child(f"cells/{name}"), local / "cells" / name
        if curves and Mirror(local_cell, remote_cell).fetch(checkpoint=checkpoints):
            return
        if curves and exact:  # it has no store there
            shutil.rmtree(local_cell, ignore_errors=True)
        fetched = {file for file in STATUS if remote_cell.get(file, local_cell / file)}
        for file in STATUS if exact else ():
            if file not in fetched:
                (local_cell / file).unlink(missing_ok=True)
        if not fetched and local_cell.is_dir() and not any(local_cell.iterdir()):
            local_cell.rmdir()

    _side_by_side(fetch_cell, names)
    if exact and (local / "cells").is_dir():
        for folder in sorted((local / "cells").iterdir()):
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)
    if curves:
        _fetch_results(remote, local)
    return True


def publish_study(local: Path, remote: Remote, *, cells: Iterable[str] | None = None) -> None:
    """Bring the remote to what a study's folder holds: study.yaml, cells with their checkpoints, the results.

    Args:
        local: the folder that the study ran in.
        remote: the study's folder there.
        cells: names of the cells that ran here; None: all that lie here. A cell that was only brought here may be
            further on by now there, and must not be among them. Other cells there stay as they are.

    Raises:
        StoreError: the remote cannot be read or written, or a cell here is damaged.
    """
    _send(remote, local, [STUDY] if (local / STUDY).is_file() else [])
    root = local / "cells"
    if cells is None:
        cells = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    _side_by_side(lambda cell: Mirror(root / cell, remote.child(f"cells/{cell}")).publish(), cells)
    publish_results(local, remote)


def publish_results(
    local: Path, remote: Remote, *, before: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Publish what `analyze`, `claims` and `report` wrote.

    Args:
        local: the study's folder here.
        remote: its folder there.
        before: the results as they were, as `result_checksums` says; only what has changed since goes.

    Returns:
        The names of the files that went.

    Raises:
        StoreError: the remote cannot be written.
    """
    now = result_checksums(local)
    known = before or {}
    changed = [name for name in now if known.get(name) != now[name]]
    vouched = [name for name in changed if name.startswith("analysis/") and name not in VOUCHERS]
    vouchers = [name for name in VOUCHERS if name in now and (vouched or name in changed)]
    for name in VOUCHERS if vouched else ():
        remote.remove(name)
    _send(remote, local, [name for name in changed if name not in VOUCHERS])
    _send(remote, local, vouchers[::-1])
    return tuple(sorted({*changed, *vouchers}))


def result_checksums(folder: Path) -> dict[str, str]:
    """The results in a study's folder: the SHA-256 of each, by name."""
    paths = [folder / name for name in RESULT_FILES]
    for name in RESULT_FOLDERS:
        paths += sorted((folder / name).iterdir()) if (folder / name).is_dir() else []
    files = [path for path in paths if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


@contextmanager
def study_folder(place: str | os.PathLike[str], *, curves: bool = True) -> Iterator[Path]:
    """A study's folder to work in, wherever it is: `with study_folder("s3://bucket/study") as folder:`.

    A path is handed through. Of a URL the study is brought here first; what the body wrote of results is published at
    its end, unless it ends with an error. Its cells are only read.

    Args:
        place: a path or a URL.
        curves: whether the body reads curves; without, only what `dissensus status` needs is brought.

    Raises:
        SpecError: the URL is no study's.
        StoreError: the URL cannot be read or written, or a cell there is damaged.
    """
    text = os.fspath(place)
    if not is_url(text):
        yield Path(text)
        return
    remote = Remote(text)
    folder = local_folder_for(text, use="study" if curves else "status")
    if not fetch_study(remote, folder, curves=curves, exact=True):
        raise SpecError(
            f"{remote.shown} is no study's folder: it has no {STUDY}. Give the URL that a study was published to."
        )
    before = result_checksums(folder)
    yield folder
    if curves:
        publish_results(folder, remote, before=before)


def _fetch_results(remote: Remote, local: Path) -> None:
    """Bring the results here, what vouches for them last."""
    names = [name for folder in RESULT_FOLDERS for name in remote.names(folder)]
    names = [safe_name(name, remote.shown) for name in names if name.count("/") == 1]
    for name in VOUCHERS:
        (local / name).unlink(missing_ok=True)
    tables = [name for name in names if name not in VOUCHERS]
    _side_by_side(lambda name: remote.get(name, local / name), [*tables, *RESULT_FILES])
    for name in VOUCHERS:
        if name in names:
            remote.get(name, local / name)


def _send(remote: Remote, local: Path, names: Iterable[str]) -> None:
    for name in names:
        remote.put(local / name, name)


def _side_by_side(work: Callable[[Job], object], jobs: Iterable[Job]) -> None:
    """Call `work` with each job, some at a time: most of the time of each is waiting for the server."""
    with ThreadPoolExecutor(CELLS_AT_A_TIME, thread_name_prefix="storage") as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
