"""Statistics: arrays in (and a generator, where something is drawn), frozen results out. Undefined is NaN, counted."""

from dissensus.stats.correlation import Correlation, spearman
from dissensus.stats.differences import MeanDifference, mean_difference
from dissensus.stats.groups import GroupCurve, entropy_groups
from dissensus.stats.intervals import MIN_CLUSTERS
from dissensus.stats.multiplicity import benjamini_hochberg, holm
from dissensus.stats.partial import RankCorrelations, partial_spearman, rank_correlations
from dissensus.stats.running import GroupSums, group_curves, stored_group_curves

__all__ = [
    "MIN_CLUSTERS",
    "Correlation",
    "GroupCurve",
    "GroupSums",
    "MeanDifference",
    "RankCorrelations",
    "benjamini_hochberg",
    "entropy_groups",
    "group_curves",
    "holm",
    "mean_difference",
    "partial_spearman",
    "rank_correlations",
    "spearman",
    "stored_group_curves",
]
