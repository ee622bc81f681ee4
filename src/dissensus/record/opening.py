"""Opening a curves store for a probe: a new one, or one that an interrupted run left. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dissensus.data.annotations import AnnotatedDataset
from dissensus.errors import DataError, SpecError, StoreError
from dissensus.record.probes.base import Probe
from dissensus.record.probes.labels import LabelProbe
from dissensus.store import CurvesWriter

ASKED = ("probe", "beta")
"""Facts of a probe that say what was asked of the model."""


def probe_of(tracked: AnnotatedDataset | Probe, **options: Any) -> Probe:
    """What is asked about the tracked examples.

    Args:
        tracked: a data set, whose labels are scored, or a probe.
        options: of `LabelProbe`; None (and its default `max_length`) are those that were not given.

    Raises:
        SpecError: it is neither, or a probe with options of a data set.
        DataError: there are no examples.
    """
    if isinstance(tracked, AnnotatedDataset):
        found: Any = tracked
    elif all(hasattr(tracked, name) for name in ("dataset", "tracked", "measured")):
        given = sorted(name for name, value in options.items() if value is not None and name != "max_length")
        if given:
            raise SpecError(f"a probe brings its tokens with it; leave out {', '.join(given)}")
        found = tracked.dataset
    else:
        raise SpecError(
            f"tracked is {type(tracked).__name__}; expected an AnnotatedDataset (AnnotatedDataset.from_records "
            "makes one of rows) or a probe of dissensus.record.probes"
        )
    if len(found) == 0:
        raise DataError("the tracked set has no examples; give at least one")
    return LabelProbe(tracked, **options) if isinstance(tracked, AnnotatedDataset) else tracked


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
        resize=resume,
    )
    if writer.steps and not resume:
        raise StoreError(
            f"{writer.path} holds the curves of a run already ({len(writer.steps)} tracking points). Choose another "
            "folder or delete that one. To go on with an interrupted run: under a trainer, let it resume from its "
            "checkpoint (`resume_from_checkpoint=True`, `ckpt_path=`); in a loop of your own, restore the training "
            "state, pass resume=True and watch(..., start=(optimiser steps that it has taken))."
        )
    for name in ASKED if writer.steps else ():
        before, now = writer.provenance.get(name), probe.facts.get(name)
        if before != now:
            raise StoreError(
                f"{writer.path} was begun with {name} {before!r}; now it is {now!r}. Choose another folder, or go on "
                "with the same question"
            )
    return writer
