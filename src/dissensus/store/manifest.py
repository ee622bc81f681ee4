"""Manifest of a curves store: the tracking points that it lists, their files and checksums; read, checked and written.

`manifest.json` is read here and nowhere else, so that everybody else has its facts as attributes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from dissensus.errors import StoreError
from dissensus.files import write_atomic

SCHEMA_VERSION = 3
LAST_FOR_OLDER = "9fbc425"
"""The last commit of dissensus that reads schemas 1 and 2, which were written before the first release."""
EXAMPLES = "examples.parquet"
_KINDS = {
    "labels": (list, "a list of names"),
    "total_steps": (int, "a whole number"),
    "complete": (bool, "true or false"),
    "shards": (list, "a list of tracking points"),
    "provenance": (dict, "a mapping"),
    "examples_sha256": (str, "a checksum"),
    "values": (list, "a list of names"),
    "token_losses": (bool, "true or false"),
}
_LISTS_OF_NAMES = ("labels", "values")


@dataclass(frozen=True, slots=True)
class ListedPart:
    """A file of a tracking point; the manifest's keys are named like the fields.

    Attributes:
        file: its name, from the store's folder.
        begin: place of its first example.
        end: place behind its last one.
        sha256: of the file.
    """

    file: str
    begin: int
    end: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ListedPoint:
    """A tracking point that is stored; the manifest's keys are named like the fields.

    Attributes:
        step: optimiser steps taken.
        rows: its examples.
        parts: its files, which hold the examples one after the other.
    """

    step: int
    rows: int
    parts: tuple[ListedPart, ...]

    @property
    def files(self) -> dict[str, str]:
        """Its files, by name, with the SHA-256 of each."""
        return {part.file: part.sha256 for part in self.parts}


@dataclass(frozen=True)
class StoreManifest:
    """What a manifest says.

    Attributes:
        labels: label names, length K.
        total_steps: optimiser steps of the whole run.
        tracked_fingerprint: of the tracked examples; None where it was not said.
        values: names of the further values of each point, sorted.
        token_losses: whether each point holds the losses of single tokens.
        complete: whether the run has ended.
        examples_sha256: of `examples.parquet`.
        points: the tracking points, by step.
        provenance: what was noted of the run: JSON values by name. `RunFacts` reads what dissensus itself notes.
        timing: name -> seconds, of a run that has ended; None where it was not said.
    """

    labels: tuple[str, ...]
    total_steps: int
    tracked_fingerprint: str | None
    values: tuple[str, ...]
    token_losses: bool
    complete: bool
    examples_sha256: str
    points: tuple[ListedPoint, ...]
    provenance: Mapping[str, Any]
    timing: Mapping[str, float] | None = None

    @classmethod
    def parse(cls, content: str | bytes, path: str) -> StoreManifest:
        """Check a manifest's text, key by key.

        Args:
            content: of the file.
            path: where it lies, for messages.

        Raises:
            StoreError: it is damaged, of another schema, or lists a file outside `curves/`.
        """
        try:
            data: Any = json.loads(content)
        except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested or with digits beyond reading
            raise StoreError(f"{path} is damaged: it is not JSON; delete the folder, run again") from None
        if not isinstance(data, dict) or "schema" not in data:
            raise StoreError(f"{path} is not a dissensus manifest: it names no schema")
        _check(data, path)
        fingerprint = data.get("tracked_fingerprint")
        return cls(
            labels=tuple(data["labels"]),
            total_steps=data["total_steps"],
            tracked_fingerprint=None if fingerprint is None else str(fingerprint),
            values=tuple(data["values"]),
            token_losses=data["token_losses"],
            complete=data["complete"],
            examples_sha256=data["examples_sha256"],
            points=tuple(
                ListedPoint(
                    shard["step"],
                    shard["rows"],
                    tuple(ListedPart(p["file"], p["begin"], p["end"], p["sha256"]) for p in shard["parts"]),
                )
                for shard in data["shards"]
            ),
            provenance=data["provenance"],
            timing=timing if isinstance(timing := data.get("timing"), dict) else None,
        )

    @property
    def text(self) -> str:
        """As `manifest.json` has it."""
        data: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "labels": list(self.labels),
            "total_steps": self.total_steps,
            "values": list(self.values),
            "token_losses": self.token_losses,
            "complete": self.complete,
            "examples_sha256": self.examples_sha256,
            "shards": [asdict(point) for point in self.points],
            "provenance": dict(self.provenance),
        }
        if self.tracked_fingerprint is not None:
            data["tracked_fingerprint"] = self.tracked_fingerprint
        if self.timing is not None:
            data["timing"] = dict(self.timing)
        return json.dumps(data, indent=1, sort_keys=True) + "\n"

    @cached_property
    def files(self) -> dict[str, str]:
        """The files that it stands for, by name from the store's folder, with the SHA-256 of each."""
        files = {EXAMPLES: self.examples_sha256}
        for point in self.points:
            files.update(point.files)
        return files

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps of the tracking points."""
        return tuple(point.step for point in self.points)

    def point(self, step: int) -> ListedPoint | None:
        """The tracking point of a step; None where it is not stored."""
        return next((point for point in self.points if point.step == step), None)

    def until(self, step: int) -> StoreManifest:
        """The manifest without the tracking points after a step."""
        return replace(self, points=tuple(point for point in self.points if point.step <= step))

    def without(self, names: Collection[str]) -> StoreManifest:
        """The manifest without the tracking points that need one of these files; without any, it is no complete run's.

        Args:
            names: files from the store's folder; every point needs `examples.parquet`.
        """
        removed = set(names)
        remaining = tuple(
            point
            for point in self.points
            if EXAMPLES not in removed and not removed.intersection(point.files)
        )
        return replace(self, points=remaining, complete=self.complete and len(remaining) == len(self.points))


def is_store(folder: Path) -> bool:
    """Whether a folder is a curves store, whatever state it is in."""
    return (folder / "manifest.json").is_file()


def read_manifest(folder: Path) -> StoreManifest:
    """A store's manifest, checked; `StoreError` where there is none, or it is damaged or of another schema."""
    path = folder / "manifest.json"
    if re.match(r"[a-z0-9+]+:/", str(folder)):
        raise StoreError(f"{folder} is a URL, and this reads folders: `dissensus.load_curves` opens either")
    if not path.is_file():
        raise StoreError(f"{folder} is no curves store (a cell's folder): it has no manifest.json")
    return StoreManifest.parse(path.read_bytes(), str(path))


def write_manifest(folder: Path, manifest: StoreManifest) -> None:
    """Write `manifest.json`, which makes what it lists exist."""
    write_atomic(folder / "manifest.json", manifest.text)


def part_name(step: int, number: int = 0, parts: int = 1) -> str:
    """Where a tracking point's part lies, from the store's folder; a point of one part has no number in its name."""
    part = f".part-{number:02d}-of-{parts:02d}" if parts > 1 else ""
    return f"curves/step-{step:08d}{part}.parquet"


def _check(data: dict[str, Any], path: str) -> None:
    if data["schema"] != SCHEMA_VERSION:
        older = data["schema"] in (1, 2)
        version = (
            f"dissensus at commit {LAST_FOR_OLDER}" if older else "the version of dissensus that wrote it"
        )
        raise StoreError(
            f"{path} has schema {data['schema']!r}; this version of dissensus reads schema {SCHEMA_VERSION}. "
            f"Open it with {version}, or run it again"
        )
    for key, (kind, word) in _KINDS.items():
        value = data.get(key)
        fits = _is_int(value) if kind is int else isinstance(value, kind)
        if key in _LISTS_OF_NAMES and isinstance(value, list):
            fits = all(isinstance(name, str) for name in value)
        if not fits:
            raise StoreError(
                f"{path} is damaged: {key!r} is {value!r:.60}; expected {word}; delete the folder, run again"
            )
    for shard in data["shards"]:
        if not _is_shard(shard):
            raise StoreError(
                f"{path} is damaged: it lists a tracking point as {shard!r:.120}; expected a step from 0, its rows, "
                "and of each of its parts the rows, the sha256 and the file curves/step-<the step in 8 digits>.parquet "
                "or .part-<number>-of-<parts>.parquet; delete the folder, run again"
            )


def _is_shard(entry: Any) -> bool:
    """A store may come from anywhere: its manifest must not lead a reader, or `drop_after`, out of its folder."""
    if not isinstance(entry, dict) or not _is_int(step := entry.get("step")) or step < 0:
        return False
    rows, parts = entry.get("rows"), entry.get("parts")
    if not _is_int(rows) or not isinstance(parts, list) or not parts:
        return False
    reached = 0
    for number, part in enumerate(parts):
        if not isinstance(part, dict) or part.get("file") != part_name(step, number, len(parts)):
            return False
        begin, end = part.get("begin"), part.get("end")
        if not _is_int(begin) or not _is_int(end) or begin != reached or end < begin:
            return False
        if not isinstance(part.get("sha256"), str):
            return False
        reached = end
    return reached == rows


def _is_int(value: object) -> TypeGuard[int]:
    """Whether a JSON value is a whole number; Python counts true and false among its ints."""
    return isinstance(value, int) and not isinstance(value, bool)
