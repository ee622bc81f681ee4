"""Agreement of a run's processes before the first point: the tracked set, and whether they write it together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import SpecError
from dissensus.record.probes.base import Probe
from dissensus.store import CurvesWriter, PartWriter
from dissensus.store.parts import end_session_sign, new_session, sees_session, shares

if TYPE_CHECKING:
    import torch

    from dissensus.record.processes import ProcessGroup


def same_probe(group: ProcessGroup, probe: Probe, device: torch.device) -> None:
    """Raise `SpecError` in every process unless all ask the same: data, probe, beta and reference.

    Each measures and may write a share of the rows, which would otherwise be answers to different questions.
    """
    facts = {"data": probe.dataset.fingerprint, **probe.facts}
    said = json.dumps(facts, sort_keys=True, default=str)
    first = json.loads(bytes(group.broadcast(list(said.encode()), device)).decode())
    with group.all_or_none(device):
        facts = json.loads(said)
        differing = [key for key in sorted({*facts, *first}) if facts.get(key) != first.get(key)]
        if differing:
            both = "; ".join(
                f"{key} is {facts.get(key)!r} in process {group.rank}, and {first.get(key)!r} in the first"
                for key in differing
            )
            raise SpecError(
                f"the processes of this run do not track the same: {both}. Make the tracked set or the probe alike in "
                "every process"
            )


def share_points(
    group: ProcessGroup,
    writer: CurvesWriter | None,
    data: AnnotatedDataset,
    folder: Path,
    device: torch.device,
) -> PartWriter | None:
    """Let the processes write points together, where that pays and all of them see the first one's folder.

    Every process calls this at the same time. Where each has a disk of its own, or names another folder, the first one
    writes alone.

    Args:
        group: the processes.
        writer: the store, in the first process.
        data: the tracked examples.
        folder: of the store, as this process was told.
        device: what numbers are exchanged on.

    Returns:
        What this process writes its rows with; None in the first one, whose `writer` knows, and where it writes alone.
    """
    rows = shares(len(data), len(data.labels), group.world_size)
    if len(rows) == 1:
        return None
    (session,) = group.broadcast([0 if writer is None else new_session(writer.path)], device)
    seen = group.sum(float(sees_session(folder, session)), device)
    if writer is not None:
        end_session_sign(writer.path, session)
        if seen == group.world_size:
            writer.share_with(group.world_size, session)
        return None
    if seen < group.world_size:
        return None
    return PartWriter(
        folder,
        labels=len(data.labels),
        fingerprint=data.fingerprint,
        number=group.rank,
        rows=rows,
        session=session,
    )
