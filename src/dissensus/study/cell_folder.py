"""A cell's folder: whose it is, and whether it is done. Imports no torch."""

from __future__ import annotations

import difflib
import json
import shutil
from pathlib import Path

from dissensus.config import RunSpec
from dissensus.errors import StoreError
from dissensus.files import write_atomic
from dissensus.store import load_curves


def stored_already(spec: RunSpec, folder: Path) -> bool:
    """Claim the folder (see `claim_folder`); whether it holds the cell's finished curves."""
    claim_folder(spec, folder)
    finished = _finished(folder)
    if finished:
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # left if the end of the run was cut off
    return finished


def claim_folder(spec: RunSpec, folder: Path) -> None:
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
