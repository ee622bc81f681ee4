"""Opening a curves store for a probe, new or interrupted, in agreement with a run's other processes. No torch."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, SpecError, StoreError
from dissensus.record.probes.base import Probe
from dissensus.record.probes.labels import LabelProbe
from dissensus.store import CurvesWriter, PartWriter
from dissensus.store.parts import end_session_sign, new_session, sees_session, shares

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from dissensus.record.processes import ProcessGroup

ASKED = ("probe", "beta")
"""Facts of a probe that say what was asked of the model."""


def probe_of(tracked: AnnotatedDataset | Probe, tokenizer: PreTrainedTokenizerBase | None) -> Probe:
    """What is asked about the tracked examples.

    Args:
        tracked: a data set, whose labels are scored, or a probe.
        tokenizer: of a data set.

    Raises:
        SpecError: it is neither, or a probe with a tokenizer.
        DataError: there are no examples.
    """
    if isinstance(tracked, AnnotatedDataset):
        dataset: Any = tracked
    elif all(hasattr(tracked, name) for name in ("dataset", "tracked", "measured")):
        if tokenizer is not None:
            raise SpecError("a probe brings its tokens with it; leave out tokenizer")
        dataset = tracked.dataset
    else:
        raise SpecError(
            f"tracked is {type(tracked).__name__}; expected an AnnotatedDataset (AnnotatedDataset.from_records "
            "makes one of rows) or a probe of dissensus.record.probes"
        )
    if len(dataset) == 0:
        raise DataError("the tracked set has no examples; give at least one")
    return LabelProbe(tracked, tokenizer=tokenizer) if isinstance(tracked, AnnotatedDataset) else tracked


def cautions(probe: Probe) -> list[str]:
    """What is to be said of the tracked examples before any is measured; of a study's cells the report says it."""
    if isinstance(probe, LabelProbe) and probe.of_study:
        return []
    facts, n = probe.facts, len(probe.dataset)
    cut, empty = facts.get("truncated_examples", 0), facts.get("empty_examples", 0)
    sentences = []
    if cut:
        sentences.append(f"{cut} of {n} tracked examples are longer than max_length and were cut")
    if empty:
        sentences.append(f"{empty} of {n} tracked examples have no text to score: their loss is NaN")
    return sentences


def open_store(
    path: str | os.PathLike[str],
    probe: Probe,
    *,
    total_steps: int,
    regime: str | Sequence[str],
    resume: bool,
) -> CurvesWriter:
    """A writer for what a probe measures.

    Raises:
        StoreError: tracking points are stored there and `resume` is not set; or those of another run.
    """
    writer = CurvesWriter(
        path,
        probe.dataset,
        total_steps=total_steps,
        regime=regime,
        covariates=probe.covariates,
        provenance=dict(probe.facts),
        values=probe.values,
        token_losses=probe.token_losses,
        resize=resume,
    )
    if writer.steps and not resume:
        raise StoreError(
            f"{writer.path} holds the curves of a run already ({len(writer.steps)} tracking points). Choose another "
            "folder or delete that one. To resume an interrupted run: under a trainer, let it resume from its "
            "checkpoint (`resume_from_checkpoint=True`, `ckpt_path=`); in a loop of your own, restore the training "
            "state, pass resume=True and watch(..., start=(optimiser steps that it has taken))."
        )
    for name in ASKED if writer.steps else ():
        before, now = writer.provenance.get(name), probe.facts.get(name)
        if before != now:
            raise StoreError(
                f"{writer.path} was begun with {name} {before!r}; now it is {now!r}. Choose another folder, or "
                "continue with the same question"
            )
    return writer


def same_probe(group: ProcessGroup, probe: Probe, device: torch.device) -> None:
    """Raise `SpecError` in every process unless all ask the same: data, probe, beta and reference.

    Each measures and may write a share of the rows, which would otherwise be answers to different questions.
    """
    facts = {"data": probe.dataset.fingerprint, **probe.facts}
    text = json.dumps(facts, sort_keys=True, default=str)
    first = json.loads(bytes(group.broadcast(list(text.encode()), device)).decode())
    with group.all_or_none(device):
        facts = json.loads(text)
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
