"""Dissensus: a fine-tune's effect, example by example, on data on which people disagree.

Each name is imported when it is first asked for: `import dissensus` is instant, and everything except
`CurveRecorder` works without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dissensus import plot
    from dissensus.analysis.results import load_results
    from dissensus.curves import Curves
    from dissensus.data.agreement import annotation_entropy
    from dissensus.data.annotations import AnnotatedDataset, Example
    from dissensus.errors import DissensusError
    from dissensus.metrics.aulc import aulc
    from dissensus.open import load_curves, open_curves
    from dissensus.record.recorder import CurveRecorder
    from dissensus.stats.correlation import spearman
    from dissensus.stats.partial import partial_spearman

__version__ = "0.1.0"

__all__ = [
    "AnnotatedDataset",
    "CurveRecorder",
    "Curves",
    "DissensusError",
    "Example",
    "annotation_entropy",
    "aulc",
    "load_curves",
    "load_results",
    "open_curves",
    "partial_spearman",
    "plot",
    "spearman",
]

_MODULES = {
    "AnnotatedDataset": "data.annotations",
    "CurveRecorder": "record.recorder",
    "Curves": "curves",
    "DissensusError": "errors",
    "Example": "data.annotations",
    "annotation_entropy": "data.agreement",
    "aulc": "metrics.aulc",
    "load_curves": "open",
    "load_results": "analysis.results",
    "open_curves": "open",
    "partial_spearman": "stats.partial",
    "spearman": "stats.correlation",
}


def __getattr__(name: str) -> Any:
    if name == "plot":  # the module: matplotlib comes with it
        return import_module(f"{__name__}.plot")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
