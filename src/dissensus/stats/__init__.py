"""Statistics: arrays and a generator in, frozen results out. Undefined is NaN, and counted."""

from dissensus.stats.correlation import Correlation, spearman
from dissensus.stats.differences import MeanDifference, mean_difference
from dissensus.stats.groups import GroupCurve, entropy_groups, group_curves
from dissensus.stats.multiplicity import benjamini_hochberg, holm
from dissensus.stats.partial import partial_spearman

__all__ = [
    "Correlation",
    "GroupCurve",
    "MeanDifference",
    "benjamini_hochberg",
    "entropy_groups",
    "group_curves",
    "holm",
    "mean_difference",
    "partial_spearman",
    "spearman",
]
