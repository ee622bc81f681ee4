"""From a source's specification to annotated data: one loader a corpus or format."""

from __future__ import annotations

from pathlib import Path

from dissensus.config.sources import (
    ChaosNLISource,
    LeWiDiSource,
    NLISource,
    SimulatedSource,
    SourceSpec,
    TableSource,
)
from dissensus.data.annotations import AnnotatedDataset
from dissensus.data.sources.paths import cache_dir, data_dirs

__all__ = ["cache_dir", "data_dirs", "load_source"]


def load_source(spec: SourceSpec, *, data_dir: Path | None = None) -> AnnotatedDataset:
    """Load what a specification names.

    Args:
        spec: one of the source specifications of `dissensus.config.sources`.
        data_dir: folder that relative paths are looked up in first; after it come `DISSENSUS_DATA` and the cache.

    Raises:
        DataError: the data is missing or malformed; the message says where it was looked for and how to get it.
        MissingDependencyError: the source is on the hub and the `hub` extra is not installed.
    """
    # Each loader is imported when it is needed, so that a study of one corpus pays for one loader.
    match spec:
        case ChaosNLISource():
            from dissensus.data.sources import chaosnli

            return chaosnli.load(spec, data_dir=data_dir)
        case NLISource():
            from dissensus.data.sources import nli

            return nli.load(spec, data_dir=data_dir)
        case LeWiDiSource():
            from dissensus.data.sources import lewidi

            return lewidi.load(spec, data_dir=data_dir)
        case TableSource():
            from dissensus.data.sources import table

            return table.load(spec, data_dir=data_dir)
        case SimulatedSource():
            from dissensus.data.sources import simulated

            return simulated.load(spec)
