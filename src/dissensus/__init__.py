"""What a fine-tune does, example by example, to data on which people disagree.

Everything here except `CurveRecorder` works without torch; that one is imported when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from dissensus.curves import Curves, load_curves
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.errors import DissensusError
from dissensus.measures import annotation_entropy
from dissensus.metrics.aulc import aulc
from dissensus.stats.correlation import spearman
from dissensus.stats.partial import partial_spearman

if TYPE_CHECKING:
    from dissensus.train.recorder import CurveRecorder

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
    "partial_spearman",
    "spearman",
]


def __getattr__(name: str) -> Any:
    if name == "CurveRecorder":
        from dissensus.train.recorder import CurveRecorder

        return CurveRecorder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
