"""What a fine-tune does, example by example, to data on which people disagree."""

from dissensus.curves import Curves, load_curves
from dissensus.data.annotations import AnnotatedDataset, Example
from dissensus.errors import DissensusError
from dissensus.measures import annotation_entropy

__version__ = "0.1.0"

__all__ = ["AnnotatedDataset", "Curves", "DissensusError", "Example", "annotation_entropy", "load_curves"]
