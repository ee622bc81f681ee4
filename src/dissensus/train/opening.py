"""Opening a curves store for a probe: a new one, or one that an interrupted run left. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dissensus.errors import StoreError
from dissensus.probes.base import Probe
from dissensus.store import CurvesWriter

ASKED = ("probe", "beta")
"""Facts of a probe that say what was asked of the model."""


def open_store(
    path: str | os.PathLike[str],
    probe: Probe,
    *,
    total_steps: int,
    regime: str | Sequence[str],
    provenance: Mapping[str, Any],
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
        provenance={**provenance, **probe.facts},
        values=probe.values,
        token_losses=probe.token_losses,
    )
    if writer.steps and not resume:
        raise StoreError(
            f"{writer.path} holds the curves of a run already ({len(writer.steps)} tracking points). Choose another "
            "folder or delete that one. To go on with an interrupted run: under a trainer, let it resume from its "
            "checkpoint (`resume_from_checkpoint=True`, `ckpt_path=`); in a loop of your own, restore the training "
            "state and pass resume=True."
        )
    for name in ASKED if writer.steps else ():
        before, now = writer.provenance.get(name), probe.facts.get(name)
        if before != now:
            raise StoreError(
                f"{writer.path} was begun with {name} {before!r}; now it is {now!r}. Choose another folder, or go on "
                "with the same question"
            )
    return writer
