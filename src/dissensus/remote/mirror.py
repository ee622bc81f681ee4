"""One cell's folder, here and at a remote. Work happens here; a mirror brings the folder here and publishes it there.

What holds it together is the manifest, as on a disk: it is put after the files that it lists, and a file that it does
not list does not exist. So whoever reads the remote finds one state of the run, whole, whenever the writer was cut off.
A publisher is a thread that publishes the folder again and again while the cell trains.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from types import TracebackType

from dissensus.errors import StoreError
from dissensus.files import file_sha256, write_atomic
from dissensus.remote.folder import Remote
from dissensus.remote.lease import Lease, LeaseLostError
from dissensus.remote.manifests import CURRENT, STATE, CurrentCheckpoint, Manifest
from dissensus.remote.publishing import MANIFEST, Publication

log = logging.getLogger("dissensus")

BEFORE = (
    "spec.json",
    "noise.parquet",
    "validation.parquet",
    "gradient_norms.parquet",
    "gradients.parquet",
)
"""Small files that a reader of the curves wants too: they go before the manifest."""
AFTER = ("status.json", "log.txt")
"""Small files that speak of the curves: they go after the manifest."""
TRIES = 8
MOST_TURNS = 200
"""Attempts at a store that changes each time."""
PAUSE = 0.2
"""Seconds before the second try; each further pause is that much longer."""


class Mirror:
    """A cell's folder and its image at a remote.

    One process at a time publishes to a remote folder (`Lease` says whose turn it is); any number may fetch.

    Args:
        local: the cell's folder here.
        remote: the cell's folder there.
    """

    def __init__(self, local: Path, remote: Remote) -> None:
        self.local = local
        self.remote = remote
        self._publication = Publication(local, remote, before=BEFORE, after=AFTER)

    def publish(self) -> bool:
        """Bring the remote to what the folder holds now; may be called again and again while a run is under way.

        In this order: spec.json and the other small files of `BEFORE`; where points were measured anew, a manifest of
        what the old one and the new one share; files that the remote lacks; the manifest; the checkpoint; files that no
        manifest lists any more are deleted; status.json and log.txt. With nothing new, no
        request is made. After an error the next call looks anew at what is there.

        Returns:
            Whether anything was sent.

        Raises:
            StoreError: the remote cannot be read or written, or a file here is not what the manifest says of it.
        """
        return self._publication.publish()

    def fetch(self, *, checkpoint: bool = True) -> bool:
        """Bring the cell here, in place of what the folder holds; every file is verified, the manifest comes last.

        A local state that is ahead of the remote's is given up for the remote's. Where the remote has no store, the
        folder is left as it is.

        Args:
            checkpoint: bring what a run resumes from too.

        Returns:
            Whether there is a store there.

        Raises:
            StoreError: the remote cannot be read, its manifest is damaged, or one of its files is missing or damaged.
        """
        wrong, tries = MANIFEST, 0
        for turn in range(MOST_TURNS):
            if tries == TRIES:
                break
            time.sleep((tries or min(turn, 1) / 4) * PAUSE)
            # In the writer's order turned round: a manifest that is read after the checkpoint is not behind it.
            current = self.remote.read(CURRENT) if checkpoint else None
            content = self.remote.read(MANIFEST)
            if content is None:
                return False
            manifest = Manifest.parse(content, self.remote.shown)
            published = CurrentCheckpoint.parse(current)
            if published is not None and not published.fits(manifest):
                if self.remote.read(CURRENT) != current:
                    continue  # somebody publishes at this moment
                published = None
            problem = self._take_files(manifest)
            if problem is None:
                self._take_manifest(manifest, published if checkpoint else None, drop=checkpoint)
                problem = self._take_checkpoint(published)
            if problem is None:
                self._take_small(AFTER)
                return True
            wrong = problem
            # A file that is gone because somebody published meanwhile is no damage, and no try.
            unchanged = self.remote.read(MANIFEST) == content and (
                not checkpoint or self.remote.read(CURRENT) == current
            )
            tries += unchanged
        raise StoreError(
            f"{self.remote.shown}: {wrong} is missing there or damaged (not the checksum that it is listed "
            f"with), after {TRIES} tries; run that cell again, or publish it anew from a folder that has it whole"
        )

    def _take_files(self, manifest: Manifest) -> str | None:
        """Bring the files that are listed and not here; the name of one that is not there as listed."""
        self._give_up(manifest)
        self._take_small(BEFORE)
        for name, checksum in manifest.files.items():
            path = self.local / name
            present = path.is_file() and file_sha256(path) == checksum
            if not present and not self.remote.get(name, path, sha256=checksum):
                return name
        return None

    def _give_up(self, manifest: Manifest) -> None:
        """The local manifest must not list a file that is about to be replaced: first one of what old and new share."""
        local_manifest = self._local_manifest()
        if local_manifest is None or not local_manifest.conflicts(manifest):
            return
        (self.local / STATE).unlink(missing_ok=True)
        shared = local_manifest.shared_with(manifest, str(self.local))
        if shared is None:
            (self.local / MANIFEST).unlink()
        else:
            write_atomic(self.local / MANIFEST, shared.content)

    def _take_manifest(self, manifest: Manifest, checkpoint: CurrentCheckpoint | None, *, drop: bool) -> None:
        """Write the manifest; a local one that is another than `checkpoint`, or is ahead of it, goes before."""
        state, local_manifest = self.local / STATE, self._local_manifest()
        if state.is_file():
            extended = local_manifest is not None and local_manifest.files.items() <= manifest.files.items()
            same = checkpoint is not None and file_sha256(state) == checkpoint.sha256
            if not (same if drop else extended):
                state.unlink()
        if local_manifest is None or local_manifest.content != manifest.content:
            write_atomic(self.local / MANIFEST, manifest.content)

    def _take_checkpoint(self, checkpoint: CurrentCheckpoint | None) -> str | None:
        """Bring the checkpoint; its name if it is not there any more."""
        if checkpoint is None or (self.local / STATE).is_file():  # `_take_manifest` left it: it is the same
            return None
        fetched = self.remote.get(checkpoint.name, self.local / STATE, sha256=checkpoint.sha256)
        return None if fetched else checkpoint.name

    def _take_small(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.remote.get(name, self.local / name)

    def _local_manifest(self) -> Manifest | None:
        """The folder's manifest; None where there is none, or none that can be followed."""
        try:
            return Manifest.parse((self.local / MANIFEST).read_bytes(), str(self.local))
        except (OSError, StoreError):
            return None


class Publisher:
    """Context manager: publishes every so many seconds while its body runs, and once more at its end.

    What goes wrong in the thread stops no training: it is tried again at the next tick, and what went wrong at the
    last publish is raised at the exit. If the body itself ends with an error, what it left is published all the same,
    and the body's error is the one that is raised. Where another attempt took the cell, nothing more is published.

    Args:
        mirror: of the cell.
        every: seconds between two publishes: what a lost machine costs, besides a tracking point.
        lease: this attempt's lease, taken already; it is looked at before each publish.

    Raises:
        StoreError: at the exit: the last publish failed, or another attempt took the cell.
    """

    def __init__(self, mirror: Mirror, *, every: float = 15.0, lease: Lease | None = None) -> None:
        self._mirror = mirror
        self._every = every
        self._lease = lease
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ticks, name="publisher", daemon=True)
        self._lost: LeaseLostError | None = None
        self._failed = ""

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        try:
            self._publish()
        except Exception as problem:
            if error is None:
                raise
            error.add_note(f"and what it left could not be published: {problem}")

    def check(self) -> None:
        """Raise `StoreError` if another attempt took the cell; for a training loop to ask between two steps.

        It asks nobody: it says what the last publish found.
        """
        if self._lost is not None:
            raise self._lost

    def _publish(self) -> None:
        self.check()
        if self._lease is not None:
            try:
                self._lease.check()
            except LeaseLostError as lost:
                self._lost = lost
                raise
        self._mirror.publish()

    def _ticks(self) -> None:
        while not self._end.wait(self._every):
            try:
                self._publish()
            except LeaseLostError as lost:
                log.warning("%s", lost)
                return
            except Exception as problem:  # noqa: BLE001 - whatever it is, training goes on
                if str(problem) != self._failed:
                    log.warning("not published, tried again in %g s: %s", self._every, problem)
                self._failed = str(problem)
            else:
                self._failed = ""
