"""Provenance of a cell: versions and device, where its gold labels come from, data and weights that stay the same."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from dissensus.config import Execution, RunSpec
from dissensus.config.sources import SOURCES
from dissensus.data.assembly import CellData
from dissensus.errors import StoreError
from dissensus.store.run_facts import RunFacts

if TYPE_CHECKING:
    import torch

    from dissensus.record.processes import ProcessGroup


def refuse_changed_inputs(stored: RunFacts, data: CellData, model_fingerprint: str, folder: Path) -> None:
    """Raise `StoreError` where a resumed run has other data or weights than it began with."""
    for name, before, now in (
        ("train fingerprint", stored.train_fingerprint, data.train.fingerprint),
        ("model fingerprint", stored.model_fingerprint, model_fingerprint),
    ):
        if before != now:
            raise StoreError(
                f"{folder} was begun with another {name} ({before}; now {now}): the "
                "files behind the study have changed. Delete that folder to start the cell anew."
            )


def source_facts(spec: RunSpec) -> dict[str, str]:
    """Where the gold labels of a package's source come from, because nobody who reads the cell loads that package."""
    tracked = spec.dataset.tracked
    return {} if tracked.source in SOURCES.builtin else {"gold_source": tracked.gold_from()}


def versions(device: torch.device, group: ProcessGroup, options: Execution) -> dict[str, str]:
    """Versions of Python and the packages, threads, platform, device; of several processes also their number."""
    packages = ("dissensus", "torch", "transformers", "peft", "numpy")
    import torch

    # What one process computes as ever leaves no trace; several add numbers up in another order.
    together = (
        {"processes": str(group.world_size), "sharding": options.sharding} if group.world_size > 1 else {}
    )
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "threads": str(torch.get_num_threads()),
        "platform": f"{sys.platform}-{platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        **together,
    }
